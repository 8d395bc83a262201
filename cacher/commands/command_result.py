"""What a command gives back: a closing line for people, fields for machines, a status."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from cacher.errors import CacherError, UsageError


class CommandResult(NamedTuple):
    """`outcome` is one word; `text` is the closing line; `fields` go into the JSON object."""

    outcome: str
    text: str = ""
    fields: Mapping[str, Any] = MappingProxyType({})
    error: CacherError | None = None
    """What keeps it from being a success, where the command still has something to tell."""

    @property
    def status(self) -> int:
        """The exit status."""
        return self.error.status if self.error else 0


def entry_fields(store: str, key: str, size: int, seconds: float, sha256: str) -> dict[str, Any]:
    """The JSON fields of everything that moves one entry."""
    return {
        "key": key,
        "store": store,
        "size": size,
        "seconds": round(seconds, 3),
        "sha256": sha256 or None,
    }


def check_sha256(text: str | None) -> str:
    """A hex SHA-256 in lower case; empty for None. Raises `UsageError` for anything else."""
    if text is None:
        return ""
    if not text:
        raise UsageError("--sha256 is empty", "is the variable set?")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise UsageError(f"--sha256 {text!r}: not 64 hex digits")
    return text.lower()
