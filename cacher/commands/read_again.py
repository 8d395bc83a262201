"""Reading an entry again that was replaced while it was read, or that arrived damaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from cacher.errors import EntryChanged, IntegrityError

CHANGES = 2
"""How many times an entry is read again that was replaced while it was read."""

DAMAGES = 1
"""How many times one is read again that arrived damaged. While an entry is replaced, a gateway over
a file system may give the bytes of one version with the metadata of another, and no request tells
that from damage as surely as the bytes do."""

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")


def read_again(
    read: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _Result:
    """Call `read`, and call it again after `EntryChanged` and `IntegrityError`; return its result.

    It must leave nothing behind when it fails.
    """
    changes = damages = 0
    while True:
        try:
            return read(*args, **kwargs)
        except EntryChanged:
            changes += 1
            if changes > CHANGES:
                raise
        except IntegrityError:
            damages += 1
            if damages > DAMAGES:
                raise
