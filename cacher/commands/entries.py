"""`exists`, `list` and `delete`: the entries of the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from cacher.commands.outcome import Outcome
from cacher.commands.run import Run
from cacher.errors import CacherError, Miss, UsageError
from cacher.report import printable, size_text
from cacher.store.base import Deletion, Entry


def exists(run: Run, key: str) -> Outcome:
    """Whether there is an entry. Raises `Miss` if there is certainly none."""
    entry = run.store.head(key)
    if entry is None:
        raise Miss(f"miss {key}")
    return Outcome(
        "hit",
        f"hit {key} ({size_text(entry.size)})",
        {"store": run.store.name} | _entry_json(entry) | {"sha256": entry.sha256 or None},
    )


class Listing(NamedTuple):
    """The arguments of `list`; without `sort` entries come in the store's order."""

    prefix: str = ""
    sort: str = ""
    reverse: bool = False


_SORTS: dict[str, Callable[[Entry], Any]] = {
    "key": lambda entry: entry.key.encode(),
    "age": lambda entry: -(entry.modified or 0.0),  # the youngest first, like `ls -t`
    "size": lambda entry: -entry.size,  # the largest first, like `ls -S`
}


def list_entries(run: Run, wanted: Listing) -> Outcome:
    """Print entries as they come: a table for people, tab-separated or JSON lines for machines."""
    entries: Iterable[Entry] = run.store.list(wanted.prefix)
    if wanted.sort or wanted.reverse:
        entries = sorted(entries, key=_SORTS[wanted.sort or "key"], reverse=wanted.reverse)
    count = size = 0
    write = _writer(run)
    for entry in entries:
        write(entry)
        count += 1
        size += entry.size
    text = f"{count} {'entry' if count == 1 else 'entries'}, {size_text(size)}"
    return Outcome("listed", text, {"entries": count, "size": size})


def _writer(run: Run) -> Callable[[Entry], None]:
    report = run.report
    if report.as_json:
        return lambda entry: report.json(_entry_json(entry))
    if report.stdout_is_terminal:
        # The key comes last: columns in front of it need no look at all the entries.
        return lambda entry: report.line(
            f"{size_text(entry.size):>10}  {_iso(entry.modified):20}  {entry.key}"
        )
    return lambda entry: report.raw(f"{printable(entry.key)}\t{entry.size}\t{_iso(entry.modified)}")


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {"key": entry.key, "size": entry.size, "modified": _iso(entry.modified) or None}


def _iso(modified: float | None) -> str:
    if modified is None:
        return ""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(modified))


class Removal(NamedTuple):
    """The arguments of `delete`: keys, or a prefix of them."""

    keys: Sequence[str] = ()
    prefix: str | None = None
    dry_run: bool = False
    confirmed: bool = False


def delete(run: Run, wanted: Removal, ask: Callable[[str], bool] | None) -> Outcome:
    """Remove entries; every failure is reported, the first one is raised at the end.

    `ask` puts a question to whoever sits at the terminal; None where nobody does.
    """
    if wanted.prefix is None:
        keys: Iterable[str] = wanted.keys
    else:
        keys = _below(run, wanted, ask)
    if wanted.dry_run:
        return _rehearse(run, keys)
    deleted: list[str] = []
    failures: list[Deletion] = []
    for answer in run.store.delete(keys):
        if answer.error is None:
            deleted.append(answer.key)
            run.report.note(f"deleted {answer.key}")
        else:
            failures.append(answer)
            run.report.warn(f"{answer.key} was not deleted: {answer.error.message}")
    if failures:
        raise _failure(failures, len(deleted))
    return Outcome("deleted", f"deleted {_counted(deleted)}", {"deleted": deleted})


def _below(run: Run, wanted: Removal, ask: Callable[[str], bool] | None) -> Iterable[str]:
    prefix = wanted.prefix or ""
    if not prefix and ask is None and not wanted.dry_run:
        raise UsageError(
            "delete --prefix '' would delete everything",
            "is the variable that holds the prefix set? on a terminal you would be asked",
        )
    if wanted.dry_run or (wanted.confirmed and prefix):
        return (entry.key for entry in run.store.list(prefix))
    if ask is None:
        raise UsageError(
            f"delete --prefix {prefix!r} needs --yes where nobody can be asked",
            "--dry-run shows what would be deleted",
        )
    keys = [entry.key for entry in run.store.list(prefix)]
    if keys and not ask(f"delete {_counted(keys)} from {run.store.name}?"):
        raise UsageError("nothing was deleted")
    return keys


def _rehearse(run: Run, keys: Iterable[str]) -> Outcome:
    there = list(_there(run, keys))
    if not run.report.as_json:
        for key in there:
            run.report.line(key)
    return Outcome("rehearsed", f"would delete {_counted(there)}", {"would_delete": there})


def _there(run: Run, keys: Iterable[str]) -> Iterator[str]:
    listed = not isinstance(keys, Sequence)
    return (key for key in keys if listed or run.store.head(key) is not None)


def _failure(failures: Sequence[Deletion], deleted: int) -> CacherError:
    first = failures[0].error
    assert first is not None  # noqa: S101 - that is what makes it a failure
    text = f"{len(failures)} of {len(failures) + deleted} not deleted; {first.message}"
    return type(first)(text, first.hint)


def _counted(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{len(keys)} entries"
