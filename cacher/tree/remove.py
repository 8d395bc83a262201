"""Removal of trees by descriptors.

No link is followed, no path is too long, and Python's stack does not grow with depth.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from cacher.tree.dir_access import enter_any_mode, status_of
from cacher.tree.dir_stack import DirStack


def remove(name: bytes, parent: int) -> None:
    """Remove `name` from the directory `parent`, with all below it; it may be missing.

    The modes of directories below do not matter to their owner; that of `parent` does. Another
    process may remove the same. Raises `OSError` for the first entry that stays.
    """
    status = status_of(name, parent)
    if status is None:
        return
    if not stat.S_ISDIR(status.st_mode):
        _unlink(name, parent)
        return
    with DirStack[list[bytes]](parent, [name]) as stack:
        while True:
            if stack.payload:
                _enter_and_unlink(stack)
            elif stack.depth:
                stack.leave()
                with suppress(FileNotFoundError):
                    os.rmdir(stack.payload.pop(), dir_fd=stack.fd)
            else:
                return


def _enter_and_unlink(stack: DirStack[list[bytes]]) -> None:
    """Enter the last directory of the payload, and remove all of it but directories."""
    below: list[bytes] = []
    try:
        directory = enter_any_mode(stack, stack.payload[-1], below)
    except FileNotFoundError:
        stack.payload.pop()
        return
    files = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below.append(os.fsencode(entry.name))
            else:
                files.append(entry.name)
    # Not while listing: some file systems lose their place.
    for name in files:
        _unlink(name, directory)


def _unlink(name: bytes | str, parent: int) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
