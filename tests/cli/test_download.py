"""`download` of what is in the cache: the entry becomes DEST, whole and proved, or nothing does."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Spawn
from tests.fakes.faults import CutAnswer, Fault, Stall
from tests.support.acl import set_default_acl
from tests.support.cli_helpers import (
    MIB,
    BucketPlace,
    LocalPlace,
    Place,
    Unprivileged,
    blob,
    sha256,
    temporary_names,
)

SIZES = [0, 1, 300_000, 8 * MIB, 20 * MIB + 1]
"""Bytes: nothing, one request, exactly one range, several ranges."""


class TestHit:
    @pytest.mark.parametrize("size", SIZES)
    def test_the_file_is_there(self, cacher: Run, place: Place, size: int) -> None:
        place.put("tools/go.tar.gz", blob(size))
        ended = cacher("download", "tools/go.tar.gz", "go.tar.gz")
        assert ended.status == 0
        assert ended.out == b""
        assert ended.err.startswith("cacher: hit tools/go.tar.gz (")
        assert ended.err.count("\n") == 1
        assert Path("go.tar.gz").read_bytes() == blob(size)
        assert os.listdir() == ["go.tar.gz"]

    def test_what_another_tool_stored(self, cacher: Run, place: Place) -> None:
        place.put("k", b"by hand", digest="")
        assert cacher("download", "k", "f").status == 0
        assert Path("f").read_bytes() == b"by hand"

    def test_an_older_file_is_replaced_and_keeps_its_mode(self, cacher: Run, place: Place) -> None:
        place.put("k", b"new")
        Path("f").write_bytes(b"old and longer")
        os.chmod("f", 0o640)
        assert cacher("download", "k", "f").status == 0
        assert Path("f").read_bytes() == b"new"
        assert stat.S_IMODE(os.stat("f").st_mode) == 0o640

    def test_a_default_acl_counts_as_for_any_new_file(self, cacher: Run, place: Place) -> None:
        place.put("k", b"abc")
        Path("shared").mkdir()
        set_default_acl(Path("shared"), 7, 5, 0)
        assert cacher("download", "k", "shared/below/f").status == 0
        assert stat.S_IMODE(os.stat("shared/below/f").st_mode) == 0o640
        assert stat.S_IMODE(os.stat("shared/below").st_mode) == 0o750
        os.chmod("shared/below/f", 0o644)
        assert cacher("download", "k", "shared/below/f").status == 0
        assert stat.S_IMODE(os.stat("shared/below/f").st_mode) == 0o644

    def test_the_right_digest(self, cacher: Run, place: Place) -> None:
        place.put("k", b"abc")
        assert cacher("download", "k", "f", "--sha256", sha256(b"abc").upper()).status == 0
        assert Path("f").read_bytes() == b"abc"


class TestToAStream:
    @pytest.mark.parametrize("size", SIZES)
    def test_stdout(self, cacher: Run, place: Place, size: int) -> None:
        place.put("k", blob(size))
        ended = cacher("download", "k", "-")
        assert ended.status == 0
        assert ended.out == blob(size)
        assert os.listdir() == []

    def test_dev_stdout(self, cacher: Run, place: Place) -> None:
        place.put("k", b"abc")
        assert cacher("download", "k", "/dev/stdout").out == b"abc"

    def test_damage_is_told_at_the_end_at_the_latest(self, cacher: Run, place: Place) -> None:
        place.put("k", blob(9 * MIB))
        place.corrupt("k")
        ended = cacher("download", "k", "-")
        ended.failed(5)
        assert len(ended.out) <= 9 * MIB

    def test_another_digest_recorded_writes_nothing(self, cacher: Run, place: Place) -> None:
        place.put("k", b"abc")
        ended = cacher("download", "k", "-", "--sha256", "0" * 64)
        assert "expected 0000" in ended.failed(5)
        assert ended.out == b""


@pytest.fixture
def old() -> Iterator[Path]:
    """A DEST that is there already, and must be left alone by whatever fails."""
    path = Path("f")
    path.write_bytes(b"old")
    before = path.stat()
    yield path
    assert path.read_bytes() == b"old"
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert os.listdir() == ["f"]


class TestFailure:
    def test_a_miss_makes_no_directories(self, cacher: Run, place: Place) -> None:
        assert cacher("download", "k", "a/b/f").status == 1
        assert os.listdir() == []

    @pytest.mark.parametrize("dest", ["old", "old/", "new/"])
    def test_dest_is_a_directory(self, cacher: Run, place: Place, dest: str) -> None:
        place.put("k", b"abc")
        os.mkdir("old")
        error = cacher("download", "k", dest).failed(2)
        assert "is a directory" in error
        assert "hint: `cacher dir download KEY DIR` restores a directory\n" in error
        assert os.listdir() == ["old"]
        assert os.listdir("old") == []

    def test_a_file_where_a_directory_must_be(self, cacher: Run, place: Place, old: Path) -> None:
        place.put("k", b"abc")
        assert "making the directory f/g" in cacher("download", "k", "f/g/h").failed(7)

    @pytest.mark.parametrize("size", [1000, 20 * MIB])
    def test_damage(self, cacher: Run, place: Place, old: Path, size: int) -> None:
        place.put("k", blob(size))
        place.corrupt("k")
        err = cacher("download", "k", old).failed(5)
        assert "k has digest" in err
        assert place.keys() == ["k"]  # it is evidence

    def test_a_shorter_file(self, cacher: Run, local: LocalPlace, old: Path) -> None:
        local.put("k", blob(1000))
        local.corrupt("k", blob(999))
        cacher("download", "k", old).failed(5)

    @pytest.mark.parametrize("recorded", [None, ""])
    def test_another_digest_than_asked_for(
        self, cacher: Run, place: Place, old: Path, recorded: str | None
    ) -> None:
        place.put("k", b"abc", recorded)
        err = cacher("download", "k", old, "--sha256", "0" * 64).failed(5)
        assert f"k has SHA-256 {sha256(b'abc')}, expected {'0' * 64}" in err
        assert "use another KEY" in err
        assert "--force" not in err

    def test_the_connection_breaks_for_good(
        self, cacher: Run, bucket: BucketPlace, old: Path
    ) -> None:
        bucket.put("k", blob(MIB))
        bucket.server.inject(Fault(CutAnswer(0), operation="GetObject", times=None))
        assert "reading k" in cacher("download", "k", old).failed(3)

    def test_dest_may_not_be_written(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket.put("k", b"abc")
        cacher("download", "k", "-")  # everything is loaded while it may be read
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:
            os.chmod(directory, 0o555)
            monkeypatch.setenv("XDG_CONFIG_HOME", directory)  # nobody may look into ours
            with Unprivileged():
                ended = cacher("download", "k", f"{directory}/f")
                missing = cacher("download", "k", f"{directory}/new/f")
            assert os.listdir(directory) == []
        for failed in (ended, missing):
            assert "permission denied" in failed.failed(7)
            assert f" needs write access to {directory}, which belongs to user " in failed.err

    def test_dest_is_on_a_read_only_file_system(
        self, cacher: Run, place: Place, old: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        place.put("k", b"abc")
        monkeypatch.setattr("cacher.commands.output_file.FileDestination._create", refuse)
        error = cacher("download", "k", old).failed(7)
        assert f"error: writing {old}: read-only file system\n" in error
        assert "hint: its file system is read-only: mount it otherwise, or name an" in error


def test_what_a_killed_run_left_goes_with_the_next(
    cacher: Run, spawn: Spawn, bucket: BucketPlace
) -> None:
    bucket.put("k", blob(20_000_000))
    bucket.put("small", b"abc")
    stall = Fault(Stall(30.0, after=100_000), operation="GetObject", key="k", times=None)
    bucket.server.inject(stall)
    process = spawn("download", "k", "f")
    end = time.monotonic() + 100.0
    while not temporary_names(Path()):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert cacher("download", "small", "f").status == 0
    assert len(temporary_names(Path())) == 1  # it lives
    process.kill()
    process.wait()
    assert cacher("download", "absent", "f").status == 1
    assert os.listdir() == ["f"]
    assert Path("f").read_bytes() == b"abc"
