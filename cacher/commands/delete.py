"""`delete`: entries go, by key or by prefix, and keys that are not there are named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from cacher.commands.command_result import CommandResult
from cacher.commands.context import Context
from cacher.errors import AccessError, CacherError, IntegrityError, UsageError

LOOKED_FOR = 100
"""So many keys are looked for before they are deleted: one request each, which the answer to a
deletion does not spare. More are deleted many in one request, which this would make slow."""

_NAMED = 5
"""So many keys are named in the closing line; more are counted."""


class Removal(NamedTuple):
    """The arguments of `delete`: keys, or a prefix of them."""

    keys: Iterable[str] = ()
    prefix: str | None = None
    dry_run: bool = False
    confirmed: bool = False


def delete(context: Context, request: Removal, ask: Callable[[str], bool] | None) -> CommandResult:
    """Remove entries; every failure is reported, an error of the first one's kind ends it.

    `ask` puts a question to whoever sits at the terminal; None where nobody does.
    """
    listed = request.prefix is not None
    keys = _below(context, request, ask) if listed else request.keys
    if keys is None:
        return CommandResult("kept", "nothing was deleted", {"deleted": [], "missing": []})
    if request.dry_run:
        return _rehearse(context, _once(keys), listed=listed)
    if listed:
        return _delete(context, keys, frozenset())
    keys = _once(keys)
    few = list(islice(keys, LOOKED_FOR + 1))
    return _delete(context, chain(few, keys), _absent(context, few))


def _delete(context: Context, keys: Iterable[str], absent: frozenset[str] | None) -> CommandResult:
    """Delete; `absent` are the keys that are not there, None where that is not known."""
    tally = _Tally(context, absent)
    try:
        for answer in context.store.delete(keys):
            tally.add(answer.key, answer.error)
    except CacherError as error:  # of the store, or of a key that came from stdin
        tally.warn()
        so_far = f"; {tally.text()}" if tally.deleted else ""
        raise type(error)(error.message + so_far, error.hint) from error
    if tally.failure:
        raise tally.error()
    if absent is None:
        fields = {"deleted": None, "missing": None, "gone": tally.keys}
        was = "it was" if tally.deleted == 1 else "they were"
        return CommandResult("gone", f"{tally.text()}; {was} not looked up before", fields)
    fields = {"deleted": tally.keys, "missing": tally.missing}
    if tally.missing and not tally.deleted:
        return CommandResult("missing", _not_there(tally.missing), fields)
    more = f"; {_not_there(tally.missing)}" if tally.missing else ""
    return CommandResult("deleted", f"{tally.text()}{more}", fields)


class _Tally:
    """What became of the keys so far. Holds the deleted ones for JSON alone: they may be many."""

    def __init__(self, context: Context, absent: frozenset[str] | None) -> None:
        self.deleted = 0
        self.last = ""
        self.keys: list[str] = []
        self.missing: list[str] = []
        self.failure: CacherError | None = None
        self._failures = 0
        self._unsaid: tuple[str, CacherError] | None = None
        self._report = context.report
        self._looked = absent is not None
        self._absent = absent or frozenset()

    def add(self, key: str, error: CacherError | None) -> None:
        """One answer of the store."""
        self.warn()
        if error is not None:
            self.failure = self.failure or error
            self._failures += 1
            self._unsaid = key, error
        elif key in self._absent:
            self.missing.append(key)
            self._report.note(f"{key} was not there")
        else:
            self.deleted += 1
            self.last = key
            if self._report.as_json:
                self.keys.append(key)
            self._report.note(f"deleted {key}" if self._looked else f"{key} is gone")

    def text(self) -> str:
        """What was deleted; of keys that nobody looked for, only that they are not there now."""
        if self._looked:
            return f"deleted {self.last if self.deleted == 1 else _counted(self.deleted)}"
        if self.deleted == 1:
            return f"{self.last} is not in the store now"
        return f"{self.deleted} keys are not in the store now"

    def warn(self) -> None:
        """Report the last failure, unless it is the only answer: the closing error says it then."""
        if self._unsaid:
            key, error = self._unsaid
            self._report.warn(f"{key} was not deleted: {error.message}")
            self._unsaid = None

    def error(self) -> CacherError:
        """The first failure, which speaks for all."""
        assert self.failure is not None  # noqa: S101 - the caller has looked
        whole = self._failures + self.deleted + len(self.missing)
        if whole == 1:
            return self.failure
        self.warn()
        text = f"{self._failures} of {whole} entries not deleted"
        return type(self.failure)(text, self.failure.hint)


def _absent(context: Context, keys: list[str]) -> frozenset[str] | None:
    """Those of a few keys that are not there; None where they are many, or nobody may look.

    A missing bucket is no matter here: deleting tells it.
    """
    if len(keys) > LOOKED_FOR:
        return None
    try:
        return frozenset(key for key in keys if not _is_there(context, key))
    except AccessError:
        return None  # a key that may not read may delete all the same


def _is_there(context: Context, key: str, *, verify_bucket: bool = False) -> bool:
    try:
        return context.store.head(key, verify_bucket=verify_bucket) is not None
    except IntegrityError:
        return True  # damaged, and so there


def _once(keys: Iterable[str]) -> Iterator[str]:
    """The keys without those that came before."""
    seen: set[str] = set()
    for key in keys:
        if key not in seen:
            seen.add(key)
            yield key


def _below(
    context: Context, request: Removal, ask: Callable[[str], bool] | None
) -> Iterable[str] | None:
    """The keys to delete; None if whoever was asked said no."""
    prefix = request.prefix or ""
    context.doubt_prefix(prefix)
    if not prefix and ask is None and not request.dry_run:
        raise UsageError(
            "delete --prefix '' would delete everything",
            "is the variable that holds the prefix set? if everything is meant, run "
            "`cacher list | cut -f1 | cacher delete --stdin`",
        )
    if request.dry_run or (request.confirmed and prefix):
        return (entry.key for entry in context.store.list(prefix))
    if ask is None:
        raise UsageError(
            f"delete --prefix {prefix!r} needs --yes without a terminal to ask on",
            "--dry-run shows what would be deleted",
        )
    keys = [entry.key for entry in context.store.list(prefix)]
    what = keys[0] if len(keys) == 1 else _counted(len(keys))
    if keys and not ask(f"delete {what} from {context.store.name}?"):
        return None
    return keys


def _rehearse(context: Context, keys: Iterable[str], *, listed: bool) -> CommandResult:
    there, missing = [], []
    for key in keys:
        if listed or _is_there(context, key, verify_bucket=True):
            there.append(key)
        else:
            missing.append(key)
    if not context.report.as_json:
        for key in there:
            context.report.line(key)
    what = there[0] if len(there) == 1 else _counted(len(there))
    more = f"; {_not_there(missing, now=True)}" if missing else ""
    fields = {"would_delete": there, "missing": missing}
    return CommandResult("rehearsed", f"would delete {what}{more}", fields)


def _not_there(keys: list[str], *, now: bool = False) -> str:
    names = ", ".join(keys) if len(keys) <= _NAMED else f"{len(keys)} keys"
    one, more = ("is", "are") if now else ("was", "were")
    return f"{names} {one if len(keys) == 1 else more} not there"


def _counted(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"
