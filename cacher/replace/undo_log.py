"""A log of the steps that changed two trees, from which they are undone.

Each step is noted before it is taken, and undone only as far as it was taken: so an interruption at
any point can be undone. Knows names and descriptors, and no reason for any step.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import Enum, auto

from cacher.tree.dir_access import DirAttributes, enter_any_mode, make_accessible_fd, status_of
from cacher.tree.dir_stack import DirStack
from cacher.tree.remove import remove


class Node:
    """A directory of a tree, as its name and its parent's node.

    With paths instead, memory would grow with the square of the depth.
    """

    __slots__ = ("depth", "name", "parent")

    def __init__(self, name: bytes = b"", parent: Node | None = None) -> None:
        self.name = name
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0

    def path_of(self, name: bytes) -> str:
        """Return the path of the entry `name` in it, for a message."""
        node: Node | None = self
        names = [name]
        while node and node.name:
            names.append(node.name)
            node = node.parent
        return os.fsdecode(b"/".join(reversed(names)))


class DirCursor:
    """A current directory in a tree, which moves to another on the shortest way."""

    def __init__(self, root: int, node: Node) -> None:
        self._stack = DirStack[Node](root, node)
        if root >= 0:
            make_accessible_fd(root)

    def go_to(self, node: Node) -> int:
        """Go to `node`, making directories accessible on the way; return its descriptor."""
        stack = self._stack
        down: list[Node] = []
        while node is not stack.payload:
            if node.depth > stack.depth and node.parent:
                down.append(node)
                node = node.parent
            else:
                stack.leave()
        for step in reversed(down):
            enter_any_mode(stack, step.name, step)
        return stack.fd

    def close(self) -> None:
        """Close all directories below the root."""
        self._stack.close()


class Step(Enum):
    """A kind of change to a directory."""

    NEW_STATUS = auto()
    """The directory of the new tree got another mode or other times."""
    OLD_STATUS = auto()
    """The directory of the old tree did."""
    ADDED = auto()
    """A name was made in the new tree."""
    MADE = auto()
    """An empty directory was made in the old tree."""
    REMOVED = auto()
    """An empty directory of the old tree was removed; its status was noted before."""
    MOVED = auto()
    """A name went from the new tree into the old one, perhaps over one that was linked aside."""
    PUT_ASIDE = auto()
    """A name of the old tree became a number, or was also linked as one, in the third directory."""


class UndoLog:
    """The steps of one restore, to be undone from the last to the first."""

    def __init__(self) -> None:
        self.root = Node()
        self._steps: list[tuple[Step, Node, bytes, int]] = []
        self._attributes: list[DirAttributes] = []

    def note(self, step: Step, node: Node, name: bytes = b"", number: int = 0) -> None:
        """Note a step, before it is taken."""
        self._steps.append((step, node, name, number))

    def note_status(self, step: Step, node: Node, status: os.stat_result) -> None:
        """Note the status of a directory, before its mode, owner or times change."""
        self._attributes.append(DirAttributes.of(status))
        self.note(step, node, number=len(self._attributes) - 1)

    def undo(self, new: int, old: int = -1, aside: int = -1) -> None:
        """Undo all steps, below the descriptors of the two trees and of the third directory.

        Raises `OSError` where one cannot be undone; that one and those before it stay in the log.
        """
        trees = DirCursor(new, self.root), DirCursor(old, self.root)
        try:
            while self._steps:
                step, node, name, number = self._steps[-1]
                self._undo_one(step, (trees[0].go_to, trees[1].go_to), node, name, number, aside)
                self._steps.pop()
        finally:
            for cursor in trees:
                cursor.close()

    def _undo_one(
        self,
        step: Step,
        go: tuple[Callable[[Node], int], Callable[[Node], int]],
        node: Node,
        name: bytes,
        number: int,
        aside: int,
    ) -> None:
        to_new, to_old = go
        if step is Step.NEW_STATUS:
            self._attributes[number].give(to_new(node))
        elif step is Step.OLD_STATUS:
            self._attributes[number].give(to_old(node))
        elif step is Step.ADDED:
            remove(name, to_new(node))
        elif step is Step.MOVED:
            new = to_new(node)
            if status_of(name, new) is None:
                os.rename(name, name, src_dir_fd=to_old(node), dst_dir_fd=new)
        elif step is Step.PUT_ASIDE:
            if status_of(number_name(number), aside) is not None:
                os.rename(number_name(number), name, src_dir_fd=aside, dst_dir_fd=to_old(node))
        else:
            _undo_directory(step, name, to_old(node))


def _undo_directory(step: Step, name: bytes, parent: int) -> None:
    there = status_of(name, parent) is not None
    if step is Step.MADE and there:
        os.rmdir(name, dir_fd=parent)
    elif step is Step.REMOVED and not there:
        os.mkdir(name, 0o700, dir_fd=parent)


def number_name(number: int) -> bytes:
    """Return the name of an entry that was put aside."""
    return b"%d" % number
