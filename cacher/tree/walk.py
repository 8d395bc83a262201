"""A walk through a directory tree in C order, which leaves out what a selection excludes.

Knows directories and patterns; must not know what its caller does with the entries.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from cacher.errors import LocalError, os_reason
from cacher.tree.dir_stack import DirStack
from cacher.tree.patterns import GitignorePatterns, IncludePatterns
from cacher.tree.reserved_names import is_reserved

FILE, DIRECTORY, SYMLINK, SPECIAL = range(4)

OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""A link or a FIFO that replaced the file a moment ago is not followed, nor waited for."""

_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
"""For encoding as `os.fsencode` does, in a quarter of its time."""

_TAG = b"CACHEDIR.TAG"
_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
"""The start of the tag of a cache directory (Cache Directory Tagging Specification)."""


class Selection(NamedTuple):
    """The entries of a directory to pack: globs to include, lines of a .gitignore to exclude."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    exclude_caches: bool = False
    allow_missing: bool = False
    omitted_dir: tuple[int, int] | None = None
    """Device and inode of a directory to leave out at any path: the local store that is written."""


class _Level:
    """The entries of one directory still to visit."""

    __slots__ = ("entries", "prefix", "selected")

    def __init__(self, entries: Iterator[tuple[bytes, int]], prefix: bytes, selected: bool) -> None:
        self.entries = entries
        self.prefix = prefix
        self.selected = selected


class Walk:
    """An iterator over the entries below the descriptor `root`, each directory in C order.

    `on_vanished(path, error)` is called for a directory that cannot be entered; it may raise.
    """

    def __init__(
        self, root: int, selection: Selection, on_vanished: Callable[[bytes, OSError], None]
    ) -> None:
        self._include = IncludePatterns(selection.include) if selection.include else None
        self._exclude = GitignorePatterns(selection.exclude)
        self._exclude_caches = selection.exclude_caches
        self._omitted_dir = selection.omitted_dir
        self.omitted_path = b""
        """The path of the directory that is left out, once the walk met it."""
        self._on_vanished = on_vanished
        level = _Level(iter(()), b"", self._include is None)
        self._stack: DirStack[_Level] = DirStack(root, level)
        level.entries = self._entries_to_visit(root, level.selected)

    def unmatched(self) -> list[str]:
        """Return the globs that have matched nothing so far."""
        return self._include.unmatched() if self._include else []

    def __iter__(self) -> Iterator[tuple[bytes, bytes, int, int]]:
        """Yield path, name and kind of each entry, a directory before its entries.

        And a descriptor: of a directory itself, of the parent for any other entry.
        """
        stack, include = self._stack, self._include
        exclude = self._exclude if self._exclude else None
        while True:
            level = stack.payload
            prefix, selected, directory = level.prefix, level.selected, stack.fd
            for name, kind in level.entries:
                path = prefix + name
                if kind == DIRECTORY and is_reserved(name):
                    continue
                if exclude and exclude.ignores(path, is_directory=kind == DIRECTORY):
                    continue
                # Also below a selected directory: each glob records whether it matched.
                is_selected = (include is not None and include.matches(path)) or selected
                if kind != DIRECTORY:
                    if is_selected:
                        yield path, name, kind, directory
                elif (is_selected or (include and include.may_contain(path))) and self._enter(
                    path, name, is_selected
                ):
                    if is_selected:
                        yield path, name, DIRECTORY, stack.fd
                    break
            else:
                if not stack.depth:
                    return
                self._leave(prefix)

    def close(self) -> None:
        """Close all directories but the root."""
        self._stack.close()

    def _enter(self, path: bytes, name: bytes, is_selected: bool) -> bool:
        """Enter a directory; return whether it is to be visited."""
        level = _Level(iter(()), path + b"/", is_selected)
        try:
            directory = self._stack.enter(name, level)
            if self._omitted_dir and self._is_omitted(directory):
                self.omitted_path = path
                self._leave(path)
                return False
            level.entries = self._entries_to_visit(directory, is_selected)
        except OSError as error:
            if self._stack.payload is level:
                self._leave(path)
            self._on_vanished(path, error)
            return False
        return True

    def _is_omitted(self, directory: int) -> bool:
        status = os.fstat(directory)
        return (status.st_dev, status.st_ino) == self._omitted_dir

    def _entries_to_visit(self, directory: int, is_selected: bool) -> Iterator[tuple[bytes, int]]:
        """Return the entries of a directory; only the tag, if it is an excluded cache."""
        entries = _entries(directory)
        if is_selected and self._exclude_caches and _is_tagged(directory, entries):
            entries = [entry for entry in entries if entry[0] == _TAG]
        return iter(entries)

    def _leave(self, prefix: bytes) -> None:
        try:
            self._stack.leave()
        except OSError as error:
            reason = os_reason(error)
            raise LocalError(
                f"{os.fsdecode(prefix)} was moved while it was packed: {reason.lower()}"
            ) from error


def _is_tagged(directory: int, entries: list[tuple[bytes, int]]) -> bool:
    if (_TAG, FILE) not in entries:
        return False
    try:
        fd = os.open(_TAG, OPEN_FILE, dir_fd=directory)
    except OSError:
        # The error shows when the tag is packed.
        return False
    try:
        return os.read(fd, len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False
    finally:
        os.close(fd)


def _entries(directory: int) -> list[tuple[bytes, int]]:
    """Return name and kind of the entries of a directory, in C order."""
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                kind = FILE
            elif entry.is_dir(follow_symlinks=False):
                kind = DIRECTORY
            elif entry.is_symlink():
                kind = SYMLINK
            else:
                kind = SPECIAL
            found.append((entry.name.encode(_ENCODING, _ERRORS), kind))
    found.sort()
    return found
