"""The local store that is read, where it is below the target of the restore: it stays as it is."""

from __future__ import annotations

import os
import stat

from cacher.errors import LocalError, UsageError
from cacher.tree.dir_access import status_of, unchanged_status
from cacher.tree.dir_stack import DirStack
from cacher.tree.remove import remove


class StoreInTarget:
    """The directory of the store, to which `names` lead from the target."""

    def __init__(self, names: list[bytes], status: os.stat_result) -> None:
        self.identity = (status.st_dev, status.st_ino)
        """Device and inode."""
        self.is_in_archive = False
        """Whether the archive has an entry in its place, which is not restored."""
        self._names = names

    @property
    def path(self) -> str:
        """Return its path below the target."""
        return os.fsdecode(b"/".join(self._names))

    def make_parents_in(self, tree: int) -> list[bytes]:
        """Make the directories in the staged tree that lead to it; remove an entry in its place.

        Return the paths of the directories that it made. Raises `LocalError` where a file of the
        tree is in the way, and `OSError`.
        """
        made = []
        *above, last = self._names
        with DirStack[None](tree, None) as stack:
            for depth, name in enumerate(above, 1):
                status = status_of(name, stack.fd)
                if status is None:
                    with unchanged_status(stack.fd):
                        os.mkdir(name, 0o700, dir_fd=stack.fd)
                    made.append(b"/".join(above[:depth]))
                elif not stat.S_ISDIR(status.st_mode):
                    raise LocalError(
                        f"{os.fsdecode(b'/'.join(above[:depth]))} is not a directory in the entry, "
                        "but DIR has the local store below it",
                        "restore to another DIR",
                    )
                stack.enter(name, None)
            if status_of(last, stack.fd) is not None:
                self.is_in_archive = True
                with unchanged_status(stack.fd):
                    remove(last, stack.fd)
        return made


def find_store_in_target(target: os.stat_result, directory: str) -> StoreInTarget | None:
    """Find the directory `directory` below the target; None if it is not there.

    Raises `UsageError` if it is the target itself.
    """
    path = os.path.realpath(directory)
    names: list[bytes] = []
    try:
        status = above = os.stat(path)
        while not os.path.samestat(above, target):
            path, name = os.path.split(path)
            if not name:
                return None
            names.insert(0, os.fsencode(name))
            above = os.stat(path)
    except OSError:
        return None
    if not names:
        raise UsageError(f"{directory} is the directory of the local store", "name another DIR")
    return StoreInTarget(names, status)
