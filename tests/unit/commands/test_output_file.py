"""DEST: whole or not at all, with the right mode, through no link, and nothing left behind."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cacher.commands import output_file
from cacher.commands.output_file import FileDestination, SpooledDestination, is_stream
from cacher.errors import LocalError, UsageError

HUGE = 1 << 62


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def everything(here: Path) -> list[str]:
    return sorted(str(path.relative_to(here)) for path in here.rglob("*"))


def write(dest: Path | str, data: bytes = b"new") -> None:
    with FileDestination(str(dest)) as place:
        os.write(place.fd, data)
        place.publish()


# --- whole or not at all -------------------------------------------------------------------------


def test_a_file_appears_when_it_is_published(here: Path) -> None:
    with FileDestination("a.txt") as place:
        os.write(place.fd, b"new")
        (temporary,) = everything(here)
        assert temporary.startswith(".a.txt.cacher-")
        place.publish()
        assert everything(here) == ["a.txt"]
        assert os.pread(place.fd, 10, 0) == b"new"  # to be stored from, still
    assert (here / "a.txt").read_bytes() == b"new"


def test_an_old_file_stays_until_then(here: Path) -> None:
    (here / "a").write_bytes(b"old")
    with FileDestination("a") as place:
        os.write(place.fd, b"new")
        assert (here / "a").read_bytes() == b"old"
        place.publish()
    assert (here / "a").read_bytes() == b"new"


@pytest.mark.parametrize("old", [None, b"old"])
def test_nothing_is_left_on_the_way_out(here: Path, old: bytes | None) -> None:
    if old:
        (here / "a").write_bytes(old)
    before = everything(here)
    place = FileDestination("a")
    os.write(place.fd, b"new")
    place.close()
    place.close()
    assert everything(here) == before
    with pytest.raises(KeyError), FileDestination("a"):
        raise KeyError
    assert everything(here) == before


def test_descriptors_are_closed(here: Path) -> None:
    with FileDestination("a") as place:
        fd = place.fd
        place.publish()
        os.fstat(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_two_at_a_time_do_not_meet(here: Path) -> None:
    with FileDestination("a") as first, FileDestination("a") as second:
        os.write(first.fd, b"first")
        os.write(second.fd, b"second")
        second.publish()
        first.publish()
    assert (here / "a").read_bytes() == b"first"
    assert everything(here) == ["a"]


def test_a_rename_that_fails_leaves_nothing(here: Path) -> None:
    with FileDestination("a") as place:
        (here / "a").mkdir()
        with pytest.raises(LocalError, match="writing a: is a directory"):
            place.publish()
    assert everything(here) == ["a"]


# --- leftovers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dest", ["a", "./a", "sub/../a", "a [b]", "n" * 250])
def test_what_killed_runs_left_is_removed(here: Path, dest: str) -> None:
    (here / "sub").mkdir()
    stem = os.path.basename(dest)[:200]
    for number in ("01234567", "89abcdef"):
        (here / f".{stem}.cacher-{number}").write_bytes(b"half")
    write(dest)
    assert everything(here) == sorted([os.path.basename(dest), "sub"])


def test_a_run_that_fails_removes_them_too(here: Path) -> None:
    (here / ".a.cacher-01234567").write_bytes(b"half")
    FileDestination("a").close()
    assert everything(here) == []


def test_what_may_be_somebody_elses_stays(here: Path) -> None:
    for name in (".b.cacher-01234567", ".a.cacher-0123456", ".a.cacher-0123456g", "a.cacher-01"):
        (here / name).write_bytes(b"kept")
    (here / ".a.cacher-00000000").mkdir()
    (here / ".a.cacher-11111111").symlink_to(".b.cacher-01234567")
    os.mkfifo(here / ".a.cacher-22222222")
    before = everything(here)
    write("a")
    assert everything(here) == sorted(["a", *before])


def test_what_lives_stays(here: Path) -> None:
    with FileDestination("a") as first:
        write("a", b"second")
        assert len(everything(here)) == 2
        os.write(first.fd, b"first")
        first.publish()
    assert (here / "a").read_bytes() == b"first"
    assert everything(here) == ["a"]


def test_leftovers_that_stay_are_no_failure(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leftover = here / ".a.cacher-01234567"
    leftover.write_bytes(b"half")

    def refuse(path: str) -> None:
        raise PermissionError(errno.EPERM, "immutable", path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        write("a")
    assert everything(here) == [leftover.name, "a"]


def test_without_locks_nothing_is_taken_for_a_leftover(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    (here / ".a.cacher-01234567").write_bytes(b"half")
    write("a")
    assert everything(here) == [".a.cacher-01234567", "a"]


@pytest.mark.parametrize("removed", [True, False])
def test_another_run_that_takes_ours_for_a_leftover(
    here: Path, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    """It comes between making the file and locking it."""
    others: list[int] = []
    flock = fcntl.flock

    def locked(fd: int, operation: int) -> None:
        if not others:
            (name,) = everything(here)
            others.append(os.open(name, os.O_RDONLY))
            flock(others[0], operation)
            os.unlink(name)
            if removed:
                os.close(others[0])
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", locked)
    write("a")
    assert everything(here) == ["a"]
    if not removed:
        os.close(others[0])


# --- modes ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("umask")
def test_a_new_file_has_the_mode_of_any_new_file(here: Path) -> None:
    write("a")
    assert mode(here / "a") == 0o640


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("old", [0o600, 0o755, 0o444, 0o666])
def test_an_old_files_mode_is_kept(here: Path, old: int) -> None:
    (here / "a").write_bytes(b"old")
    (here / "a").chmod(old)
    write("a")
    assert (mode(here / "a"), (here / "a").read_bytes()) == (old, b"new")


# --- directories ---------------------------------------------------------------------------------


def test_directories_are_made(here: Path) -> None:
    write("x/y/a")
    assert everything(here) == ["x", "x/y", "x/y/a"]


@pytest.mark.parametrize("dest", ["x/y/a", "x//y/a", "./x/y/a", "x/../x/y/a"])
def test_directories_are_removed_again(here: Path, dest: str) -> None:
    with FileDestination(dest):
        assert (here / "x" / "y").is_dir()
    assert everything(here) == []


def test_only_what_was_made_is_removed(here: Path) -> None:
    (here / "x").mkdir()
    with FileDestination("x/y/z/a"):
        pass
    assert everything(here) == ["x"]


def test_directories_that_others_use_by_now_stay(here: Path) -> None:
    with FileDestination("x/y/a"):
        (here / "x" / "b").write_bytes(b"")
    assert everything(here) == ["x", "x/b"]


def test_directories_that_cannot_be_made(here: Path) -> None:
    (here / "plain").write_bytes(b"")
    with pytest.raises(LocalError, match="plain/a: not a directory"):
        FileDestination("plain/a")
    with pytest.raises(LocalError, match="making the directory"):
        FileDestination("x/y/" + "n" * 256 + "/a")
    assert everything(here) == ["plain"]


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["n" * 255, "é" * 127, "x" + "é" * 127, "😀" * 63, "\udcff" * 255, "é\udcff" * 85]
)
def test_names_of_255_bytes(here: Path, name: str) -> None:
    assert 252 <= len(os.fsencode(name)) <= 255
    write(name)
    assert os.listdir() == [name]


@pytest.mark.parametrize("name", ["n" * 256, "é" * 128])
def test_a_longer_name_is_refused_before_anything_is_transferred(here: Path, name: str) -> None:
    with pytest.raises(LocalError, match="file name too long"):
        FileDestination(name)
    assert everything(here) == []


@pytest.mark.parametrize("name", [".hidden", "a b", "-", "...", "\n"])
def test_odd_names(here: Path, name: str) -> None:
    write(name)
    assert os.listdir() == [name]


@pytest.mark.parametrize("dest", ["directory", "x/", "directory/", ".", "..", "/", "link"])
def test_a_directory_is_no_destination(here: Path, dest: str) -> None:
    (here / "directory").mkdir()
    (here / "link").symlink_to("directory")
    before = everything(here)
    with pytest.raises(UsageError, match="is a directory; DEST is the name of a file"):
        output_file.check(dest)
    with pytest.raises(UsageError):
        FileDestination(dest)
    assert everything(here) == before


# --- links ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("there", [False, True])
def test_a_link_is_replaced_and_its_target_untouched(here: Path, there: bool) -> None:
    target = here / "target"
    if there:
        target.write_bytes(b"old")
        target.chmod(0o666)
    (here / "a").symlink_to("target")
    assert not is_stream("a")
    write("a")
    assert not (here / "a").is_symlink()
    assert ((here / "a").read_bytes(), mode(here / "a")) == (b"new", 0o640)
    assert target.exists() is there
    if there:
        assert (target.read_bytes(), mode(target)) == (b"old", 0o666)


def test_another_name_of_the_old_file_keeps_it(here: Path) -> None:
    (here / "a").write_bytes(b"old")
    os.link("a", "b")
    write("a")
    assert (here / "b").read_bytes() == b"old"


def test_a_directory_through_a_link(here: Path) -> None:
    (here / "real").mkdir()
    (here / "link").symlink_to("real")
    write("link/a")
    assert everything(here) == ["link", "real", "real/a"]


# --- room ----------------------------------------------------------------------------------------


def test_what_cannot_fit_is_refused_beforehand(here: Path) -> None:
    with FileDestination("a") as place:
        place.require(1)
        with pytest.raises(LocalError, match=rf"no space for a: {HUGE} bytes are needed, \d+ are"):
            place.require(HUGE)
    with SpooledDestination("-") as spooled:
        spooled.require(1)
        with pytest.raises(LocalError, match="no space for the temporary file"):
            spooled.require(HUGE)


def test_a_file_system_that_tells_nothing_is_tried(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = os.statvfs_result([4096, 4096, *[0] * 8])
    monkeypatch.setattr(os, "fstatvfs", lambda _fd: nothing)
    with FileDestination("a") as place:
        place.require(HUGE)
