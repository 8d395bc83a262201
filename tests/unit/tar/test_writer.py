"""Tar headers, read back by tarfile, GNU tar and bsdtar."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacher.tar.header_fields import BLOCK_SIZE, DIRECTORY, FILE, HARD_LINK, SYMLINK
from cacher.tar.writer import TIME_HEADER, TIME_RECORD, end_of_archive, header
from tests.support.servers.programs import require
from tests.support.tar_helpers import PROGRAMS, extracted, listed, members
from tests.support.tree_snapshots import TreeEntry
from tests.support.trees import SECOND

NOW = 1_700_000_000 * SECOND

GIB = 1 << 30


def read(block: bytes) -> tarfile.TarInfo:
    """What tarfile makes of the header of an empty member."""
    assert len(block) % BLOCK_SIZE == 0
    (member,) = members(block + end_of_archive())
    return member


def mtime_ns(member: tarfile.TarInfo) -> int:
    """Exactly: as a float tarfile would round it."""
    seconds = Decimal(member.pax_headers.get("mtime", int(member.mtime)))
    return int(seconds * SECOND)


def checked(block: bytes) -> None:
    """Every checksum is the sum of the header, the field itself taken as spaces (POSIX)."""
    position = 0
    while position < len(block):
        part = block[position : position + BLOCK_SIZE]
        recorded = int(part[148:154], 8)
        assert recorded == sum(part[:148]) + 8 * 32 + sum(part[156:])
        assert part[257:265] == b"ustar\x0000"
        size = int(part[124:135], 8) if part[156:157] == b"x" else 0
        position += BLOCK_SIZE + -(-size // BLOCK_SIZE) * BLOCK_SIZE
    assert position == len(block)


PATH = (
    st.binary(min_size=1, max_size=400)
    .map(lambda name: name.replace(b"\0", b"x").strip(b"/") or b"x")
    .filter(lambda name: b"//" not in name)
)


@given(
    path=PATH,
    mode=st.integers(0, 0o7777),
    mtime=st.integers(-(2**40) * SECOND, 2**40 * SECOND)
    | st.integers(0, 2**33).map(lambda time: time * SECOND),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
)
def test_tarfile_reads_any_file(path: bytes, mode: int, mtime: int, uid: int, gid: int) -> None:
    block = header(path, mode, 0, mtime, FILE, b"", uid, gid)
    checked(block)
    member = read(block)
    assert os.fsencode(member.name) == path
    assert (member.mode, member.uid, member.gid) == (mode, uid, gid)
    assert mtime_ns(member) == mtime
    assert member.isreg() and member.uname == member.gname == "" and not member.linkname


@given(path=PATH, target=PATH, kind=st.sampled_from([SYMLINK, HARD_LINK]))
def test_tarfile_reads_any_link(path: bytes, target: bytes, kind: bytes) -> None:
    block = header(path, 0o777, 0, NOW, kind, target)
    checked(block)
    member = read(block)
    assert (os.fsencode(member.name), os.fsencode(member.linkname)) == (path, target)
    assert member.issym() == (kind == SYMLINK)


@given(path=PATH, size=st.integers(0, 2**62))
def test_tarfile_reads_any_size(path: bytes, size: int) -> None:
    block = header(path, 0o644, size, NOW, FILE)
    checked(block)
    with tarfile.open(fileobj=io.BytesIO(block)) as archive:
        member = archive.next()
    assert member
    assert (os.fsencode(member.name), member.size) == (path, size)


SPLITS = [
    b"n" * 100,
    b"n" * 101,
    b"d/" + b"n" * 100,
    b"d/" + b"n" * 101,
    b"p" * 155 + b"/" + b"n" * 100,
    b"p" * 156 + b"/" + b"n" * 100,
    b"p" * 155 + b"/" + b"n" * 101,
    b"/".join([b"p" * 50] * 5),
    b"/".join([b"p" * 250] * 4),
    b"p" * 60 + b"/" + b"\xff" * 60,
    b"\xff" * 200,
    "é".encode() * 120,
]


@pytest.mark.parametrize("path", SPLITS, ids=lambda path: f"{len(path)}-{path[-1]:x}")
@pytest.mark.parametrize("kind", [FILE, DIRECTORY])
def test_long_names(path: bytes, kind: bytes, tmp_path: Path) -> None:
    if kind == DIRECTORY:
        path += b"/"
    block = header(path, 0o755, 0, NOW, kind)
    checked(block)
    assert os.fsencode(read(block).name) == path.rstrip(b"/")
    for program in PROGRAMS:
        tree = extracted(program, block + end_of_archive(), tmp_path / program)
        node = tree[os.fsdecode(path.rstrip(b"/"))]
        assert node.kind == ("directory" if kind == DIRECTORY else "file")
        assert node.mtime_ns == NOW


def test_names_that_fit_take_one_block() -> None:
    for path in (b"n" * 100, b"p" * 155 + b"/" + b"n" * 100, b"\xff" * 100):
        assert len(header(path, 0o644, 0, NOW, FILE)) == BLOCK_SIZE
    for path in (b"n" * 101, b"p" * 156 + b"/n" + b"n" * 99):
        assert len(header(path, 0o644, 0, NOW, FILE)) == 3 * BLOCK_SIZE


@pytest.mark.parametrize(
    ("path", "target", "binary"),
    [
        (b"a" * 300, b"", False),
        ("é".encode() * 300, b"", False),
        (b"\xff" * 300, b"", True),
        (b"\xff", b"t" * 101, False),
        (b"a", b"t" * 120 + b"\xff", True),
        (b"a", "é".encode() * 99, False),
        (b"a" * 300 + b"\xc3", b"\xa9" + b"t" * 120, True),
    ],
    ids=range(7),
)
def test_only_records_that_are_not_text_say_so(path: bytes, target: bytes, binary: bool) -> None:
    """`hdrcharset=BINARY` (POSIX), before what it is about."""
    block = header(path, 0o777, 0, NOW, SYMLINK, target or b"t")
    assert block[BLOCK_SIZE:].startswith(b"21 hdrcharset=BINARY\n") == binary
    assert (b"hdrcharset" in block) == binary


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("target", [b"/no", b"\xff\xfe", b"t" * 100, b"t" * 101, b"\xff" * 900])
def test_targets(program: str, target: bytes, tmp_path: Path) -> None:
    data = header(b"link", 0o777, 0, NOW, SYMLINK, target) + end_of_archive()
    tree = extracted(program, data, tmp_path / program)
    assert tree["link"] == TreeEntry("link", 0o777, NOW, target, "link")


TIMES = [
    0,
    1,
    SECOND - 1,
    999_999_999 * SECOND + 1,
    10**18,
    NOW + 1,
    NOW + 123_456_789,
    NOW + 120_000_000,
    8_589_934_591 * SECOND + 5,
    8_589_934_592 * SECOND + 5,
    9_999_999_999 * SECOND + 5,
    10_000_000_000 * SECOND,
    -1 * SECOND,
    -(2**31) * SECOND,
]


@pytest.mark.parametrize("time", TIMES)
def test_times(time: int, tmp_path: Path) -> None:
    block = header(b"f", 0o644, 0, time, FILE)
    checked(block)
    assert mtime_ns(read(block)) == time
    probe = tmp_path / "probe"
    probe.touch()
    os.utime(probe, ns=(time, time))
    kept = probe.stat().st_mtime_ns  # ext4 ends in 2446.
    for program in PROGRAMS:
        tree = extracted(program, block + end_of_archive(), tmp_path / program)
        assert tree["f"].mtime_ns == kept


@pytest.mark.parametrize("time", [-1, -SECOND - 1, -(3 * SECOND) // 2])
def test_fractions_before_1970(time: int, tmp_path: Path) -> None:
    """`-1.5` is one and a half seconds before 1970 (POSIX). libarchive 3.6 reads half a second."""
    block = header(b"f", 0o644, 0, time, FILE)
    assert mtime_ns(read(block)) == time
    assert extracted("tar", block + end_of_archive(), tmp_path / "tar")["f"].mtime_ns == time


def test_the_most_frequent_record_has_a_constant_header() -> None:
    block = header(b"f", 0o644, 0, NOW + 5, FILE)
    assert block[:BLOCK_SIZE] == TIME_HEADER
    assert block[BLOCK_SIZE : BLOCK_SIZE + TIME_RECORD] == b"30 mtime=1700000000.000000005\n"
    assert len(block) == 3 * BLOCK_SIZE
    assert len(header(b"f", 0o644, 0, NOW, FILE)) == BLOCK_SIZE


@pytest.mark.parametrize("size", [8 * GIB - 1, 8 * GIB, 8 * GIB + 513])
def test_large_files(size: int, tmp_path: Path) -> None:
    """Holes of a file make up the content, and readers seek."""
    archive = tmp_path / "archive.tar"
    block = header(b"large", 0o644, size, NOW, FILE)
    checked(block)
    after = header(b"after", 0o644, 0, NOW, FILE)
    with open(archive, "wb") as file:
        file.write(block)
        file.seek(-(-size // BLOCK_SIZE) * BLOCK_SIZE, os.SEEK_CUR)
        file.write(after + end_of_archive())
    with tarfile.open(archive) as opened:
        assert [(member.name, member.size) for member in opened] == [("large", size), ("after", 0)]
    for program in PROGRAMS:
        lines = subprocess.run(
            [require(program), "-tvf", str(archive)], stdout=subprocess.PIPE, check=True, text=True
        ).stdout.splitlines()
        assert len(lines) == 2
        assert f" {size} " in lines[0]
        assert lines[1].endswith(" after")


@pytest.mark.parametrize("owner", [0, 1000, 0o7777777, 0o10000000, 2**32 - 2])
def test_owners_are_numbers(owner: int) -> None:
    block = header(b"f", 0o644, 0, NOW, FILE, b"", owner, 1)
    checked(block)
    member = read(block)
    assert (member.uid, member.gid, member.uname, member.gname) == (owner, 1, "", "")
    for program in PROGRAMS:
        command = [str(require(program)), "--numeric-owner", "-tvf", "-"]
        done = subprocess.run(
            command, input=block + end_of_archive(), stdout=subprocess.PIPE, check=True
        )
        assert str(owner) in done.stdout.decode().replace("/", " ").split()


def test_an_empty_archive_is_two_blocks_of_zeros() -> None:
    assert end_of_archive() == bytes(1024)
    for program in PROGRAMS:
        assert listed(program, end_of_archive()) == []
