"""Images of containers, made here: no registry is asked for any."""

from __future__ import annotations

import io
import secrets
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.support import systems
from tests.support.daemons.docker import Daemon
from tests.support.kept import kept

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
    return kept("debian-bookworm-1", _debian) / "rootfs.tar"


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
    script = """\
set -e
"$1" --variant=minbase "$2" tree
rm -rf tree/var/cache/apt/archives/*.deb tree/var/lib/apt/lists/*
tar --create --file rootfs.tar --numeric-owner --sort=name --directory tree .
rm -rf --one-file-system tree
"""
    systems.debootstrap(directory, "bookworm", script)
