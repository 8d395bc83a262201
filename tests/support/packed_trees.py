"""Trees to pack, and independent readers of what was packed: `tar`, `bsdtar`, Python's tarfile."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from cacher.tree.pack import Packed, Selection, pack
from tests.support.servers.programs import require

SECOND = 10**9


@dataclass(frozen=True)
class Node:
    """One name in a tree: all of it that an archive keeps."""

    kind: str
    mode: int
    mtime_ns: int
    content: bytes = b""
    """A file's digest, a link's target."""
    first: bytes = b""
    """The first path, in C order, of the same file."""


Tree = dict[bytes, Node]
"""By path relative to the root, which is b"."."""


def look(root: Path | bytes) -> Tree:
    """What is at and below `root`. By descriptors, so that it may be deep."""
    found: Tree = {}
    seen: dict[int, bytes] = {}
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        status = os.fstat(fd)
        found[b"."] = Node("directory", stat.S_IMODE(status.st_mode), status.st_mtime_ns)
        _look(fd, b"", found, seen)
    finally:
        os.close(fd)
    return found


def _look(directory: int, prefix: bytes, found: Tree, seen: dict[int, bytes]) -> None:
    for name in sorted(map(os.fsencode, os.listdir(directory))):
        path = prefix + name
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        mode, mtime = stat.S_IMODE(status.st_mode), status.st_mtime_ns
        first = seen.setdefault(status.st_ino, path)
        if stat.S_ISDIR(status.st_mode):
            found[path] = Node("directory", mode, mtime)
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
            try:
                _look(fd, path + b"/", found, seen)
            finally:
                os.close(fd)
        elif stat.S_ISLNK(status.st_mode):
            target = os.readlink(name, dir_fd=directory)
            found[path] = Node("symlink", 0o777, mtime, target, first)
        elif stat.S_ISREG(status.st_mode):
            fd = os.open(name, os.O_RDONLY, dir_fd=directory)
            with open(fd, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
            found[path] = Node("file", mode, mtime, digest, first)
        else:
            found[path] = Node("special", mode, mtime)


class Sink:
    """Keeps what is packed, and checks how it is given. `before` is called with the count of bytes
    before each piece."""

    def __init__(self, before: Callable[[int], None] | None = None) -> None:
        self.data = bytearray()
        self.pieces: list[int] = []
        self._before = before

    def write(self, view: memoryview) -> None:
        if self._before:
            self._before(len(self.data))
        assert len(view) and len(view) % 512 == 0
        self.pieces.append(len(view))
        self.data += view


def packed(
    root: Path | str, selection: Selection | None = None, *, keep_owner: bool = False
) -> tuple[bytes, Packed]:
    """The archive of a directory."""
    sink = Sink()
    result = pack(os.fspath(root), sink.write, selection or Selection(), keep_owner=keep_owner)
    return bytes(sink.data), result


def names(
    root: Path | str,
    include: list[str] | None = None,
    exclude: list[str] | None = None,
    *,
    exclude_caches: bool = False,
    allow_missing: bool = False,
) -> list[str]:
    """The names of the members, in order, that a selection leaves."""
    selection = Selection(include or (), exclude or (), exclude_caches, allow_missing)
    data, result = packed(root, selection)
    found = [member.name for member in members(data)]
    assert result.members == len(found)
    return found


def members(data: bytes) -> list[tarfile.TarInfo]:
    """What tarfile reads, from a file in memory."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getmembers()


def by_tarfile(data: bytes) -> Tree:
    """What tarfile reads, without writing anything."""
    found: Tree = {}
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        for member in archive:
            path = os.fsencode(member.name)
            told = Decimal(member.pax_headers.get("mtime", int(member.mtime)))
            mtime = int(told * SECOND)
            if member.isdir():
                found[path] = Node("directory", member.mode, mtime)
            elif member.issym():
                target = os.fsencode(member.linkname)
                found[path] = Node("symlink", member.mode, mtime, target, path)
            elif member.islnk():
                first = found[os.fsencode(member.linkname)]
                found[path] = first
                assert (first.mode, first.mtime_ns) == (member.mode, mtime) or (
                    first.kind == "symlink"
                )
            else:
                assert member.isfile()
                file = archive.extractfile(member)
                assert file
                digest = hashlib.sha256(file.read()).digest()
                found[path] = Node("file", member.mode, mtime, digest, path)
    return found


def extracted(program: str, data: bytes, place: Path) -> Tree:
    """What `tar` or `bsdtar` restores below `place`, which is made."""
    place.mkdir()
    subprocess.run(
        [require(program), "-xpf", "-", "-C", str(place)],
        input=data,
        stderr=subprocess.PIPE,
        check=True,
    )
    return look(place)


def restores(program: str, data: bytes, place: Path, expected: Tree) -> None:
    """Fails if `tar` or `bsdtar` makes another tree than this of an archive."""
    found = extracted(program, data, place)
    if program == "bsdtar":
        # It sets no time of the directory that it restores into, whoever made the archive.
        found[b"."] = replace(found[b"."], mtime_ns=expected[b"."].mtime_ns)
    assert found == expected


PROGRAMS = ("tar", "bsdtar")


def listed(program: str, data: bytes) -> list[bytes]:
    """The names that `tar` or `bsdtar` tells, as they are."""
    command = [str(require(program)), "-tf", "-"]
    if program == "tar":
        command += ["--quoting-style=literal", "--show-transformed-names"]
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True)
    return done.stdout.splitlines()


@contextmanager
def no_descriptor_more() -> Iterator[None]:
    """Fails if what is done leaves a descriptor open."""
    before = descriptors()
    yield
    assert descriptors() == before


def descriptors() -> set[str]:
    """What this process has open, the listing itself not counted."""
    return {f"{fd} {target}" for fd in os.listdir("/proc/self/fd") if (target := _target(fd))}


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return ""
    except OSError:
        return "too long a path"


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


def counts(result: Packed) -> dict[str, int]:
    """What has been counted, but for what there was none of."""
    return {name: count for name, count in vars(result).items() if count}
