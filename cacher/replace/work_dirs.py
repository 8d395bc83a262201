"""Directories that a restore makes beside or in its target, and those that killed ones left.

A restore locks (flock) its directories as long as it runs; one that can be locked is stale.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from typing import NamedTuple

from cacher.tree.dir_access import open_any_mode, status_of, unchanged_status
from cacher.tree.dir_stack import FLAGS
from cacher.tree.remove import remove
from cacher.tree.reserved_names import LOCK, MARK, is_reserved

HANDLE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
"""Flags to open a directory for access to what is in it, also one that cannot be listed."""

_ATTEMPTS = 100
"""Names to try. A next one is needed only where another run took the new directory for stale."""

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""Errors of file systems without locks, where no directory is taken for stale."""


class LockedDir(NamedTuple):
    """A directory and a descriptor that holds its lock."""

    name: bytes
    fd: int

    def close(self) -> None:
        """Close the descriptor, which releases the lock."""
        os.close(self.fd)


class WorkDirs:
    """Work directories in the open directory `fd`, whose names begin with `prefix`; it owns `fd`.

    `is_inside`: the directory is the target itself, and keeps its mode and times when work
    directories are made or removed. Methods raise `OSError`.
    """

    def __init__(self, fd: int, prefix: bytes, *, is_inside: bool) -> None:
        self.fd = fd
        self.is_inside = is_inside
        self._prefix = prefix

    @property
    def lock_name(self) -> bytes:
        """Return the name of the directory that serves as the lock of the target."""
        return self._prefix + LOCK

    def make(self) -> LockedDir:
        """Make an empty directory of mode 0700, and lock it."""
        for _ in range(_ATTEMPTS):
            name = self._prefix + os.urandom(4).hex().encode()
            try:
                with self.changing():
                    os.mkdir(name, 0o700, dir_fd=self.fd)
                made = self._lock_new(name)
            except FileExistsError:
                continue
            except BaseException:
                self.remove(name)
                raise
            if made:
                return made
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def lock_target(self, wait: Callable[[], None]) -> LockedDir:
        """Make and lock the directory `lock_name`; call `wait` while another run holds it.

        The run that holds it removes it in the end; after a kill the next run does.
        """
        name = self.lock_name
        is_new = False
        try:
            while True:
                with suppress(FileExistsError), self.changing():
                    os.mkdir(name, 0o755, dir_fd=self.fd)
                    is_new = True
                if lock := self._lock_new(name):
                    return lock
                is_new = False
                wait()
        except BaseException:
            if stale := self._lock_stale(name):
                self.unlock_target(stale)
            elif is_new:
                self._remove_lock(name)
            raise

    def unlock_target(self, lock: LockedDir) -> None:
        """Remove the lock, so that the next run can make its own."""
        try:
            self._remove_lock(lock.name)
        finally:
            lock.close()

    def _remove_lock(self, name: bytes) -> None:
        with suppress(OSError), self.changing():
            os.rmdir(name, dir_fd=self.fd)

    def remove_stale(self) -> None:
        """Remove the directories that killed runs left, if that is possible."""
        for stale in self._stale():
            with suppress(OSError):
                self.remove(stale.name)

    def _stale(self) -> Iterator[LockedDir]:
        """Yield the stale directories, locked. Each is closed before the next."""
        try:
            directory = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
        except PermissionError:
            return
        try:
            names = [os.fsencode(name) for name in os.listdir(directory)]
        finally:
            os.close(directory)
        for name in filter(self.is_work_dir, names):
            stale = self._lock_stale(name)
            if stale:
                try:
                    yield stale
                finally:
                    stale.close()

    def is_work_dir(self, name: bytes) -> bool:
        """Return whether a name may be that of a work directory."""
        return is_reserved(name) and name.rpartition(MARK)[0] + MARK == self._prefix

    def remove(self, name: bytes) -> None:
        """Remove a directory with all that is in it, if it is there."""
        if status_of(name, self.fd) is not None:
            with self.changing():
                remove(name, self.fd)

    def changing(self) -> AbstractContextManager[None]:
        """Return a context in which a name is made or removed here."""
        return unchanged_status(self.fd) if self.is_inside else nullcontext()

    def close(self) -> None:
        """Close the directory."""
        os.close(self.fd)

    def _lock_new(self, name: bytes) -> LockedDir | None:
        """Lock a directory just made; return None if another run locked it first, to remove it."""
        with suppress(FileNotFoundError):
            fd = os.open(name, FLAGS, dir_fd=self.fd)
            return self._lock_or_close(name, fd, otherwise=True)
        return None

    def _lock_stale(self, name: bytes) -> LockedDir | None:
        """Lock a directory that may be stale; return None if it is in use or not a directory."""
        with suppress(OSError):
            fd = open_any_mode(name, self.fd)
            return self._lock_or_close(name, fd, otherwise=False)
        return None

    def _lock_or_close(self, name: bytes, fd: int, *, otherwise: bool) -> LockedDir | None:
        """Lock an open directory, unless another run has locked or removed it.

        `otherwise`: whether to take it for locked where there are no locks.
        """
        is_locked = False
        try:
            is_locked = _lock(fd, otherwise=otherwise) and self._is_named(name, fd)
        finally:
            if not is_locked:
                os.close(fd)
        return LockedDir(name, fd) if is_locked else None

    def _is_named(self, name: bytes, fd: int) -> bool:
        """Return whether an open directory still has that name."""
        named, opened = status_of(name, self.fd), os.fstat(fd)
        return named is not None and os.path.samestat(named, opened)


def prefix_for(name: bytes) -> bytes:
    """Return the prefix of names beside the target `name`, short enough for 8 more bytes."""
    if len(name) > 200:
        name = name[:180] + hashlib.sha256(name).hexdigest()[:16].encode()
    return b".%b%b" % (name, MARK)


def remove_stale(target: str) -> None:
    """Remove the directories that killed runs left for `target`, which need not exist.

    For a run that has nothing to restore: it makes nothing, and lists two directories, the target
    and its parent. No failure is reported: the next run tries again.
    """
    try:
        path = os.path.realpath(target)
    except OSError:
        return
    parent, name = os.path.split(path)
    _remove_stale_in(parent, prefix_for(os.fsencode(name)), is_inside=False)
    _remove_stale_in(path, MARK, is_inside=True)


def _remove_stale_in(directory: str, prefix: bytes, *, is_inside: bool) -> None:
    with suppress(OSError):  # it does not exist, or cannot be listed
        fd = os.open(directory, FLAGS)
        with closing(WorkDirs(fd, prefix, is_inside=is_inside)) as dirs:
            dirs.remove_stale()


def _lock(fd: int, *, otherwise: bool) -> bool:
    """Try to lock a directory; return whether it is, and `otherwise` where there are no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return otherwise
    return True
