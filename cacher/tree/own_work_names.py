"""The names that restores give their own directories, which nothing else may have.

What a killed run left is known by its name alone. So no entry may bring one, or it could pass for
such a leftover; and none is packed, since it is half of something.
"""

from __future__ import annotations

import re

MARK = b".cacher-"
"""What all of them have, and few other names: quicker to look for than the whole."""

TURN = b"lock"
"""What follows the mark in the name of the directory that only one run for a target has."""

_NAME = re.compile(rb"(?s:\..*)?\.cacher-(?:lock|[0-9a-f]{8}(?:\.merge|\.clean)?)")


def is_reserved(name: bytes) -> bool:
    """Whether a name may be that of a restore's directory, in a target or beside one."""
    return MARK in name and bool(_NAME.fullmatch(name))


def reserved_in(path: bytes) -> bool:
    """Whether any name of a path is reserved."""
    return MARK in path and any(map(is_reserved, path.split(b"/")))
