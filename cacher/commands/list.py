"""`list`: the entries of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from cacher.commands.command_result import CommandResult, listed_fields, utc_text
from cacher.commands.context import Context
from cacher.report import printable, size_text
from cacher.store.interface import Entry

_SORTS: dict[str, Callable[[Entry], Any]] = {
    "key": lambda entry: entry.key.encode(),
    "age": lambda entry: -(entry.modified or 0.0),  # the youngest first, like `ls -t`
    "size": lambda entry: -entry.size,  # the largest first, like `ls -S`
}


class ListRequest(NamedTuple):
    """The arguments of `list`; without `sort` entries come in the store's order."""

    below: str = ""
    """The prefix of the keys to list."""

    sort: str = ""
    reverse: bool = False
    root: bool = False
    """Ignore the configured prefix."""

    delimiter: bool = False
    """Show keys with a slash behind `below` as the group that ends at the slash."""


def list_entries(context: Context, request: ListRequest) -> CommandResult:
    """Print entries as they come: a table for people, tab-separated or JSON lines for machines."""
    if request.root:
        context.ignore_prefix()
    context.warn_of_prefix(request.below)
    entries: Iterable[Entry] = context.store.list(request.below)
    if request.sort or request.reverse:
        entries = sorted(entries, key=_SORTS[request.sort or "key"], reverse=request.reverse)
    count = size = 0
    write, write_group = _writers(context)
    # Grouped here, not by the store: some show groups that are empty, or spell them wrong.
    groups: set[str] = set()
    for entry in entries:
        group = _group(entry.key, request.below) if request.delimiter else ""
        if not group:
            write(entry)
        elif group not in groups:
            groups.add(group)
            write_group(group)
        count += 1
        size += entry.size
    text = f"{count} {'entry' if count == 1 else 'entries'}, {size_text(size)}"
    if request.delimiter:
        text += f", {len(groups)} group{'s' * (len(groups) != 1)}"
    return CommandResult("listed", text, {"entries": count, "size": size})


def _group(key: str, prefix: str) -> str:
    """Return the key up to its first slash behind `prefix`; empty if there is none."""
    end = key.find("/", len(prefix))
    return key[: end + 1]


def _writers(context: Context) -> tuple[Callable[[Entry], None], Callable[[str], None]]:
    """Return a function that prints an entry, and one that prints a group."""
    report = context.report
    if report.as_json:
        return (
            lambda entry: report.json(listed_fields(entry)),
            lambda group: report.json({"prefix": group}),
        )
    if report.stdout_is_terminal:
        # The key comes last, so that the columns need no look at all the entries.
        return (
            lambda entry: report.line(
                f"{size_text(entry.size):>10}  {utc_text(entry.modified):20}  {entry.key}"
            ),
            lambda group: report.line(f"{'PRE':>32}  {group}"),
        )
    return (
        lambda entry: report.raw(
            f"{printable(entry.key)}\t{entry.size}\t{utc_text(entry.modified)}"
        ),
        lambda group: report.raw(f"{printable(group)}\tPRE\t"),
    )
