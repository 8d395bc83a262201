"""Reading an entry again that was replaced while it was read, or that arrived damaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cacher.errors import EntryChanged, IntegrityError

CHANGES = 2
"""How many times an entry is read again that was replaced while it was read."""

DAMAGES = 1
"""How many times one is read again that arrived damaged. While an entry is replaced, a gateway over
a file system may give the bytes of one version with the metadata of another, and no request tells
that from damage as surely as the bytes do."""

_Read = TypeVar("_Read")


def read_again(read: Callable[[], _Read]) -> _Read:
    """Return what `read` returns, which is called again after `EntryChanged` and `IntegrityError`.

    It must leave nothing behind when it fails.
    """
    changes = damages = 0
    while True:
        try:
            return read()
        except EntryChanged:
            changes += 1
            if changes > CHANGES:
                raise
        except IntegrityError:
            damages += 1
            if damages > DAMAGES:
                raise
