"""Moves a tree into another in place, name by name, where the two cannot be swapped.

Entries that are replaced or removed move to a third directory, from which a failed merge is undone.
A merge that is killed leaves each file as it was or as it is in the new tree.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping

from cacher.errors import LocalError, os_reason
from cacher.replace.undo_log import Node, Step, UndoLog, number_name
from cacher.tree.dir_access import (
    DirAttributes,
    enter_any_mode,
    is_inaccessible,
    make_accessible,
    names_in,
    status_of,
)
from cacher.tree.dir_stack import DirStack


class _Pair:
    """A directory of the new tree and the one of the old tree that takes its entries."""

    __slots__ = ("attributes", "names", "node")

    def __init__(self, node: Node, attributes: DirAttributes) -> None:
        self.node = node
        self.attributes = attributes
        self.names: Iterator[bytes] = iter(())
        """The entries still to move."""


class InPlaceMerge:
    """One merge of the directory `new` into `old`, both open and on one file system.

    Replaced entries move to the empty directory `aside` of the same file system. `attributes` are
    those that directories get in the end, by inode in `new`; others keep what they have there.
    `clean` removes from `old` what is not in `new`, except names of the root that are `reserved`,
    and the directory `kept` (device and inode). Methods raise `OSError` and `LocalError`, after
    either of which `undo_log` can undo.
    """

    def __init__(
        self,
        new: int,
        old: int,
        aside: int,
        undo_log: UndoLog,
        *,
        attributes: Mapping[int, DirAttributes],
        kept: tuple[int, int] | None,
        clean: bool,
        reserved: Callable[[bytes], bool],
    ) -> None:
        self._new = new
        self._old = old
        self._aside = aside
        self._undo_log = undo_log
        self._attributes = attributes
        self._kept = kept
        self._clean = clean
        self._reserved = reserved
        self._number = 0

    def run(self) -> None:
        """Move all entries."""
        status = os.fstat(self._new)
        root = _Pair(self._undo_log.root, self._attributes_of(status))
        with DirStack(self._new, root) as news, DirStack[None](self._old, None) as olds:
            self._begin(root, news.fd, olds.fd)
            while True:
                pair = news.payload
                below = self._move_names(pair, news.fd, olds.fd)
                if below is not None:
                    self._enter(below, news, olds)
                elif news.depth:
                    news.leave()
                    # Last, as its mode may deny the access that going up needs.
                    olds.leave(pair.attributes.give)
                else:
                    pair.attributes.give(olds.fd)
                    return

    def _enter(self, name: bytes, news: DirStack[_Pair], olds: DirStack[None]) -> None:
        """Go into the directory that both trees have as `name`."""
        status = os.stat(name, dir_fd=news.fd, follow_symlinks=False)
        pair = _Pair(Node(name, news.payload.node), self._attributes_of(status))
        old_status = os.stat(name, dir_fd=olds.fd, follow_symlinks=False)
        self._undo_log.note_status(Step.OLD_STATUS, pair.node, old_status)
        enter_any_mode(news, name, pair)
        enter_any_mode(olds, name, None)
        self._begin(pair, news.fd, olds.fd)

    def _attributes_of(self, status: os.stat_result) -> DirAttributes:
        return self._attributes.get(status.st_ino) or DirAttributes.of(status)

    def _begin(self, pair: _Pair, new: int, old: int) -> None:
        """List the entries to move, and with `clean` remove those that only `old` has."""
        names = names_in(new)
        pair.names = iter(names)
        if not self._clean:
            return
        for name in set(names_in(old)).difference(names):
            if pair.node is self._undo_log.root and self._reserved(name):
                continue
            old_status = status_of(name, old)
            if old_status is not None and not self._is_kept(old_status):
                self._put_aside(pair.node, name, old, old_status)

    def _is_kept(self, status: os.stat_result) -> bool:
        return (status.st_dev, status.st_ino) == self._kept

    def _move_names(self, pair: _Pair, new: int, old: int) -> bytes | None:
        """Move entries of a directory; return the name of the first that must be entered."""
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
                if error.errno != errno.EACCES or not is_directory or not is_inaccessible(status):
                    raise
                # Make an empty one instead, to move the entries of this one into it.
                self._undo_log.note(Step.MADE, pair.node, name)
                os.mkdir(name, 0o700, dir_fd=old)
                return name
        return None

    def _put_aside(self, node: Node, name: bytes, old: int, status: os.stat_result) -> None:
        if not stat.S_ISDIR(status.st_mode):
            self._rename_aside(node, name, old)
            return
        below = Node(name, node)
        self._undo_log.note_status(Step.OLD_STATUS, below, status)
        make_accessible(name, old, status)
        try:
            self._rename_aside(node, name, old)
        except OSError:
            # It belongs to another user, or to a lower layer of an overlay file system.
            self._dismantle(below, old)

    def _rename_aside(self, node: Node, name: bytes, old: int) -> None:
        number = self._next_number()
        self._undo_log.note(Step.PUT_ASIDE, node, name, number)
        os.rename(name, number_name(number), src_dir_fd=old, dst_dir_fd=self._aside)

    def _dismantle(self, top: Node, parent: int) -> None:
        """Put aside the entries of a directory that cannot be renamed, and remove it."""
        with DirStack(parent, (top, [top.name])) as stack:
            while True:
                node, names = stack.payload
                if not names:
                    if not stack.depth:
                        return
                    stack.leave()
                    self._remove_empty(node, stack.fd)
                    continue
                name = names.pop()
                status = os.stat(name, dir_fd=stack.fd, follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode):
                    self._rename_aside(node, name, stack.fd)
                    continue
                below = Node(name, node) if stack.depth else top
                if below is not top:
                    self._undo_log.note_status(Step.OLD_STATUS, below, status)
                found: list[bytes] = []
                found += names_in(enter_any_mode(stack, name, (below, found)))

    def _remove_empty(self, node: Node, parent: int) -> None:
        above = node.parent or node  # it is never the root
        self._undo_log.note(Step.REMOVED, above, node.name)
        try:
            os.rmdir(node.name, dir_fd=parent)
        except OSError as error:
            reason = os_reason(error)
            raise LocalError(f"{above.path_of(node.name)} cannot be removed: {reason}") from error

    def _link_aside(self, node: Node, name: bytes, old: int, status: os.stat_result) -> None:
        """Put aside an entry about to be replaced, by a link, so that its name is never missing."""
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
            # Too many links, or links are forbidden. For a moment the name will be missing.
            self._put_aside(node, name, old, status)

    def _next_number(self) -> int:
        self._number += 1
        return self._number
