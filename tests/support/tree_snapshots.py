"""Trees on the disk: what they are, and what a tar stream becomes."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from cacher.tree.unpack import Unpacked, UnpackOptions, unpack

Tree = dict[bytes, tuple[object, ...]]


def pieces(data: bytes, step: int = 1 << 20) -> Callable[[], memoryview]:
    """A feed of `data`, whose buffer is wiped once the next piece is asked for."""
    buffer = bytearray(step)
    at = 0

    def feed() -> memoryview:
        nonlocal at
        piece = data[at : at + step]
        at += len(piece)
        buffer[:] = bytes(step)
        buffer[: len(piece)] = piece
        return memoryview(buffer)[: len(piece)]

    return feed


def restore(
    data: bytes, root: Path, wanted: UnpackOptions | None = None, step: int = 1 << 20
) -> Unpacked:
    """Unpack into `root`, which is made."""
    root.mkdir(mode=0o700)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return unpack(pieces(data, step), fd, wanted or UnpackOptions())
    finally:
        os.close(fd)


def snapshot(root: Path) -> Tree:
    """Everything that is kept of each entry below `root`, the root included."""
    top = os.fsencode(root)
    found: Tree = {}
    groups: dict[tuple[int, int], bytes] = {}
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        place = os.path.join(top, path)
        status = os.lstat(place)
        mode, kind = stat.S_IMODE(status.st_mode), stat.S_IFMT(status.st_mode)
        common = (kind, mode, status.st_mtime_ns)
        if stat.S_ISDIR(status.st_mode):
            found[path] = common
            waiting += [os.path.join(path, name) for name in sorted(os.listdir(place))[::-1]]
        else:
            first = groups.setdefault((status.st_dev, status.st_ino), path)
            found[path] = (*common, first, _content(place, status))
    return found


def _content(place: bytes, status: os.stat_result) -> bytes:
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(place)
    if not stat.S_ISREG(status.st_mode):
        return b""
    with open(place, "rb") as file:
        return hashlib.sha256(file.read()).digest()


def open_descriptors() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/dev/fd"))
