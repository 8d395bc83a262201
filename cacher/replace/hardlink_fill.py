"""Adds to a new tree, by hard links, all entries that only the old one has, before a swap.

Only where the result equals that of a merge in place; else it leaves the new tree as it was.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cacher.replace.undo_log import Node, Step, UndoLog
from cacher.tree.dir_access import DirAttributes, enter_any_mode, make_accessible_fd
from cacher.tree.dir_stack import DirStack

LIMIT = 20_000
"""Entries to link or make at most. Beyond that swapping takes longer than moving."""


class _Impossible(Exception):
    """A merge in place would keep something that links would not."""


class _Level(NamedTuple):
    """A directory that both trees have by then."""

    node: Node
    attributes: DirAttributes
    """The attributes of the new directory in the end."""
    entries: Iterator[os.DirEntry[str]]
    """The entries of the old one still to link."""
    is_common: bool
    """Whether the new tree had it before."""


class HardlinkFill:
    """One attempt to add entries of the directory `old` to `new`, both open.

    Directories of `new` get in the end the `attributes` of their inodes, else keep their own.
    """

    def __init__(self, new: int, old: int, attributes: Mapping[int, DirAttributes]) -> None:
        self._new = new
        self._old = old
        self._attributes = attributes
        self._undo_log = UndoLog()
        self._left = LIMIT
        self._device = os.fstat(old).st_dev

    def run(self) -> bool:
        """Return True if `new` has all entries; False if it is as it was. Raises `OSError`."""
        try:
            self._run()
        except (OSError, NotImplementedError, _Impossible):
            self.undo()
            return False
        return True

    def undo(self) -> None:
        """Make `new` as it was before. Raises `OSError`."""
        self._undo_log.undo(self._new)

    def _run(self) -> None:
        status = os.fstat(self._new)
        self._undo_log.note_status(Step.NEW_STATUS, self._undo_log.root, status)
        make_accessible_fd(self._new)
        root = _Level(
            self._undo_log.root,
            DirAttributes.of(status),
            self._entries(self._old),
            is_common=True,
        )
        with DirStack(self._new, root) as news, DirStack[None](self._old, None) as olds:
            while True:
                level = news.payload
                if self._link_entries(level, news, olds):
                    continue
                if not news.depth:
                    level.attributes.give(news.fd)
                    return
                olds.leave()
                news.leave(level.attributes.give)

    def _link_entries(self, level: _Level, news: DirStack[_Level], olds: DirStack[None]) -> bool:
        """Link entries of a directory until it enters one below; return whether it did."""
        for entry in level.entries:
            if entry.is_dir(follow_symlinks=False):
                if self._enter(os.fsencode(entry.name), level, news, olds):
                    return True
            elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                self._link(os.fsencode(entry.name), level, news.fd, olds.fd)
            else:
                raise _Impossible("a socket, FIFO or device")
        return False

    def _link(self, name: bytes, level: _Level, new: int, old: int) -> None:
        try:
            os.link(name, name, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
        except FileExistsError:
            return  # replaced
        self._added(name, level)

    def _enter(
        self, name: bytes, level: _Level, news: DirStack[_Level], olds: DirStack[None]
    ) -> bool:
        """Enter a directory in both trees; return False if the new one has something else there."""
        node = Node(name, level.node)
        attributes = None
        try:
            os.mkdir(name, 0o700, dir_fd=news.fd)
        except FileExistsError:
            status = os.stat(name, dir_fd=news.fd, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                return False
            self._undo_log.note_status(Step.NEW_STATUS, node, status)
            attributes = self._attributes.get(status.st_ino) or DirAttributes.of(status)
        else:
            self._added(name, level)
        old = olds.enter(name, None)
        below = _Level(
            node,
            attributes or DirAttributes.of(os.fstat(old)),
            self._entries(old),
            is_common=attributes is not None,
        )
        enter_any_mode(news, name, below)
        return True

    def _added(self, name: bytes, level: _Level) -> None:
        if level.is_common:
            self._undo_log.note(Step.ADDED, level.node, name)
        self._left -= 1
        if self._left < 0:
            raise _Impossible("too many entries")

    def _entries(self, old: int) -> Iterator[os.DirEntry[str]]:
        """List a directory of the old tree. Raises `_Impossible` if links would not keep it."""
        status = os.fstat(old)
        if status.st_dev != self._device:
            raise _Impossible("another file system")
        if os.geteuid() and status.st_uid != os.geteuid():
            raise _Impossible("another user's directory")
        if any(not name.startswith("security.") for name in _attributes(old)):
            raise _Impossible("extended attributes")
        with os.scandir(old) as entries:
            return iter(list(entries))


def _attributes(directory: int) -> list[str]:
    """Return the names of the extended attributes, where the system has any."""
    list_attributes = getattr(os, "listxattr", None)
    try:
        return list_attributes(directory) if list_attributes else []
    except OSError:
        return []  # the file system has none
