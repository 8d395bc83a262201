"""`delete`: remove entries by key or by prefix, and name the keys that are not there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

from cacher.commands.command_result import CommandResult
from cacher.commands.context import Context
from cacher.errors import (
    AccessError,
    CacherError,
    IntegrityError,
    LocalError,
    UsageError,
    os_reason,
)
from cacher.keys.template import check_key

LOOKED_FOR = 100
"""Keys that are looked for, with one request each, before they are deleted: the answer to a
deletion does not say whether the entry was there. For more keys, which go many to a request, it
would take too long."""

_NAMED = 5
"""Keys that the closing line names; more are counted."""

_CHUNK = 65536
"""Bytes read from stdin at once."""


class DeleteRequest(NamedTuple):
    """The arguments of `delete`: `keys`, or the prefix `below` of them, or keys on `stdin`."""

    keys: Sequence[str] = ()
    below: str | None = None
    stdin: bool = False
    null: bool = False
    """Keys on stdin end in a NUL byte."""

    hash_from: Sequence[str] = ()
    literal: bool = False
    dry_run: bool = False
    yes: bool = False


def delete(context: Context, request: DeleteRequest) -> CommandResult:
    """Remove entries; report every failure, and raise an error of the first one's kind."""
    _check_request(request)
    if request.below is not None:
        listed = _keys_below(context, request, request.below)
        if listed is None:
            return CommandResult("kept", "nothing was deleted", {"deleted": [], "missing": []})
        if request.dry_run:
            return _show_dry_run(context, listed, listed=True)
        return _delete(context, listed, frozenset())
    keys = _given_keys(context, request)
    if request.dry_run:
        return _show_dry_run(context, keys, listed=False)
    first = list(islice(keys, LOOKED_FOR + 1))
    return _delete(context, chain(first, keys), _find_absent(context, first))


def _check_request(request: DeleteRequest) -> None:
    if bool(request.keys) + (request.below is not None) + request.stdin != 1:
        raise UsageError(
            "delete takes one of KEY..., --prefix P and --stdin", "`cacher delete --help` shows how"
        )
    if request.null and not request.stdin:
        raise UsageError("-0 says how keys end on stdin", "add --stdin")
    if request.stdin and request.hash_from:
        raise UsageError("--hash-from and --stdin exclude each other", "stdin has literal keys")


def _given_keys(context: Context, request: DeleteRequest) -> Iterator[str]:
    """Return the keys of stdin or of the command line, each once."""
    keys: Iterable[str]
    if request.stdin:
        keys = read_keys(0, b"\0" if request.null else b"\n", context.settings.prefix)
    else:
        once = dict.fromkeys(request.keys)
        keys = [context.key(text, request.hash_from, literal=request.literal) for text in once]
    return _once(keys)


def _delete(context: Context, keys: Iterable[str], absent: frozenset[str] | None) -> CommandResult:
    """Delete `keys`. `absent` are those that are not there; None if that is not known."""
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
    """The answers so far. Holds the deleted keys for JSON alone: they may be many."""

    def __init__(self, context: Context, absent: frozenset[str] | None) -> None:
        self.deleted = 0
        self.last = ""
        self.keys: list[str] = []
        self.missing: list[str] = []
        self.failure: CacherError | None = None
        self._failures = 0
        self._unreported: tuple[str, CacherError] | None = None
        self._report = context.report
        self._was_looked_up = absent is not None
        self._absent = absent or frozenset()

    def add(self, key: str, error: CacherError | None) -> None:
        """Count one answer of the store."""
        self.warn()
        if error is not None:
            self.failure = self.failure or error
            self._failures += 1
            self._unreported = key, error
        elif key in self._absent:
            self.missing.append(key)
            self._report.note(f"{key} was not there")
        else:
            self.deleted += 1
            self.last = key
            if self._report.as_json:
                self.keys.append(key)
            self._report.note(f"deleted {key}" if self._was_looked_up else f"{key} is gone")

    def text(self) -> str:
        """Say how much was deleted; of keys not looked up before, that they are not there now."""
        if self._was_looked_up:
            return f"deleted {self.last if self.deleted == 1 else _counted(self.deleted)}"
        if self.deleted == 1:
            return f"{self.last} is not in the store now"
        return f"{self.deleted} keys are not in the store now"

    def warn(self) -> None:
        """Warn of the last failure. If it is the only answer, the closing error says it instead."""
        if self._unreported:
            key, error = self._unreported
            self._report.warn(f"{key} was not deleted: {error.message}")
            self._unreported = None

    def error(self) -> CacherError:
        """Return one error for all failures, of the first one's kind."""
        assert self.failure is not None  # noqa: S101 - the caller has looked
        whole = self._failures + self.deleted + len(self.missing)
        if whole == 1:
            return self.failure
        self.warn()
        text = f"{self._failures} of {whole} entries not deleted"
        return type(self.failure)(text, self.failure.hint)


def _find_absent(context: Context, keys: list[str]) -> frozenset[str] | None:
    """Return the keys that are not there; None if there are many keys, or reading is refused.

    The deletion reports a missing bucket.
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
        return True  # damaged, so it is there


def _once(keys: Iterable[str]) -> Iterator[str]:
    """Yield each key once."""
    seen: set[str] = set()
    for key in keys:
        if key not in seen:
            seen.add(key)
            yield key


def _keys_below(context: Context, request: DeleteRequest, prefix: str) -> Iterable[str] | None:
    """Return the keys to delete; None if the answer at the terminal was no."""
    context.warn_of_prefix(prefix)
    at_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    if not prefix and not at_terminal and not request.dry_run:
        raise UsageError(
            "delete --prefix '' would delete everything",
            "is the variable that holds the prefix set? if everything is meant, run "
            "`cacher list | cut -f1 | cacher delete --stdin`",
        )
    if request.dry_run or (request.yes and prefix):
        return (entry.key for entry in context.store.list(prefix))
    if not at_terminal:
        raise UsageError(
            f"delete --prefix {prefix!r} needs --yes without a terminal to ask on",
            "--dry-run shows what would be deleted",
        )
    keys = [entry.key for entry in context.store.list(prefix)]
    what = keys[0] if len(keys) == 1 else _counted(len(keys))
    if keys and not _ask(f"delete {what} from {context.store.name}?"):
        return None
    return keys


def _ask(question: str) -> bool:
    sys.stderr.write(f"cacher: {question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _show_dry_run(context: Context, keys: Iterable[str], *, listed: bool) -> CommandResult:
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


def read_keys(fd: int, end: bytes, prefix: str) -> Iterator[str]:
    """Yield the keys that `fd` gives, each ended by `end` and taken as it is; skip empty ones.

    Never holds more than a chunk and a key. Raises `UsageError` for a key that is not legal under
    `prefix`.
    """
    number = 0
    rest = b""
    while chunk := _read_chunk(fd):
        *lines, rest = (rest + chunk).split(end)
        for line in lines:
            number += 1
            if line:
                yield _check_stdin_key(line, number, prefix)
        if rest:
            _check_stdin_key(rest, number + 1, prefix, whole=False)
    if rest:
        yield _check_stdin_key(rest, number + 1, prefix)


def _read_chunk(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except OSError as error:
        raise LocalError(f"cannot read stdin: {os_reason(error)}") from error


def _check_stdin_key(line: bytes, number: int, prefix: str, *, whole: bool = True) -> str:
    """Return the key in a line; of one that is not whole yet, check only the length."""
    key = os.fsdecode(line)
    try:
        check_key(key if whole else "x" * len(line), prefix)
    except UsageError as error:
        raise UsageError(f"key {number} from stdin: {error.message}", error.hint) from error
    return key
