"""Restores into one directory: the next removes what killed ones left, and live ones wait."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cacher.commands import dir_download
from cacher.replace import work_dirs
from cacher.replace.staging import Staging
from tests.cli.conftest import Run, Spawn
from tests.fakes.faults import Fault, Stall
from tests.support.cli_helpers import BucketPlace, LocalPlace, blob, temporary_names
from tests.support.tree_snapshots import snapshot
from tests.support.trees import make_removable

DEAD = Path(".d.cacher-01234567")
SOON = 100.0


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """Remove work directories that a test left on purpose."""
    yield
    for path in temporary_names(Path()):
        make_removable(Path(path))
        shutil.rmtree(path)


def leave(place: Path) -> None:
    """A tree that was being restored, parts of which are closed already."""
    (place / "sub/deep").mkdir(parents=True)
    (place / "sub/deep/f").write_text("half")
    (place / "sub/deep").chmod(0o555)
    (place / "sub").chmod(0)
    place.chmod(0o700)


def miss(cacher: Run, target: str = "d", *flags: str) -> None:
    ended = cacher("dir", "download", "absent", target, *flags)
    assert (ended.status, ended.err) == (1, "cacher: miss absent\n")


class TestMiss:
    def test_beside(self, cacher: Run, local: LocalPlace) -> None:
        leave(DEAD)
        leave(Path(".d.cacher-89abcdef"))
        miss(cacher)
        assert os.listdir() == []

    @pytest.mark.parametrize("target", ["d", "./d/", "sub/../d", "link"])
    def test_inside(self, cacher: Run, local: LocalPlace, target: str) -> None:
        Path("sub").mkdir()
        Path("link").symlink_to("d")
        Path("d").mkdir()
        Path("d/kept").write_text("kept")
        leave(DEAD)
        Path("d").chmod(0o750)
        os.utime("d", ns=(10**18, 10**18))
        before = snapshot(Path("d"))
        leave(Path("d/.cacher-01234567"))
        os.utime("d", ns=(10**18, 10**18))
        miss(cacher, target, "--clean")
        assert snapshot(Path("d")) == before
        assert sorted(os.listdir()) == ["d", "link", "sub"]

    def test_of_the_working_directory(
        self, cacher: Run, local: LocalPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        leave(Path("d/.cacher-01234567"))
        leave(DEAD)
        monkeypatch.chdir("d")
        miss(cacher, ".")
        assert os.listdir() == []
        assert os.listdir("..") == ["d"]

    def test_what_lives_stays(self, cacher: Run, local: LocalPlace) -> None:
        DEAD.mkdir()
        fd = os.open(DEAD, os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX)
        miss(cacher)
        assert os.listdir() == [DEAD.name]
        os.close(fd)
        miss(cacher)
        assert os.listdir() == []

    def test_what_may_be_somebody_elses_stays(self, cacher: Run, local: LocalPlace) -> None:
        for name in (
            ".e.cacher-01234567",
            ".d.cacher-0123456",
            ".d.cacher-0123456g",
            "d.cacher-01",
        ):
            Path(name, "full").mkdir(parents=True)
        Path(".d.cacher-89abcdef").write_text("a file")
        Path(".d.cacher-00000000").symlink_to(".e.cacher-01234567")
        before = snapshot(Path())
        miss(cacher)
        assert snapshot(Path()) == before
        Path(".d.cacher-89abcdef").unlink()
        Path(".d.cacher-00000000").unlink()

    def test_nothing_is_made(self, cacher: Run, local: LocalPlace) -> None:
        miss(cacher, "some/parents/d")
        assert os.listdir() == []

    def test_what_cannot_be_removed_is_no_failure(
        self, cacher: Run, local: LocalPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        leave(DEAD)

        def refuse(*_: object) -> None:
            raise PermissionError(errno.EPERM, "immutable")

        with monkeypatch.context() as patch:
            patch.setattr(work_dirs, "remove", refuse)
            miss(cacher)
        assert os.listdir() == [DEAD.name]

    def test_it_costs_a_look_at_two_directories(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(100):
            Path("d", str(number), "below").mkdir(parents=True)
        seen: list[object] = []
        listed = os.listdir

        def counted(path: int | str = ".") -> list[str]:
            seen.append(path)
            return listed(path)

        with monkeypatch.context() as patch:
            patch.setattr(os, "listdir", counted)
            patch.setattr(os, "scandir", None)
            miss(cacher)
        assert len(seen) == 2


def test_a_killed_run_and_a_miss(cacher: Run, spawn: Spawn, bucket: BucketPlace) -> None:
    """In earnest: the run is killed while it unpacks."""
    Path("tree").mkdir()
    Path("tree/small").write_bytes(b"first")
    Path("tree/zbig").write_bytes(blob(20_000_000))
    assert cacher("dir", "upload", "k", "tree").status == 0
    stall = Fault(Stall(30.0, after=100_000), operation="GetObject", nth=3, times=None)
    bucket.server.inject(stall)
    process = spawn("dir", "download", "k", "d")
    end = time.monotonic() + SOON
    while len(temporary_names(Path())) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    miss(cacher)
    assert len(temporary_names(Path())) == 2  # it lives, and it is its turn
    process.kill()
    process.wait()
    miss(cacher)
    assert os.listdir() == ["tree"]


@pytest.mark.slow
class TestTurns:
    """Runs that restore into the same directory do so one after the other."""

    @pytest.mark.parametrize("target", ["missing", "full", "clean", "working directory"])
    def test_four_at_once(self, cacher: Run, spawn: Spawn, local: LocalPlace, target: str) -> None:
        for number in range(4):
            tree = Path(f"tree{number}")
            (tree / "both").mkdir(parents=True)
            (tree / f"only {number}").touch()
            for name in map(str, range(50)):
                (tree / "both" / name).write_text(str(number))
            assert cacher("dir", "upload", f"k{number}", tree).status == 0
            make_removable(tree)
            shutil.rmtree(tree)
        expected = {f"only {number}" for number in range(4)} | {"both"}
        if target != "missing":
            Path("d/both").mkdir(parents=True)
            Path("d/both/kept").touch()
        dest, place = (".", "d") if target == "working directory" else ("d", ".")
        flags = ["--clean"] if target == "clean" else []
        processes = [
            spawn("dir", "download", f"k{number}", dest, *flags, cwd=place) for number in range(4)
        ]
        for process in processes:
            _, err = process.communicate()
            assert process.returncode == 0, err
        assert os.listdir() == ["d"]
        found = set(os.listdir("d"))
        assert found == expected or (target == "clean" and len(found) == 2)
        # The last one's, whole.
        assert len({Path("d/both", name).read_text() for name in map(str, range(50))}) == 1
        assert Path("d/both/kept").exists() == (target not in ("missing", "clean"))

    def test_waiting_is_told_and_has_an_end(
        self, cacher: Run, local: LocalPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("d").mkdir()
        assert cacher("dir", "upload", "k", "d").status == 0
        monkeypatch.setattr(dir_download, "_REPORT_AFTER", 0.2)
        with Staging("d"):
            before = sorted(os.listdir())
            ended = cacher("dir", "download", "k", "d", "--timeout=0.5")
            assert "not done after 0.5 s (--timeout)" in ended.failed(3)
            assert ended.err.count("cacher: waiting for another cacher that restores into d\n") == 1
            assert "waiting" not in cacher("dir", "download", "k", "d", "--timeout=0.5", "-q").err
            assert sorted(os.listdir()) == before
        assert cacher("dir", "download", "k", "d").status == 0
        assert os.listdir() == ["d"]

    def test_a_signal_ends_waiting(
        self, cacher: Run, local: LocalPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("d").mkdir()
        assert cacher("dir", "upload", "k", "d").status == 0
        monkeypatch.setattr(dir_download, "_REPORT_AFTER", 0.1)
        with Staging("d"):
            before = sorted(os.listdir())
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
            ended = cacher("dir", "download", "k", "d")
            assert ended.err.startswith("cacher: waiting for another cacher")
            assert ended.status == 128 + signal.SIGTERM
            assert sorted(os.listdir()) == before
        assert os.listdir() == ["d"]


@pytest.mark.parametrize("inside", [False, True], ids=["beside", "inside"])
@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_a_lock_that_is_not_a_directory(
    cacher: Run, local: LocalPlace, monkeypatch: pytest.MonkeyPatch, kind: str, inside: bool
) -> None:
    Path("tree").mkdir()
    Path("tree/f").touch()
    assert cacher("dir", "upload", "k", "tree").status == 0
    Path("d").mkdir()
    if inside:
        monkeypatch.setattr("cacher.replace.staging._is_elsewhere", lambda *_: True)
    lock = Path("d/.cacher-lock" if inside else ".d.cacher-lock")
    if kind == "file":
        lock.touch()
    else:
        lock.symlink_to("none" if "dangling" in kind else Path("tree").absolute())
    error = cacher("dir", "download", "k", "d").failed(7)
    assert f"error: {lock.absolute()} is not a directory\n" in error
    assert "hint: remove it: cacher makes a new lock\n" in error
    assert os.listdir("d") == ([lock.name] if inside else [])
    lock.unlink()
    assert cacher("dir", "download", "k", "d").status == 0
