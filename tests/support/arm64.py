"""Bare systems for arm64: Debians whose Python qemu runs, on a machine that need not be one.

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

from tests.support import systems
from tests.support.daemons import namespace
from tests.support.kept import kept
from tests.support.servers import programs

MACHINE = "aarch64"
"""What the kernel, and so Python, calls it."""

_LIMIT = 600.0  # seconds; a start of Python takes about one

_PYTHON = ("/dev/qemu", "-cpu", "cortex-a72", "/usr/bin/python3")
"""The command, in a tree. Processors since have pointer authentication, which newer Debians use,
and which is most of their time when emulated."""

# Unpacked, not installed, as their scripts could not run. What those would make is made here.
_MAKE = """\
set -e
"$1" --foreign --arch=arm64 --variant=minbase --include=python3 "$2" tree
for package in tree/var/cache/apt/archives/*.deb; do dpkg-deb --extract "$package" tree; done
rm -rf tree/debootstrap tree/dev tree/var/cache/apt/* tree/usr/share/doc tree/usr/share/locale
mkdir -p tree/dev tree/mnt tree/proc tree/tmp
cd tree
"""

_COMPILE = "import compileall, os\ncompileall.compile_dir(os.path.dirname(os.__file__), 1, quiet=1)"
"""For the Python of a tree, so that not every start of it compiles its library."""

_MOUNTS = """\
mount -o remount,bind,ro .
mount -t tmpfs -o mode=1777 tmp tmp
"""


def bare(suite: str) -> Path:
    """The root of that Debian. Raises `ProgramNotFound`."""
    # Without these even one that is there is of no use.
    namespace.enter()
    _devices()
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
    python = shlex.join(["env", "-i", *variables, *_enter(str(root), systems.WORK), *_PYTHON])
    script = [
        "set -e",
        f"mount --bind {place} {place}",
        f"cd {place}",
        f"mount --bind {shlex.quote(str(work))} .{systems.WORK}",
        _MOUNTS,
        _devices(),
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


def _enter(root: str, directory: str) -> list[str]:
    """The words before a command in that root and that directory of it, as chroot has no choice."""
    unshare = programs.find("unshare")
    return [str(unshare), f"--root={root}", f"--wd={directory}"]


def _devices() -> str:
    """Shell commands that mount in ./dev what a Python needs there, and qemu, which needs no more.

    Raises `ProgramNotFound`.
    """
    qemu = programs.find("qemu-aarch64-static")
    files = {"null": "/dev/null", "urandom": "/dev/urandom", "qemu": str(qemu)}
    return "\n".join(
        ["mount -t tmpfs -o mode=755 dev dev"]
        + [
            f"touch dev/{name} && mount --bind {shlex.quote(source)} dev/{name}"
            for name, source in files.items()
        ]
    )


def _make(suite: str, directory: Path) -> None:
    compiles = shlex.join([*_enter(".", "/"), *_PYTHON, "-c", _COMPILE])
    systems.debootstrap(directory, suite, "\n".join([_MAKE, _devices(), compiles]))
