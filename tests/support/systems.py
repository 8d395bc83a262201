"""Bare systems: minimal Debians with Python and nothing else, kept in the tests' cache.

A command runs in one with chroot, in mounts that end with it: the tree itself stays as it is.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.support.daemons import namespace
from tests.support.kept import kept
from tests.support.servers import programs

SUITES = {"bookworm": (3, 11), "trixie": (3, 13), "sid": (3, 14)}
"""And the Python of each, which for sid is the oldest it may be."""

WORK = "/mnt"
"""Where the directory to work in appears."""

_LIMIT = 900.0  # seconds; most is the download of 60 MB

_MAKE = """\
set -e
"$1" --variant=minbase --include=python3 "$2" tree
rm -rf tree/var/cache/apt/* tree/var/lib/apt/lists/* tree/usr/share/doc tree/usr/share/locale
"""


def bare(suite: str) -> Path:
    """The root of that Debian. Raises `ProgramNotFound`."""
    return kept(f"bare-{suite}-1", partial(_make, suite)) / "tree"


def run(
    root: Path,
    command: str,
    *,
    work: Path,
    environ: Mapping[str, str],
    mounts: Sequence[str] = (),
    user: str = "root",
) -> subprocess.CompletedProcess[str]:
    """Run a shell's `command` in `root`, in the directory `work`, and with nothing around it.

    `mounts` are shell commands that change what it sees, with `root` as the working directory.
    """
    inside = ["env", "-i", *(f"{name}={value}" for name, value in environ.items())]
    inside += ["sh", "-ec", f"cd {WORK}\n{command}"]
    script = [
        "set -e",
        f"mount --bind {shlex.quote(str(root))} {shlex.quote(str(root))}",
        f"cd {shlex.quote(str(root))}",
        f"mount --bind {shlex.quote(str(work))} .{WORK}",
        *mounts,
        f"exec {shlex.join(['chroot', f'--userspec={user}', '.', *inside])}",
    ]
    return subprocess.run(
        [*namespace.enter(), "sh", "-c", "\n".join(script)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def _make(suite: str, directory: Path) -> None:
    debootstrap(directory, suite, _MAKE)


def debootstrap(directory: Path, suite: str, script: str) -> None:
    """Run a script of debootstrap's in `directory`, with the program as $1 and the suite as $2.

    Its mounts in the tree end with it. Raises `ProgramNotFound`.
    """
    program = "/usr/sbin/debootstrap"  # not on every user's PATH
    if not os.access(program, os.X_OK):
        program = str(programs.find("debootstrap"))
    done = subprocess.run(
        [*namespace.enter(), "sh", "-c", script, "sh", program, suite],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_LIMIT,
        check=False,
    )
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace").splitlines()
        raise RuntimeError("\n".join([f"debootstrap {suite} failed", *said[-20:]]))
