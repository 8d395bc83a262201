"""Reads small files that are named by people: settings, credentials.

Knows no setting, and nothing of what is in a file.
"""

from __future__ import annotations

import errno
import os
import stat


def read_small(path: str, limit: int) -> bytes:
    """Read up to `limit` bytes of a file, or of a pipe: `<(command)` in a shell.

    Raises `OSError`, also for a directory, and for a FIFO that nobody writes to, instead of waiting
    for somebody.
    """
    # Opened without waiting, then read with waiting: the command may take its time.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        os.set_blocking(fd, True)
        with open(fd, "rb", closefd=False) as file:
            content = file.read(limit)
    finally:
        os.close(fd)
    if not content and stat.S_ISFIFO(mode):
        raise OSError(errno.ENODATA, "nobody writes to this FIFO")
    return content
