"""Mounts that nobody else sees, and the processes that see them.

A private mount namespace goes with its last process, and all that was mounted in it: an engine
killed in the middle of its work leaves no mount behind. Needs root. Linux only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.support.servers import programs

_PROC = Path("/proc")

_ENOUGH = 100.0
"""Seconds for killed processes to be gone."""


def enter() -> list[str]:
    """The words before a command that give it a mount namespace of its own.

    Raises `ProgramNotFound` where that is not allowed.
    """
    unshare = programs.find("unshare")
    words = [str(unshare), "--mount", "--"]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode != 0:
        raise programs.ProgramNotFound(
            "container engines may not mount here; to provide it: run the tests as root"
        )
    return words


def storage_driver(directory: Path, *, overlay: str) -> str:
    """The driver that works in `directory`: `overlay`, or else vfs, which copies everything.

    An overlay cannot hold another's upper layer, as where the tests run in a container.
    """
    parts = [directory / f"overlay-{name}" for name in ("lower", "upper", "work", "merged")]
    for part in parts:
        part.mkdir()
    lower, upper, work, merged = parts
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    command = [*enter(), "mount", "-t", "overlay", "overlay", "-o", options, str(merged)]
    done = subprocess.run(command, capture_output=True, check=False)
    return "vfs" if done.returncode != 0 else overlay


def of(pid: int) -> str | None:
    """The mount namespace of a process, if it lives and has one that is not ours."""
    try:
        name = os.readlink(_PROC / str(pid) / "ns" / "mnt")
    except OSError:
        return None
    return None if name == os.readlink(_PROC / "self" / "ns" / "mnt") else name


def members(name: str) -> set[int]:
    """The ids of the processes in that namespace, and of all that descend from them.

    The descendants are containers, whose namespaces are their own.
    """
    pids = {int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()}
    found = {pid for pid in pids if of(pid) == name}
    while more := {pid for pid in pids - found if _parent(pid) in found}:
        found |= more
    return found


def end(name: str) -> None:
    """Kill the processes of that namespace, one by one, and return when they are gone."""
    deadline = time.monotonic() + _ENOUGH
    while found := members(name):
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes that cannot be killed: {sorted(found)}")
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)


def _parent(pid: int) -> int:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])
