"""The names that restores give their work directories, which nothing else may have.

A stale work directory is recognized by its name alone. So no entry may contain such a name, or it
would be removed; and none is packed, since its content is incomplete.
"""

from __future__ import annotations

import re

MARK = b".cacher-"
"""A part of each of them and of few other names, which is quicker to look for than the whole."""

LOCK = b"lock"
"""The end of the name of the directory that serves as the lock of a target."""

_NAME = re.compile(rb"(?s:\..*)?\.cacher-(?:lock|[0-9a-f]{8})")


def is_reserved(name: bytes) -> bool:
    """Return whether a name may be that of a work directory, in a target or beside one."""
    return MARK in name and bool(_NAME.fullmatch(name))
