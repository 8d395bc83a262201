"""A hostile archive is refused by name, or does no harm; in no case is anything outside touched."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cacher.errors import CacherError, IntegrityError
from cacher.tree.unpack import UnpackOptions
from tests.support import evil_archives
from tests.support.case_folding import FoldingOs
from tests.support.descriptors import open_descriptors
from tests.support.evil_archives import (
    END,
    HARMLESS,
    REFUSED,
    TIME,
    Evil,
    directory,
    member,
    pax,
    symlink,
)
from tests.support.tar_helpers import restore
from tests.support.tree_snapshots import Tree, snapshot

STEPS = (1, 511, 1 << 20)
"""Bytes in a piece of a stream: all boundaries, odd ones, and none."""


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory beside the restored one, which is the same afterwards, as is all around it."""
    place = tmp_path / "outside"
    place.mkdir()
    (place / "secret").write_text("not to be read, linked or written")
    gc.collect()  # what other tests have left open may be closed at any time
    before, descriptors = around(tmp_path), open_descriptors()
    yield place
    assert around(tmp_path) == before
    assert open_descriptors() <= descriptors


def around(tmp_path: Path) -> tuple[Tree, int]:
    """All but the restored directory, and how many names a file has."""
    found = {
        path: entry
        for path, entry in snapshot(tmp_path).items()
        if path and path != "root" and not path.startswith(("root/", "root\0"))
    }
    return found, os.stat(tmp_path / "outside/secret").st_nlink


@contextmanager
def emptied(root: Path) -> Iterator[Path]:
    """Where an archive is restored, and removed again."""
    try:
        yield root
    finally:
        shutil.rmtree(root)


def contents(root: Path) -> dict[bytes, bytes]:
    """Files and links below a directory."""
    found = {}
    top = os.fsencode(root)
    for where, directories, files in os.walk(top):
        for name in files + directories:
            place = os.path.join(where, name)
            if os.path.islink(place):
                found[os.path.relpath(place, top)] = b"-> " + os.readlink(place)
            elif os.path.isfile(place):
                found[os.path.relpath(place, top)] = Path(os.fsdecode(place)).read_bytes()
    return found


@pytest.mark.parametrize("evil", REFUSED.values(), ids=REFUSED)
def test_a_hostile_archive_is_refused(evil: Evil, tmp_path: Path, outside: Path) -> None:
    data = evil.build(os.fsencode(outside))
    for step in STEPS:
        with pytest.raises(CacherError) as failure, emptied(tmp_path / "root") as root:
            restore(data, root, evil.wanted, step)
        assert type(failure.value) is evil.error
        for words in evil.says:
            assert words in failure.value.message
        assert "\n" not in failure.value.message
        assert len(failure.value.message) < 1000
    # The short ways for members beside or below the one before are as safe as the long one.
    before = directory(b"./") + member(b"z", b"x") + directory(b"y/") + member(b"y/z", b"x")
    wanted = evil.wanted._replace(max_size=evil.wanted.max_size + len(before))
    with pytest.raises(evil.error):
        restore(before + data, tmp_path / "root", wanted)


@pytest.mark.parametrize(("data", "expected"), HARMLESS.values(), ids=HARMLESS)
def test_an_odd_archive_does_no_harm(
    data: bytes, expected: dict[bytes, bytes], tmp_path: Path, outside: Path
) -> None:
    for step in STEPS:
        with emptied(tmp_path / "root") as root:
            restore(data + END, root, step=step)
            assert contents(root) == expected


BEFORE = member(b"z", b"z")
"""The first member of a stream goes the long way: no piece of it was there yet."""


def test_the_short_way_is_as_safe(tmp_path: Path, outside: Path) -> None:
    """A time as we write it, then a header: read three blocks at once."""
    for evil in (
        symlink(b"l", b"../outside") + TIME + member(b"l/evil"),
        TIME + member(b"../outside/evil"),
        TIME + directory(b"../outside/"),
        symlink(b"l/", b"../outside") + TIME + member(b"l/evil"),
        TIME + member(b"f/.") + TIME + member(b"f/evil"),
        TIME + member(b"evil", total=b"000001\0 "),
        TIME + member(b"evil", size=b"7" * 11 + b"\0"),
    ):
        with pytest.raises(IntegrityError), emptied(tmp_path / "root") as root:
            restore(BEFORE + evil + END, root)


def test_a_file_that_ends_in_a_slash_is_a_directory_on_the_short_way_too(tmp_path: Path) -> None:
    data = BEFORE + TIME + member(b"a/", mode=0o755) + TIME + member(b"a/f", b"x") + END
    restore(data, tmp_path / "root")
    assert contents(tmp_path / "root") == {b"a/f": b"x", b"z": b"z"}


def test_members_after_the_size_of_a_directory_are_not_lost(tmp_path: Path) -> None:
    with_size = member(b"a/", kind=evil_archives.DIRECTORY, size=b"%011o\0" % 512, mode=0o755)
    data = BEFORE + TIME + with_size + member(b"f", b"x") + member(b"g", b"y") + END
    restore(data, tmp_path / "root")
    assert contents(tmp_path / "root") == {b"f": b"x", b"g": b"y", b"z": b"z"}


@pytest.mark.parametrize("length", [1, 511, 512, 513, 4096])
@pytest.mark.parametrize("junk", [b"\0", b"\1", b"x"])
def test_only_zeros_may_follow_the_end(length: int, junk: bytes, tmp_path: Path) -> None:
    data = member(b"f", b"x") + END + bytes(length - 1) + junk
    if junk == b"\0":
        restore(data, tmp_path / "root")
    else:
        with pytest.raises(IntegrityError, match="follows the end"):
            restore(data, tmp_path / "root")


@pytest.mark.slow
def test_very_deep_directories(tmp_path: Path) -> None:
    """5,000 levels: far beyond PATH_MAX, and beyond the descriptors of a process."""
    path = b"d/" * 5000
    data = pax((b"path", path + b"f")) + member(b"f", b"deep") + member(b"g", b"high") + END
    root = tmp_path / "root"
    try:
        with limited(resource.RLIMIT_NOFILE, 200):
            assert restore(data, root).restored == 2
            fd = os.open(root, os.O_RDONLY)
            for _ in range(5000):
                inner = os.open(b"d", os.O_RDONLY, dir_fd=fd)
                os.close(fd)
                fd = inner
        inner = os.open(b"f", os.O_RDONLY, dir_fd=fd)
        assert os.read(inner, 10) == b"deep"
        os.close(inner)
        os.close(fd)
        assert (root / "g").read_bytes() == b"high"
    finally:
        subprocess.run(["rm", "-rf", root], check=True)


class limited:
    """A limit of this process, lowered for a while."""

    def __init__(self, what: int, value: int) -> None:
        self.what, self.value = what, value

    def __enter__(self) -> None:
        self.before = resource.getrlimit(self.what)
        resource.setrlimit(self.what, (self.value, self.before[1]))

    def __exit__(self, *_exc: object) -> None:
        resource.setrlimit(self.what, self.before)


MEMORY = """
import os, resource, sys
from cacher.tree.unpack import UnpackOptions, unpack
from tests.support.evil_archives import END, directory, member, pax
kind, count, root = sys.argv[1], int(sys.argv[2]), os.open(sys.argv[3], os.O_RDONLY)
BUILD = {
    "directories": lambda n: directory(b"d%07d/" % n),
    "duplicates": lambda n: member(b"f"),
    "records": lambda n: pax((b"GNU.sparse.%d" % n, b"x" * 100_000), kind=b"g"),
}
def stream():
    for start in range(0, count, 10):
        yield memoryview(b"".join(map(BUILD[kind], range(start, start + 10))))
    yield memoryview(END)
    yield memoryview(b"")
pieces = stream()
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
before = peak()
unpack(lambda: next(pieces), root, UnpackOptions())
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "count", "most"),
    [
        ("directories", 20_000, 2048),  # as many objects of any kind would take more
        ("duplicates", 20_000, 2048),
        ("records", 1000, 8192),  # of 100 MB, in pieces of one
    ],
)
def test_memory_does_not_grow_with_an_archive(
    kind: str, count: int, most: int, tmp_path: Path
) -> None:
    """In a process of its own, in KiB."""
    root = tmp_path / "root"
    root.mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY, kind, str(count), root],
        stdout=subprocess.PIPE,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert int(ran.stdout) < most


# File systems that fold names.


@pytest.fixture
def folding(monkeypatch: pytest.MonkeyPatch) -> FoldingOs:
    """The system as the unpacking sees it, on a file system that ignores case."""
    fake = FoldingOs()
    for room in ("unpack", "extract_dirs", "dir_stack"):
        monkeypatch.setattr(f"cacher.tree.{room}.os", fake)
    return fake


FOLDED = {
    "case": member(b"README", b"1") + member(b"readme", b"2"),
    "case of directories": directory(b"Lib/") + directory(b"lib/"),
    "case of a parent": member(b"Lib/a") + member(b"lib/b"),
    "unicode form": member("é".encode(), b"1") + member("e\u0301".encode(), b"2"),
    "a link, then a write": symlink(b"L", b"../outside/secret") + member(b"l", b"x"),
    "a link, then below it": symlink(b"L", b"../outside") + member(b"l/evil", b"x"),
    "a symlink over another": symlink(b"L", b"a") + symlink(b"l", b"b"),
    "a hard link over another": (member(b"f") + member(b"L") + evil_archives.hard_link(b"l", b"f")),
    "a hard link to its other case": member(b"L") + evil_archives.hard_link(b"l", b"L"),
}


@pytest.mark.parametrize("data", FOLDED.values(), ids=FOLDED)
def test_names_that_fold_into_another_are_refused(
    data: bytes, folding: FoldingOs, tmp_path: Path, outside: Path
) -> None:
    with pytest.raises(IntegrityError, match="takes it for another member's name") as failure:
        restore(data + END, tmp_path / "root")
    assert failure.value.message.startswith(("readme: ", "lib/", "e\u0301: ", "l: ", "l/evil: "))


@pytest.mark.parametrize("data", FOLDED.values(), ids=FOLDED)
def test_elsewhere_such_names_are_different(data: bytes, tmp_path: Path, outside: Path) -> None:
    unpacked = restore(data + END, tmp_path / "root")
    assert unpacked.restored == unpacked.members


def test_true_duplicates_are_no_collision_where_names_fold(
    folding: FoldingOs, tmp_path: Path
) -> None:
    data = directory(b"D/") + member(b"D/f", b"1") + directory(b"D/") + member(b"D/f", b"2")
    restore(data + END, tmp_path / "root")
    assert contents(tmp_path / "root") == {b"D/f": b"2"}
    assert folding.folded == {"CACHER-É"}  # but for the probe, no name was taken for another


def test_the_probe_leaves_nothing(tmp_path: Path) -> None:
    restore(END, tmp_path / "root")
    assert os.listdir(tmp_path / "root") == []


# Fuzzing: damage anywhere.


def test_any_changed_byte_of_a_header_is_refused_or_harmless(tmp_path: Path, outside: Path) -> None:
    """No damage ends in anything but a result or an error raised on purpose."""
    data = (
        directory(b"a/")
        + pax((b"path", b"a/" + b"n" * 200), (b"mtime", b"1.5"))
        + member(b"x", b"content")
        + symlink(b"a/s", b"../outside")
        + END
    )
    refused = 0
    for at in range(0, len(data) - 1024, 11):
        for value in (0x00, 0x2F, 0x39, 0xFF):
            damaged = data[:at] + bytes([value]) + data[at + 1 :]
            refused += is_refused(damaged, tmp_path / "root")
    assert refused > len(data) / 11


def is_refused(data: bytes, root: Path) -> bool:
    with emptied(root):
        try:
            restore(data, root, UnpackOptions(max_size=1 << 20))
        except CacherError:
            return True
        return False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("levels", "says"), [(50_000, "a path of 100001 bytes"), (20_000, "too many directories")]
)
def test_paths_have_an_end(levels: int, says: str, tmp_path: Path) -> None:
    """Each level costs a directory, and what is remembered of it."""
    path = b"d/" * levels + b"f"
    with pytest.raises(IntegrityError, match=says):
        restore(pax((b"path", path)) + member(b"f") + END, tmp_path / "root")
    subprocess.run(["rm", "-rf", tmp_path / "root"], check=True)
