"""Trees made on the disk of what a test writes down."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SECOND = 10**9
DAY = 86_400 * SECOND


class File(NamedTuple):
    """A file with a mode of its own."""

    content: bytes
    mode: int


class HardLink(NamedTuple):
    """Another name of a file or link."""

    path: str


Spec = dict[str, bytes | str | int | File | HardLink]
"""By path: bytes make a file of mode 0640, text a link to it, a number a directory of that mode.
Parents that are not named have mode 0755. Times follow from the path and `age`."""


def build(root: Path, spec: Spec, age: int = 1) -> None:
    """Make a tree in the directory `root`, which gets a mode if the spec has one for ""."""
    for path, value in spec.items():
        _put(root, root / path, value)
    found = [root, *root.rglob("*")]
    for place in sorted(found, reverse=True):
        path = "" if place == root else place.relative_to(root).as_posix()
        time = age * DAY + sum(os.fsencode(path)) * SECOND + len(path)
        mode = spec.get(path)
        if not place.is_symlink() and place.is_dir():
            place.chmod(mode if isinstance(mode, int) else 0o755)
        os.utime(place, ns=(time, time), follow_symlinks=False)


def _put(root: Path, place: Path, value: bytes | str | int | File | HardLink) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(value, bytes):
        value = File(value, 0o640)
    if isinstance(value, File):
        place.write_bytes(value.content)
        place.chmod(value.mode)
    elif isinstance(value, HardLink):
        os.link(root / value.path, place, follow_symlinks=False)
    elif isinstance(value, str):
        place.symlink_to(value)
    else:
        place.mkdir(exist_ok=True)


PLAIN: Spec = {
    **{f"file{size}": os.urandom(size) for size in (0, 1, 511, 512, 513, 5000)},
    "d/script": File(b"#!/bin/sh\n", 0o755),
    "d/setuid": File(b"x", 0o4755),
    "d/setgid": File(b"x", 0o2711),
    "d/open": File(b"x", 0o666),
    "d/e/empty": 0o1777,
    "d/e/script": HardLink("d/script"),
    "z": HardLink("d/script"),
    "dangling": "nowhere/at all",
    "absolute": "/usr/bin/env",
    "upwards": "../../..",
    "d/link": "e",
    "read only/f": File(b"x", 0o444),
    "read only/below/f": File(b"x", 0o444),
    "read only/below": 0o500,
    "read only": 0o555,
}
"""A tree that every format of tar can store."""

DEEP = "/".join(["directory" * 10] * 8) + "/" + "n" * 200

FULL: Spec = {
    **PLAIN,
    "n" * 150: b"x",
    DEEP: b"deep",
    "linked": HardLink(DEEP),
    "far": "t" * 300,
    "linked link": HardLink("dangling"),
    "é\N{SNOWMAN}": b"x",
    "é" * 127: b"x",
    os.fsdecode(b"\xff\xfe"): b"x",
    "odd": os.fsdecode(b"\xff" * 120),
    "line\nbreak": b"x",
    "back\\slash\\n": b"x",
    " -rf": b"x",
    "-n=a b": b"x",
    "p" * 155 + "/" + "q" * 100: b"x",
    "large": os.urandom((1 << 20) + 7),
}
"""A tree that needs extensions of GNU or PAX: everything that is kept."""


def make_removable(root: Path) -> None:
    """Let pytest remove a tree that has read-only directories."""
    for place, names, _ in os.walk(root):
        for name in (".", *names):
            path = Path(place, name)
            if not path.is_symlink():
                path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o700)


@contextmanager
def deep(parent: Path, name: bytes, depth: int) -> Iterator[int]:
    """Directories `name/name/...` below `parent`; gives a descriptor of the deepest.

    Removed at the end by descriptors: no path reaches so far.
    """
    start = os.open(parent, os.O_RDONLY)
    fd = os.dup(start)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    try:
        yield fd
    finally:
        for file in os.listdir(fd):
            os.unlink(file, dir_fd=fd)
        for _ in range(depth):
            above = os.open("..", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = above
            os.rmdir(name, dir_fd=fd)
        os.close(fd)
        os.close(start)
