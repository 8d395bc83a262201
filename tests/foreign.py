"""Bare systems for another processor: Debians for arm64, whose Python qemu runs, command by command.

Kept in the tests' cache. What starts a process in such a tree would need the kernel to know qemu,
which is a setting of the whole machine; so only Python itself runs there, and the shell around it
is this machine's.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tests import systems
from tests.daemons import namespace
from tests.servers import programs
from tests.trees import kept

MACHINE = "aarch64"
"""What the kernel, and so Python, calls it."""

_LIMIT = 120.0  # seconds; a start of Python takes half of one

# Unpacked, not installed: their scripts could not run. What those would make is made here.
_MAKE = """\
set -e
"$1" --foreign --arch=arm64 --variant=minbase --include=python3 "$2" tree
for package in tree/var/cache/apt/archives/*.deb; do dpkg-deb --extract "$package" tree; done
mkdir -p tree/dev tree/mnt tree/proc tree/tmp
chmod 1777 tree/tmp
rm -rf tree/debootstrap tree/dev/* tree/var/cache/apt/* tree/usr/share/doc tree/usr/share/locale
"""

_DEV = """\
mount -t tmpfs -o mode=755 dev dev
touch dev/null dev/urandom dev/qemu
mount --bind /dev/null dev/null
mount --bind /dev/urandom dev/urandom
"""


def bare(suite: str) -> Path:
    """The root of that Debian. Raises `ProgramNotFound`."""
    _qemu()  # without it, it would be made in vain
    return kept(f"bare-arm64-{suite}-1", partial(_make, suite)) / "tree"


def run(
    root: Path,
    command: str,
    *,
    work: Path,
    environ: Mapping[str, str],
    mounts: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a shell's `command` in `work`, where `python3` is the one of `root`, in `root`.

    It sees `work` as `systems.WORK`, and of the variables only `environ`. `ends STATUS COMMAND`
    fails unless the command ends with that status. `mounts` are shell commands that change what
    Python sees, with `root` as the working directory.
    """
    place = shlex.quote(str(root))
    variables = [f"{name}={value}" for name, value in environ.items()]
    python = shlex.join(["env", "-i", *variables, *_enter(root), "/dev/qemu", "/usr/bin/python3"])
    script = [
        "set -e",
        f"mount --bind {place} {place}",
        f"cd {place}",
        f"mount --bind {shlex.quote(str(work))} .{systems.WORK}",
        _DEV,
        f"mount --bind {shlex.quote(str(_qemu()))} dev/qemu",
        *mounts,
        f"cd .{systems.WORK}",
        f'python3() {{ {python} "$@"; }}',
        'ends() { wanted=$1; shift; got=0; "$@" || got=$?; test "$got" = "$wanted"; }',
        command,
    ]
    return subprocess.run(
        [*namespace.enter(), "sh", "-c", "\n".join(script)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
    )


def _enter(root: Path) -> list[str]:
    """The words before a command in that root; unlike chroot's, in a directory of choice."""
    unshare = programs.find("unshare", provider="apt-get install util-linux")
    return [str(unshare), f"--root={root}", f"--wd={systems.WORK}"]


def _qemu() -> Path:
    """An emulator that needs nothing of the tree it is in."""
    return programs.find("qemu-aarch64-static", provider="apt-get install qemu-user-static")


def _make(suite: str, directory: Path) -> None:
    systems.debootstrap(directory, suite, _MAKE)
