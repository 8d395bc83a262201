"""The result of a command: a closing line for people, fields for machines, a status."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from cacher.errors import CacherError, UsageError
from cacher.store.interface import Entry


class CommandResult(NamedTuple):
    """The result: `outcome` is one word, `text` the closing line, `fields` go into the JSON."""

    outcome: str
    text: str = ""
    fields: Mapping[str, Any] = MappingProxyType({})
    error: CacherError | None = None
    """The failure of a command that has fields to report all the same."""

    @property
    def status(self) -> int:
        """The exit status: 0, or that of the error."""
        return self.error.status if self.error else 0


def entry_fields(store: str, key: str, size: int, seconds: float, sha256: str) -> dict[str, Any]:
    """Return the JSON fields of a command that moves one entry of `size` bytes."""
    return {
        "key": key,
        "store": store,
        "size": size,
        "seconds": round(seconds, 3),
        "sha256": sha256 or None,
    }


def listed_fields(entry: Entry) -> dict[str, Any]:
    """Return the JSON fields of an entry as `list` and `exists` show it."""
    return {"key": entry.key, "size": entry.size, "modified": utc_text(entry.modified) or None}


def utc_text(seconds: float | None) -> str:
    """Return a POSIX time in ISO 8601; empty for None."""
    return "" if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def check_sha256(text: str | None) -> str:
    """Return a hex SHA-256 in lower case; empty for None. Raises `UsageError` for anything else."""
    if text is None:
        return ""
    if not text:
        raise UsageError("--sha256 is empty", "is the variable set?")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise UsageError(f"--sha256 {text!r}: not 64 hex digits")
    return text.lower()
