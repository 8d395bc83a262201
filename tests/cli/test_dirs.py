"""`dir upload` and `dir download`: what goes in comes out, and nothing else changes."""

from __future__ import annotations

import bz2
import errno
import gzip
import json
import lzma
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support.acl import set_default_acl
from tests.support.cli_helpers import MIB, BucketPlace, LocalPlace, Place, Unprivileged, blob
from tests.support.servers import programs
from tests.support.tree_snapshots import snapshot
from tests.support.trees import FULL, PLAIN, HardLink, build, make_removable
from tests.support.zstd_streams import sealed, unzstd, zstd

two_users = pytest.mark.skipif(os.geteuid() != 0, reason="needs two users: run as root")


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHER_PART_SIZE", "5MiB")


@pytest.fixture
def place(bucket: BucketPlace) -> BucketPlace:
    """A bucket, whose unfinished uploads would be left over: one kind of store is enough here."""
    return bucket


@pytest.fixture
def tree() -> Path:
    Path("tree").mkdir()
    build(Path("tree"), FULL)
    return Path("tree")


@pytest.fixture
def open_ground(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that everybody can get to, which pytest's are not."""
    ground = Path(tempfile.mkdtemp(prefix="cacher-test-", dir="/tmp"))
    ground.chmod(0o777)
    monkeypatch.chdir(ground)
    yield ground
    make_removable(ground)
    shutil.rmtree(ground)


def tar(*flags: str, directory: str = "tree", name: str = ".") -> bytes:
    """What GNU tar makes of a directory."""
    return subprocess.run(
        ["tar", "c", *flags, "-C", directory, name], stdout=subprocess.PIPE, check=True
    ).stdout


class TestRoundTrip:
    @pytest.mark.parametrize("kind", ["local", "bucket"])
    def test_everything_is_kept(
        self, cacher: Run, request: pytest.FixtureRequest, kind: str, tree: Path
    ) -> None:
        place: Place = request.getfixturevalue(kind)
        stored = cacher("dir", "upload", "deps/k", tree)
        assert stored.status == 0, stored.err
        paths = list(tree.rglob("*"))
        files = sum(path.is_symlink() or not path.is_dir() for path in paths)
        assert files < len(paths)
        assert stored.err.startswith(f"cacher: stored deps/k ({files} files, ")
        assert place.keys() == ["deps/k"]
        hit = cacher("dir", "download", "deps/k", "again")
        assert hit.status == 0, hit.err
        assert hit.err.startswith(f"cacher: hit deps/k ({files} files, ")
        assert snapshot(Path("again")) == snapshot(tree)

    def test_the_closing_line_says_what_has_moved(self, cacher: Run, place: Place) -> None:
        numbers = r"in \d+\.\d s, [\d.]+ [KM]?i?B/s\)\n"
        Path("tree/sub").mkdir(parents=True)
        Path("tree/file").write_bytes(bytes(MIB))
        stored = cacher("dir", "upload", "one", "tree").err
        assert re.fullmatch(rf"cacher: stored one \(1 file, 1\.0 MiB -> \d+ B {numbers}", stored)
        for number in range(1000):
            Path(f"tree/sub/{number}").touch()
        Path("tree/link").symlink_to("file")
        stored = cacher("dir", "upload", "k", "tree").err
        sizes = r"1\.0 MiB -> \d+\.\d KiB"
        assert re.fullmatch(rf"cacher: stored k \(1,002 files, {sizes} {numbers}", stored)
        sizes = r"\d+\.\d KiB -> 1\.0 MiB"
        hit = cacher("dir", "download", "k", "again").err
        assert re.fullmatch(rf"cacher: hit k \(1,002 files, {sizes} {numbers}", hit)
        hit = cacher("dir", "download", "k", "part", "--only", "sub/1*").err
        assert re.fullmatch(rf"cacher: hit k \(111 of 1,002 files, {sizes} {numbers}", hit)
        told = cacher("dir", "download", "k", "more", "--json").json
        assert (told["members"], told["restored"]) == (1004, 1004)

    @pytest.mark.parametrize("clean", [(), ("--clean",)])
    def test_modes_are_kept_below_a_default_acl(
        self, cacher: Run, place: Place, tree: Path, clean: tuple[str, ...]
    ) -> None:
        assert cacher("dir", "upload", "k", tree).status == 0
        Path("shared").mkdir()
        set_default_acl(Path("shared"), 7, 5, 0)
        for _ in range(2):
            assert cacher("dir", "download", "k", "shared/again", *clean).status == 0
            assert snapshot(Path("shared/again")) == snapshot(tree)

    def test_nobody_can_do_it_too(
        self, cacher: Run, bucket: BucketPlace, open_ground: Path
    ) -> None:
        tree = open_ground / "tree"
        tree.mkdir()
        build(tree, FULL)
        for path in [tree, *tree.rglob("*")]:
            os.chown(path, 65534, 65534, follow_symlinks=False)
        for name, mode in (("setuid", 0o4755), ("setgid", 0o2711)):
            (tree / "d" / name).chmod(mode)
        with Unprivileged():
            assert cacher("dir", "upload", "k", tree).status == 0
            for _ in range(2):
                assert cacher("dir", "download", "k", "again").status == 0
                assert cacher("dir", "download", "k", "again", "--clean").status == 0
        assert snapshot(Path("again")) == snapshot(tree)

    def test_several_parts_and_ranges(self, cacher: Run, bucket: BucketPlace) -> None:
        Path("big").mkdir()
        for number in range(5):
            Path(f"big/{number}").write_bytes(blob(4 * MIB + number, number))
        assert cacher("dir", "upload", "k", "big").status == 0
        assert len(bucket.get("k") or b"") > 20 * MIB
        assert cacher("dir", "download", "k", "again").status == 0
        assert snapshot(Path("again")) == snapshot(Path("big"))

    def test_the_same_tree_gives_the_same_bytes(
        self, cacher: Run, place: Place, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        shutil.copytree(tree, "copy", symlinks=True)
        for name, value in FULL.items():
            if isinstance(value, HardLink):
                Path("copy", name).unlink()
                os.link(Path("copy", value.path), Path("copy", name), follow_symlinks=False)
        assert cacher("dir", "upload", "one", tree).status == 0
        assert cacher("dir", "upload", "two", tree).status == 0
        assert place.get("one") == place.get("two")
        for path in sorted(tree.rglob("*")):
            status = path.lstat()
            there = Path("copy") / path.relative_to(tree)
            os.utime(there, ns=(0, status.st_mtime_ns), follow_symlinks=False)
        os.utime("copy", ns=(0, tree.stat().st_mtime_ns))
        assert cacher("dir", "upload", "three", "copy").status == 0
        assert place.get("three") == place.get("one")

    def test_an_empty_directory(self, cacher: Run, place: Place) -> None:
        Path("empty").mkdir()
        Path("empty").chmod(0o750)
        assert cacher("dir", "upload", "k", "empty").status == 0
        assert cacher("dir", "download", "k", "again").status == 0
        assert snapshot(Path("again")) == snapshot(Path("empty"))
        assert place.leftovers() == []


class TestUpload:
    def test_an_entry_that_is_there_stays(self, cacher: Run, place: Place) -> None:
        Path("tree").mkdir()
        assert cacher("dir", "upload", "k", "tree").status == 0
        before = place.get("k")
        # Nothing of it is read: it could not be.
        Path("tree/secret").mkdir(mode=0)
        again = cacher("dir", "upload", "k", "tree")
        assert again.status == 0
        assert again.err == "cacher: exists k, not packed again\n"
        assert place.get("k") == before
        Path("tree/secret").rmdir()
        Path("tree/new").touch()
        assert cacher("dir", "upload", "k", "tree", "--force").status == 0
        assert place.get("k") != before

    def test_a_missing_directory(self, cacher: Run, place: Place) -> None:
        said = cacher("dir", "upload", "k", "absent").failed(7).splitlines()
        assert said == [
            "cacher: error: cannot read absent: no such file or directory",
            "cacher: hint: run the step that creates it first; the working directory is "
            f"{os.getcwd()}",
        ]
        Path("link").symlink_to("absent")
        err = cacher("dir", "upload", "k", "link").failed(7)
        assert "cannot read link: it is a link to absent, which does not exist\n" in err
        err = cacher("dir", "upload", "k", os.path.abspath("absent")).failed(7)
        assert err.endswith("hint: run the step that creates it first\n")
        assert place.keys() == place.leftovers() == []

    def test_what_is_no_directory(self, cacher: Run, place: Place) -> None:
        Path("f").touch()
        os.mkfifo("fifo")
        err = cacher("dir", "upload", "k", "f").failed(2)
        assert "f is not a directory" in err
        assert "hint: `cacher upload KEY FILE` stores a file" in err
        assert "hint: name the directory" in cacher("dir", "upload", "k", "fifo").failed(2)
        assert place.keys() == place.leftovers() == []

    @pytest.mark.usefixtures("open_ground")
    def test_a_directory_behind_a_closed_one(self, cacher: Run, bucket: BucketPlace) -> None:
        Path("secret/in").mkdir(parents=True)
        Path("secret").chmod(0o700 if os.geteuid() == 0 else 0)
        with Unprivileged():
            err = cacher("dir", "upload", "k", "secret/in").failed(7)
        Path("secret").chmod(0o700)
        assert "cannot read secret/in: permission denied" in err
        assert "needs access to all directories on the way" in err
        assert bucket.keys() == bucket.leftovers() == []

    def test_what_is_included_and_excluded(self, cacher: Run, local: LocalPlace) -> None:
        for name in ("a/b/c.o", "a/b/c.c", "a/d/e", "f", ".cache/go/x", ".cache/pip/y"):
            Path("home", name).parent.mkdir(parents=True, exist_ok=True)
            Path("home", name).touch()
        flags = ["--include", ".cache/go", "--include", "a/b", "--exclude", "*.o"]
        assert cacher("dir", "upload", "k", "home", *flags).status == 0
        listed = subprocess.run(
            ["tar", "t"], input=unzstd(local.get("k") or b""), stdout=subprocess.PIPE, check=True
        ).stdout
        assert listed.decode().split() == [".cache/go/", ".cache/go/x", "a/b/", "a/b/c.c"]

    def test_an_include_that_matches_nothing(self, cacher: Run, place: Place) -> None:
        Path("d").mkdir()
        Path("d/f").touch()
        argv = ["dir", "upload", "k", "d", "--include", "f", "--include", "absent"]
        err = cacher(*argv).failed(7)
        assert "nothing in d matches absent" in err
        assert "--allow-missing" in err
        assert place.keys() == place.leftovers() == []
        assert cacher(*argv, "--allow-missing").status == 0

    def test_the_only_include_matches_nothing(self, cacher: Run, place: Place) -> None:
        Path("d").mkdir()
        Path("d/f").touch()
        err = cacher("dir", "upload", "k", "d", "--include", "nope").failed(7)
        assert "nothing in d matches nope\n" in err
        assert "hint: a GLOB is a path below DIR; does the step that creates it run first?\n" in err
        assert "--allow-missing" not in err

    def test_caches_are_left_out(self, cacher: Run, place: Place) -> None:
        Path("d/c").mkdir(parents=True)
        Path("d/c/f").touch()
        Path("d/c/CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n# x\n")
        assert cacher("dir", "upload", "k", "d", "--exclude-caches").status == 0
        assert cacher("dir", "download", "k", "again").status == 0
        assert sorted(snapshot(Path("again"))) == ["", "c", "c/CACHEDIR.TAG"]

    def test_what_is_no_file_is_counted(self, cacher: Run, place: Place) -> None:
        Path("d").mkdir()
        os.mkfifo("d/fifo")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("d/socket")
        ended = cacher("dir", "upload", "k", "d", "--json")
        assert ended.warnings == ["k: left out 2 sockets, FIFOs or devices"]
        assert (ended.json["skipped"], ended.json["members"]) == (2, 1)

    @pytest.mark.usefixtures("open_ground")
    def test_an_unreadable_file(self, cacher: Run, bucket: BucketPlace) -> None:
        Path("d").mkdir()
        Path("d/secret").touch(mode=0)
        with Unprivileged():
            err = cacher("dir", "upload", "k", "d").failed(7)
        assert "cannot read d/secret: permission denied" in err
        assert bucket.keys() == bucket.leftovers() == []

    @pytest.mark.parametrize("level", ["0", "20", "x"])
    def test_a_level_that_is_none(self, cacher: Run, place: Place, level: str) -> None:
        Path("d").mkdir()
        cacher("dir", "upload", "k", "d", "--level", level).failed(2)
        assert place.keys() == []


class TestDownload:
    def test_a_miss(self, cacher: Run, place: Place) -> None:
        ended = cacher("dir", "download", "absent", "d")
        assert (ended.status, ended.err) == (1, "cacher: miss absent\n")
        assert os.listdir() == []

    def test_a_miss_leaves_what_is_there(self, cacher: Run, place: Place, tree: Path) -> None:
        before = snapshot(tree)
        assert cacher("dir", "download", "absent", tree, "--clean").status == 1
        assert snapshot(tree) == before

    def test_a_merge_and_a_clean_restore(self, cacher: Run, place: Place) -> None:
        Path("new/sub").mkdir(parents=True)
        Path("new/sub/both").write_text("new")
        Path("new/link").write_text("a file now")
        Path("old/sub").mkdir(parents=True)
        Path("old/sub/both").write_text("old, and longer")
        Path("old/sub/only").write_text("old")
        Path("outside").write_text("untouched")
        Path("old/link").symlink_to("../outside")
        assert cacher("dir", "upload", "k", "new").status == 0
        assert cacher("dir", "download", "k", "old").status == 0
        assert Path("old/sub/both").read_text() == "new"
        assert Path("old/sub/only").read_text() == "old"
        assert not Path("old/link").is_symlink()
        assert Path("outside").read_text() == "untouched"
        assert cacher("dir", "download", "k", "old", "--clean").status == 0
        assert snapshot(Path("old")) == snapshot(Path("new"))
        assert sorted(os.listdir()) == ["new", "old", "outside"]

    def test_into_the_working_directory(
        self, cacher: Run, place: Place, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It stays the directory that the shell is in."""
        assert cacher("dir", "upload", "k", tree).status == 0
        Path("here").mkdir()
        Path("here/only").touch()
        monkeypatch.chdir("here")
        before = os.stat(".").st_ino
        assert cacher("dir", "download", "k", ".").status == 0
        assert os.stat(".").st_ino == before
        assert sorted(snapshot(Path())) == sorted([*snapshot(Path("../tree")), "only"])
        assert cacher("dir", "download", "k", ".", "--clean").status == 0
        assert snapshot(Path()) == snapshot(Path("../tree"))

    def test_implicit_directories_keep_what_they_are(self, cacher: Run, place: Place) -> None:
        """What --include stores below them says nothing of the directories on the way."""
        Path("home/.private/cache").mkdir(parents=True)
        Path("home/.private/cache/f").touch()
        assert cacher("dir", "upload", "k", "home", "--include", ".private/cache").status == 0
        for name in ("fresh", "there"):
            Path(name, ".private").mkdir(parents=True)
            Path(name, ".private").chmod(0o700)
            Path(name).chmod(0o711)
            Path(name, "more").touch()
            assert cacher("dir", "download", "k", name).status == 0
            assert Path(name, ".private").stat().st_mode & 0o777 == 0o700
            assert Path(name).stat().st_mode & 0o777 == 0o711
            assert Path(name, ".private/cache/f").exists()

    def test_implicit_directories_take_over_the_group(self, cacher: Run, place: Place) -> None:
        Path("t/a/b").mkdir(parents=True)
        place.put("k", zstd(tar(directory="t", name="a/b")), "")
        Path("sg").mkdir()
        Path("sg").chmod(0o2775)
        assert cacher("dir", "download", "k", "sg/x").status == 0
        assert Path("sg/x/a").stat().st_mode & 0o7777 == 0o2755

    def test_strip_and_only(self, cacher: Run, place: Place) -> None:
        for name in ("pkg/a/one", "pkg/a/two", "pkg/b/three", "top"):
            Path("d", name).parent.mkdir(parents=True, exist_ok=True)
            Path("d", name).write_text(name)
        assert cacher("dir", "upload", "k", "d").status == 0
        assert cacher("dir", "download", "k", "s", "--strip", "1").status == 0
        assert sorted(snapshot(Path("s"))) == ["", "a", "a/one", "a/two", "b", "b/three"]
        ended = cacher("dir", "download", "k", "o", "--only", "pkg/*/t*", "--json")
        assert (ended.status, ended.json["restored"], ended.json["members"]) == (0, 2, 8)
        assert sorted(snapshot(Path("o"))) == [
            "",
            "pkg",
            "pkg/a",
            "pkg/a/two",
            "pkg/b",
            "pkg/b/three",
        ]

    @pytest.mark.parametrize(
        ("flags", "says"),
        [
            (["--only", "typo"], "--only leaves nothing"),
            (["--strip", "9"], "--strip 9 leaves nothing"),
            (["--only", "typo", "--strip", "1"], "--only and --strip leave nothing"),
        ],
    )
    def test_nothing_that_is_wanted(
        self, cacher: Run, place: Place, tree: Path, flags: list[str], says: str
    ) -> None:
        assert cacher("dir", "upload", "k", tree).status == 0
        before = snapshot(tree)
        err = cacher("dir", "download", "k", tree, "--clean", *flags).failed(2)
        assert f"error: {says} of k to restore\n" in err
        assert snapshot(tree) == before

    @pytest.mark.parametrize("key", ["k", "absent"])
    @pytest.mark.parametrize(
        ("target", "named"),
        [("f", "f"), ("f/below/it", "f"), ("fifo", "fifo"), ("to f", "to f"), ("loop", "loop")],
    )
    def test_dir_can_be_none(
        self, cacher: Run, place: Place, tree: Path, key: str, target: str, named: str
    ) -> None:
        """That is said whether there is an entry or not."""
        assert cacher("dir", "upload", "k", tree).status == 0
        Path("f").write_text("kept")
        os.mkfifo("fifo")
        Path("to f").symlink_to("f")
        Path("loop").symlink_to("loop")
        before = sorted(os.listdir())
        err = cacher("dir", "download", key, target).failed(2)
        assert f"error: {named} is not a directory\n" in err
        assert "hint: remove it, or name another DIR" in err
        assert Path("f").read_text() == "kept"
        assert sorted(os.listdir()) == before

    def test_dir_is_empty(self, cacher: Run, place: Place, tree: Path) -> None:
        assert cacher("dir", "upload", "k", tree).status == 0
        err = cacher("dir", "download", "k", "", "--clean").failed(2)
        assert err == "cacher: error: DIR is an empty string\ncacher: hint: is the variable set?\n"
        assert os.listdir() == ["tree"]

    @two_users
    def test_a_directory_of_somebody_elses(
        self, cacher: Run, bucket: BucketPlace, open_ground: Path
    ) -> None:
        (open_ground / "tree").mkdir()
        build(open_ground / "tree", FULL)
        assert cacher("dir", "upload", "k", "tree").status == 0
        open_ground.chmod(0o755)
        for path in ("theirs", "shared/theirs"):
            Path(path).mkdir(parents=True)
        Path("shared").chmod(0o777)
        before = {path: snapshot(Path(path)) for path in ("theirs", "shared/theirs")}
        needs = f"hint: user 65534 needs write access to {open_ground}"
        where = {"theirs": "/theirs", "theirs/new": "/theirs", "new": ""}
        with Unprivileged():
            for target, place in where.items():
                err = cacher("dir", "download", "k", target).failed(7)
                assert f"error: writing {target}: permission denied\n" in err
                assert f"{needs}{place}, which belongs to user 0 and has mode 0755\n" in err
            err = cacher("dir", "download", "k", "shared/theirs").failed(7)
            assert f"{needs}/shared/theirs, which belongs to user 0" in err
            assert cacher("dir", "download", "absent", "new").status == 1
        assert {path: snapshot(Path(path)) for path in before} == before
        assert sorted(os.listdir()) == ["shared", "theirs", "tree"]

    @two_users
    def test_something_of_somebody_elses_in_it(
        self, cacher: Run, bucket: BucketPlace, open_ground: Path
    ) -> None:
        for name in ("tree", "d"):
            Path(name, "sub").mkdir(parents=True)
            Path(name, "sub/f").write_text(name)
        os.chown("d", 65534, 65534)
        assert cacher("dir", "upload", "k", "tree").status == 0
        before = snapshot(Path("d"))
        with Unprivileged():
            err = cacher("dir", "download", "k", "d").failed(7)
        assert f"something in {open_ground}/d belongs to another user than 65534" in err
        assert snapshot(Path("d")) == before
        assert sorted(os.listdir()) == ["d", "tree"]

    def test_a_read_only_file_system(
        self, cacher: Run, place: Place, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert cacher("dir", "upload", "k", tree).status == 0

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        with monkeypatch.context() as patch:
            patch.setattr(os, "mkdir", refuse)
            err = cacher("dir", "download", "k", "d").failed(7)
        assert "error: writing d: read-only file system\n" in err
        assert "hint: its file system is read-only" in err
        assert os.listdir() == ["tree"]

    def test_an_entry_of_another_kind(self, cacher: Run, place: Place) -> None:
        place.put("image", sealed(tar(directory=".", name="."), kind="image"), "")
        assert "another kind: image" in cacher("dir", "download", "image", "d").failed(2)
        assert os.listdir() == []

    def test_what_its_fields_say(self, cacher: Run, place: Place) -> None:
        Path("d").mkdir()
        Path("d/f").write_bytes(blob(1000))
        told = cacher("dir", "upload", "k", "d", "--json").json
        assert (told["command"], told["outcome"], told["status"]) == ("dir upload", "stored", 0)
        assert (told["members"], told["unpacked"], told["changed"]) == (2, 1000, 0)
        assert told["size"] == len(place.get("k") or b"")
        told = cacher("dir", "download", "k", "e", "--json").json
        assert (told["command"], told["outcome"], told["dest"]) == ("dir download", "hit", "e")
        assert (told["members"], told["restored"], told["unpacked"]) == (2, 2, 1000)
        told = cacher("dir", "download", "absent", "e", "--json").json
        assert (told["command"], told["outcome"], told["key"]) == ("dir download", "miss", "absent")

    def test_the_bottleneck_is_named(self, cacher: Run, place: Place, tree: Path) -> None:
        assert "bottleneck: " in cacher("-v", "dir", "upload", "k", tree).err
        assert "bottleneck: " in cacher("-v", "dir", "download", "k", "d").err

    def test_too_little_space(
        self, cacher: Run, place: Place, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert cacher("dir", "upload", "k", tree).status == 0
        real = os.fstatvfs

        def full(fd: int) -> os.statvfs_result:
            told = list(real(fd))
            told[4] = 1
            return os.statvfs_result(told)

        monkeypatch.setattr(os, "fstatvfs", full)
        assert "no space for d" in cacher("dir", "download", "k", "d").failed(7)
        assert os.listdir() == ["tree"]


class TestReservedNames:
    """What a killed run leaves is known by its name: nothing else may come under such a one."""

    @pytest.mark.parametrize("name", [".cacher-deadbeef", ".d.cacher-01234567", ".d.cacher-lock"])
    @pytest.mark.parametrize("below", ["", "sub/"])
    def test_an_entry_brings_none(self, cacher: Run, place: Place, name: str, below: str) -> None:
        Path("t", below, name, "tree").mkdir(parents=True)
        place.put("k", zstd(tar(directory="t")), "")
        shutil.rmtree("t")
        Path("d").mkdir()
        Path("d/keep").touch()
        err = cacher("dir", "download", "k", "d").failed(5)
        assert f"{name} is a name of cacher's own" in err
        assert sorted(snapshot(Path("d"))) == ["", "keep"]
        assert os.listdir() == ["d"]

    def test_what_only_looks_like_one_may_come(self, cacher: Run, place: Place) -> None:
        for name in (".cacher-mine", ".cacher-DEADBEEF", "x.cacher-deadbeef", ".cacher-deadbeef0"):
            Path("t", name).mkdir(parents=True)
        Path("t/.cacher-deadbeef").touch()  # no directory
        assert cacher("dir", "upload", "k", "t").status == 0
        assert cacher("dir", "download", "k", "d").status == 0
        assert snapshot(Path("d")) == snapshot(Path("t"))

    def test_leftovers_are_not_packed(self, cacher: Run, place: Place) -> None:
        """As a killed job leaves them, and the next one, which rebuilds, uploads all."""
        for name in (".cacher-deadbeef/half", "sub/.modules.cacher-01234567/tree", "f"):
            Path("t", name).mkdir(parents=True)
        assert cacher("dir", "upload", "k", "t").status == 0
        assert cacher("dir", "download", "k", "d").status == 0
        assert sorted(snapshot(Path("d"))) == ["", "f", "sub"]
        shutil.rmtree("t")


class TestSharedWithTheShell:
    """Either reads what the other has written."""

    def test_tar_restores_ours(self, cacher: Run, place: Place, tree: Path) -> None:
        assert cacher("dir", "upload", "k", tree).status == 0
        archive = unzstd(place.get("k") or b"")
        for program in (["tar", "xp"], ["bsdtar", "xpf", "-"]):
            shutil.rmtree("again", ignore_errors=True)
            Path("again").mkdir()
            command = [str(programs.require(program[0])), *program[1:], "-C", "again"]
            subprocess.run(command, input=archive, check=True)
            again, expected = snapshot(Path("again")), snapshot(tree)
            if program[0] == "bsdtar":
                del again[""], expected[""]  # it does not give "./" its time
            assert again == expected, program

    @pytest.mark.parametrize("form", ["gnu", "pax", "ustar"])
    def test_we_restore_what_tar_made(
        self, cacher: Run, place: Place, tree: Path, form: str
    ) -> None:
        if form == "ustar":
            make_removable(tree)
            shutil.rmtree(tree)
            tree.mkdir()
            build(tree, PLAIN)  # the other is more than it can hold
        archive = tar(f"--format={form}")
        place.put("k", zstd(archive), "")
        assert cacher("dir", "download", "k", "again").status == 0
        Path("theirs").mkdir()
        subprocess.run(["tar", "xp", "-C", "theirs"], input=archive, check=True)
        assert snapshot(Path("again")) == snapshot(Path("theirs"))

    @pytest.mark.parametrize(
        ("archive", "said"),
        [
            (b"", "cut off"),
            (b"\0" * 512 + b"x" * 512, "follows the end"),
            (b"not tar at all" * 100, "the header of a member is damaged"),
        ],
    )
    def test_what_is_no_archive(
        self, cacher: Run, place: Place, archive: bytes, said: str, tree: Path
    ) -> None:
        place.put("k", zstd(archive), "")
        before = snapshot(tree)
        assert said in cacher("dir", "download", "k", tree).failed(5)
        assert snapshot(tree) == before

    @pytest.mark.parametrize(
        ("head", "said", "hint"),
        [
            (gzip.compress(b"x"), "it is gzip, not zstd", "| tar xz -C DIR`"),
            (lzma.compress(b"x"), "it is xz, not zstd", "| tar xJ -C DIR`"),
            (bz2.compress(b"x"), "it is bzip2, not zstd", "| tar xj -C DIR`"),
            (b"PK\3\4", "it is a zip archive, not zstd", "`cacher download KEY FILE`"),
            (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive, not zstd", "`cacher download KEY FILE`"),
            (b"<html>", "it is not a zstd stream", "`cacher download KEY FILE`"),
        ],
        ids=["gzip", "xz", "bzip2", "zip", "7z", "none"],
    )
    def test_what_is_not_zstd(
        self, cacher: Run, place: Place, head: bytes, said: str, hint: str
    ) -> None:
        place.put("k", head + bytes(9 * MIB), "")
        err = cacher("dir", "download", "k", "d").failed(5)
        assert f"error: k: {said}\n" in err
        assert hint in err
        assert os.listdir() == []

    @pytest.mark.parametrize("form", ["gnu", "pax", "ustar"])
    def test_a_tar_that_is_not_compressed(self, cacher: Run, place: Place, form: str) -> None:
        Path("t").mkdir()
        Path("t/f").touch()
        place.put("k", tar(f"--format={form}", directory="t"), "")
        err = cacher("dir", "download", "k", "d").failed(5)
        assert "k: it is a tar archive without compression, not zstd" in err
        assert (
            "| tar x -C DIR` unpacks it; `cacher dir upload` stores it as zstd, under another KEY"
            in err
        )
        assert os.listdir() == ["t"]

    def test_nothing_at_all(self, cacher: Run, place: Place) -> None:
        place.put("k", b"", "")
        assert "error: k: it is empty\n" in cacher("dir", "download", "k", "d").failed(5)
        assert os.listdir() == []

    def test_the_hint_for_gzip_is_a_way(self, cacher: Run, place: Place, tree: Path) -> None:
        place.put("k", gzip.compress(tar()), "")
        archive = cacher("download", "k", "-").out
        Path("d").mkdir()
        subprocess.run(["tar", "xz", "-C", "d"], input=archive, check=True)
        assert cacher("dir", "upload", "--force", "k", "d").status == 0
        assert cacher("dir", "download", "k", "again").status == 0
        assert snapshot(Path("again")).keys() == snapshot(tree).keys()


class TestDamage:
    """Whatever happens to an entry, DIR stays as it was."""

    @pytest.mark.parametrize("there", [False, True], ids=["missing", "there"])
    @pytest.mark.parametrize("cut", [1, 512, 513, 2000, -1], ids=lambda cut: f"less {cut}")
    def test_cut_off(self, cacher: Run, place: Place, tree: Path, cut: int, there: bool) -> None:
        assert cacher("dir", "upload", "k", tree).status == 0
        whole = place.get("k") or b""
        place.corrupt("k", whole[:-cut] if cut > 0 else whole[:20])
        Path("d").mkdir()
        if there:
            Path("d/old").write_text("old")
        before = snapshot(Path("d"))
        cacher("dir", "download", "k", "d", "--clean").failed(5)
        assert snapshot(Path("d")) == before
        assert sorted(os.listdir()) == ["d", "tree"]

    def test_one_bit(self, cacher: Run, place: Place, tree: Path) -> None:
        assert cacher("dir", "upload", "k", tree).status == 0
        whole = place.get("k") or b""
        before = snapshot(tree)
        for position in range(0, len(whole) - 512, len(whole) // 13):
            damaged = bytearray(whole)
            damaged[position] ^= 4
            place.corrupt("k", bytes(damaged))
            cacher("dir", "download", "k", "tree").failed(5)
            assert snapshot(tree) == before
            assert os.listdir() == ["tree"]

    def test_another_seal(self, cacher: Run, place: Place, tree: Path) -> None:
        assert cacher("dir", "upload", "k", tree).status == 0
        whole = place.get("k") or b""
        seal = json.loads(whole[-512:][8:].split(b" ", 2)[2])
        for change in ({"members": 1}, {"content": 1}, {"size": 10**9}, {"sha256": "0" * 64}):
            text = b"cacher-seal 1 " + json.dumps(seal | change).encode()
            place.corrupt("k", whole[:-504] + text.ljust(504))
            cacher("dir", "download", "k", "d").failed(5)
            assert os.listdir() == ["tree"]

    def test_more_than_is_wanted(self, cacher: Run, place: Place, tree: Path) -> None:
        assert cacher("dir", "upload", "k", tree).status == 0
        err = cacher("dir", "download", "k", "d", "--max-unpacked", "1MiB").failed(5)
        assert "--max-unpacked" in err
        place.put("bomb", zstd(tar("--format=pax") + b""), "")
        err = cacher("dir", "download", "bomb", "d", "--max-unpacked", "1MiB").failed(5)
        assert "more than 1048576 bytes" in err
        assert os.listdir() == ["tree"]

    def test_the_wrong_digest_of_the_object(self, cacher: Run, place: Place, tree: Path) -> None:
        """As of an entry that `upload` has stored."""
        place.put("k", zstd(tar()), "0" * 64)
        cacher("dir", "download", "k", "d").failed(5)
        assert os.listdir() == ["tree"]
