"""`exists` and `list`: the entries of the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from cacher.commands.command_result import CommandResult
from cacher.commands.context import Context
from cacher.errors import Miss
from cacher.report import printable, size_text
from cacher.store.interface import Entry


def exists(context: Context, key: str) -> CommandResult:
    """Whether there is an entry. Raises `Miss` if there is certainly none."""
    with context.report.wait(f"looking for {key}"):
        entry = context.store.head(key)
    if entry is None:
        raise Miss(f"miss {key}")
    return CommandResult(
        "hit",
        f"hit {key} ({size_text(entry.size)})",
        {"store": context.store.name} | _entry_json(entry) | {"sha256": entry.sha256 or None},
    )


class Listing(NamedTuple):
    """The arguments of `list`; without `sort` entries come in the store's order."""

    prefix: str = ""
    sort: str = ""
    reverse: bool = False
    root: bool = False
    """Ignore the configured prefix."""

    grouped: bool = False
    """Keys with a slash behind `prefix` are shown as the group that ends at the slash."""


_SORTS: dict[str, Callable[[Entry], Any]] = {
    "key": lambda entry: entry.key.encode(),
    "age": lambda entry: -(entry.modified or 0.0),  # the youngest first, like `ls -t`
    "size": lambda entry: -entry.size,  # the largest first, like `ls -S`
}


def list_entries(context: Context, request: Listing) -> CommandResult:
    """Print entries as they come: a table for people, tab-separated or JSON lines for machines."""
    if request.root:
        context.leave_prefix()
    context.doubt_prefix(request.prefix)
    entries: Iterable[Entry] = context.store.list(request.prefix)
    if request.sort or request.reverse:
        entries = sorted(entries, key=_SORTS[request.sort or "key"], reverse=request.reverse)
    count = size = 0
    write, write_group = _writers(context)
    # Grouped here, not by the store: some show groups that are empty, or spell them wrong.
    groups: set[str] = set()
    for entry in entries:
        group = _group(entry.key, request.prefix) if request.grouped else ""
        if not group:
            write(entry)
        elif group not in groups:
            groups.add(group)
            write_group(group)
        count += 1
        size += entry.size
    text = f"{count} {'entry' if count == 1 else 'entries'}, {size_text(size)}"
    if request.grouped:
        text += f", {len(groups)} group{'s' * (len(groups) != 1)}"
    return CommandResult("listed", text, {"entries": count, "size": size})


def _group(key: str, prefix: str) -> str:
    """The key up to its first slash behind `prefix`; empty if there is none."""
    end = key.find("/", len(prefix))
    return key[: end + 1]


def _writers(context: Context) -> tuple[Callable[[Entry], None], Callable[[str], None]]:
    """What prints an entry, and what prints a group."""
    report = context.report
    if report.as_json:
        return (
            lambda entry: report.json(_entry_json(entry)),
            lambda group: report.json({"prefix": group}),
        )
    if report.stdout_is_terminal:
        # The key comes last: columns in front of it need no look at all the entries.
        return (
            lambda entry: report.line(
                f"{size_text(entry.size):>10}  {_iso(entry.modified):20}  {entry.key}"
            ),
            lambda group: report.line(f"{'PRE':>32}  {group}"),
        )
    return (
        lambda entry: report.raw(f"{printable(entry.key)}\t{entry.size}\t{_iso(entry.modified)}"),
        lambda group: report.raw(f"{printable(group)}\tPRE\t"),
    )


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {"key": entry.key, "size": entry.size, "modified": _iso(entry.modified) or None}


def _iso(modified: float | None) -> str:
    if modified is None:
        return ""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(modified))
