"""Warnings that stand for errors keep the next step to take, and flags that lose are told of."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fakes.faults import Fault, Respond
from tests.fakes.origin import Origin, Reply
from tests.support.cli_helpers import BucketPlace, Ended
from tests.support.doctor_helpers import Chart


def steps(ended: Ended) -> list[tuple[str, str]]:
    """Each warning on stderr with the hint in the line below it, or ''."""
    lines = [*ended.err.splitlines(), ""]
    start, hint = "cacher: warning: ", "cacher: hint: "
    return [
        (line[len(start) :], below[len(hint) :] if below.startswith(hint) else "")
        for line, below in pairwise(lines)
        if line.startswith(start)
    ]


class TestHints:
    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("CACHER_S3_SECRET", "check the secret key"),
            ("CACHER_S3_KEY_ID", "the store does not know this key id"),
        ],
    )
    def test_wrong_credentials_and_a_good_url(
        self,
        cacher: Run,
        bucket: BucketPlace,
        origin: Origin,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        hint: str,
    ) -> None:
        origin.script("/f", Reply(body=b"abc"))
        monkeypatch.setenv(name, "wrong")
        ended = cacher("download", "k", "f", "--url", origin.url("/f"))
        assert ended.status == 0
        ((text, told),) = steps(ended)
        assert text.endswith("; continuing without the cache")
        assert hint in told
        answer = cacher("download", "k", "f", "--url", origin.url("/f"), "--json").json
        assert answer["warnings"] == [text]
        assert answer["hints"] == [told]
        assert answer["stored"] is False

    def test_a_store_that_refuses_to_store(
        self, cacher: Run, bucket: BucketPlace, origin: Origin
    ) -> None:
        origin.script("/f", Reply(body=b"abc"))
        bucket.server.inject(Fault(Respond(403, "AccessDenied"), operation="PutObject", times=None))
        ended = cacher("download", "k", "f", "--url", origin.url("/f"), "--json")
        ((text, told),) = steps(ended)
        assert text.startswith("not stored for next time: ")
        assert "cacher doctor" in told
        assert ended.json["hints"] == [told]

    def test_an_origin_that_fails_and_one_that_delivers(
        self, cacher: Run, bucket: BucketPlace, origin: Origin
    ) -> None:
        origin.script("/f", Reply(body=b"abc"))
        urls = ("--url", origin.url("/none"), "--url", origin.url("/f"))
        ((text, told),) = steps(cacher("download", "k", "f", *urls))
        assert "404" in text
        assert told.startswith("check the URL")

    def test_a_warning_without_a_hint_has_null(self, cacher: Run, bucket: BucketPlace) -> None:
        Path("f").write_bytes(b"abc")
        bucket.put("{a}", b"abcd")
        told = cacher("upload", "{{a}}", "f", "--json").json
        assert len(told["warnings"]) == 2
        assert [hint is None for hint in told["hints"]] == [False, True]
        bucket.put("k", b"abcd")
        assert "hints" not in cacher("upload", "k", "f", "--json").json

    def test_a_failure_keeps_them_too(self, cacher: Run, bucket: BucketPlace) -> None:
        told = cacher("exists", "{{a}}", "--json").json
        assert told["outcome"] == "miss"
        assert len(told["hints"]) == len(told["warnings"]) == 1


class TestCredentialFlags:
    @pytest.mark.parametrize(
        ("flags", "says"),
        [
            (("--key-file",), "--key-file is"),
            (("--secret-file",), "--secret-file is"),
            (("--key-file", "--secret-file"), "--key-file and --secret-file are"),
        ],
    )
    def test_flags_that_lose_to_variables_are_a_warning(
        self, cacher: Run, bucket: BucketPlace, flags: tuple[str, ...], says: str
    ) -> None:
        Path("MARKED").write_text("MARKED")
        argv = [word for flag in flags for word in (flag, "MARKED")]
        text = f"{says} not used: CACHER_S3_KEY_ID and CACHER_S3_SECRET are set, and come first"
        ended = cacher("exists", "k", *argv)
        assert ended.status == 1
        assert steps(ended) == [(text, "leave the flags out, or unset the variables")]
        assert "MARKED" not in ended.err
        assert text in Chart(cacher("doctor", *argv)).texts("credentials", "warn")

    def test_variables_and_the_config_file_are_not(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("id").write_text("id")
        Path("c.toml").write_text('key-file = "id"\nsecret-file = "id"\n')
        monkeypatch.setenv("CACHER_KEY_FILE", "id")
        assert cacher("exists", "k", "--config", "c.toml").warnings == []

    def test_flags_that_win_are_not(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, file in (("S3_KEY_ID", "id"), ("S3_SECRET", "secret")):
            Path(file).write_text(bucket.environment[f"CACHER_{name}"])
            monkeypatch.setenv(f"CACHER_{name}", "")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        ended = cacher("exists", "k", "--key-file", "id", "--secret-file", "secret")
        assert (ended.status, ended.warnings) == (1, [])
