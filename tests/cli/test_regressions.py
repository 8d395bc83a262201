"""Traps that tools like this one fell into, each by its name."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import STALL_TIMEOUT, Run
from tests.fakes.faults import ChangeETag, CutAnswer, Fault, Replace, Respond, Stall, Trickle
from tests.fakes.origin import Origin, Reply
from tests.fakes.profile import GARAGE, Profile
from tests.fakes.s3server import FakeS3Server
from tests.support.cli_helpers import MIB, BucketPlace, LocalPlace, Place, blob, sha256

BIG = 20 * MIB
"""Bytes of several ranges of a download."""


def test_a_shorter_file_over_a_longer_one_has_no_old_tail(cacher: Run, place: Place) -> None:
    place.put("k", b"short")
    Path("f").write_bytes(blob(MIB))
    assert cacher("download", "k", "f").status == 0
    assert Path("f").read_bytes() == b"short"
    Path("g").write_bytes(b"g")
    place.put("k", blob(MIB))
    assert cacher("upload", "k", "g", "--force").status == 0
    assert place.get("k") == b"g"


@pytest.mark.parametrize("status", [400, 403, 405, 409, 429, 500, 501, 503])
def test_an_error_is_read_neither_as_there_nor_as_not_there(
    cacher: Run, bucket: BucketPlace, status: int
) -> None:
    for key in ("there", "not-there"):
        bucket.put("there", b"abc")
        bucket.server.inject(Fault(Respond(status, "Oops"), times=None))
        Path("f").write_bytes(b"abc")
        for argv in (("exists", key), ("upload", key, "f"), ("download", key, "g")):
            assert cacher(*argv).status in (3, 4)
        bucket.server.clear_faults()
    assert bucket.keys() == ["there"]
    assert os.listdir() == ["f"]


def test_a_404_of_something_else_is_no_miss(cacher: Run, bucket: BucketPlace) -> None:
    bucket.put("k", b"abc")
    portal = Respond(404, body=b"<html>nothing here</html>")
    bucket.server.inject(Fault(portal, operation="GetObject", times=None))
    assert "check --endpoint" in cacher("download", "k", "f").failed(3)
    assert os.listdir() == []


def test_a_key_never_gives_an_entry_whose_key_only_begins_like_it(
    cacher: Run, place: Place
) -> None:
    place.put("deps-1", b"one")
    place.put("deps-12", b"twelve")
    for key in ("deps", "deps-", "deps-123", "eps-1", "DEPS-1"):
        assert cacher("download", key, "f").status == 1
        assert cacher("exists", key).status == 1
    assert os.listdir() == []
    assert cacher("download", "deps-1", "f").status == 0
    assert Path("f").read_bytes() == b"one"


def test_a_listing_has_more_than_one_page(cacher: Run, bucket: BucketPlace) -> None:
    keys = [f"n/{number:04}" for number in range(1001)]
    bucket.server.seed(keys)
    assert len(cacher("list", "n/").text.splitlines()) == 1001
    assert cacher("delete", "--prefix", "n/", "--yes").status == 0
    assert bucket.keys() == []


@pytest.mark.parametrize("nth", [2, 3])
def test_two_versions_of_an_entry_are_never_spliced(
    cacher: Run, bucket: BucketPlace, nth: int
) -> None:
    old, new = blob(BIG, 1), blob(BIG, 2)
    for recorded in (False, True):
        bucket.put("k", old, None if recorded else "")
        told = {"cacher-sha256": sha256(new)} if recorded else {}
        bucket.server.inject(Fault(Replace(new, told), operation="GetObject", nth=nth))
        assert cacher("download", "k", "f").status == 0
        assert Path("f").read_bytes() == new
    later = bucket.server.select(operation="GetObject")
    ranged = [
        get for get in later if not get.headers.get("range", "bytes=0-").startswith("bytes=0-")
    ]
    assert ranged
    assert all("if-match" in record.headers for record in ranged)


def test_an_answer_of_another_etag_is_not_part_of_this_entry(
    cacher: Run, bucket: BucketPlace
) -> None:
    bucket.put("k", blob(BIG), "")
    bucket.server.inject(Fault(ChangeETag("0" * 32), operation="GetObject", nth=2, times=None))
    cacher("download", "k", "f").failed(3)
    assert os.listdir() == []


def test_debug_does_not_print_the_environment(
    cacher: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPLOY_PASSWORD", "MARKED")
    place.put("k", b"abc")
    for argv in (("exists", "k"), ("exists", "none"), ("upload", "k", "none"), ("exists",)):
        ended = cacher(*argv, "--debug", "-v", "--json")
        assert "MARKED" not in ended.err + ended.text
        assert "DEPLOY" not in ended.err + ended.text


@pytest.mark.parametrize("command", [("exists", "k"), ("download", "k", "f"), ("list",)])
def test_without_credentials_nothing_is_asked_anonymously_or_otherwise(
    cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    for name in ("CACHER_S3_KEY_ID", "CACHER_S3_SECRET"):
        monkeypatch.delenv(name)
    err = cacher(*command).failed(2)
    assert "no credentials" in err
    assert "anonymous" not in err
    assert bucket.server.requests == []


def test_proxies_are_not_forgotten(
    cacher: Run, bucket: BucketPlace, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = origin.script("/f", Reply(body=b"abc"))
    with Origin(forwards=True) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url())
        assert cacher("download", "k", "f", "--url", url).status == 0
        methods = [(seen.method, seen.target.split("/")[2]) for seen in proxy.seen]
    store, source = f"127.0.0.1:{bucket.server.port}", f"127.0.0.1:{origin.port}"
    assert methods == [("GET", store), ("GET", source), ("PUT", store)]


def test_time_outs_are_not_forgotten(cacher: Run, bucket: BucketPlace, impatient: None) -> None:
    bucket.put("k", b"abc")
    silence = Stall(20 * STALL_TIMEOUT)
    bucket.server.inject(Fault(silence, operation="GetObject", times=None))
    assert "no answer for" in cacher("download", "k", "f").failed(3)
    assert os.listdir() == []


def test_no_timer_ends_a_transfer_that_is_slow_but_goes_on(
    cacher: Run, bucket: BucketPlace, impatient: None
) -> None:
    bucket.put("k", blob(1000))
    bucket.server.inject(Fault(Trickle(1000), operation="GetObject", times=None))
    assert cacher("download", "k", "f").status == 0  # after three of the time-outs
    assert Path("f").read_bytes() == blob(1000)


def test_long_keys_are_refused_and_not_cut_to_be_the_same(cacher: Run, place: Place) -> None:
    Path("f").write_bytes(b"abc")
    parts = ["x" * 119] * 4  # with slashes, 479 bytes: the longest there is
    longest = "/".join(parts)
    assert cacher("upload", longest, "f").status == 0
    for key in (f"{longest}1", f"{longest}2"):
        assert "too long" in cacher("upload", key, "f").failed(2)
        assert "too long" in cacher("exists", key).failed(2)
    assert place.keys() == [longest]


def test_that_the_cache_is_dead_is_seen_in_the_status_or_in_json(
    cacher: Run, bucket: BucketPlace, origin: Origin
) -> None:
    bucket.server.inject(Fault(Respond(503, "SlowDown"), times=None))
    Path("f").write_bytes(b"abc")
    cacher("upload", "k", "f").failed(3)
    cacher("exists", "k").failed(3)
    cacher("download", "k", "g").failed(3)
    url = origin.script("/f", Reply(body=b"abc"))
    ended = cacher("download", "k", "g", "--url", url, "--json")
    assert ended.status == 0  # the build goes on, and whoever looks is told
    assert ended.json["stored"] is False
    assert "continuing without the cache" in ended.json["warnings"][0]


@pytest.mark.parametrize("ranges", ["ignored", "partial-200"])
@pytest.mark.parametrize("recorded", [None, ""])
def test_a_200_is_not_taken_for_the_range_that_was_asked_for(
    cacher: Run,
    monkeypatch: pytest.MonkeyPatch,
    ranges: str,
    recorded: str | None,
) -> None:
    profile: Profile = replace(GARAGE, ranges=ranges)  # type: ignore[arg-type]
    with FakeS3Server(profile) as server:
        place = BucketPlace(server)
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        place.put("k", blob(BIG), recorded)
        # A connection that breaks makes it ask for the rest.
        server.inject(Fault(CutAnswer(9 * MIB), operation="GetObject"))
        ended = cacher("download", "k", "f")
        if ended.status == 0:
            assert Path("f").read_bytes() == blob(BIG)
        else:
            ended.failed(3)
            assert os.listdir() == []


def test_an_origins_200_is_not_appended_to_what_is_there(
    cacher: Run, local: LocalPlace, origin: Origin
) -> None:
    whole = Reply(body=blob(2 * MIB), ranges=False)
    url = origin.script("/f", replace(whole, cut=MIB), whole)
    assert cacher("download", "k", "f", "--url", url).status == 0
    assert origin.seen[1].header("range")
    assert Path("f").read_bytes() == local.get("k") == blob(2 * MIB)
