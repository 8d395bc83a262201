"""`exists`, `list` and `delete`: what is in the store, told and taken away."""

from __future__ import annotations

import errno
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Spawn
from tests.fakes.faults import Fault, Respond
from tests.support.cli_helpers import BucketPlace, LocalPlace, Place
from tests.support.terminal import Terminal

ODD = ["a b", "a+b", "ä/ö", "k%41&=?#", "q'\"<>", "~(x)!*;:@$,", "日本/語", "-v", "\U0001f600"]
"""Keys that some client or other gets wrong on the way."""


class TestExists:
    def test_it_is_there(self, cacher: Run, place: Place) -> None:
        place.put("k", b"x" * 2048)
        ended = cacher("exists", "k")
        assert (ended.status, ended.out, ended.err) == (0, b"", "cacher: hit k (2.0 KiB)\n")

    def test_it_is_not(self, cacher: Run, place: Place) -> None:
        ended = cacher("exists", "k")
        assert (ended.status, ended.out, ended.err) == (1, b"", "cacher: miss k\n")

    @pytest.mark.parametrize("status", [403, 500, 404])
    def test_doubt_is_no_answer(self, cacher: Run, bucket: BucketPlace, status: int) -> None:
        bucket.put("k", b"abc")
        code = "NoSuchBucket" if status == 404 else "Oops"
        bucket.server.inject(Fault(Respond(status, code), times=None))
        cacher("exists", "k").failed({403: 4, 500: 3, 404: 4}[status])

    def test_a_bucket_that_is_not_there_is_no_miss(self, cacher: Run, bucket: BucketPlace) -> None:
        err = cacher("exists", "k", "--bucket", "nobody").failed(4)
        assert "the bucket 'nobody' does not exist" in err


class TestList:
    def test_tab_separated(self, cacher: Run, place: Place) -> None:
        before = int(time.time())
        for key, size in (("b", 20), ("a/x", 3), ("a-x", 0)):
            place.put(key, b"x" * size)
        ended = cacher("list")
        assert ended.status == 0
        rows = [line.split("\t") for line in ended.text.splitlines()]
        assert [row[:2] for row in rows] == [["a-x", "0"], ["a/x", "3"], ["b", "20"]]
        for *_, modified in rows:
            told = datetime.strptime(modified, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            assert before - 1 <= told.timestamp() <= time.time()
        assert ended.err == "cacher: 3 entries, 23 B\n"

    def test_an_empty_store(self, cacher: Run, place: Place) -> None:
        ended = cacher("list")
        assert (ended.status, ended.out, ended.err) == (0, b"", "cacher: 0 entries, 0 B\n")

    def test_a_prefix(self, cacher: Run, place: Place) -> None:
        for key in ("a-1", "a/1", "ab", "b"):
            place.put(key, b"abc")
        assert names(cacher("list", "a").out) == ["a-1", "a/1", "ab"]
        assert names(cacher("list", "a/").out) == ["a/1"]
        assert names(cacher("list", "a/2").out) == []

    def test_keys_are_below_the_stores_prefix(self, cacher: Run, place: Place) -> None:
        for key in ("team/a", "team/b/c", "teams/d", "e"):
            place.put(key, b"abc")
        assert names(cacher("list", "--prefix", "team").out) == ["a", "b/c"]
        assert names(cacher("list", "b", "--prefix", "team").out) == ["b/c"]

    def test_sorted_and_reversed(self, cacher: Run, local: LocalPlace) -> None:
        for age, (key, size) in enumerate((("b", 5), ("c", 1), ("a", 9))):
            local.put(key, b"x" * size)
            os.utime(local.root / key, (1e9 - age, 1e9 - age))
        for argv, expected in (
            ([], "abc"),
            (["--reverse"], "cba"),
            (["--sort", "key"], "abc"),
            (["--sort=key", "--reverse"], "cba"),
            (["--sort", "size"], "abc"),
            (["--sort=size", "--reverse"], "cba"),
            (["--sort", "age"], "bca"),
            (["--sort=age", "--reverse"], "acb"),
        ):
            assert "".join(names(cacher("list", *argv).out)) == expected

    def test_what_steers_a_terminal_is_escaped(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.put("a\x1b[31mb\tc", b"abc")
        assert names(cacher("list").out) == ["a\\x1b[31mb\\tc"]

    def test_a_table_on_a_terminal(self, spawn: Spawn, local: LocalPlace) -> None:
        local.put("deps/k", b"x" * 2048)
        with Terminal() as terminal:
            process = spawn("list", stdout=terminal.slave)
            told = terminal.read_to_end(process)
        assert process.returncode == 0
        (line,) = told.splitlines()
        assert line.startswith("   2.0 KiB  20")
        assert line.endswith("Z  deps/k")

    def test_recursive_changes_nothing(self, cacher: Run, place: Place) -> None:
        for key in ("a/b/c", "d"):
            place.put(key, b"abc")
        assert names(cacher("list", "--recursive").out) == ["a/b/c", "d"]
        assert names(cacher("list", "a/", "--recursive").out) == ["a/b/c"]

    def test_root_ignores_the_prefix(
        self, cacher: Run, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for key in ("other/k", "team/k", "top"):
            place.put(key, b"abc")
        monkeypatch.setenv("CACHER_PREFIX", "team")
        assert names(cacher("list").out) == ["k"]
        ended = cacher("list", "--root")
        assert names(ended.out) == ["other/k", "team/k", "top"]
        assert ended.err == "cacher: 3 entries, 9 B\n"
        assert names(cacher("list", "--root", "o").out) == ["other/k"]
        assert names(cacher("list", "--root", "--prefix", "team").out) == names(ended.out)

    def test_a_delimiter_groups_at_the_slash(self, cacher: Run, place: Place) -> None:
        for key in ("a-b", "a/1", "a/2/3", "a0", "b/c", "ä b/+%41"):
            place.put(key, b"abc")
        ended = cacher("list", "--delimiter")
        assert ended.status == 0
        assert names(ended.out) == ["a-b", "a/", "a0", "b/", "ä b/"]
        assert b"a/\tPRE\t\n" in ended.out
        assert ended.err == "cacher: 6 entries, 18 B, 3 groups\n"
        assert names(cacher("list", "--delimiter", "a/").out) == ["a/1", "a/2/"]
        assert names(cacher("list", "--delimiter", "a").out) == ["a-b", "a/", "a0"]
        assert names(cacher("list", "--delimiter", "a/2").out) == ["a/2/"]
        assert cacher("list", "--delimiter", "b").last == "cacher: 1 entry, 3 B, 1 group"
        below = cacher("list", "--delimiter", "--prefix", "a")
        assert names(below.out) == ["1", "2/"]
        told = [
            json.loads(line) for line in cacher("list", "--delimiter", "--json").out.splitlines()
        ]
        assert [line for line in told if "key" not in line] == [
            {"prefix": "a/"},
            {"prefix": "b/"},
            {"prefix": "ä b/"},
        ]

    def test_a_delimiter_may_be_written_as_elsewhere(self, cacher: Run, place: Place) -> None:
        for key in ("a-b", "a/1", "b/2/c"):
            place.put(key, b"abc")
        for argv in (["--delimiter", "/"], ["--delimiter=/"]):
            ended = cacher("list", *argv)
            assert (names(ended.out), ended.warnings) == (["a-b", "a/", "b/"], [])
            assert names(cacher("list", *argv, "b/").out) == ["b/2/"]
            assert names(cacher("list", "b/", *argv).out) == ["b/2/"]
        err = cacher("list", "--delimiter=,").failed(2)
        assert "error: --delimiter ',': it is always /\n" in err

    @pytest.mark.parametrize("prefix", ["/", "/a", "./a", "s3://bucket/a"])
    def test_a_prefix_that_no_key_has_is_a_warning(
        self, cacher: Run, place: Place, prefix: str
    ) -> None:
        place.put("a", b"abc")
        for argv in (["list", prefix], ["delete", "--prefix", prefix, "--yes"]):
            ended = cacher(*argv)
            assert ended.status == 0
            (text,) = ended.warnings
            assert text.startswith("no key begins with '")
            assert text.endswith(f"': '{prefix}' matches nothing")
        assert place.keys() == ["a"]

    def test_a_prefix_with_braces_is_a_warning(
        self, cacher: Run, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for argv in (
            ["--prefix", "x{os}", "exists", "k"],
            ["list", "x{os}"],
            ["delete", "--prefix", "x{os}", "--yes"],
        ):
            text = "the prefix 'x{os}' holds braces, and a prefix is not a template"
            assert cacher(*argv).warnings == [text]
        monkeypatch.setenv("CACHER_PREFIX", "{week}")
        text = "the prefix '{week}' holds braces, and a prefix is not a template"
        assert cacher("list", "a").warnings == [text]
        assert cacher("exists", "a", "--json").json["warnings"] == [text]

    def test_groups_are_sorted_by_what_is_in_them(self, cacher: Run, place: Place) -> None:
        for key, size in (("a/1", 1), ("b", 5), ("c/2", 9)):
            place.put(key, b"x" * size)
        assert names(cacher("list", "--delimiter", "--sort", "size").out) == ["c/", "b", "a/"]
        assert names(cacher("list", "--delimiter", "--reverse").out) == ["c/", "b", "a/"]

    def test_a_group_on_a_terminal(self, spawn: Spawn, local: LocalPlace) -> None:
        local.put("deps/k", b"x" * 2048)
        with Terminal() as terminal:
            process = spawn("list", "--delimiter", stdout=terminal.slave)
            told = terminal.read_to_end(process)
        assert told.splitlines() == [f"{'':29}PRE  deps/"]

    def test_a_group_of_many_pages(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.server.seed(f"n/{number:04}" for number in range(2001))
        ended = cacher("list", "--delimiter")
        assert (names(ended.out), ended.last) == (["n/"], "cacher: 2001 entries, 2.0 KiB, 1 group")

    @pytest.mark.parametrize("argv", [[], ["--sort", "size"], ["--json"]])
    def test_more_than_a_page(self, cacher: Run, bucket: BucketPlace, argv: list[str]) -> None:
        keys = [f"n/{number:04}" for number in range(2001)]
        bucket.server.seed(keys)
        ended = cacher("list", *argv)
        assert ended.status == 0
        told = jsons(ended.out) if argv == ["--json"] else names(ended.out)
        assert sorted(told) == keys
        assert bucket.server.count(operation="ListObjectsV2") == 3

    def test_a_failure_in_the_middle(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.server.seed(f"{number:04}" for number in range(1001))
        bucket.server.inject(Fault(Respond(403, "AccessDenied"), nth=2, times=None))
        ended = cacher("list")
        assert "listing: the store refused" in ended.failed(4)
        assert len(names(ended.out)) == 1000


def names(out: bytes) -> list[str]:
    return [line.split("\t")[0] for line in out.decode().splitlines()]


def jsons(out: bytes) -> list[str]:
    return [json.loads(line)["key"] for line in out.splitlines()]


@pytest.mark.parametrize("key", ODD)
def test_odd_keys(cacher: Run, place: Place, key: str) -> None:
    place.put(key, b"abc")
    assert cacher("exists", "--", key).status == 0
    assert cacher("exists", "--", f"{key}x").status == 1
    assert names(cacher("list").out) == jsons(cacher("list", "--json").out) == [key]
    place.put("other", b"abc")
    assert cacher("delete", "--", key, f"{key}x").status == 0
    assert place.keys() == ["other"]


class TestDelete:
    def test_keys(self, cacher: Run, place: Place) -> None:
        for key in ("a", "b/c", "d"):
            place.put(key, b"abc")
        ended = cacher("delete", "a", "b/c")
        assert ended.status == 0
        assert ended.err == "cacher: deleted 2 entries\n"
        assert place.keys() == ["d"]

    def test_a_key_is_not_a_prefix(self, cacher: Run, place: Place) -> None:
        for key in ("a-1", "ab/c"):
            place.put(key, b"abc")
        assert cacher("delete", "a", "ab").status == 0
        assert place.keys() == ["a-1", "ab/c"]

    @pytest.mark.parametrize("argv", [["a", "none"], ["--prefix", "a"]])
    def test_a_dry_run(self, cacher: Run, place: Place, argv: list[str]) -> None:
        place.put("a", b"abc")
        place.put("b", b"abc")
        ended = cacher("delete", "--dry-run", *argv)
        more = "; none is not there" if "none" in argv else ""
        says = f"cacher: would delete a{more}\n"
        assert (ended.status, ended.out, ended.err) == (0, b"a\n", says)
        assert place.keys() == ["a", "b"]

    def test_a_prefix_wants_yes(self, cacher: Run, place: Place) -> None:
        place.put("a/1", b"abc")
        assert "needs --yes" in cacher("delete", "--prefix", "a/").failed(2)
        assert place.keys() == ["a/1"]

    def test_a_prefix(self, cacher: Run, place: Place) -> None:
        for key in ("a/1", "a/2/3", "ab", "b"):
            place.put(key, b"abc")
        assert cacher("delete", "--prefix", "a/", "--yes").status == 0
        assert place.keys() == ["ab", "b"]

    def test_a_prefix_below_the_stores(self, cacher: Run, place: Place) -> None:
        for key in ("team/a", "team/b", "a"):
            place.put(key, b"abc")
        assert cacher("--prefix", "team", "delete", "--prefix", "a", "--yes").status == 0
        assert place.keys() == ["a", "team/b"]

    def test_a_variable_that_is_not_set_does_not_empty_the_store(
        self, cacher: Run, place: Place
    ) -> None:
        place.put("a", b"abc")
        err = cacher("delete", "--prefix", "", "--yes").failed(2)
        assert "would delete everything" in err
        assert "run `cacher list | cut -f1 | cacher delete --stdin`" in err
        cacher("delete", "").failed(2)
        assert place.keys() == ["a"]

    @pytest.mark.parametrize(
        "argv", [[], ["a", "--prefix", "b"], ["a", "--stdin"], ["--stdin", "--prefix", "b"]]
    )
    def test_either_keys_or_a_prefix(self, cacher: Run, place: Place, argv: list[str]) -> None:
        place.put("a", b"abc")
        assert "delete takes one of KEY..., --prefix" in cacher("delete", "--yes", *argv).failed(2)
        assert place.keys() == ["a"]

    @pytest.mark.parametrize(
        ("answer", "left"), [("y", []), ("n", ["a/1", "a/2"]), ("", ["a/1", "a/2"])]
    )
    def test_a_terminal_is_asked(
        self, spawn: Spawn, local: LocalPlace, answer: str, left: list[str]
    ) -> None:
        for key in ("a/1", "a/2"):
            local.put(key, b"abc")
        with Terminal() as terminal:
            process = spawn("delete", "--prefix", "a/", stdin=terminal.slave, stderr=terminal.slave)
            terminal.read_until("[y/N] ")
            terminal.write(f"{answer}\n")
            told = terminal.read_to_end(process)
        assert process.returncode == 0
        assert ("cacher: nothing was deleted\n" in told) == (answer != "y")
        assert "error" not in told
        assert ("deleted 2 entries" in told) == (answer == "y")
        assert local.keys() == left

    def test_more_than_a_page(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.server.seed(f"n/{number:04}" for number in range(2001))
        bucket.put("other", b"abc")
        ended = cacher("delete", "--prefix", "n/", "--yes")
        assert ended.status == 0
        assert ended.last == "cacher: deleted 2001 entries"
        assert bucket.keys() == ["other"]

    def test_every_failure_is_told(self, cacher: Run, bucket: BucketPlace) -> None:
        for key in ("a", "b", "c"):
            bucket.put(key, b"abc")
        bucket.server.inject(Fault(Respond(501), operation="DeleteObjects", times=None))
        for key in ("a", "c"):
            denied = Fault(Respond(403, "AccessDenied"), operation="DeleteObject", key=key)
            bucket.server.inject(denied)
        ended = cacher("delete", "a", "b", "c")
        ended.failed(4)
        assert [warning.split(":")[0] for warning in ended.warnings] == [
            "a was not deleted",
            "c was not deleted",
        ]
        assert "error: 2 of 3 entries not deleted\n" in ended.err
        assert bucket.keys() == ["a", "c"]

    def test_looking_makes_no_store(self, cacher: Run, local: LocalPlace) -> None:
        Path("f").write_bytes(b"old")
        for argv, status in (
            (("exists", "k"), 1),
            (("list",), 0),
            (("delete", "k"), 0),
            (("delete", "k", "--dry-run"), 0),
            (("delete", "--prefix", "k", "--yes"), 0),
            (("download", "k", "f"), 1),
            (("download", "k", "-"), 1),
        ):
            assert cacher(*argv).status == status
            assert not local.root.exists()

    def test_directories_that_become_empty_go(self, cacher: Run, local: LocalPlace) -> None:
        local.put("a/b/c", b"abc")
        assert cacher("delete", "a/b/c").status == 0
        assert not Path(local.root / "a").exists()


class TestClosedDirectories:
    """Directories of a local store that belong to somebody else, who lets nobody in."""

    @pytest.fixture(autouse=True)
    def _closed(self, local: LocalPlace, monkeypatch: pytest.MonkeyPatch) -> None:
        local.put("k", b"abc")
        for name in ("un", "deep/un", "lost+found"):
            (local.root / name).mkdir(parents=True)
        scandir = os.scandir

        def refuse(path: object) -> object:
            if isinstance(path, bytes) and path.rstrip(b"/").endswith((b"/un", b"/lost+found")):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return scandir(path)  # type: ignore[call-overload]

        monkeypatch.setattr(os, "scandir", refuse)
        monkeypatch.setattr("cacher.store.local.listing._is_foreign", lambda *_: True)

    @pytest.mark.parametrize(
        "command",
        [("list",), ("delete", "--prefix", "", "--dry-run"), ("delete", "--prefix=u", "--yes")],
        ids=" ".join,
    )
    def test_are_named(self, cacher: Run, local: LocalPlace, command: tuple[str, ...]) -> None:
        ended = cacher(*command)
        assert ended.status == 0
        count = "1 directory" if "--yes" in command else "2 directories"
        names = "un/" if "--yes" in command else "deep/un/, un/"
        text = f"left out {count} of the local store that user {os.geteuid()} may not read: {names}"
        assert ended.warnings == [text]
        assert "hint: check the owner and the mode\n" in ended.err
        if "list" not in command:
            assert cacher(*command, "--json").json["warnings"] == [text]
        assert local.keys() == ["k"]

    @pytest.mark.parametrize(
        "command",
        [
            ("list", "un/"),
            ("delete", "--prefix=un/", "--dry-run"),
            ("delete", "--prefix=un/", "--yes"),
        ],
        ids=" ".join,
    )
    def test_are_refused_by_name(self, cacher: Run, command: tuple[str, ...]) -> None:
        assert "permission denied" in cacher(*command).failed(4)

    def test_elsewhere_are_no_matter(self, cacher: Run) -> None:
        assert cacher("list", "k").warnings == []
