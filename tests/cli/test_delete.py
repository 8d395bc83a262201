"""`delete`: keys that are not there are named, and literal keys come from stdin."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cacher.s3.store_quirks import BULK_DELETE_KEYS
from tests.cli.conftest import Run
from tests.cli.test_hanging import SCALED, SLACK
from tests.cli.test_signals import LONG
from tests.fakes.faults import Fault, Reset, Respond, Stall
from tests.fakes.profile import DEFAULT_KEY
from tests.support.cli_helpers import BucketPlace, LocalPlace, Place
from tests.support.configs import new_bucket
from tests.support.doctor_helpers import Serve
from tests.support.servers.base import Server

BRACES = ["a{b}", "{hash}", "}{", "{{x}}", "ä {date}"]


class TestMissing:
    def test_one_that_is_not_there_is_said_to_be(self, cacher: Run, place: Place) -> None:
        ended = cacher("delete", "none")
        assert (ended.status, ended.err) == (0, "cacher: none was not there\n")
        told = cacher("delete", "none", "--json").json
        assert (told["outcome"], told["deleted"], told["missing"]) == ("missing", [], ["none"])

    def test_of_several_each_is_told_right(self, cacher: Run, place: Place) -> None:
        for key in ("a", "c", "e"):
            place.put(key, b"abc")
        ended = cacher("delete", "a", "b")
        assert (ended.status, ended.err) == (0, "cacher: deleted a; b was not there\n")
        told = cacher("delete", "b", "c", "d", "e", "--json").json
        assert (told["outcome"], told["status"]) == ("deleted", 0)
        assert (told["deleted"], told["missing"]) == (["c", "e"], ["b", "d"])
        assert cacher("delete", "b", "d").last == "cacher: b, d were not there"
        many = [f"n{number}" for number in range(6)]
        assert cacher("delete", *many).last == "cacher: 6 keys were not there"
        assert place.keys() == []

    def test_verbose_names_each(self, cacher: Run, place: Place) -> None:
        place.put("a", b"abc")
        err = cacher("delete", "a", "b", "-v").err
        assert "cacher: deleted a\n" in err
        assert "cacher: b was not there\n" in err

    def test_it_costs_one_request_a_key(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.put("a", b"abc")
        assert cacher("delete", "a", "b").status == 0
        assert bucket.server.count(operation="HeadObject") == 2
        assert bucket.server.count(operation="HeadBucket") == 0
        assert bucket.server.count(operation="DeleteObjects") == 1
        assert len(bucket.server.requests) == 3

    def test_many_are_not_looked_for(self, cacher: Run, bucket: BucketPlace) -> None:
        keys = [f"n/{number:03}" for number in range(101)]
        bucket.server.seed(keys[:50])
        told = cacher("delete", *keys, "--json").json
        assert (told["outcome"], told["status"], told["gone"]) == ("gone", 0, keys)
        assert (told["deleted"], told["missing"]) == (None, None)
        assert bucket.server.count(operation="HeadObject") == 0
        assert bucket.server.count(operation="DeleteObjects") == 1
        assert bucket.keys() == []

    def test_of_many_that_never_were_none_is_said_to_be_deleted(
        self, cacher: Run, place: Place
    ) -> None:
        keys = [f"n{number}" for number in range(150)]
        ended = cacher("delete", *keys)
        says = "cacher: 150 keys are not in the store now; they were not looked up before\n"
        assert (ended.status, ended.err) == (0, says)
        assert "deleted" not in cacher("delete", *keys, "-v").err

    def test_a_key_that_is_given_twice_counts_once(self, cacher: Run, place: Place) -> None:
        place.put("a", b"abc")
        assert cacher("delete", "a", "a").err == "cacher: deleted a\n"
        place.put("a", b"abc")
        assert cacher("delete", "--stdin", stdin=b"a\nb\na\nb\n").last == (
            "cacher: deleted a; b was not there"
        )
        assert cacher("delete", *["n"] * 150).err == "cacher: n was not there\n"
        place.put("a", b"abc")
        assert cacher("delete", "a", "a", "--dry-run").out == b"a\n"
        assert len(cacher("delete", "{{", "{{").warnings) == 1

    def test_a_dry_run_names_what_is_missing(self, cacher: Run, place: Place) -> None:
        place.put("a", b"abc")
        assert cacher("delete", "a", "b", "--dry-run").last == (
            "cacher: would delete a; b is not there"
        )
        told = cacher("delete", "a", "b", "c", "--dry-run", "--json").json
        assert (told["would_delete"], told["missing"]) == (["a"], ["b", "c"])
        assert cacher("delete", "b", "c", "--dry-run").last == (
            "cacher: would delete 0 entries; b, c are not there"
        )

    def test_a_prefix_has_nothing_missing(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.put("a", b"abc")
        told = cacher("delete", "--prefix", "a", "--yes", "--json").json
        assert (told["deleted"], told["missing"]) == (["a"], [])
        assert bucket.server.count(operation="HeadObject") == 0

    def test_a_key_that_may_not_read_deletes(self, cacher: Run, serve: Serve) -> None:
        place = serve(keys=[replace(DEFAULT_KEY, read=False)])
        place.put("a", b"abc")
        told = cacher("delete", "a", "b", "--json").json
        assert (told["outcome"], told["status"], told["gone"]) == ("gone", 0, ["a", "b"])
        assert (told["deleted"], told["missing"]) == (None, None)
        assert place.keys() == []
        ended = cacher("delete", "a")
        says = "cacher: a is not in the store now; it was not looked up before\n"
        assert (ended.status, ended.err) == (0, says)

    def test_an_entry_whose_metadata_is_damaged_is_there(
        self, cacher: Run, local: LocalPlace
    ) -> None:
        local.put("a", b"abc")
        (local.root / ".cacher/meta/a.json").write_text("")
        assert cacher("delete", "a").last == "cacher: deleted a"
        assert local.keys() == []

    def test_a_bucket_that_is_not_there(self, cacher: Run, bucket: BucketPlace) -> None:
        err = cacher("delete", "a", "--bucket", "nowhere").failed(4)
        assert "the bucket 'nowhere' does not exist" in err

    def test_a_store_that_fails_is_not_asked_twice(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.server.inject(Fault(Respond(500), times=None))
        cacher("delete", "a").failed(3)
        assert bucket.server.count(operation="DeleteObject") == 0


class TestUnanswered:
    """Seconds are checked by the requests that were sent: each costs at most its limit."""

    def test_many_at_once(self, cacher: Run, bucket: BucketPlace) -> None:
        keys = [f"n/{number:03}" for number in range(3 * BULK_DELETE_KEYS)]
        bucket.server.seed(keys)
        hang = bucket.server.inject(Fault(Stall(LONG), operation="DeleteObjects", nth=2))
        began = time.monotonic()
        err = cacher("delete", *keys, limits=SCALED).failed(3)
        assert SCALED.write <= time.monotonic() - began < SCALED.write + SLACK
        assert re.search(
            r"error: deleting 100 entries: http\S+: no answer for [\d.]+ s; "
            "it is not known which of these 100 are deleted; 100 keys are not in the store now\n",
            err,
        )
        assert hang.hits == 1
        assert bucket.server.count(operation="DeleteObjects") == 2
        assert bucket.server.count(operation="DeleteObject") == 0

    def test_few_at_once_get_less_time(self, cacher: Run, bucket: BucketPlace) -> None:
        limits = SCALED._replace(write=30.0)
        bucket.server.inject(Fault(Stall(LONG), operation="DeleteObjects", times=None))
        began = time.monotonic()
        err = cacher("delete", "a", "b", "c", limits=limits).failed(3)
        assert time.monotonic() - began < limits.silent + SLACK
        assert err.count("deleting 3 entries") == err.count("not known") == 1
        assert "; deleted" not in err
        assert bucket.server.count(operation="DeleteObjects") == 1

    def test_after_the_first_of_several_nothing_is_tried(
        self, cacher: Run, bucket: BucketPlace
    ) -> None:
        bucket.server.seed("abcd")
        empty = Respond(200, body=b"<DeleteResult/>")
        bucket.server.inject(Fault(empty, operation="DeleteObjects", times=None))
        bucket.server.inject(Fault(Stall(LONG), operation="DeleteObject", nth=2, times=None))
        err = cacher("delete", *"abcd", limits=SCALED).failed(3)
        assert re.search(
            r"^cacher: error: deleting b: http\S+: no answer for [\d.]+ s \(2 tries\); "
            "the keys after it were not tried; deleted a\n",
            err,
        )
        asked = {record.key for record in bucket.server.select(operation="DeleteObject")}
        assert asked == {"a", "b"}

    def test_looking_for_them(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.server.inject(Fault(Stall(LONG), operation="HeadObject", times=None))
        err = cacher("delete", *"abc", limits=SCALED).failed(3)
        assert err.startswith("cacher: error: looking for a: ")
        assert {record.key for record in bucket.server.requests} == {"a"}

    def test_connections_that_break(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.server.inject(Fault(Respond(501), operation="DeleteObjects"))
        bucket.server.inject(Fault(Reset(), operation="DeleteObject", times=None))
        assert "; the keys after it were not tried\n" in cacher("delete", *"abc").failed(3)
        assert {record.key for record in bucket.server.select(operation="DeleteObject")} == {"a"}


class TestRefused:
    @pytest.mark.parametrize("action", [Respond(403, "AccessDenied"), Stall(LONG)])
    def test_one_is_said_once(
        self, cacher: Run, bucket: BucketPlace, action: Respond | Stall
    ) -> None:
        bucket.server.inject(Fault(action, operation="DeleteObject", times=None))
        ended = cacher("delete", "k", limits=SCALED)
        assert (ended.status, ended.warnings) == (4 if isinstance(action, Respond) else 3, [])
        assert ended.err.startswith("cacher: error: deleting k: ")
        assert ended.err.count("deleting k") == 1

    def test_a_refusal_before_silence_is_said(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.server.inject(Fault(Respond(501), operation="DeleteObjects"))
        denied = Respond(403, "AccessDenied")
        bucket.server.inject(Fault(denied, operation="DeleteObject", key="a"))
        bucket.server.inject(Fault(Reset(), operation="DeleteObject", key="b", times=None))
        ended = cacher("delete", "a", "b")
        ended.failed(3)
        assert [warning.split(":")[0] for warning in ended.warnings] == ["a was not deleted"]


class TestStdin:
    @pytest.mark.parametrize(
        ("end", "flags"), [(b"\n", ()), (b"\0", ("-0",)), (b"\0", ("--null",))]
    )
    def test_keys_are_taken_as_they_are(
        self, cacher: Run, place: Place, end: bytes, flags: tuple[str, ...]
    ) -> None:
        for key in [*BRACES, "other"]:
            place.put(key, b"abc")
        given = end.join(key.encode() for key in BRACES)
        ended = cacher("delete", "--stdin", *flags, stdin=given + end)
        assert (ended.status, ended.err) == (0, "cacher: deleted 5 entries\n")
        assert place.keys() == ["other"]

    def test_what_list_prints_can_be_deleted(self, cacher: Run, place: Place) -> None:
        for key in [*BRACES, "-v", "a b", "q'\"<>"]:
            place.put(key, b"abc")
        keys = b"".join(row.split(b"\t")[0] + b"\n" for row in cacher("list").out.splitlines())
        assert cacher("delete", "--stdin", stdin=keys).status == 0
        assert place.keys() == []

    def test_blank_lines_and_a_last_line_without_an_end(self, cacher: Run, place: Place) -> None:
        for key in ("a", "b"):
            place.put(key, b"abc")
        told = cacher("delete", "--stdin", "--json", stdin=b"\na\n\n\nnone\nb").json
        assert (told["deleted"], told["missing"]) == (["a", "b"], ["none"])

    @pytest.mark.parametrize("given", [b"", b"\n\n"])
    def test_nothing(self, cacher: Run, place: Place, given: bytes) -> None:
        ended = cacher("delete", "--stdin", stdin=given)
        assert (ended.status, ended.err) == (0, "cacher: deleted 0 entries\n")

    def test_more_than_a_request_and_a_read_hold(self, cacher: Run, bucket: BucketPlace) -> None:
        keys = [f"{'n' * 60}/{number:04}" for number in range(2500)]
        bucket.server.seed(keys)
        bucket.put("other", b"abc")
        ended = cacher("delete", "--stdin", stdin="\n".join(keys).encode())
        assert (ended.status, ended.last) == (
            0,
            "cacher: 2500 keys are not in the store now; they were not looked up before",
        )
        assert bucket.keys() == ["other"]
        assert bucket.server.count(operation="DeleteObjects") == 2500 / BULK_DELETE_KEYS

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            (b"k" * 480, "is too long: 480 bytes"),
            (b"k" * 200_000, "is too long: "),
            (b"a//b", "holds '//'"),
            (b"a\t3\t2026", "holds the control character '\\t'"),
            (b"a\r", "holds the control character '\\r'"),
            (b"\xff", "is not valid UTF-8"),
        ],
    )
    @pytest.mark.parametrize("end", [b"\n", b""])
    def test_what_is_not_a_key_is_an_error(
        self, cacher: Run, place: Place, line: bytes, says: str, end: bytes
    ) -> None:
        place.put("a", b"abc")
        err = cacher("delete", "--stdin", stdin=b"\na\n" + line + end).failed(2)
        assert "error: key 3 from stdin: key " in err
        assert says in err
        assert len(err) < 1000
        assert place.keys() == ["a"]

    def test_how_many_were_deleted_before_is_told(self, cacher: Run, bucket: BucketPlace) -> None:
        keys = [f"n/{number:04}" for number in range(BULK_DELETE_KEYS + 9)]
        bucket.server.seed(keys)
        given = "\n".join([*keys[:-1], "a//b"]).encode()
        err = cacher("delete", "--stdin", stdin=given).failed(2)
        assert f"; {BULK_DELETE_KEYS} keys are not in the store now\n" in err
        assert bucket.keys() == keys[BULK_DELETE_KEYS:]

    def test_the_length_is_that_under_the_prefix(self, cacher: Run, bucket: BucketPlace) -> None:
        line = b"k" * 478
        assert cacher("delete", "--stdin", stdin=line).status == 0
        err = cacher("--prefix", "p", "delete", "--stdin", stdin=line).failed(2)
        assert "is too long: 480 bytes with the prefix 'p'" in err

    def test_a_dry_run(self, cacher: Run, place: Place) -> None:
        place.put("{a}", b"abc")
        ended = cacher("delete", "--stdin", "--dry-run", stdin=b"{a}\nnone\n")
        assert (ended.status, ended.out) == (0, b"{a}\n")
        assert ended.last == "cacher: would delete {a}; none is not there"
        assert place.keys() == ["{a}"]

    @pytest.mark.parametrize(
        ("argv", "says"),
        [
            (("k", "-0"), "-0 says how keys end on stdin"),
            (("--stdin", "--hash-from", "f"), "--hash-from and --stdin exclude each other"),
        ],
    )
    def test_flags_that_do_not_fit(
        self, cacher: Run, place: Place, argv: tuple[str, ...], says: str
    ) -> None:
        assert says in cacher("delete", *argv).failed(2)


class TestLiteral:
    @pytest.mark.parametrize("key", BRACES)
    def test_every_command_takes_a_literal_key(self, cacher: Run, place: Place, key: str) -> None:
        Path("f").write_bytes(b"abc")
        Path("d").mkdir()
        Path("d/f").write_bytes(b"abc")
        for argv in (
            ("upload", key, "f"),
            ("exists", key),
            ("download", key, "g"),
            ("delete", key),
            ("dir", "upload", key, "d"),
            ("dir", "download", key, "e"),
        ):
            ended = cacher(*argv, "--literal")
            assert (ended.status, ended.warnings) == (0, [])
        assert place.keys() == [key]
        assert cacher("docker", "exists", "--literal", key).status == 2  # a directory's entry
        assert cacher("docker", "exists", "--literal", f"{key}x").status == 1
        assert cacher("key", "--literal", key).text == f"{key}\n"

    @pytest.mark.parametrize("argv", [("exists", "k"), ("delete", "k"), ("key", "k")])
    def test_it_has_no_hash(self, cacher: Run, place: Place, argv: tuple[str, ...]) -> None:
        Path("f").write_bytes(b"abc")
        err = cacher(*argv, "--literal", "--hash-from", "f").failed(2)
        assert "--literal and --hash-from exclude each other" in err

    @pytest.mark.parametrize("argv", [("exists",), ("delete",), ("key",)])
    def test_it_must_be_a_legal_key(self, cacher: Run, place: Place, argv: tuple[str, ...]) -> None:
        assert "holds '//'" in cacher(*argv, "--literal", "{a}//b").failed(2)


class TestBraces:
    @pytest.mark.parametrize("template", ["{{hash}}", "a{{", "}}"])
    def test_a_key_with_braces_is_a_warning(self, cacher: Run, place: Place, template: str) -> None:
        key = template.replace("{{", "{").replace("}}", "}")
        hint = "{{ and }} stand for braces, {hash} is a placeholder; --literal takes KEY as it is"
        for argv in (("exists", template), ("key", template), ("delete", template)):
            ended = cacher(*argv)
            assert ended.warnings == [f"the key '{key}' holds braces"]
            assert f"cacher: hint: {hint}\n" in ended.err
            told = json.loads(cacher(*argv, "--json").out)
            assert (told["warnings"], told["hints"]) == ([f"the key '{key}' holds braces"], [hint])

    def test_one_without_is_not(self, cacher: Run, place: Place) -> None:
        Path("f").write_bytes(b"abc")
        for argv in (("exists", "{os}-{hash}"), ("key", "{hash}")):
            ended = cacher(*argv, "--hash-from", "f", "--json")
            assert ended.warnings == ended.json["warnings"] == []
            assert "hints" not in ended.json


def test_on_real_servers(cacher: Run, each_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    new_bucket(monkeypatch, each_server)
    Path("f").write_bytes(b"abc")
    keys = ["a{b}", "d/e/f", "d/{{x}}", "k+ %41"]
    for key in keys:
        assert cacher("upload", "--literal", key, "f").status == 0
    rows = cacher("list", "--delimiter").text.splitlines()
    assert sorted(row.split("\t")[0] for row in rows) == ["a{b}", "d/", "k+ %41"]
    told = cacher("delete", "--literal", "a{b}", "d", "none", "--json").json
    assert (told["deleted"], told["missing"]) == (["a{b}"], ["d", "none"])
    given = b"".join(line.split(b"\t")[0] + b"\n" for line in cacher("list").out.splitlines())
    told = cacher("delete", "--stdin", "--json", stdin=given + b"none\n").json
    assert (sorted(told["deleted"]), told["missing"]) == (keys[1:], ["none"])
    assert cacher("list").last == "cacher: 0 entries, 0 B"
