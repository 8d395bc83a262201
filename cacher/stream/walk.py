"""A directory tree in C order: what is in it, less what is left out.

Knows directories and patterns; must not know what becomes of what it finds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cacher.errors import LocalError
from cacher.stream.descent import Descent
from cacher.stream.globs import Globs, Ignore

FILE, DIRECTORY, SYMLINK, SPECIAL = range(4)

OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""What was a file a moment ago may be a link or a FIFO: neither is followed or waited for."""

_TAG = b"CACHEDIR.TAG"
_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
"""What the tag of a cache directory begins with (Cache Directory Tagging Specification)."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a directory is meant: globs to include, lines of a .gitignore to exclude."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    exclude_caches: bool = False
    allow_missing: bool = False


class _Level:
    """What is left to visit of one directory."""

    __slots__ = ("entries", "prefix", "selected")

    def __init__(self, entries: Iterator[tuple[bytes, int]], prefix: bytes, selected: bool) -> None:
        self.entries = entries
        self.prefix = prefix
        self.selected = selected


class Walk:
    """Visits what is below `root`, a descriptor, in C order of the names of each directory.

    `lost(path, error)` is told of a directory that cannot be entered; it may raise.
    """

    def __init__(
        self, root: int, selection: Selection, lost: Callable[[bytes, OSError], None]
    ) -> None:
        self._globs = Globs(selection.include) if selection.include else None
        self._ignore = Ignore(selection.exclude)
        self._exclude_caches = selection.exclude_caches
        self._lost = lost
        level = _Level(iter(_entries(root)), b"", self._globs is None)
        self._descent: Descent[_Level] = Descent(root, level)

    @property
    def directory(self) -> int:
        """A directory that was just given; the one that anything else just given is in."""
        return self._descent.fd

    def unmatched(self) -> list[str]:
        """The globs that have matched nothing so far."""
        return self._globs.unmatched() if self._globs else []

    def __iter__(self) -> Iterator[tuple[bytes, bytes, int]]:
        """Path, name and kind of each entry, a directory before what is in it."""
        descent, globs = self._descent, self._globs
        ignore = self._ignore if self._ignore else None
        while True:
            level = descent.payload
            prefix, selected = level.prefix, level.selected
            for name, kind in level.entries:
                path = prefix + name
                if ignore and ignore.ignores(path, is_directory=kind == DIRECTORY):
                    continue
                meant = selected or (globs is not None and globs.matches(path))
                if kind != DIRECTORY:
                    if meant:
                        yield path, name, kind
                elif (meant or (globs and globs.may_contain(path))) and self._enter(
                    path, name, meant
                ):
                    if meant:
                        yield path, name, DIRECTORY
                    break
            else:
                if not descent.depth:
                    return
                self._leave(prefix)

    def close(self) -> None:
        """Close every directory but the root, at any point."""
        self._descent.close()

    def _enter(self, path: bytes, name: bytes, meant: bool) -> bool:
        """Go into a directory; whether it is there."""
        level = _Level(iter(()), path + b"/", meant)
        try:
            entries = _entries(self._descent.enter(name, level))
        except OSError as error:
            if self._descent.payload is level:
                self._descent.leave()
            self._lost(path, error)
            return False
        if meant and self._exclude_caches and self._is_tagged(entries):
            entries = [entry for entry in entries if entry[0] == _TAG]
        level.entries = iter(entries)
        return True

    def _leave(self, prefix: bytes) -> None:
        try:
            self._descent.leave()
        except OSError as error:
            reason = error.strerror or str(error)
            raise LocalError(
                f"{os.fsdecode(prefix)} was moved while it was packed: {reason.lower()}"
            ) from error

    def _is_tagged(self, entries: list[tuple[bytes, int]]) -> bool:
        if (_TAG, FILE) not in entries:
            return False
        try:
            fd = os.open(_TAG, OPEN_FILE, dir_fd=self._descent.fd)
        except OSError:
            return False
        try:
            return os.read(fd, len(_SIGNATURE)) == _SIGNATURE
        finally:
            os.close(fd)


def _entries(directory: int) -> list[tuple[bytes, int]]:
    """Name and kind of what is in a directory, in C order."""
    found = []
    encode = os.fsencode
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
            found.append((encode(entry.name), kind))
    found.sort()
    return found
