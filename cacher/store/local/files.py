"""The file system below a local store: locks, temporary files, copies, and errors.

Knows which error an `OSError` means on which side of a copy; knows nothing of keys, entries or
metadata.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cacher.errors import AccessError, CacherError, LocalError, StoreError, os_reason
from cacher.fileio import write_all_at

COPY_SIZE = 1 << 20
"""Bytes copied at once: a few hundred microseconds of work between two reports of progress."""

STALE = 3600
"""Seconds after which a temporary file whose owner has ended is removed."""

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset({errno.EACCES, errno.EPERM})
_NOT_A_FILE = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR})
"""The errors of opening a link, a socket or FIFO, and a directory as a file."""

_LIMITED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG})
"""The errors of a limit of this machine or process, whatever the store."""


def local_error(error: OSError, doing: str) -> LocalError:
    """Return the error of this machine that `error` means, while `doing` (an infinitive)."""
    reason = os_reason(error)
    if error.errno in _NO_SPACE:
        return LocalError(f"no space left to {doing}: {reason}", "free some space, then try again")
    return LocalError(f"could not {doing}: {reason}")


def store_error(error: OSError, doing: str) -> CacherError:
    """Return the error of the store that `error` means, while `doing` (an infinitive)."""
    if error.errno in _NO_SPACE or error.errno in _LIMITED:
        return local_error(error, doing)
    reason = os_reason(error)
    if error.errno == errno.EROFS:
        return AccessError(
            f"could not {doing}: {reason}", "mount the store's file system read-write"
        )
    if error.errno in _REFUSED:
        return AccessError(
            f"could not {doing}: {reason}", "check the owner and the mode of the store's directory"
        )
    return StoreError(f"could not {doing}: {reason}")


@contextlib.contextmanager
def translate_store_errors(doing: str) -> Iterator[None]:
    """Turn an `OSError` in the store's directory into a `CacherError`."""
    try:
        yield
    except OSError as error:
        raise store_error(error, doing) from error


@contextlib.contextmanager
def exclusive(lock: bytes) -> Iterator[None]:
    """Lock the lock file for writing, among threads and processes; make it if it is missing.

    Raises `StoreError` if something else has its name.
    """
    make_directories(os.path.dirname(lock))
    try:
        fd = _open_lock(lock, os.O_CREAT | os.O_RDWR)
    except PermissionError:
        # Another user of a shared directory made it. Linux locks files open for reading as well;
        # NFS does not, which is why reading is the second choice.
        fd = _open_lock(lock, os.O_CREAT | os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def shared(lock: bytes) -> Iterator[None]:
    """Lock the lock file for reading, with other readers; go on if there is none.

    Raises `StoreError` if something else has its name.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            fd = _open_lock(lock, os.O_RDONLY)
            held.callback(os.close, fd)
            fcntl.flock(fd, fcntl.LOCK_SH)
        yield


def _open_lock(path: bytes, flags: int) -> int:
    fd = _open_if_regular(path, flags)
    if fd is None:
        raise StoreError(
            f"{os.fsdecode(path)} is not a regular file", "remove it: cacher makes a new lock file"
        )
    return fd


def open_regular(path: bytes) -> int | None:
    """Open a regular file for reading; None if there is none."""
    try:
        return _open_if_regular(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _open_if_regular(path: bytes, flags: int) -> int | None:
    """Open a file; None for anything else. Follow no link, and never wait for a FIFO."""
    try:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            return None
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def regular_status(path: bytes) -> os.stat_result | None:
    """Return the status of a regular file; None for anything else, or nothing."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def make_directories(path: bytes) -> None:
    """Make a directory below `.cacher`. Raises `StoreError` if a file has its name."""
    try:
        os.makedirs(path, exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        while not os.path.lexists(path):
            path = os.path.dirname(path)
        if os.path.isdir(path):
            raise  # it was removed, or made, by somebody else meanwhile
        raise StoreError(
            f"{os.fsdecode(path)} is not a directory", "remove it: cacher makes a new directory"
        ) from error


class TemporaryFile:
    """A new file in `directory`, open as `fd`, that is removed unless it is moved into place.

    Its owner holds a lock on it, so that `remove_stale` keeps the files of runs that go on.
    """

    def __init__(self, directory: bytes) -> None:
        self.path = os.path.join(directory, os.urandom(12).hex().encode())
        make_directories(directory)
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._open = True
        self.moved = False
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX)
        except BaseException:
            self.close()
            raise

    def move(self, target: bytes) -> None:
        """Give the file its name, in place of any file that had it."""
        os.rename(self.path, target)
        self.moved = True

    def close(self) -> None:
        """Close the file and, if it was not moved, remove it. Safe to call twice."""
        if not self._open:
            return
        self._open = False
        try:
            if not self.moved:
                # What cannot be removed now is stale later. No error of the caller is hidden.
                with contextlib.suppress(OSError):
                    os.unlink(self.path)
        finally:
            os.close(self.fd)


def remove_stale(directory: bytes, fresh: TemporaryFile) -> None:
    """Remove temporary files an hour older than `fresh` whose owners have ended.

    Files that cannot be examined or removed (perhaps another user's) are left.
    """
    now = os.fstat(fresh.fd).st_mtime
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if now - entry.stat(follow_symlinks=False).st_mtime > STALE:
                    _remove_unowned(entry.path)


def _remove_unowned(path: bytes) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(fd)


def remove_empty_parents(path: bytes, top: bytes) -> None:
    """Remove the directories above `path` that are empty, up to but not including `top`."""
    directory = os.path.dirname(path)
    while len(directory) > len(top):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            pass
        except OSError:
            return  # not empty, or another user's: neither is a failure
        directory = os.path.dirname(directory)


class CopySide(NamedTuple):
    """One side of a copy: an open file, and the error to raise for a failure on this side."""

    fd: int
    to_error: Callable[[OSError], CacherError]


def copy(source: CopySide, target: CopySide, size: int) -> Iterator[int]:
    """Copy the bytes [0, size); yield the byte count of each piece once it is in `target`.

    Ends early if the source does. Neither file's position moves.
    """
    done = 0
    for count in _copy_in_kernel(source.fd, target.fd, size):
        done += count
        yield count
    if done == size:
        return
    buffer = memoryview(bytearray(min(COPY_SIZE, size - done)))
    while done < size:
        try:
            count = os.preadv(source.fd, [buffer[: size - done]], done)
        except OSError as error:
            raise source.to_error(error) from error
        if not count:
            return
        try:
            write_all_at(target.fd, buffer[:count], done)
        except OSError as error:
            raise target.to_error(error) from error
        done += count
        yield count


def _copy_in_kernel(source: int, target: int, size: int) -> Iterator[int]:
    """Copy as far as copy_file_range(2) goes.

    Not on macOS, nor in a Python that was built for an old C library, as uv's are. Its errors do
    not say which side failed, and some kernels answer 0 for files that do have more
    (copy_file_range(2), BUGS). So both are ignored: the plain copy that follows finds out.
    """
    copy_file_range = getattr(os, "copy_file_range", None)
    if copy_file_range is None:
        return
    done = 0
    while done < size:
        try:
            count: int = copy_file_range(source, target, min(COPY_SIZE, size - done), done, done)
        except OSError:
            return
        if not count:
            return
        done += count
        yield count
