"""All that is kept of a tree on the disk, so that two can be compared."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple

FEW = 1000
"""A file of no more bytes is compared by its bytes, which a failing test then shows."""

KINDS = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}


class TreeEntry(NamedTuple):
    """One entry: its kind, and what a restore must keep of it."""

    kind: str
    """directory, file, link or special"""
    mode: int
    mtime_ns: int
    content: bytes = b""
    """A file's bytes, or the digest of many; a link's target."""
    first: str = ""
    """The first path of the same file or link."""


Tree = dict[str, TreeEntry]
"""By path relative to the root, which is ""; bytes that are not UTF-8 are escaped."""


def snapshot(root: Path | str) -> Tree:
    """Everything at and below `root`, which may be missing. Modes are no obstacle."""
    found: Tree = {}
    firsts: dict[tuple[int, int], str] = {}
    opened: list[tuple[str, int]] = []
    waiting = [""] if os.path.lexists(root) else []
    while waiting:
        path = waiting.pop()
        place = os.path.join(root, path) if path else os.fspath(root)
        status = os.lstat(place)
        mode = stat.S_IMODE(status.st_mode)
        entry = TreeEntry(
            KINDS.get(stat.S_IFMT(status.st_mode), "special"), mode, status.st_mtime_ns
        )
        if entry.kind == "directory":
            if mode & 0o500 != 0o500 and os.geteuid():
                os.chmod(place, mode | 0o700)
                opened.append((place, mode))
            names = sorted(os.listdir(place), key=os.fsencode, reverse=True)
            waiting += [os.path.join(path, name) for name in names]
        elif entry.kind != "special":
            first = firsts.setdefault((status.st_dev, status.st_ino), path)
            entry = entry._replace(first=first, content=_content(place, entry.kind))
        found[path] = entry
    for place, mode in reversed(opened):
        os.chmod(place, mode)
    return found


def _content(place: str, kind: str) -> bytes:
    if kind == "link":
        return os.fsencode(os.readlink(place))
    with open(place, "rb") as file:
        return kept_content(file.read())


def kept_content(data: bytes) -> bytes:
    """A file's bytes as an `TreeEntry` keeps them."""
    return data if len(data) <= FEW else hashlib.sha256(data).digest()
