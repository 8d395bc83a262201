"""Removal of trees by descriptors, and access to directories whose modes deny it to their owner.

No link is followed, no path is too long, and Python's stack does not grow with depth.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from cacher.tree.dir_stack import DirStack

ACCESS = stat.S_IRWXU
"""The permissions that its owner needs to list and change a directory."""

Payload = TypeVar("Payload")


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
    status = make_accessible_fd(directory)
    try:
        yield
    finally:
        restore_mode_and_times(directory, status)


def restore_mode_and_times(directory: int, status: os.stat_result) -> None:
    """Give a directory the mode and the times of `status`, if this user may."""
    now = os.fstat(directory)
    if now.st_mode != status.st_mode:
        os.fchmod(directory, stat.S_IMODE(status.st_mode))
    if now.st_mtime_ns != status.st_mtime_ns:
        try:
            os.utime(directory, ns=(status.st_atime_ns, status.st_mtime_ns))
        except PermissionError:
            pass  # a directory of another user, writable for this one


def remove(name: bytes, parent: int) -> None:
    """Remove `name` from the directory `parent`, with all below it; it may be missing.

    The modes of directories below do not matter to their owner; that of `parent` does. Another
    process may remove the same. Raises `OSError` for the first entry that stays.
    """
    status = status_of(name, parent)
    if status is None:
        return
    if not stat.S_ISDIR(status.st_mode):
        _unlink(name, parent)
        return
    with DirStack[list[bytes]](parent, [name]) as stack:
        while True:
            if stack.payload:
                _enter_and_unlink(stack)
            elif stack.depth:
                stack.leave()
                _rmdir(stack.payload.pop(), stack.fd)
            else:
                return


def _enter_and_unlink(stack: DirStack[list[bytes]]) -> None:
    """Enter the last directory of the payload, and remove all of it but directories."""
    below: list[bytes] = []
    try:
        directory = enter_any_mode(stack, stack.payload[-1], below)
    except FileNotFoundError:
        stack.payload.pop()
        return
    files = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below.append(os.fsencode(entry.name))
            else:
                files.append(entry.name)
    # Not while listing: some file systems lose their place.
    for name in files:
        _unlink(name, directory)


def _unlink(name: bytes | str, parent: int) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass


def _rmdir(name: bytes, parent: int) -> None:
    try:
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        pass
