"""A machine as builds.sr.ht makes it, as far as a manifest can tell: Debian, in a chroot.

After https://man.sr.ht/builds.sr.ht/manifest.md: the user `build` with sudo and no password, each
source cloned into their home, each task a bash script of its own in a new session, and
`complete-build`, whose status is 255. Needs root, and a network for apt and pip.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support import systems
from tests.support.kept import kept
from tests.support.servers import programs

ROOT = Path(__file__).parents[2]

COMPLETE = 255
"""What a task exits with that ends the build, and well."""

_USER = 1000

_LIMIT = 5000.0  # seconds for one task

# What this machine needs to reach registries, read at import: tests have it taken away.
_REACH = {
    name: value
    for name, value in os.environ.items()
    if name in ("PIP_CERT", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT")
    or name.lower() in ("http_proxy", "https_proxy", "no_proxy")
}
_REACH_FILES = ("/etc/resolv.conf", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")

_PREPARE = f"""\
apt-get -qq update
apt-get -qq install -y --no-install-recommends ca-certificates git sudo >/dev/null
useradd --create-home --shell /bin/bash --uid {_USER} build
echo 'build ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/build
"""


@dataclass(frozen=True, slots=True)
class Host:
    """A tree of files that is one build's own."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home/build"

    def install(self, packages: Sequence[str]) -> None:
        """What the manifest lists under `packages`."""
        command = shlex.join(["apt-get", "-qq", "install", "-y", *packages])
        done = self.run(f"apt-get -qq update && {command}", user="root")
        assert done.returncode == 0, done.stdout

    def pretend(self, packages: Sequence[str]) -> None:
        """Let dpkg take these for installed."""
        with open(self.root / "var/lib/dpkg/status", "a") as status:
            for name in packages:
                status.write(
                    f"\nPackage: {name}\nStatus: install ok installed\nArchitecture: all\n"
                    "Maintainer: nobody\nVersion: 99\nDescription: stand-in\n"
                )

    def clone(self, checkout: Path) -> None:
        """The source `cacher`, owned by the user."""
        shutil.copytree(checkout, self.home / "cacher", symlinks=True)
        self.own()

    def own(self) -> None:
        """Give the user what was put into their home."""
        subprocess.run(["chown", "-R", f"{_USER}:{_USER}", str(self.home)], check=True)

    def task(
        self, name: str, script: str, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a task; both outputs are in `stdout`."""
        lines = ["#!/bin/sh", "function complete-build() {", f"    exit {COMPLETE}", "}"]
        lines += [f"export {key}={shlex.quote(value)}" for key, value in environment.items()]
        (self.home / ".buildenv").write_text("\n".join(lines) + "\n")
        place = self.home / ".tasks" / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"#!/usr/bin/env bash\n. ~/.buildenv\nset -xe\n{script}")
        place.chmod(0o755)
        return self.run(f"cd; exec ~/.tasks/{name}", user="build")

    def run(self, command: str, *, user: str) -> subprocess.CompletedProcess[str]:
        """Run a shell's command; both outputs are in `stdout`.

        Its processes have ids and mounts of their own, and end with it.
        """
        home = "/root" if user == "root" else f"/home/{user}"
        environ = {**_REACH, "HOME": home, "USER": user, "LOGNAME": user, "LANG": "C.UTF-8"}
        environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environ["DEBIAN_FRONTEND"] = "noninteractive"
        inside = ["env", "-i", *(f"{key}={value}" for key, value in environ.items())]
        inside += ["sh", "-c", command]
        root = shlex.quote(str(self.root))
        enter = shlex.join(["chroot", f"--userspec={user}", str(self.root), *inside])
        unshare = programs.find("unshare")
        script = f"mount -t proc proc {root}/proc && mount --bind /dev {root}/dev && exec {enter}"
        words = [str(unshare), "--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-c"]
        return subprocess.run(
            [*words, script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_LIMIT,
        )


def fresh(place: Path) -> Host:
    """A new one at `place`. Raises `ProgramNotFound`."""
    bare = systems.bare("trixie")  # before the next, as both hold the same lock
    tree = kept("builds-trixie-1", partial(_make, bare)) / "tree"
    subprocess.run(["cp", "-a", str(tree), str(place)], check=True)
    for name in _REACH_FILES:
        if Path(name).exists():
            shutil.copy(name, place / name[1:])
    return Host(place)


def _make(bare: Path, directory: Path) -> None:
    subprocess.run(["cp", "-a", str(bare), str(directory / "tree")], check=True)
    shutil.copy("/etc/resolv.conf", directory / "tree/etc/resolv.conf")
    done = Host(directory / "tree").run(f"set -e\n{_PREPARE}", user="root")
    if done.returncode != 0:
        raise RuntimeError(f"Debian could not be prepared:\n{done.stdout[-2000:]}")


def checkout(place: Path, changes: Mapping[str, str]) -> Path:
    """A git repository at `place` with the files of this checkout, but for `changes`."""
    for name in _files():
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    for name, text in changes.items():
        (place / name).write_text(text)
    git(place, "init", "-q", "-b", "main")
    git(place, "add", ".")
    git(place, "commit", "-q", "-m", "all")
    return place


def _files() -> list[str]:
    """What is to be in a repository; a source distribution is none yet."""
    if not (ROOT / ".git").exists():
        found = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
        return [str(path) for path in found if "__pycache__" not in path.parts]
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.split("\0") if name]


def git(place: Path, *argv: str) -> None:
    """Run git in `place`."""
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *who, *argv], cwd=place, check=True)
