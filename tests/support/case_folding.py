"""A file system that takes names for the same that differ by case or Unicode form.

It stands between the unpacking and the `os` module: a name that folds into one that is there, in
the directory of the descriptor, becomes that one.
"""

from __future__ import annotations

import os
import unicodedata
from typing import Any


class FoldingOs:
    """The `os` module, but for calls that look up a name below a descriptor."""

    def __init__(self) -> None:
        self.folded: set[str] = set()
        """Names that were taken for another."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int) -> int:
        return os.open(self._same(path, dir_fd), flags, mode, dir_fd=dir_fd)

    def mkdir(self, path: Any, mode: int, *, dir_fd: int) -> None:
        os.mkdir(self._same(path, dir_fd), mode, dir_fd=dir_fd)

    def symlink(self, target: Any, path: Any, *, dir_fd: int) -> None:
        os.symlink(target, self._same(path, dir_fd), dir_fd=dir_fd)

    def link(
        self, source: Any, path: Any, *, src_dir_fd: int, dst_dir_fd: int, **rest: Any
    ) -> None:
        source, path = self._same(source, src_dir_fd), self._same(path, dst_dir_fd)
        os.link(source, path, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **rest)

    def stat(self, path: Any, *, dir_fd: int, **rest: Any) -> os.stat_result:
        return os.stat(self._same(path, dir_fd), dir_fd=dir_fd, **rest)

    def unlink(self, path: Any, *, dir_fd: int) -> None:
        os.unlink(self._same(path, dir_fd), dir_fd=dir_fd)

    def utime(self, path: Any, *, dir_fd: int | None = None, **rest: Any) -> None:
        if dir_fd is not None:
            path = self._same(path, dir_fd)
        os.utime(path, dir_fd=dir_fd, **rest)

    def _same(self, path: Any, directory: int) -> Any:
        name = os.fsdecode(path)
        for there in os.listdir(directory):
            if there != name and _folded(there) == _folded(name):
                self.folded.add(name)
                return type(path)(os.fsencode(there)) if isinstance(path, bytes) else there
        return path


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
