"""What trying a store in a directory leaves behind: nothing, where there was none before."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from cacher.store.local.files import exclusive
from cacher.store.local.paths import StorePaths


@contextlib.contextmanager
def none_left(directory: str) -> Iterator[None]:
    """A `with` block which undoes that it has made the store in `directory`.

    A store that was there, or in which something was stored meanwhile, stays as it is.
    """
    layout = StorePaths(directory)
    missing = list(_missing(layout.own))
    try:
        yield
    finally:
        if missing:
            with contextlib.suppress(OSError):
                _remove(layout, missing)


def _missing(path: bytes) -> Iterator[bytes]:
    """The directories that making `path` would make, the innermost first."""
    while not os.path.lexists(path):
        yield path
        path = os.path.dirname(path)


def _remove(layout: StorePaths, made: list[bytes]) -> None:
    """Raises `OSError` where somebody uses the store by now.

    Whoever writes has a temporary file before they wait for the lock, and whoever has written a
    metadata file: so with none of either nobody holds a lock that is about to have no name.
    """
    if os.path.isdir(layout.own):
        with exclusive(layout.lock):
            for directory in (layout.tmp, layout.meta_top):
                _if_there(os.rmdir, directory)
            os.unlink(layout.lock)
    for directory in made:
        _if_there(os.rmdir, directory)


def _if_there(remove: Callable[[bytes], None], path: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        remove(path)
