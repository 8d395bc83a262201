"""Owner, mode and time of directories, given to those that a restore changed or made on its way."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from typing import NamedTuple, Self


class DirAttributes(NamedTuple):
    """The attributes that a directory is to have in the end."""

    uid: int
    gid: int
    mode: int
    mtime_ns: int | None
    """None: the time at which its content changed."""

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return all attributes of a status."""
        return cls(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_mtime_ns)

    @classmethod
    def untimed(cls, status: os.stat_result) -> Self:
        """Return the attributes of a status without its time."""
        return cls(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), None)

    def give(self, directory: int) -> None:
        """Give them to an open directory, unless another user owns it. Raises `OSError`."""
        status = os.fstat(directory)
        privileged = os.geteuid() == 0
        if status.st_uid != os.geteuid() and not privileged:
            return
        if privileged and (status.st_uid, status.st_gid) != (self.uid, self.gid):
            os.fchown(directory, self.uid, self.gid)
        if stat.S_IMODE(status.st_mode) != self.mode:
            os.fchmod(directory, self.mode)
        if self.mtime_ns is not None:
            os.utime(directory, ns=(status.st_atime_ns, self.mtime_ns))


def attributes_to_keep(paths: Collection[bytes], new: int, old: int) -> dict[int, DirAttributes]:
    """Return the attributes of directories of the tree `old`, by the inodes of those in `new`.

    Only of `paths` that are directories in both. A path too long for the system is left out.
    """
    found = {}
    for path in paths:
        if path:
            try:
                new_status = os.stat(path, dir_fd=new, follow_symlinks=False)
                old_status = os.stat(path, dir_fd=old, follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(old_status.st_mode):
                found[new_status.st_ino] = DirAttributes.untimed(old_status)
    return found
