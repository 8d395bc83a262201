"""Access to directories whose modes deny it to their owner, and what they get back afterwards.

No link is followed, and no path is too long.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, Self, TypeVar

from cacher.tree.dir_stack import FLAGS, DirStack

ACCESS = stat.S_IRWXU
"""The permissions that its owner needs to list and change a directory."""

Payload = TypeVar("Payload")


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
        return cls.of(status)._replace(mtime_ns=None)

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
        if self.mtime_ns not in (None, status.st_mtime_ns):
            with suppress(PermissionError):  # a file server may take root for nobody
                os.utime(directory, ns=(status.st_atime_ns, self.mtime_ns))


def status_of(name: bytes, parent: int) -> os.stat_result | None:
    """Return the status of `name` in the directory `parent`, no link followed; None if missing."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def names_in(directory: int) -> list[bytes]:
    """Return the names in an open directory."""
    # With a descriptor this gives text, which keeps undecodable bytes.
    return [os.fsencode(name) for name in os.listdir(directory)]


def is_inaccessible(status: os.stat_result) -> bool:
    """Return whether this user owns a directory whose mode denies access to it."""
    return status.st_mode & ACCESS != ACCESS and status.st_uid == os.geteuid()


def make_accessible(name: bytes, parent: int, status: os.stat_result) -> None:
    """Give its owner access to the directory `name` of the given status."""
    if is_inaccessible(status):
        # By name, as it may not be readable yet. Only who may write here could have replaced it by
        # a link, and then this changes at most the mode of another directory of this user.
        os.chmod(name, stat.S_IMODE(status.st_mode) | ACCESS, dir_fd=parent)


def make_accessible_fd(directory: int) -> os.stat_result:
    """Give its owner access to an open directory; return its status before."""
    status = os.fstat(directory)
    if is_inaccessible(status):
        os.fchmod(directory, stat.S_IMODE(status.st_mode) | ACCESS)
    return status


def open_any_mode(name: bytes, parent: int) -> int:
    """Open a directory, made accessible if necessary; return its descriptor."""
    try:
        return os.open(name, FLAGS, dir_fd=parent)
    except PermissionError:
        make_accessible(name, parent, os.stat(name, dir_fd=parent, follow_symlinks=False))
        return os.open(name, FLAGS, dir_fd=parent)


def enter_any_mode(stack: DirStack[Payload], name: bytes, payload: Payload) -> int:
    """Enter a directory, made accessible if necessary; return its descriptor."""
    try:
        fd = stack.enter(name, payload)
    except PermissionError:
        make_accessible(name, stack.fd, os.stat(name, dir_fd=stack.fd, follow_symlinks=False))
        return stack.enter(name, payload)
    make_accessible_fd(fd)
    return fd


@contextmanager
def unchanged_status(directory: int) -> Iterator[None]:
    """Allow changes of names in a directory; restore its mode and times afterwards."""
    before = DirAttributes.of(make_accessible_fd(directory))
    try:
        yield
    finally:
        before.give(directory)
