"""`doctor` on stores of many manners: it says what is wrong, and goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.fakes.profile import AWS, DEFAULT_KEY, GARAGE, MINIO_2021, SWIFT, Profile
from tests.support.doctor_helpers import Chart, Serve


class TestPermissions:
    @pytest.mark.parametrize(
        ("read", "write", "fails", "says", "hint"),
        [
            (True, False, ["write"], "may only read", "--write cache --key ID"),
            (False, True, ["bucket", "list", "read", "range"], "may only write", "--read cache"),
            (
                False,
                False,
                ["bucket", "list", "write", "permissions"],
                "may neither read nor write",
                "--read cache",
            ),
        ],
    )
    def test_what_a_key_may_do(
        self,
        cacher: Run,
        serve: Serve,
        read: bool,
        write: bool,
        fails: list[str],
        says: str,
        hint: str,
    ) -> None:
        serve(keys=[replace(DEFAULT_KEY, read=read, write=write)])
        ended = cacher("doctor")
        err = ended.failed(4)
        assert "Operation is not allowed for this key" in err
        assert f"garage bucket allow {hint}" in err
        chart = Chart(ended)
        assert chart.names("fail") == fails
        assert f"this key {says}" in chart["permissions"].text
        if write:
            assert chart["multipart"].state == chart["abort"].state == "ok"
            assert chart["delete"].state == "ok"
        else:
            assert chart.names("skip") == [
                *(["tls"] if read else ["tls", "region"]),
                *("read", "conditional", "multipart", "range", "abort", "delete"),
            ]


class TestStore:
    @pytest.mark.parametrize("profile", [GARAGE, AWS], ids=["garage", "aws"])
    def test_another_region(
        self, cacher: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch, profile: Profile
    ) -> None:
        place = serve(profile)
        monkeypatch.setenv("CACHER_REGION", "elsewhere")
        ended = cacher("doctor")
        assert f"the store's region is {place.server.region}, not elsewhere" in ended.failed(4)
        assert f"cacher: hint: set --region {place.server.region}\n" in ended.err
        assert Chart(ended).names("fail") == ["region"]

    @pytest.mark.parametrize(
        ("profile", "given", "says"),
        [
            (GARAGE, "garage", "garage"),
            (GARAGE, "", "garage (not set; the store accepts it)"),
            (AWS, "", "us-east-1 (learned from the store)"),
            (
                replace(GARAGE, region="default", require_region=False),
                "mine",
                "mine (the store accepts it; its own is default)",
            ),
        ],
    )
    def test_a_region_that_does(
        self,
        cacher: Run,
        serve: Serve,
        monkeypatch: pytest.MonkeyPatch,
        profile: Profile,
        given: str,
        says: str,
    ) -> None:
        serve(profile)
        monkeypatch.setenv("CACHER_REGION", given)
        ended = cacher("doctor")
        assert ended.status == 0
        assert Chart(ended)["region"].text == says

    @pytest.mark.parametrize("read", [True, False])
    def test_a_bucket_that_is_not_there(self, cacher: Run, serve: Serve, read: bool) -> None:
        serve(keys=[replace(DEFAULT_KEY, read=read)])
        ended = cacher("doctor", "--bucket", "nowhere")
        assert "the bucket 'nowhere' does not exist" in ended.failed(4)
        assert "cacher: hint: check --bucket" in ended.err
        chart = Chart(ended)
        assert chart.names("fail") == ["bucket"]
        assert "permissions" not in chart

    def test_no_bucket(self, cacher: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        serve()
        monkeypatch.delenv("CACHER_BUCKET")
        ended = cacher("doctor")
        assert "no bucket for http://" in ended.failed(2)
        assert Chart(ended).names("fail") == ["bucket name"]
        assert Chart(ended)["tcp"].state == "ok"

    @pytest.mark.parametrize("profile", [GARAGE, AWS], ids=["garage", "aws"])
    @pytest.mark.parametrize("seconds", [3600.0, -3600.0])
    def test_a_clock_that_is_wrong(
        self, cacher: Run, serve: Serve, profile: Profile, seconds: float
    ) -> None:
        serve(replace(profile, clock_offset=seconds))
        ended = cacher("doctor")
        side = "behind" if seconds > 0 else "ahead of"
        assert ended.status == 0  # everything works all the same
        assert Chart(ended).names("fail") == []
        assert Chart(ended).names("warn") == ["clock"]
        assert f" s {side} the store's: set it" in Chart(ended)["clock"].text
        assert ended.last == "cacher: everything works, 1 warning"

    @pytest.mark.parametrize("seconds", [300.0, -300.0])
    def test_a_clock_that_drifts(self, cacher: Run, serve: Serve, seconds: float) -> None:
        serve(replace(AWS, clock_offset=seconds))
        ended = cacher("doctor")
        assert ended.status == 0
        assert Chart(ended).names("warn") == ["clock"]
        assert Chart(ended)["clock"].text.startswith("-" if seconds > 0 else "+")

    @pytest.mark.parametrize(
        ("profile", "manner"),
        [(GARAGE, "ignored"), (MINIO_2021, "ignored"), (AWS, "enforced"), (SWIFT, "unsupported")],
    )
    def test_conditional_writes(
        self, cacher: Run, serve: Serve, profile: Profile, manner: str
    ) -> None:
        serve(profile)
        ended = cacher("doctor")
        assert ended.status == 0
        assert Chart(ended)["conditional"].text.startswith(f"{manner}; ")

    @pytest.mark.parametrize(
        ("ranges", "says"),
        [
            ("ignored", "a range was answered with HTTP 200 and no Content-Range"),
            ("partial-200", "a range was answered with HTTP 200 and bytes "),
        ],
    )
    def test_ranges_that_are_none(self, cacher: Run, serve: Serve, ranges: Any, says: str) -> None:
        serve(replace(GARAGE, ranges=ranges))
        ended = cacher("doctor")
        assert says in ended.failed(3)
        assert "cacher: hint: downloads work, but" in ended.err
        assert Chart(ended).names("fail") == ["range"]

    @pytest.mark.parametrize(("quota", "fails"), [(0, "write"), (1024, "multipart")])
    def test_a_full_store(self, cacher: Run, serve: Serve, quota: int, fails: str) -> None:
        serve(replace(GARAGE, quota_bytes=quota))
        ended = cacher("doctor")
        assert "the store is full" in ended.failed(4)
        assert Chart(ended).names("fail") == [fails]
        assert "permissions" not in Chart(ended)  # the key may write, were there room
