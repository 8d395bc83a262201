"""The content of an extracted file: how to create it, and how to share it with another name."""

from __future__ import annotations

import errno
import os
import stat

from cacher.fileio import BUFFER_SIZE, write_all

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_NO_LINKS = frozenset(
    {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EXDEV}
)
"""Errors of file systems without hard links, or of one link too many; EXDEV where a quota or a bind
mount divides a file system (link(2))."""


def hard_link(there: int, other: bytes, here: int, name: bytes) -> None:
    """Give a file a second name, or copy it where the file system refuses. Raises `OSError`."""
    try:
        os.link(other, name, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _copy(there, other, here, name)


def _copy(there: int, other: bytes, here: int, name: bytes) -> None:
    status = os.stat(other, dir_fd=there, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(other, dir_fd=there), name, dir_fd=here)
        return
    source = os.open(other, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=there)
    try:
        fd = os.open(name, CREATE, 0o600, dir_fd=here)
        try:
            buffer = memoryview(bytearray(BUFFER_SIZE))
            while count := os.readv(source, [buffer]):
                write_all(fd, buffer[:count])
            os.fchmod(fd, stat.S_IMODE(status.st_mode))
            os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))
        finally:
            os.close(fd)
    finally:
        os.close(source)
