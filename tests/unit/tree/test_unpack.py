"""Unpacking: what GNU tar makes of an archive, byte for byte, on any machine and in any pieces."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacher.errors import IntegrityError, LocalError, StoreError, UsageError
from cacher.tree.unpack import Unpacked, UnpackOptions, unpack
from tests.support import trees
from tests.support.acl import set_default_acl
from tests.support.descriptors import open_descriptors
from tests.support.evil_archives import END, FIFO, directory, hard_link, member, pax, symlink
from tests.support.servers.programs import require
from tests.support.tar_helpers import pieces, restore
from tests.support.tree_snapshots import Tree, TreeEntry, snapshot
from tests.support.trees import File, Spec, build

NOBODY = 65534
SECOND = 1_000_000_000
BLOCK = 512


CLOSED: Spec = {"d/closed": File(b"x", 0o000)}


def plain_tree(root: Path) -> None:
    """A tree that every format can store."""
    root.mkdir()
    build(root, trees.PLAIN | CLOSED)


def full_tree(root: Path) -> None:
    """A tree that needs extensions of GNU or PAX."""
    root.mkdir()
    build(root, trees.FULL | CLOSED)


def put(place: Path, content: bytes, mode: int) -> None:
    place.write_bytes(content)
    place.chmod(mode)


def by_tar(*flags: str) -> Callable[[Path], bytes]:
    return lambda root: run("tar", "-C", str(root), *flags, "-cf", "-", ".")


def by_bsdtar(form: str) -> Callable[[Path], bytes]:
    # In a UTF-8 locale it would convert names that are none.
    return lambda root: run("bsdtar", "-C", str(root), f"--format={form}", "-cf", "-", ".")


def by_tarfile(form: int) -> Callable[[Path], bytes]:
    def pack(root: Path) -> bytes:
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w", format=form) as archive:
            archive.add(root, ".")
        return target.getvalue()

    return pack


def run(*command: str, data: bytes = b"") -> bytes:
    program, *arguments = command
    line = [str(require(program)), *arguments]
    return subprocess.run(line, input=data, stdout=subprocess.PIPE, check=True).stdout


PLAIN = {
    "tar v7": by_tar("--format=v7"),
    "tar ustar": by_tar("--format=ustar"),
    "bsdtar ustar": by_bsdtar("ustar"),
    "tarfile ustar": by_tarfile(tarfile.USTAR_FORMAT),
}
FULL = {
    "tar gnu": by_tar("--format=gnu"),
    "tar oldgnu": by_tar("--format=oldgnu"),
    "tar pax": by_tar("--format=pax"),
    "tar by itself": by_tar(),
    "tar pax, without atime": by_tar("--format=pax", "--pax-option=delete=atime,delete=ctime"),
    "tar pax, one time": by_tar("--format=pax", "--pax-option=globexthdr.name=g,mtime:=5.25"),
    "tar sorted": by_tar("--sort=name"),
    "bsdtar pax": by_bsdtar("pax"),
    "bsdtar gnutar": by_bsdtar("gnutar"),
    "tarfile gnu": by_tarfile(tarfile.GNU_FORMAT),
    "tarfile pax": by_tarfile(tarfile.PAX_FORMAT),
}
BY_BSDTAR = (PLAIN["bsdtar ustar"], FULL["bsdtar pax"], FULL["bsdtar gnutar"])
ALL = [(plain_tree, name, pack) for name, pack in (PLAIN | FULL).items()]
ALL += [(full_tree, name, pack) for name, pack in FULL.items()]
EVERY = pytest.mark.parametrize(
    ("make", "pack"),
    [(make, pack) for make, _, pack in ALL],
    ids=[f"{make.__name__}, {name}" for make, name, _ in ALL],
)


def extracted(data: bytes, root: Path, program: str = "tar") -> None:
    """The tree as GNU tar or bsdtar extracts it."""
    root.mkdir()
    run(program, "-C", str(root), "-xpf", "-", "--no-same-owner", data=data)


@EVERY
def test_an_archive_becomes_what_tar_makes_of_it(
    make: Callable[[Path], None], pack: Callable[[Path], bytes], tmp_path: Path
) -> None:
    make(tmp_path / "tree")
    data = pack(tmp_path / "tree")
    extracted(data, tmp_path / "theirs")
    theirs = snapshot(tmp_path / "theirs")
    if pack in BY_BSDTAR:
        # GNU tar loses the times of directories in the order in which bsdtar stores them.
        extracted(data, tmp_path / "bsdtar's", "bsdtar")
        assert files(tmp_path / "bsdtar's") == files(tmp_path / "theirs")
        theirs = snapshot(tmp_path / "bsdtar's") | {"": stored_root(tmp_path / "tree", theirs)}
    assert len(theirs) >= 25
    for step in (1 << 20, BLOCK, 997):
        unpacked = restore(data, tmp_path / f"ours{step}", step=step)
        assert snapshot(tmp_path / f"ours{step}") == theirs
        assert unpacked.restored == unpacked.members == len(theirs)
        assert unpacked.skipped == 0


def stored_root(tree: Path, theirs: Tree) -> TreeEntry:
    """Return the root as the archive stores it, whose time bsdtar does not restore."""
    root = snapshot(tree)[""]
    if any(entry.mtime_ns % SECOND for entry in theirs.values() if entry.kind != "directory"):
        return root
    return root._replace(mtime_ns=root.mtime_ns // SECOND * SECOND)


def test_nothing_is_lost_with_pax(tmp_path: Path) -> None:
    full_tree(tmp_path / "tree")
    data = by_tar("--format=pax")(tmp_path / "tree")
    restore(data, tmp_path / "ours")
    assert snapshot(tmp_path / "ours") == snapshot(tmp_path / "tree")


@pytest.mark.parametrize("pack", (PLAIN | FULL).values(), ids=PLAIN | FULL)
def test_an_archive_in_single_bytes(pack: Callable[[Path], bytes], tmp_path: Path) -> None:
    plain_tree(tmp_path / "tree")
    data = pack(tmp_path / "tree")
    restore(data, tmp_path / "whole")
    restore(data, tmp_path / "bytes", step=1)
    assert snapshot(tmp_path / "bytes") == snapshot(tmp_path / "whole")


def small(root: Path) -> None:
    root.mkdir()
    put(root / ("n" * 120), b"x" * 1000, 0o644)
    (root / "d").mkdir()
    put(root / "d/f", b"x", 0o644)
    os.link(root / "d/f", root / "d/g")
    (root / "link").symlink_to("t" * 120)


@pytest.mark.parametrize("pack", FULL.values(), ids=FULL)
def test_an_archive_that_is_cut_off_is_refused(
    pack: Callable[[Path], bytes], tmp_path: Path
) -> None:
    small(tmp_path / "tree")
    data = pack(tmp_path / "tree")
    end = len(data.rstrip(b"\0"))
    end += -end % BLOCK
    cuts = [*range(0, end + 1, BLOCK), *range(1, end, 509), end + 1, end + BLOCK - 1]
    for cut in cuts:
        with pytest.raises(IntegrityError, match="the archive is cut off"):
            restore(data[:cut], tmp_path / f"cut{cut}")
        run("rm", "-rf", str(tmp_path / f"cut{cut}"))
    restore(data[: end + BLOCK], tmp_path / "one block of zeros is an end")


@pytest.mark.parametrize("pack", FULL.values(), ids=FULL)
def test_an_archive_with_trailing_junk_is_refused(
    pack: Callable[[Path], bytes], tmp_path: Path
) -> None:
    small(tmp_path / "tree")
    data = pack(tmp_path / "tree")
    restore(data + bytes(10_240), tmp_path / "zeros")
    for number, junk in enumerate((b"x", data, bytes(BLOCK) + b"x")):
        with pytest.raises(IntegrityError, match="something follows the end"):
            restore(data + junk, tmp_path / f"junk{number}")


NAMES = st.binary(min_size=1, max_size=120).filter(lambda name: not set(name) & {0, 0x2F})
PATHS = st.lists(NAMES.filter(lambda name: name not in (b".", b"..")), min_size=1, max_size=4)
CONTENTS = st.binary(max_size=1500)
MODES = st.integers(0, 0o7777)
TIMES = st.integers(0, 2**33)
ENTRIES = st.lists(st.tuples(PATHS, CONTENTS, MODES, TIMES), max_size=12)


@given(
    entries=ENTRIES,
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    step=st.sampled_from([1, 300, 512, 1024, 1536, 1 << 20]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tree_becomes_what_tar_makes_of_it(
    entries: list[tuple[list[bytes], bytes, int, int]], form: int, step: int
) -> None:
    target = io.BytesIO()
    taken: set[bytes] = set()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for path, content, mode, mtime in entries:
            parents = {b"/".join(path[:depth]) for depth in range(1, len(path))}
            whole = b"/".join(path)
            if whole in taken or parents & taken or any(t.startswith(whole + b"/") for t in taken):
                continue
            taken.add(whole)
            info = tarfile.TarInfo(os.fsdecode(whole))
            info.size, info.mode, info.mtime = len(content), mode, mtime
            archive.addfile(info, io.BytesIO(content))
    with tempfile.TemporaryDirectory() as place:
        extracted(target.getvalue(), Path(place, "theirs"))
        restore(target.getvalue(), Path(place, "ours"), step=step)
        assert files(Path(place, "ours")) == files(Path(place, "theirs"))


def files(root: Path) -> Tree:
    """All but directories, whose times are those of now if the archive does not tell."""
    found = snapshot(root).items()
    return {path: entry for path, entry in found if entry.kind != "directory"}


@pytest.fixture(params=[0o000, 0o022, 0o027, 0o077])
def umask(request: pytest.FixtureRequest) -> Any:
    before = os.umask(request.param)
    yield request.param
    assert os.umask(before) == request.param


def test_modes_are_the_archives_and_the_umask_counts_for_the_rest(
    umask: int, tmp_path: Path
) -> None:
    modes = (0o000, 0o400, 0o644, 0o666, 0o777, 0o1644, 0o2755, 0o4711, 0o7777)
    data = b"".join(member(b"implicit/f%o" % mode, b"x", mode=mode) for mode in modes)
    data += b"".join(directory(b"d%o/" % mode, mode) for mode in modes)
    restore(data + END, tmp_path / "root")
    for mode in modes:
        for name in (f"implicit/f{mode:o}", f"d{mode:o}"):
            assert stat.S_IMODE((tmp_path / "root" / name).stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "root/implicit").stat().st_mode) == 0o777 & ~umask
    assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o700


@pytest.mark.parametrize("acl", [(7, 5, 0), (7, 0, 0), (7, 7, 7)])
def test_modes_are_the_archives_whatever_a_default_acl_says(
    acl: tuple[int, int, int], umask: int, tmp_path: Path
) -> None:
    modes = (0o000, 0o600, 0o644, 0o755, 0o777, 0o2755, 0o4711)
    data = b"".join(member(b"implicit/f%o" % mode, b"x", mode=mode) for mode in modes)
    data += b"".join(directory(b"d%o/" % mode, mode) for mode in modes)
    data += b"".join(member(b"d755/f%o" % mode, b"x", mode=mode) for mode in modes)
    (tmp_path / "root").mkdir(mode=0o700)
    set_default_acl(tmp_path / "root", *acl)
    root = os.open(tmp_path / "root", os.O_RDONLY)
    unpack(pieces(data + END), root, UnpackOptions())
    os.close(root)
    for mode in modes:
        for name in (f"implicit/f{mode:o}", f"d755/f{mode:o}", f"d{mode:o}"):
            assert stat.S_IMODE((tmp_path / "root" / name).stat().st_mode) == mode
    # What the archive says nothing about is made as anything here is.
    implicit = stat.S_IMODE((tmp_path / "root/implicit").stat().st_mode)
    assert implicit == acl[0] << 6 | acl[1] << 3 | acl[2]


def test_the_root_is_what_the_archive_says(tmp_path: Path) -> None:
    restore(directory(b"./", 0o751) + member(b"./f") + END, tmp_path / "root")
    status = (tmp_path / "root").stat()
    assert stat.S_IMODE(status.st_mode) == 0o751
    assert status.st_mtime_ns == 1_600_000_000 * SECOND


def test_a_directory_keeps_mode_and_time_however_often_it_is_entered(tmp_path: Path) -> None:
    data = (
        directory(b"a/", 0o555)
        + member(b"a/f")
        + directory(b"b/", 0o500)
        + member(b"a/g")
        + member(b"b/x/y")
        + member(b"a/h")
    )
    as_ordinary(lambda root: unpack(pieces(data + END), root, UnpackOptions()), tmp_path / "root")
    for name, mode in (("a", 0o555), ("b", 0o500)):
        status = (tmp_path / "root" / name).stat()
        assert stat.S_IMODE(status.st_mode) == mode
        assert status.st_mtime_ns == 1_600_000_000 * SECOND
    assert sorted(os.listdir(tmp_path / "root/a")) == ["f", "g", "h"]


def test_the_later_of_two_members_decides_the_mode_of_a_directory(tmp_path: Path) -> None:
    data = directory(b"a/", 0o555) + member(b"a/f") + directory(b"a/", 0o711) + END
    restore(data, tmp_path / "root")
    assert stat.S_IMODE((tmp_path / "root/a").stat().st_mode) == 0o711


def as_ordinary(work: Callable[[int], object], root: Path) -> None:
    """Do it in a process of its own, as a user to whom modes matter; `root` is made for it."""
    root.mkdir(mode=0o700)
    fd = os.open(root, os.O_RDONLY)
    try:
        if os.geteuid() != 0:
            work(fd)
            return
        os.fchown(fd, NOBODY, NOBODY)
        child = os.fork()
        if not child:
            _become_ordinary(work, fd)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        os.close(fd)


def _become_ordinary(work: Callable[[int], object], fd: int) -> None:
    status = 1
    try:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        work(fd)
        status = 0
    finally:
        os._exit(status)


@pytest.mark.parametrize("pack", [FULL["tar gnu"], FULL["bsdtar pax"]], ids=["gnu", "pax"])
def test_an_ordinary_user_gets_the_same(pack: Callable[[Path], bytes], tmp_path: Path) -> None:
    full_tree(tmp_path / "tree")
    data = pack(tmp_path / "tree")
    as_ordinary(lambda root: unpack(pieces(data), root, UnpackOptions()), tmp_path / "theirs")
    restore(data, tmp_path / "ours")
    assert snapshot(tmp_path / "theirs") == snapshot(tmp_path / "ours")


def test_what_an_ordinary_user_restores_is_theirs(tmp_path: Path) -> None:
    data = member(b"f", owner=b"%07o\0" % 1234) + symlink(b"s", b"f") + END
    as_ordinary(lambda root: unpack(pieces(data), root, UnpackOptions()), tmp_path / "root")
    owner = NOBODY if os.geteuid() == 0 else os.geteuid()
    assert (tmp_path / "root/f").lstat().st_uid == owner


def test_an_ordinary_user_gives_nothing_away(tmp_path: Path) -> None:
    def work(root: int) -> None:
        data = member(b"f", owner=b"%07o\0" % 1234) + END
        with pytest.raises(LocalError, match=r"^giving f to user 1234 and group 1234: ") as failure:
            unpack(pieces(data), root, UnpackOptions(keep_owner=True))
        assert "leave out --owner" in failure.value.hint

    as_ordinary(work, tmp_path / "root")


@pytest.mark.parametrize(
    ("call", "data", "message"),
    [
        ("fchmod", member(b"f", mode=0o4755), "setting the mode of f to 4755"),
        ("fchmod", directory(b"d/", 0o755) + member(b"f"), "setting the mode of d/ to 0755"),
        ("fchmod", member(b"a/b/f"), "setting the mode of b to 0755"),
        ("utime", member(b"f"), "writing f"),
        ("mkdir", directory(b"d/"), "writing d/"),
    ],
)
def test_a_refusal_blames_only_what_was_asked_for(
    call: str, data: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, FailingOs(0, errno.EPERM, only=call))
    with pytest.raises(LocalError) as failure:
        restore(data + END, tmp_path / "root")
    assert failure.value.message == f"{message}: operation not permitted"
    assert failure.value.hint
    assert "--owner" not in failure.value.hint


def test_owners_are_given_before_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Giving a file away takes its setuid bit, so that comes first."""
    calls: list[tuple[object, ...]] = []
    fchmod = os.fchmod

    def chowned(_what: object, uid: int, gid: int, **_rest: object) -> None:
        calls.append(("owner", uid, gid))

    def chmodded(fd: int, mode: int) -> None:
        calls.append(("mode", mode))
        fchmod(fd, mode)

    monkeypatch.setattr(os, "fchown", chowned)
    monkeypatch.setattr(os, "chown", chowned)
    monkeypatch.setattr(os, "fchmod", chmodded)
    owner = b"%07o\0" % 1234
    data = (
        member(b"d/", kind=b"5", mode=0o2755, owner=owner)
        + member(b"d/f", mode=0o4755, owner=owner)
        + member(b"d/s", kind=b"2", link=b"f", owner=owner)
    )
    restore(data + END, tmp_path / "root", UnpackOptions(keep_owner=True))
    given, link = ("owner", 1234, 1234), ("owner", 1234, 1234)
    assert calls == [given, ("mode", 0o4755), link, given, ("mode", 0o2755)]


# What is wanted.


def test_strip_drops_the_first_names(tmp_path: Path) -> None:
    data = (
        directory(b"a/", 0o700)
        + member(b"top", b"0")
        + member(b"./a/b/f", b"1")
        + hard_link(b"a/b/g", b"a/b/f")
        + symlink(b"a//b/s", b"a/b/f")
    )
    unpacked = restore(data + END, tmp_path / "root", UnpackOptions(strip=1))
    assert sorted(snapshot(tmp_path / "root")) == ["", "b", "b/f", "b/g", "b/s"]
    assert (tmp_path / "root/b/f").stat().st_nlink == 2
    assert os.readlink(tmp_path / "root/b/s") == "a/b/f"
    assert (unpacked.members, unpacked.restored, unpacked.size) == (5, 3, 2)


def test_only_what_matches_is_restored(tmp_path: Path) -> None:
    data = (
        directory(b"a/", 0o755)
        + member(b"a/f", b"12")
        + member(b"b/f", b"345" * 1000)
        + directory(b"b/c/", 0o755)
        + member(b"b/c/g", b"6")
        + member(b"p", kind=FIFO)
    )
    unpacked = restore(data + END, tmp_path / "root", UnpackOptions(only=["a", "b/c"]))
    assert sorted(snapshot(tmp_path / "root")) == ["", "a", "a/f", "b", "b/c", "b/c/g"]
    assert (unpacked.members, unpacked.restored, unpacked.size) == (6, 4, 3003)
    assert unpacked.skipped == 0


@pytest.mark.parametrize("wanted", [UnpackOptions(strip=1), UnpackOptions(only=["a/g"])])
def test_a_hard_link_to_what_is_left_out(wanted: UnpackOptions, tmp_path: Path) -> None:
    target = b"f" if wanted.strip else b"a/f"
    data = member(target) + hard_link(b"a/g", target) + END
    with pytest.raises(UsageError, match=r"a/g is a hard link to .*f, which is left out"):
        restore(data, tmp_path / "root", wanted)


def test_fifos_are_passed_over_and_counted(tmp_path: Path) -> None:
    unpacked = restore(member(b"p", kind=FIFO) + member(b"f", b"x") + END, tmp_path / "root")
    assert os.listdir(tmp_path / "root") == ["f"]
    assert (unpacked.members, unpacked.restored, unpacked.skipped) == (2, 1, 1)


@pytest.mark.parametrize("less", [0, 1])
def test_as_many_bytes_of_tar_as_are_allowed(less: int, tmp_path: Path) -> None:
    data = member(b"f", bytes(5000)) + END
    wanted = UnpackOptions(max_size=len(data) - less)
    if not less:
        restore(data, tmp_path / "root", wanted, step=512)
        return
    with pytest.raises(IntegrityError, match=f"more than {len(data) - 1} bytes") as failure:
        restore(data, tmp_path / "root", wanted, step=512)
    assert failure.value.hint == "--max-unpacked allows more"


# This machine fails.


class FailingOs:
    """The `os` module, one of whose calls fails: the n-th of those that change anything."""

    CALLS = frozenset(
        [
            *("open", "mkdir", "write", "fchmod", "utime", "symlink", "link", "unlink"),
            *("stat", "fstat", "dup", "chmod", "close"),
        ]
    )

    def __init__(self, fails: int = -1, error: int = errno.EIO, only: str = "") -> None:
        self.calls, self.fails, self.error, self.only = 0, fails, error, only

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in self.CALLS or (self.only and name != self.only):
            return real

        def call(*arguments: Any, **named: Any) -> Any:
            if name == "close" and stat.S_ISDIR(os.fstat(arguments[0]).st_mode):
                return real(*arguments)  # there is nothing that could fail
            self.calls += 1
            if self.calls - 1 == self.fails:
                if name == "close":
                    real(*arguments)
                raise OSError(self.error, os.strerror(self.error))
            return real(*arguments, **named)

        return call


def failing(monkeypatch: pytest.MonkeyPatch, fake: FailingOs) -> None:
    for room in ("modes_and_owners", "unpack", "extract_dirs", "dir_stack"):
        monkeypatch.setattr(f"cacher.tree.{room}.os", fake)


EVENTFUL = (
    directory(b"./")
    + directory(b"a/", 0o555)
    + member(b"a/f", b"x", mode=0o4755)
    + member(b"b/c/d", b"y" * 3000)
    + symlink(b"b/s", b"c")
    + hard_link(b"b/h", b"a/f")
    + member(b"b/s", b"z")
    + member(b"a/" + b"e/" * 20 + b"f", b"deep")
    + END
)


def test_any_call_that_fails_is_an_error_of_this_machine_and_leaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FailingOs()
    failing(monkeypatch, fake)
    restore(EVENTFUL, tmp_path / "whole", step=1024)
    assert fake.calls > 90
    before = open_descriptors()
    suspicious = range(4, 9)  # then names are only trusted less
    for number in sorted({*range(fake.calls)} - {*suspicious}):
        failing(monkeypatch, FailingOs(number))
        with pytest.raises(LocalError, match=r"^writing .*: input/output error"):
            restore(EVENTFUL, tmp_path / f"root{number}", step=1024)
        assert open_descriptors() == before


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, FailingOs(2, errno.ENOSPC, only="write"))
    data = b"".join(member(b"f%d" % n, b"x") for n in range(5)) + END
    with pytest.raises(LocalError) as failure:
        restore(data, tmp_path / "root")
    assert failure.value.message == "writing f2: no space left on device"
    assert failure.value.hint == "free some space"


def test_a_disk_that_takes_less_than_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:100]))
    restore(member(b"f", bytes(range(256)) * 40) + END, tmp_path / "root", step=4096)
    restore(member(b"f", bytes(range(256)) * 40) + END, tmp_path / "whole")
    assert (tmp_path / "root/f").read_bytes() == bytes(range(256)) * 40
    assert (tmp_path / "whole/f").read_bytes() == bytes(range(256)) * 40


@pytest.mark.parametrize(
    "error", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EXDEV]
)
def test_without_hard_links_there_are_copies(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_arguments: object, **_named: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "link", link)
    data = (
        member(b"f", b"x" * 600_000, mode=0o640)
        + hard_link(b"g", b"f")
        + symlink(b"s", b"f")
        + hard_link(b"t", b"s")
    )
    restore(data + END, tmp_path / "root")
    one, other = (tmp_path / "root/f").stat(), (tmp_path / "root/g").stat()
    assert (one.st_mode, one.st_mtime_ns) == (other.st_mode, other.st_mtime_ns)
    assert one.st_ino != other.st_ino
    assert (tmp_path / "root/g").read_bytes() == b"x" * 600_000
    assert os.readlink(tmp_path / "root/t") == "f"


@pytest.mark.parametrize("after", [0, 1, 2, 5])
def test_what_the_feed_raises_passes_through(after: int, tmp_path: Path) -> None:
    data = pax((b"mtime", b"1.5")) + member(b"f", bytes(5000)) + END
    given = pieces(data, 1024)
    asked = 0

    def feed() -> memoryview:
        nonlocal asked
        asked += 1
        if asked > after:
            raise StoreError("the connection broke")
        return given()

    (tmp_path / "root").mkdir()
    root = os.open(tmp_path / "root", os.O_RDONLY)
    before = open_descriptors()
    with pytest.raises(StoreError, match="the connection broke"):
        unpack(feed, root, UnpackOptions())
    assert open_descriptors() == before
    os.close(root)


def test_what_is_counted(tmp_path: Path) -> None:
    data = directory(b"./") + member(b"f", bytes(700)) + hard_link(b"g", b"f") + member(b"f", b"x")
    unpacked = restore(data + END, tmp_path / "root")
    assert isinstance(unpacked, Unpacked)
    assert (unpacked.members, unpacked.restored, unpacked.size) == (4, 4, 701)


def test_gnu_tar_given_a_directory_twice(tmp_path: Path) -> None:
    """It then stores links of files to themselves."""
    (tmp_path / "tree/d").mkdir(parents=True)
    (tmp_path / "tree/d/f").write_text("x")
    os.link(tmp_path / "tree/d/f", tmp_path / "tree/d/g")
    data = run("tar", "-C", str(tmp_path / "tree"), "-cf", "-", "d", "d")
    restore(data, tmp_path / "root")
    assert (tmp_path / "root/d/f").stat().st_nlink == 2
    assert (tmp_path / "root/d/g").read_text() == "x"
