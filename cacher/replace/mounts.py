"""Where file systems are mounted: nothing can be renamed over such a place, or out of it."""

from __future__ import annotations

import os
import re

_TABLE = "/proc/self/mountinfo"
"""proc_pid_mountinfo(5): the fifth field is the mount point, with octal escapes."""


def mount_points() -> list[bytes]:
    """Return all mount points; none where the system does not list them."""
    try:
        with open(_TABLE, "rb") as table:
            lines = table.read().splitlines()
    except OSError:
        return []
    return [_unescaped(line.split(b" ")[4]) for line in lines]


def is_mount_point(path: str) -> bool:
    """Return whether the absolute path `path` is a mount point, also of the same file system."""
    return os.path.ismount(path) or os.fsencode(path) in mount_points()


def mounts_below(path: str) -> list[str]:
    """Return the mount points below the absolute path `path`."""
    start = os.fsencode(path).rstrip(b"/") + b"/"
    return [
        os.fsdecode(point) for point in mount_points() if point.startswith(start) and point != start
    ]


def _unescaped(path: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), path)
