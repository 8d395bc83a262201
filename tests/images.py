"""Images of containers, made here: no registry is asked for any."""

from __future__ import annotations

import io
import os
import secrets
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.daemons import namespace
from tests.daemons.docker import Daemon
from tests.servers import programs
from tests.trees import _kept

_DEBOOTSTRAP_LIMIT = 900.0  # seconds; most is the download of 60 MB

SMALL = 300 * 1024
"""Bytes in a small image, which do not compress."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image in an engine."""

    tag: str
    id: str
    """`sha256:` and 64 hex digits."""


def debian() -> Path:
    """A tar of a minimal Debian's files, some 200 MB, kept in the tests' cache.

    Raises `ProgramNotFound`.
    """
    return _kept("debian-bookworm-1", _debian) / "rootfs.tar"


def import_debian(daemon: Daemon, tag: str) -> Image:
    """Debian as an image of one layer."""
    return _imported(daemon, tag, debian())


def small(daemon: Daemon, tag: str = "", *, size: int = SMALL) -> Image:
    """A new image of one layer with `size` random bytes, its tag random, too, if none is given."""
    tag = tag or f"cacher-test/small-{secrets.token_hex(4)}:1"
    return _imported(daemon, tag, rootfs({"data": secrets.token_bytes(size)}))


def built(daemon: Daemon, tag: str, base: Image) -> Image:
    """A new image of another layer on top of `base`, by `docker build`."""
    recipe = f"FROM {base.tag}\nCOPY data /data\n".encode()
    context = rootfs({"Dockerfile": recipe, "data": secrets.token_bytes(SMALL)})
    daemon.run("build", "--network", "none", "--tag", tag, "-", input=context)
    return _found(daemon, tag)


def rootfs(files: dict[str, bytes]) -> bytes:
    """A tar of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _imported(daemon: Daemon, tag: str, content: Path | bytes) -> Image:
    if isinstance(content, Path):
        daemon.run("import", content, tag)
    else:
        daemon.run("import", "-", tag, input=content)
    return _found(daemon, tag)


def _found(daemon: Daemon, tag: str) -> Image:
    found = daemon.image_id(tag)
    assert found is not None
    return Image(tag, found)


def _debian(directory: Path) -> None:
    """By debootstrap, whose mounts in the tree end with it."""
    debootstrap = "/usr/sbin/debootstrap"  # not on every user's PATH
    if not os.access(debootstrap, os.X_OK):
        debootstrap = str(programs.find("debootstrap", provider="apt-get install debootstrap"))
    script = """\
set -e
"$1" --variant=minbase bookworm tree
rm -rf tree/var/cache/apt/archives/*.deb tree/var/lib/apt/lists/*
tar --create --file rootfs.tar --numeric-owner --sort=name --directory tree .
rm -rf --one-file-system tree
"""
    done = subprocess.run(
        [*namespace.enter(), "sh", "-c", script, "sh", debootstrap],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_DEBOOTSTRAP_LIMIT,
        check=False,
    )
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace").splitlines()
        raise RuntimeError("\n".join(["debootstrap failed", *said[-20:]]))
