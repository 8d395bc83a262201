"""`exists`: whether there is an entry."""

from __future__ import annotations

from typing import NamedTuple

from cacher.commands.command_result import CommandResult, listed_fields
from cacher.commands.context import Context
from cacher.errors import Miss
from cacher.progress import Progress
from cacher.report import size_text


class ExistsRequest(NamedTuple):
    """The arguments of `exists`."""

    key: str


def exists(context: Context, request: ExistsRequest) -> CommandResult:
    """Look for an entry. Raises `Miss` if there is certainly none."""
    key = request.key
    with Progress(context.report, f"looking for {key},", counts=False):
        entry = context.store.head(key)
    if entry is None:
        raise Miss(f"miss {key}")
    return CommandResult(
        "hit",
        f"hit {key} ({size_text(entry.size)})",
        {"store": context.store.name} | listed_fields(entry) | {"sha256": entry.sha256 or None},
    )
