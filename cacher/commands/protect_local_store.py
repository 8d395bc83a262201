"""Paths that no command may fill or pack, because the local store is there.

Knows paths and status; must not know what is in a store.
"""

from __future__ import annotations

import os
from contextlib import suppress

from cacher.commands.context import Context
from cacher.errors import UsageError


def refuse_directory(context: Context, directory: str) -> None:
    """Raise `UsageError` if DIR is the directory of the local store, or is inside it."""
    if context.local_directory is not None:
        _refuse(directory, os.path.realpath(directory), context.local_directory, "DIR")


def refuse_file(context: Context, dest: str) -> None:
    """Raise `UsageError` if the file DEST would be in the local store, or take its name.

    DEST itself may be a link into the store: a rename replaces the link.
    """
    if context.local_directory is not None:
        above, name = os.path.split(dest)
        place = os.path.join(os.path.realpath(above), name)
        _refuse(dest, place, context.local_directory, "DEST")


def _refuse(named: str, path: str, store: str, argument: str) -> None:
    root = os.path.realpath(store)
    hint = f"name a {argument} outside the local store"
    if _is(path, root):
        raise UsageError(f"{named} is the directory of the local store", hint)
    while (above := os.path.dirname(path)) != path:
        path = above
        if _is(path, root):
            raise UsageError(f"{named} is inside the local store {store}", hint)


def _is(path: str, root: str) -> bool:
    """Whether both are the same directory, which a mount may give two names, or will be."""
    with suppress(OSError):
        return os.path.samestat(os.stat(path), os.stat(root))
    return path == root
