"""The output of `download`: a file that appears whole or not at all, or a stream.

Knows the file system; must not know where the bytes come from. A file is written under a temporary
name beside it, and renamed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from contextlib import suppress
from typing import IO, Self

from cacher.errors import LocalError, UsageError, os_reason, writing_hint
from cacher.fileio import (
    BUFFER_SIZE,
    make_directories,
    remove_directories,
    require_space,
    write_all,
)

_ATTEMPTS = 100
"""Temporary names to try. One fails only if another run removes it as stale at once."""

_OPEN_ALREADY = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}


def is_stream(dest: str) -> bool:
    """Whether `dest` is written to as it is, and not replaced: `-`, a device, a FIFO.

    A rename would replace `/dev/null` or `/dev/stdout` themselves.
    """
    if _descriptor(dest) is not None:
        return True
    try:
        mode = os.stat(dest).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def open_stream(dest: str) -> int:
    """Open the stream `dest` for writing; the caller closes the descriptor."""
    try:
        # To open /dev/stdout again would write from its beginning, over its content.
        fd = _descriptor(dest)
        return os.open(dest, os.O_WRONLY) if fd is None else os.dup(fd)
    except OSError as error:
        raise _failed(error, f"opening {dest}") from error


def _descriptor(dest: str) -> int | None:
    """Return the number of the open descriptor that `dest` names; None for other names."""
    number = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d{1,9})", dest)
    return int(number[1]) if number else _OPEN_ALREADY.get(dest)


def check(dest: str) -> None:
    """Raise `UsageError` for a name that cannot be a file, before anything is transferred."""
    if not dest:
        raise UsageError("DEST is an empty string", "is the variable set?")
    if dest.endswith("/") or os.path.isdir(dest):
        raise UsageError(
            f"{dest!r} is a directory; DEST is the name of a file",
            "`cacher dir download KEY DIR` restores a directory",
        )


class FileDestination:
    """A file: written under a temporary name beside it, renamed once it is proved.

    Holds the lock (flock) of the temporary file. An unlocked one was left by a killed run; the next
    run with the same DEST removes it.
    """

    def __init__(self, dest: str) -> None:
        check(dest)
        self._dest = dest
        directory, name = os.path.split(dest)
        try:
            self._made = make_directories(directory)
        except OSError as error:
            raise _unwritable(
                error, f"making the directory {error.filename}", error.filename
            ) from error
        # Names have at most 255 bytes, and a multi-byte character must not be cut.
        stem = os.fsencode(name)[:200].decode(errors="ignore")
        prefix = f".{stem}.cacher-"
        self._temporary = ""
        self._fd = -1
        try:
            _remove_stale(directory, prefix)
            self._create(os.path.join(directory, prefix))
            self._keep_mode()
        except OSError as error:
            self.close()
            raise _unwritable(error, f"writing {dest}", directory) from error

    @property
    def fd(self) -> int:
        """The temporary file: regular, readable and writable, empty at first."""
        return self._fd

    def require(self, size: int) -> None:
        """Raise `LocalError` if the file system has no room for `size` bytes."""
        require_space(self._fd, size, self._dest)

    def publish(self) -> None:
        """Rename the file into place, over an older one."""
        try:
            os.replace(self._temporary, self._dest)
        except OSError as error:
            doing, directory = f"writing {self._dest}", os.path.dirname(self._dest)
            raise _unwritable(error, doing, directory) from error
        self._temporary = ""
        self._made = []

    def close(self) -> None:
        """Remove the temporary file, and the directories made for it, unless published."""
        if self._temporary:
            with suppress(OSError):  # removed already
                os.unlink(self._temporary)
        remove_directories(self._made)
        self._temporary, self._made = "", []
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _create(self, prefix: str) -> None:
        """Create the temporary file and lock it."""
        for _ in range(_ATTEMPTS):
            self._temporary = prefix + os.urandom(4).hex()
            # The umask applies, as for any new file.
            self._fd = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            if _lock(self._fd) and _has_name(self._fd, self._temporary):
                return
            # Another run has found it before it was locked, and removes it.
            os.close(self._fd)
            self._fd = -1
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def _keep_mode(self) -> None:
        """Give the new file the permissions of the one that it replaces."""
        try:
            old = os.lstat(self._dest)
        except FileNotFoundError:
            return  # any other failure (a name that is too long) would be that of `publish`
        if stat.S_ISREG(old.st_mode):
            os.fchmod(self._fd, stat.S_IMODE(old.st_mode))


class SpooledDestination:
    """A stream that gets its bytes only after all of them are here and proved."""

    def __init__(self, dest: str) -> None:
        self._dest = dest
        self._file = spool()

    @property
    def fd(self) -> int:
        """The spool, as the temporary file of a `FileDestination`."""
        return self._file.fileno()

    def require(self, size: int) -> None:
        """Raise `LocalError` if the temporary directory has no room for `size` bytes."""
        require_space(self.fd, size, "the temporary file")

    def publish(self) -> None:
        """Copy the spool to the stream."""
        target = open_stream(self._dest)
        try:
            position = 0
            while piece := os.pread(self.fd, BUFFER_SIZE, position):
                write_stream(target, memoryview(piece), self._dest)
                position += len(piece)
        finally:
            os.close(target)

    def close(self) -> None:
        """Close the spool, which has no name."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


Destination = FileDestination | SpooledDestination


def spool() -> IO[bytes]:
    """Return an unnamed temporary file in TMPDIR."""
    import tempfile  # which takes time, and more of Python than others need

    try:
        return tempfile.TemporaryFile(prefix="cacher-")
    except OSError as error:
        raise LocalError(
            f"cannot make a temporary file: {os_reason(error)}",
            "set TMPDIR to a directory that you can write to",
        ) from error


def write_stream(fd: int, data: memoryview, name: str) -> None:
    """Write all of `data` to a stream.

    Raises `BrokenPipeError` if nobody reads stdout any more, as after `head`: that is not a
    failure. For any other stream it is one.
    """
    try:
        write_all(fd, data)
    except BrokenPipeError as error:
        if _descriptor(name) == 1:
            raise
        raise LocalError(f"writing {_stream_name(name)}: its reader is gone") from error
    except OSError as error:
        raise _failed(error, f"writing {_stream_name(name)}") from error


def _stream_name(dest: str) -> str:
    return "stdout" if dest == "-" else dest


def _remove_stale(directory: str, prefix: str) -> None:
    """Remove the temporary files of killed runs, as far as possible."""
    name = re.compile(re.escape(prefix) + "[0-9a-f]{8}")
    with suppress(OSError):
        for found in filter(name.fullmatch, os.listdir(directory or os.curdir)):
            with suppress(OSError):
                _remove_unlocked(os.path.join(directory, found))


def _remove_unlocked(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    """Lock a file; return False if another run has the lock.

    A file system without locks counts as locked: there nobody removes files as stale.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _has_name(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _unwritable(error: OSError, doing: str, directory: str) -> LocalError:
    failure = _failed(error, doing)
    failure.hint = writing_hint(error, directory, "DEST")
    return failure


def _failed(error: OSError, doing: str) -> LocalError:
    return LocalError(f"{doing}: {os_reason(error)}")
