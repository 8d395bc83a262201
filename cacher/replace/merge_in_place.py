"""Moves a tree into another in place, name by name, where the two cannot be swapped.

The new tree is emptied on the way: what is still in it was not moved yet, so that a move which was
killed can be gone on with by another run. What is replaced goes aside, so that a move which failed
can be undone. Knows how, not when.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator

from cacher.errors import LocalError, os_reason
from cacher.replace.resume_log import Attributes, Ledger
from cacher.replace.undo_log import Node, Step, UndoLog, number_name
from cacher.tree.dir_stack import DirStack
from cacher.tree.remove import (
    enter,
    is_closed,
    names_in,
    open_up,
    status_of,
)


class _Pair:
    """A directory of the new tree and the one of the old tree that takes its place."""

    __slots__ = ("attributes", "names", "node")

    def __init__(self, node: Node, attributes: Attributes) -> None:
        self.node = node
        self.attributes = attributes
        self.names: Iterator[bytes] = iter(())
        """What is left to move."""


class InPlaceMerge:
    """One move of the directory `new` into `old`, both open; what is replaced goes to `aside`.

    All three are on one file system. `clean` takes out of `old` what is not in `new`, except names
    of the root that are `reserved`, and the directory that the ledger says is spared. Methods raise
    `OSError` and `LocalError`, after either of which `undo_log` can undo.
    """

    def __init__(
        self,
        new: int,
        old: int,
        aside: int,
        ledger: Ledger,
        undo_log: UndoLog,
        *,
        clean: bool,
        reserved: Callable[[bytes], bool],
    ) -> None:
        self._new = new
        self._old = old
        self._aside = aside
        self._ledger = ledger
        self._undo_log = undo_log
        self._clean = clean
        self._reserved = reserved
        numbers = [int(name) for name in names_in(aside)]
        self._number = max(numbers, default=0)

    def run(self) -> None:
        """Move everything."""
        status = os.fstat(self._new)
        root = _Pair(self._undo_log.root, self._ledger.attributes(status))
        with DirStack(self._new, root) as news, DirStack[None](self._old, None) as olds:
            self._begin(root, news.fd, olds.fd, status)
            while True:
                pair = news.payload
                below = self._move_names(pair, news.fd, olds.fd)
                if below is not None:
                    self._enter(below, news, olds)
                elif news.depth:
                    # Without the access that going up may need.
                    directory = os.dup(olds.fd)
                    try:
                        news.leave()
                        olds.leave()
                        pair.attributes.give(directory)
                    finally:
                        os.close(directory)
                else:
                    pair.attributes.give(olds.fd)
                    return

    def _enter(self, name: bytes, news: DirStack[_Pair], olds: DirStack[None]) -> None:
        """Go into the directory that both trees have as `name`."""
        status = os.stat(name, dir_fd=news.fd, follow_symlinks=False)
        pair = _Pair(Node(name, news.payload.node), self._ledger.attributes(status))
        old_status = os.stat(name, dir_fd=olds.fd, follow_symlinks=False)
        self._undo_log.note_status(Step.OLD_STATUS, pair.node, old_status)
        enter(news, name, pair)
        enter(olds, name, None)
        self._begin(pair, news.fd, olds.fd, status)

    def _begin(self, pair: _Pair, new: int, old: int, status: os.stat_result) -> None:
        """Take out what is to go, before anything is moved in and looks like it."""
        names = names_in(new)
        pair.names = iter(names)
        if not self._clean or self._ledger.is_swept(status):
            return
        for name in set(names_in(old)).difference(names):
            if pair.node is self._undo_log.root and self._reserved(name):
                continue
            old_status = status_of(name, old)
            if old_status is not None and not self._is_spared(old_status):
                self._put_aside(pair.node, name, old, old_status)
        self._ledger.swept(status)

    def _is_spared(self, status: os.stat_result) -> bool:
        return (status.st_dev, status.st_ino) == self._ledger.spared

    def _move_names(self, pair: _Pair, new: int, old: int) -> bytes | None:
        """Move what is left of a directory, up to one that has to be gone into: its name."""
        for name in pair.names:
            status = os.stat(name, dir_fd=new, follow_symlinks=False)
            is_directory = stat.S_ISDIR(status.st_mode)
            old_status = status_of(name, old)
            if old_status is not None:
                if is_directory and stat.S_ISDIR(old_status.st_mode):
                    return name
                if is_directory or stat.S_ISDIR(old_status.st_mode):
                    self._put_aside(pair.node, name, old, old_status)
                else:
                    self._link_aside(pair.node, name, old, old_status)
            self._undo_log.note(Step.MOVED, pair.node, name)
            try:
                os.rename(name, name, src_dir_fd=new, dst_dir_fd=old)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    raise LocalError(
                        f"{pair.node.path_of(name)} would be on another file system",
                        "restore into what is mounted there on its own",
                    ) from error
                # To leave its parent a directory must be writable.
                if error.errno != errno.EACCES or not is_directory or not is_closed(status):
                    raise
                self._make(pair.node, name, old, status)
                return name
        return None

    def _make(self, node: Node, name: bytes, old: int, status: os.stat_result) -> None:
        """Make an empty directory instead of moving one, to move what is in it."""
        self._ledger.attributes(status)
        if self._clean:
            self._ledger.swept(status)
        self._undo_log.note(Step.MADE, node, name)
        os.mkdir(name, 0o700, dir_fd=old)

    def _put_aside(self, node: Node, name: bytes, old: int, status: os.stat_result) -> None:
        if not stat.S_ISDIR(status.st_mode):
            self._rename_aside(node, name, old)
            return
        below = Node(name, node)
        self._undo_log.note_status(Step.OLD_STATUS, below, status)
        open_up(name, old, status)
        try:
            self._rename_aside(node, name, old)
        except OSError:
            # Somebody else's, or of a lower layer of an overlay file system.
            self._dismantle(below, old)

    def _rename_aside(self, node: Node, name: bytes, old: int) -> None:
        number = self._next_number()
        self._undo_log.note(Step.PUT_ASIDE, node, name, number)
        os.rename(name, number_name(number), src_dir_fd=old, dst_dir_fd=self._aside)

    def _dismantle(self, top: Node, parent: int) -> None:
        """Put aside what is in a directory that cannot be renamed itself, and remove that."""
        with DirStack(parent, (top, [top.name])) as descent:
            while True:
                node, names = descent.payload
                if not names:
                    if not descent.depth:
                        return
                    descent.leave()
                    self._remove_empty(node, descent.fd)
                    continue
                name = names.pop()
                status = os.stat(name, dir_fd=descent.fd, follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode):
                    self._rename_aside(node, name, descent.fd)
                    continue
                below = Node(name, node) if descent.depth else top
                if below is not top:
                    self._undo_log.note_status(Step.OLD_STATUS, below, status)
                found: list[bytes] = []
                found += names_in(enter(descent, name, (below, found)))

    def _remove_empty(self, node: Node, parent: int) -> None:
        above = node.parent or node  # it is never the root
        self._undo_log.note(Step.REMOVED, above, node.name)
        try:
            os.rmdir(node.name, dir_fd=parent)
        except OSError as error:
            reason = os_reason(error)
            raise LocalError(f"{above.path_of(node.name)} cannot be removed: {reason}") from error

    def _link_aside(self, node: Node, name: bytes, old: int, status: os.stat_result) -> None:
        """Put aside what is about to be replaced, so that its name is never missing."""
        number = self._next_number()
        self._undo_log.note(Step.PUT_ASIDE, node, name, number)
        try:
            os.link(
                name,
                number_name(number),
                src_dir_fd=old,
                dst_dir_fd=self._aside,
                follow_symlinks=False,
            )
        except (OSError, NotImplementedError):
            # Too many links, or not ours to link. For a moment there will be none.
            self._put_aside(node, name, old, status)

    def _next_number(self) -> int:
        self._number += 1
        return self._number
