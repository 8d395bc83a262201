"""Removes trees by descriptors, whatever modes they hold, and opens what its owner closed.

Nothing is followed, no path is too long, and the stack does not grow with depth.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from cacher.tree.dir_stack import DirStack

ACCESS = stat.S_IRWXU
"""What its owner needs to list a directory and change what is in it."""

Payload = TypeVar("Payload")


def status_of(name: bytes, parent: int) -> os.stat_result | None:
    """What `name` in the directory `parent` is, a link not followed; None where nothing is."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def names_in(directory: int) -> list[bytes]:
    """The names in an open directory."""
    # With a descriptor this gives text; undecodable bytes come back from it unharmed.
    return [os.fsencode(name) for name in os.listdir(directory)]


def is_inaccessible(status: os.stat_result) -> bool:
    """Whether a directory is ours and its mode yet keeps us from changing what is in it."""
    return status.st_mode & ACCESS != ACCESS and status.st_uid == os.geteuid()


def make_accessible(name: bytes, parent: int, status: os.stat_result) -> None:
    """Let its owner change the directory `name`, whose status was just told."""
    if is_inaccessible(status):
        # By name, as it may not be readable yet. Should it have been replaced by a link since,
        # then only by someone who may write here, and to something of ours that we can read then.
        os.chmod(name, stat.S_IMODE(status.st_mode) | ACCESS, dir_fd=parent)


def make_accessible_fd(directory: int) -> os.stat_result:
    """Let its owner change an open directory; its status before."""
    status = os.fstat(directory)
    if is_inaccessible(status):
        os.fchmod(directory, stat.S_IMODE(status.st_mode) | ACCESS)
    return status


def enter_any_mode(stack: DirStack[Payload], name: bytes, payload: Payload) -> int:
    """Go down into a directory, which is opened up for that if it has to be; its descriptor."""
    try:
        fd = stack.enter(name, payload)
    except PermissionError:
        make_accessible(name, stack.fd, os.stat(name, dir_fd=stack.fd, follow_symlinks=False))
        return stack.enter(name, payload)
    make_accessible_fd(fd)
    return fd


@contextmanager
def unchanged_status(directory: int) -> Iterator[None]:
    """Let names in a directory be changed; it has its mode and times again afterwards."""
    status = make_accessible_fd(directory)
    try:
        yield
    finally:
        restore_mode_and_times(directory, status)


def restore_mode_and_times(directory: int, status: os.stat_result) -> None:
    """Give a directory the mode and the times it had, where they are ours to give."""
    now = os.fstat(directory)
    if now.st_mode != status.st_mode:
        os.fchmod(directory, stat.S_IMODE(status.st_mode))
    if now.st_mtime_ns != status.st_mtime_ns:
        try:
            os.utime(directory, ns=(status.st_atime_ns, status.st_mtime_ns))
        except PermissionError:
            pass  # somebody else's, in which we may write


def remove(name: bytes, parent: int) -> None:
    """Remove `name` from the directory `parent`, with all below it; it need not be there.

    The modes of directories below are no obstacle to their owner, that of `parent` is. Another may
    be removing the same. Raises `OSError` at the first thing that stays.
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
    """Go into the last directory that is left, and leave only directories in it."""
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
