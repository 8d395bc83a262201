"""Directories that a run makes for itself next to its target, and those that killed runs left.

Whoever holds the lock (flock) of such a directory lives; one that can be locked is a leftover.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from enum import Enum
from typing import NamedTuple

from cacher.tree.dir_stack import FLAGS
from cacher.tree.own_work_names import MARK, TURN, is_reserved
from cacher.tree.remove import open_up, remove, status_of, unchanged

HANDLE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
"""Opens a directory to name things in it, also one that cannot be listed."""

_ATTEMPTS = 100
"""Names tried. Only another run that takes each of ours for a leftover makes the next needed."""

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""What file systems without locks say. Nothing is taken for a leftover there."""


class Begun(Enum):
    """What a move in place that was begun is to do, as the end of its directory's name."""

    MERGE = b".merge"
    CLEAN = b".clean"


class LockedDir(NamedTuple):
    """A directory of this run: its name, and a descriptor that holds its lock."""

    name: bytes
    fd: int

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)


class WorkDirs:
    """Names in the directory `fd` that begin with `prefix`; `fd` is closed with it.

    `is_inside`: the directory is the target itself, and keeps its mode and times whatever is made
    or removed here. Methods raise `OSError`.
    """

    def __init__(self, fd: int, prefix: bytes, *, is_inside: bool) -> None:
        self.fd = fd
        self.is_inside = is_inside
        self._prefix = prefix

    @property
    def turn_name(self) -> bytes:
        """The name of the directory that only one run at a time has."""
        return self._prefix + TURN

    def make(self) -> LockedDir:
        """A new and empty directory of mode 0700, locked."""
        for _ in range(_ATTEMPTS):
            name = self._prefix + os.urandom(4).hex().encode()
            try:
                with self.changing():
                    os.mkdir(name, 0o700, dir_fd=self.fd)
                claim = self._claim(name)
            except FileExistsError:
                continue
            except BaseException:
                self.remove(name)
                raise
            if claim:
                return claim
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def take_turn(self, wait: Callable[[], None]) -> LockedDir:
        """Make the one directory of a fixed name, locked; `wait` is called while another has it.

        Whoever has it removes it in the end, and if they were killed the next run does.
        """
        name = self.turn_name
        is_new = False
        try:
            while True:
                with suppress(FileExistsError), self.changing():
                    os.mkdir(name, 0o755, dir_fd=self.fd)
                    is_new = True
                if claim := self._claim(name):
                    return claim
                is_new = False  # or no more
                wait()
        except BaseException:
            if leftover := self._take(name):
                self.end_turn(leftover)
            elif is_new:
                self._remove_turn(name)
            raise

    def end_turn(self, turn: LockedDir) -> None:
        """Let the next run have its turn."""
        try:
            self._remove_turn(turn.name)
        finally:
            turn.close()

    def _remove_turn(self, name: bytes) -> None:
        with suppress(OSError), self.changing():
            os.rmdir(name, dir_fd=self.fd)

    def leftovers(self) -> Iterator[LockedDir]:
        """Those of killed runs, locked. Each is closed when the next is asked for."""
        try:
            directory = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
        except PermissionError:
            return
        try:
            names = [os.fsencode(name) for name in os.listdir(directory)]
        finally:
            os.close(directory)
        for name in filter(self.is_ours, names):
            claim = self._take(name)
            if claim:
                try:
                    yield claim
                finally:
                    claim.close()

    def is_ours(self, name: bytes) -> bool:
        """Whether a name may be that of a run's directory."""
        return is_reserved(name) and name.rpartition(MARK)[0] + MARK == self._prefix

    def remove(self, name: bytes) -> None:
        """Remove one with all that is in it, if it is there."""
        if status_of(name, self.fd) is not None:
            with self.changing():
                remove(name, self.fd)

    def rename(self, old: bytes, new: bytes) -> None:
        """Give one another name."""
        with self.changing():
            os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def changing(self) -> AbstractContextManager[None]:
        """For as long as a name is made or removed here."""
        return unchanged(self.fd) if self.is_inside else nullcontext()

    def close(self) -> None:
        """Close the directory."""
        os.close(self.fd)

    def _claim(self, name: bytes) -> LockedDir | None:
        """What was just made, locked; None if another run was faster and removes it."""
        fd = -1
        try:
            fd = os.open(name, FLAGS, dir_fd=self.fd)
            if _lock(fd, otherwise=True) and self._is(name, fd):
                return LockedDir(name, fd)
        except FileNotFoundError:
            pass
        except BaseException:
            _close(fd)
            raise
        _close(fd)
        return None

    def _take(self, name: bytes) -> LockedDir | None:
        """Lock what may be a leftover; None if it is somebody's, or gone, or not a directory."""
        status = status_of(name, self.fd)
        if status is None or not stat.S_ISDIR(status.st_mode):
            return None
        try:
            fd = self._open(name, status)
        except OSError:
            return None
        try:
            if _lock(fd, otherwise=False) and self._is(name, fd):
                return LockedDir(name, fd)
            if os.fstat(fd).st_mode != status.st_mode:
                os.fchmod(fd, stat.S_IMODE(status.st_mode))
        except OSError:
            pass
        except BaseException:
            _close(fd)
            raise
        _close(fd)
        return None

    def _open(self, name: bytes, status: os.stat_result) -> int:
        try:
            return os.open(name, FLAGS, dir_fd=self.fd)
        except PermissionError:
            open_up(name, self.fd, status)
            return os.open(name, FLAGS, dir_fd=self.fd)

    def _is(self, name: bytes, fd: int) -> bool:
        """Whether what is open still has that name: another run may have removed or moved it."""
        named, opened = status_of(name, self.fd), os.fstat(fd)
        return named is not None and os.path.samestat(named, opened)


def begun(claim: LockedDir) -> Begun | None:
    """What a leftover has begun; None if it may go.

    Only what nobody but us can have written is gone on with.
    """
    status = os.fstat(claim.fd)
    for kind in Begun:
        if claim.name.endswith(kind.value):
            private = status.st_uid == os.geteuid() and not status.st_mode & 0o077
            return kind if private else None
    return None


def prefix_for(name: bytes) -> bytes:
    """What names of directories beside the target `name` begin with; with 14 more they fit."""
    if len(name) > 200:
        name = name[:180] + hashlib.sha256(name).hexdigest()[:16].encode()
    return b".%b%b" % (name, MARK)


def _lock(fd: int, *, otherwise: bool) -> bool:
    """Whether a directory's lock was had; `otherwise` where there are no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return otherwise
    return True


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)
