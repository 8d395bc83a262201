"""Trees to store and restore, and how two of them differ."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple

from tests.support.cli_helpers import blob

FEW = 1000
"""Bytes of a file that are worth a look at."""

SECOND = 1_000_000_000
TIME = 1_700_000_000 * SECOND + 123_456_789


class Look(NamedTuple):
    """What a restore must keep of one entry."""

    mode: int
    mtime_ns: int
    content: bytes | str
    """A file's bytes, or the digest of many; a link's target."""
    group: str
    """The first name of a file that has several."""


def plant(root: Path) -> None:
    """A tree with everything that is kept."""
    root.mkdir(exist_ok=True)
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty dir").mkdir()
    (root / "empty").touch()
    (root / "file").write_bytes(b"content\n")
    (root / "sub" / "large").write_bytes(blob(3_000_000))
    (root / "sub" / "deep" / "run").write_bytes(b"#!/bin/sh\n")
    (root / "sub" / "deep" / "run").chmod(0o755)
    (root / "setuid").write_bytes(b"x")
    (root / "setuid").chmod(0o4711)
    (root / "linked").write_bytes(b"one file")
    os.link(root / "linked", root / "sub" / "again")
    (root / "to file").symlink_to("file")
    (root / "dangling").symlink_to("nowhere/at all")
    (root / "absolute").symlink_to("/usr/bin/python3")
    (root / "upwards").symlink_to("../../outside")
    os.mkdir(os.fsencode(root) + b"/not \xff utf-8")
    (root / "ünï \n\\ code").write_bytes(b"odd")
    long = root / ("n" * 120) / ("m" * 120)
    long.mkdir(parents=True)
    (long / ("o" * 200)).write_bytes(b"long")
    (root / "read only").mkdir()
    (root / "read only" / "inside").write_bytes(b"kept")
    (root / "read only" / "inside").chmod(0o444)
    times = TIME
    for path in sorted(root.rglob("*"), key=lambda path: -len(path.parts)):
        times += 1_111_111_111
        os.utime(path, ns=(times, times), follow_symlinks=False)
    (root / "read only").chmod(0o555)
    os.utime(root, ns=(TIME, TIME))


def look(root: Path) -> dict[str, Look]:
    """All that is below a directory, and itself."""
    found = {}
    groups: dict[tuple[int, int], str] = {}
    names = [".", *sorted(str(path.relative_to(root)) for path in root.rglob("*"))]
    for name in names:
        path = root / name
        status = path.lstat()
        group = ""
        if status.st_nlink > 1 and not path.is_dir():
            group = groups.setdefault((status.st_dev, status.st_ino), name)
        content: bytes | str = b""
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
            if len(content) > FEW:
                content = hashlib.sha256(content).hexdigest()
        found[name] = Look(status.st_mode, status.st_mtime_ns, content, group)
    return found


def fell(root: Path) -> None:
    """Let pytest remove a tree that has read-only directories."""
    for path in [root, *root.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o700)
