"""Pack and unpack in memory, and independent readers: `tar`, `bsdtar`, Python's tarfile."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from cacher.tree.pack import Packed, Selection, pack
from cacher.tree.unpack import Unpacked, UnpackOptions, unpack
from tests.support.servers.programs import require
from tests.support.tree_snapshots import Tree, TreeEntry, kept_content, snapshot
from tests.support.trees import SECOND


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
            path = "" if member.name == "." else member.name
            mtime = int(Decimal(member.pax_headers.get("mtime", int(member.mtime))) * SECOND)
            if member.isdir():
                found[path] = TreeEntry("directory", member.mode, mtime)
            elif member.issym():
                target = os.fsencode(member.linkname)
                found[path] = TreeEntry("link", member.mode, mtime, target, path)
            elif member.islnk():
                first = found[member.linkname]
                found[path] = first
                assert (first.mode, first.mtime_ns) == (member.mode, mtime) or (
                    first.kind == "link"
                )
            else:
                assert member.isfile()
                file = archive.extractfile(member)
                assert file
                content = kept_content(file.read())
                found[path] = TreeEntry("file", member.mode, mtime, content, path)
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
    return snapshot(place)


def restores(program: str, data: bytes, place: Path, expected: Tree) -> None:
    """Fails if `tar` or `bsdtar` makes another tree than this of an archive."""
    found = extracted(program, data, place)
    if program == "bsdtar":
        # It sets no time of the directory that it restores into, whoever made the archive.
        found[""] = found[""]._replace(mtime_ns=expected[""].mtime_ns)
    assert found == expected


PROGRAMS = ("tar", "bsdtar")


def listed(program: str, data: bytes) -> list[bytes]:
    """The names that `tar` or `bsdtar` tells, as they are."""
    command = [str(require(program)), "-tf", "-"]
    if program == "tar":
        command += ["--quoting-style=literal", "--show-transformed-names"]
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True)
    return done.stdout.splitlines()


def counts(result: Packed) -> dict[str, int]:
    """What has been counted, but for what there was none of."""
    return {name: count for name, count in vars(result).items() if count}


def pieces(data: bytes, step: int = 1 << 20) -> Callable[[], memoryview]:
    """A feed of `data`, whose buffer is wiped once the next piece is asked for."""
    buffer = bytearray(step)
    at = 0

    def feed() -> memoryview:
        nonlocal at
        piece = data[at : at + step]
        at += len(piece)
        buffer[:] = bytes(step)
        buffer[: len(piece)] = piece
        return memoryview(buffer)[: len(piece)]

    return feed


def restore(
    data: bytes, root: Path, wanted: UnpackOptions | None = None, step: int = 1 << 20
) -> Unpacked:
    """Unpack into `root`, which is made."""
    root.mkdir(mode=0o700)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return unpack(pieces(data, step), fd, wanted or UnpackOptions())
    finally:
        os.close(fd)
