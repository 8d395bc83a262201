"""Helpers for descriptors, directories and threads that many modules share.

Knows no setting and no format of a file.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress

from cacher.errors import LocalError, OutOfThreads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import Thread

BUFFER_SIZE = 256 * 1024
"""Bytes of a buffer that is filled again and again: small enough to stay in a core's cache."""

_CANCEL_INTERVAL = 0.1

OnProgress = Callable[[int], None]
"""Called with the number of bytes that moved, below zero for bytes that must move again; from any
thread."""


def ignore_progress(_count: int) -> None:
    """Report progress to nobody."""


def read_small(path: str, limit: int) -> bytes:
    """Read up to `limit` bytes of a file, or of a pipe: `<(command)` in a shell.

    Raises `OSError`, also for a directory, and for a FIFO that nobody writes to, instead of waiting
    for somebody.
    """
    # Open without waiting, then read with waiting: the command may take its time.
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


def read_full(read: Callable[[memoryview], int], buffer: memoryview) -> int:
    """Fill `buffer`, unless the end comes first; return the number of bytes, 0 at the end.

    `read(buffer)` fills the front of a buffer and returns how many bytes, 0 at the end.
    """
    filled = 0
    while filled < len(buffer) and (count := read(buffer[filled:])):
        filled += count
    return filled


def write_all(fd: int, data: memoryview) -> None:
    """Write all of `data`. Raises `OSError`, and may then have written some."""
    count = os.write(fd, data)
    while count < len(data):
        data = data[count:]
        count = os.write(fd, data)


def write_all_at(fd: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at `offset`. Raises `OSError`, and may then have written some."""
    while data:
        count = os.pwrite(fd, data, offset)
        data, offset = data[count:], offset + count


def make_directories(directory: str) -> list[str]:
    """Make `directory` and its missing parents; return those made, the innermost first.

    Raises `OSError`, whose `filename` is the directory that cannot be made; then none is left.
    """
    missing = []
    while directory and not os.path.isdir(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    made: list[str] = []
    try:
        for path in reversed(missing):
            with suppress(FileExistsError):
                os.mkdir(path)
                made.insert(0, path)
    except BaseException:
        remove_directories(made)
        raise
    return made


def remove_directories(directories: Iterable[str]) -> None:
    """Remove those of the directories that are empty, in their order."""
    for path in directories:
        with suppress(OSError):
            os.rmdir(path)


def require_space(fd: int, size: int, name: str) -> None:
    """Raise `LocalError` if the file system of `fd` has no room for the `size` bytes of `name`."""
    room = os.fstatvfs(fd)
    free = room.f_bavail * room.f_frsize
    # Some file systems (quotas, network) report no numbers; there the writing fails.
    if free < size and room.f_blocks:
        raise LocalError(
            f"no space for {name}: {size} bytes are needed, {free} are free", "free some space"
        )


def start_thread(thread: Thread, *, jobs: int = 1) -> None:
    """Start a thread, the first of `jobs`.

    Raises `OutOfThreads` where the system has no more, and a signal's exception as it is.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise OutOfThreads.meant_by(error, jobs=jobs) from None


def stop_threads(threads: Iterable[Thread], cancel: Callable[[], None], seconds: float) -> None:
    """Call `cancel` every 0.1 s until all have ended: once, or for at most `seconds`.

    A thread that is still alive is left behind: it waits for something out of reach, such as a name
    server.
    """
    for _ in range(max(round(seconds / _CANCEL_INTERVAL), 1)):
        threads = [thread for thread in threads if thread.is_alive()]
        if not threads:
            return
        cancel()
        threads[0].join(_CANCEL_INTERVAL)
