"""A directory tree in C order: what is in it, less what is left out.

Knows directories and patterns; must not know what becomes of what it finds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from cacher.errors import LocalError, os_reason
from cacher.tree.dir_stack import DirStack
from cacher.tree.own_work_names import is_reserved
from cacher.tree.patterns import GitignorePatterns, IncludePatterns

FILE, DIRECTORY, SYMLINK, SPECIAL = range(4)

OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""What was a file a moment ago may be a link or a FIFO: neither is followed or waited for."""

_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
"""For what `os.fsencode` does, in a quarter of its time."""

_TAG = b"CACHEDIR.TAG"
_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
"""What the tag of a cache directory begins with (Cache Directory Tagging Specification)."""


class Selection(NamedTuple):
    """What of a directory is meant: globs to include, lines of a .gitignore to exclude."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    exclude_caches: bool = False
    allow_missing: bool = False
    omitted_dir: tuple[int, int] | None = None
    """Device and inode of a directory that is left out, wherever it is: the store that is written
    to."""


class _Level:
    """What is left to visit of one directory."""

    __slots__ = ("entries", "prefix", "selected")

    def __init__(self, entries: Iterator[tuple[bytes, int]], prefix: bytes, selected: bool) -> None:
        self.entries = entries
        self.prefix = prefix
        self.selected = selected


class Walk:
    """Visits what is below `root`, a descriptor, in C order of the names of each directory.

    `on_vanished(path, error)` is told of a directory that cannot be entered; it may raise.
    """

    def __init__(
        self, root: int, selection: Selection, on_vanished: Callable[[bytes, OSError], None]
    ) -> None:
        self._include = IncludePatterns(selection.include) if selection.include else None
        self._exclude = GitignorePatterns(selection.exclude)
        self._exclude_caches = selection.exclude_caches
        self._omitted_dir = selection.omitted_dir
        self.omitted_path = b""
        """The path of the directory that is left out, once it was met."""
        self._on_vanished = on_vanished
        level = _Level(iter(()), b"", self._include is None)
        self._stack: DirStack[_Level] = DirStack(root, level)
        level.entries = self._wanted(root, level.selected)

    def unmatched(self) -> list[str]:
        """The globs that have matched nothing so far."""
        return self._include.unmatched() if self._include else []

    def __iter__(self) -> Iterator[tuple[bytes, bytes, int, int]]:
        """Path, name and kind of each entry, a directory before what is in it.

        And a descriptor: of the directory, or of that which anything else is in.
        """
        stack, globs = self._stack, self._include
        ignore = self._exclude if self._exclude else None
        while True:
            level = stack.payload
            prefix, selected, directory = level.prefix, level.selected, stack.fd
            for name, kind in level.entries:
                path = prefix + name
                if kind == DIRECTORY and is_reserved(name):
                    continue
                if ignore and ignore.ignores(path, is_directory=kind == DIRECTORY):
                    continue
                # Asked below what is selected, too: each glob is to know whether it matched.
                meant = (globs is not None and globs.matches(path)) or selected
                if kind != DIRECTORY:
                    if meant:
                        yield path, name, kind, directory
                elif (meant or (globs and globs.may_contain(path))) and self._enter(
                    path, name, meant
                ):
                    if meant:
                        yield path, name, DIRECTORY, stack.fd
                    break
            else:
                if not stack.depth:
                    return
                self._leave(prefix)

    def close(self) -> None:
        """Close every directory but the root, at any point."""
        self._stack.close()

    def _enter(self, path: bytes, name: bytes, meant: bool) -> bool:
        """Go into a directory; whether it is there."""
        level = _Level(iter(()), path + b"/", meant)
        try:
            directory = self._stack.enter(name, level)
            if self._omitted_dir and self._is_omitted(directory):
                self.omitted_path = path
                self._leave(path)
                return False
            level.entries = self._wanted(directory, meant)
        except OSError as error:
            if self._stack.payload is level:
                self._leave(path)
            self._on_vanished(path, error)
            return False
        return True

    def _is_omitted(self, directory: int) -> bool:
        status = os.fstat(directory)
        return (status.st_dev, status.st_ino) == self._omitted_dir

    def _wanted(self, directory: int, meant: bool) -> Iterator[tuple[bytes, int]]:
        """What is in the current directory, which may be a cache and no more than its tag."""
        entries = _entries(directory)
        if meant and self._exclude_caches and _is_tagged(directory, entries):
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
        # It is to be packed as well, and what is wrong is told then.
        return False
    try:
        return os.read(fd, len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False
    finally:
        os.close(fd)


def _entries(directory: int) -> list[tuple[bytes, int]]:
    """Name and kind of what is in a directory, in C order."""
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
