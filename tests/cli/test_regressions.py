"""Traps that tools like this one fell into, each by its name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fakes.faults import Fault, Replace, Respond, Trickle
from tests.support.cli_helpers import MIB, BucketPlace, Place, blob, sha256

BIG = 20 * MIB
"""Bytes of several ranges of a download."""


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
    assert "CACHER_S3_KEY_ID" in err
    assert "anonymous" not in err
    assert bucket.server.requests == []


def test_no_timer_ends_a_transfer_that_is_slow_but_goes_on(
    cacher: Run, bucket: BucketPlace, impatient: None
) -> None:
    bucket.put("k", blob(1000))
    bucket.server.inject(Fault(Trickle(1000), operation="GetObject", times=None))
    assert cacher("download", "k", "f").status == 0  # after three of the time-outs
    assert Path("f").read_bytes() == blob(1000)
