"""The paths on the command line: which ones are refused, and why one cannot be read.

Knows paths and status; must not know what is in a store.
"""

from __future__ import annotations

import os
from contextlib import suppress

from cacher.commands.context import Context
from cacher.errors import LocalError, UsageError, os_reason


def refuse_local_store_directory(context: Context, directory: str) -> None:
    """Raise `UsageError` if DIR is the directory of the local store, or is inside it."""
    if context.local_directory is not None:
        _refuse(directory, os.path.realpath(directory), context.local_directory, "DIR")


def refuse_local_store_file(context: Context, dest: str) -> None:
    """Raise `UsageError` if the file DEST would be in the local store, or take its name.

    DEST itself may be a link into the store: a rename replaces the link.
    """
    if context.local_directory is not None:
        above, name = os.path.split(dest)
        path = os.path.join(os.path.realpath(above), name)
        _refuse(dest, path, context.local_directory, "DEST")


def _refuse(named: str, path: str, store: str, argument: str) -> None:
    root = os.path.realpath(store)
    hint = f"name a {argument} outside the local store"
    if _is_same_directory(path, root):
        raise UsageError(f"{named} is the directory of the local store", hint)
    while (above := os.path.dirname(path)) != path:
        path = above
        if _is_same_directory(path, root):
            raise UsageError(f"{named} is inside the local store {store}", hint)


def _is_same_directory(path: str, root: str) -> bool:
    """Whether both are one directory, which a mount may give two names, or will be once made."""
    with suppress(OSError):
        return os.path.samestat(os.stat(path), os.stat(root))
    return path == root


def unreadable(path: str, error: OSError) -> LocalError:
    """Return why a path to store cannot be read; often the step that creates it did not run."""
    why, hint = os_reason(error), ""
    if isinstance(error, PermissionError):
        hint = f"user {os.geteuid()} needs access to all directories on the way to it"
        if os.path.exists(path):
            hint = f"user {os.geteuid()} needs read access to it"
    elif isinstance(error, FileNotFoundError):
        if os.path.islink(path):
            why = f"it is a link to {os.readlink(path)}, which does not exist"
        hint = "run the step that creates it first"
        if not os.path.isabs(path):
            with suppress(OSError):
                hint += f"; the working directory is {os.getcwd()}"
    return LocalError(f"cannot read {path}: {why}", hint)
