"""`download --url`: a miss is fetched from an origin, delivered, and a hit from then on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fakes.faults import Fault, Respond
from tests.fakes.origin import Origin, Reply
from tests.support.cli_helpers import MIB, BucketPlace, LocalPlace, Place, blob, sha256
from tests.support.tcp_servers import Recorder, listening

FILE = blob(300_000)


class TestMissThenHit:
    @pytest.mark.parametrize("size", [0, 1, 300_000, 17 * MIB])
    def test_fetched_once(self, cacher: Run, place: Place, origin: Origin, size: int) -> None:
        url = origin.script("/go.tar.gz", Reply(body=blob(size)))
        first = cacher("download", "go.tar.gz", "first", "--url", url)
        assert first.status == 0
        assert first.err.startswith(f"cacher: miss go.tar.gz, fetched {url} (")
        assert first.err.endswith("), stored\n")
        second = cacher("download", "go.tar.gz", "second", "--url", url)
        assert second.status == 0
        assert second.err.startswith("cacher: hit go.tar.gz (")
        assert len(origin.seen) == 1
        for name in ("first", "second"):
            assert Path(name).read_bytes() == blob(size)
        assert place.get("go.tar.gz") == blob(size)
        assert place.digest("go.tar.gz") == sha256(blob(size))
        assert sorted(os.listdir()) == ["first", "second"]

    def test_it_costs_a_look_and_a_put(
        self, cacher: Run, bucket: BucketPlace, origin: Origin
    ) -> None:
        url = origin.script("/f", Reply(body=FILE))
        assert cacher("download", "k", "f", "--url", url).status == 0
        seen = [record.operation for record in bucket.server.requests]
        assert seen == ["GetObject", "PutObject"]

    def test_a_bucket_that_is_not_there(
        self, cacher: Run, bucket: BucketPlace, origin: Origin
    ) -> None:
        url = origin.script("/f", Reply(body=FILE))
        ended = cacher("download", "k", "f", "--url", url, "--bucket", "nowhere")
        assert ended.status == 0
        (warning,) = ended.warnings
        assert "the bucket 'nowhere' does not exist; continuing without the cache" in warning
        assert len(bucket.server.requests) == 1  # nothing is stored where nothing can be
        assert Path("f").read_bytes() == FILE

    def test_a_hit_asks_no_origin(self, cacher: Run, place: Place) -> None:
        place.put("k", b"abc")
        assert cacher("download", "k", "f", "--url", "http://127.0.0.1:1/").status == 0
        assert Path("f").read_bytes() == b"abc"

    def test_no_store(self, cacher: Run, place: Place, origin: Origin) -> None:
        url = origin.script("/f", Reply(body=FILE))
        ended = cacher("download", "k", "f", "--url", url, "--no-store")
        assert ended.status == 0
        assert "stored" not in ended.err
        assert Path("f").read_bytes() == FILE
        assert place.keys() == []

    def test_with_its_digest(self, cacher: Run, place: Place, origin: Origin) -> None:
        url = origin.script("/f", Reply(body=FILE))
        assert cacher("download", "k", "f", "--url", url, "--sha256", sha256(FILE)).status == 0
        assert Path("f").read_bytes() == place.get("k") == FILE

    def test_to_stdout(self, cacher: Run, place: Place, origin: Origin) -> None:
        url = origin.script("/f", Reply(body=FILE))
        for _ in range(2):
            assert cacher("download", "k", "-", "--url", url).out == FILE
        assert place.get("k") == FILE
        assert os.listdir() == []

    def test_the_prefix_is_before_the_key(self, cacher: Run, place: Place, origin: Origin) -> None:
        url = origin.script("/f", Reply(body=FILE))
        assert cacher("download", "k", "f", "--url", url, "--prefix", "/team/ci/").status == 0
        assert place.keys() == ["team/ci/k"]

    def test_it_is_said_who_asks(self, cacher: Run, local: LocalPlace, origin: Origin) -> None:
        url = origin.script("/f", Reply(body=FILE))
        cacher("download", "k", "f", "--url", url)
        assert origin.seen[0].header("user-agent").startswith("cacher/")
        assert origin.seen[0].header("accept-encoding") == "identity"
        assert origin.seen[0].header("authorization") == ""


class TestSeveralUrls:
    def test_the_first_that_has_it(self, cacher: Run, place: Place, origin: Origin) -> None:
        urls = [origin.url("/none"), origin.script("/b", Reply(body=FILE)), origin.url("/c")]
        ended = cacher("download", "k", "f", *(f"--url={url}" for url in urls))
        assert ended.status == 0
        assert ended.warnings == [f"fetching {urls[0]}: HTTP 404 Not Found"]
        assert [seen.target for seen in origin.seen] == ["/none", "/b"]
        assert Path("f").read_bytes() == place.get("k") == FILE

    def test_one_with_another_file_is_passed_over(
        self, cacher: Run, place: Place, origin: Origin
    ) -> None:
        bad = origin.script("/bad", Reply(body=FILE + b"more"))
        good = origin.script("/good", Reply(body=FILE))
        digest = sha256(FILE)
        ended = cacher("download", "k", "f", "--url", bad, "--url", good, "--sha256", digest)
        assert ended.status == 0
        assert f"{bad} has digest" in ended.warnings[0]
        assert Path("f").read_bytes() == place.get("k") == FILE

    def test_none_has_it(self, cacher: Run, place: Place, origin: Origin) -> None:
        urls = [origin.url("/a"), origin.url("/b")]
        err = cacher("download", "k", "f", *(f"--url={url}" for url in urls)).failed(6)
        assert all(url in err for url in urls)
        assert place.keys() == os.listdir() == []

    def test_another_file_is_graver_than_none(
        self, cacher: Run, place: Place, origin: Origin
    ) -> None:
        bad = origin.script("/bad", Reply(body=FILE))
        urls = [f"--url={origin.url('/none')}", f"--url={bad}", f"--url={origin.url('/none')}"]
        cacher("download", "k", "f", *urls, "--sha256", "0" * 64).failed(5)
        assert place.keys() == os.listdir() == []


class TestSizesBeyondTheDisk:
    HUGE = 9_000_000_000_000_000

    @pytest.fixture
    def huge(self) -> Iterator[str]:
        """An origin that announces more than any disk has."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nabc" % self.HUGE
        with listening(Recorder(lambda _seen: head).serve) as host:
            yield f"http://127.0.0.1:{host.port}/f"

    def test_the_next_url_is_tried(
        self, cacher: Run, place: Place, origin: Origin, huge: str
    ) -> None:
        good = origin.script("/f", Reply(body=FILE))
        ended = cacher("download", "k", "f", "--url", huge, "--url", good)
        assert ended.status == 0
        (warning,) = ended.warnings
        says = f"fetching {huge}: no space for f: {self.HUGE} bytes are needed, "
        assert warning.startswith(says)
        assert Path("f").read_bytes() == place.get("k") == FILE

    @pytest.mark.parametrize("dest", ["f", "-"])
    def test_nothing_else_is_there(self, cacher: Run, place: Place, huge: str, dest: str) -> None:
        err = cacher("download", "k", dest, "--url", huge).failed(7)
        assert f"fetching {huge}: no space for " in err
        assert "cacher: hint: free some space\n" in err
        assert place.keys() == os.listdir() == []

    def test_the_last_reason_counts(
        self, cacher: Run, place: Place, origin: Origin, huge: str
    ) -> None:
        none = origin.url("/none")
        err = cacher("download", "k", "f", "--url", none, "--url", huge).failed(7)
        assert "cacher: hint: free some space\n" in err
        err = cacher("download", "k", "f", "--url", huge, "--url", none).failed(6)
        assert err.splitlines()[-2] == f"cacher: error: fetching {none}: HTTP 404 Not Found"
        assert place.keys() == os.listdir() == []


class TestOriginFails:
    @pytest.mark.parametrize(
        ("status", "hint"), [(404, "check the URL"), (401, "https://USER:TOKEN@HOST/"), (451, "")]
    )
    def test_for_good(
        self, cacher: Run, place: Place, origin: Origin, status: int, hint: str
    ) -> None:
        url = origin.script("/f", Reply(status, b"no"))
        err = cacher("download", "k", "a/b", "--url", url).failed(6)
        assert f"fetching {url}: HTTP {status} {HTTPStatus(status).phrase}\n" in err
        assert hint in err
        assert len(origin.seen) == 1
        assert place.keys() == os.listdir() == []

    @pytest.mark.parametrize("status", [500, 502, 503, 429])
    def test_for_a_while(self, cacher: Run, local: LocalPlace, origin: Origin, status: int) -> None:
        url = origin.script("/f", Reply(status), Reply(status), Reply(body=FILE))
        assert cacher("download", "k", "f", "--url", url).status == 0
        assert Path("f").read_bytes() == local.get("k") == FILE

    def test_for_too_long(self, cacher: Run, place: Place, origin: Origin) -> None:
        url = origin.script("/f", Reply(500, b"<h1>oops</h1>"))
        err = cacher("download", "k", "f", "--url", url).failed(6)
        assert "HTTP 500 Internal Server Error" in err
        assert "cacher: hint: a later run may succeed; --url may be given several times\n" in err
        assert len(origin.seen) == 6
        assert place.keys() == os.listdir() == []

    def test_nobody_is_there(self, cacher: Run, place: Place) -> None:
        err = cacher("download", "k", "f", "--url", "http://127.0.0.1:1/f").failed(6)
        assert "connection refused" in err
        assert place.keys() == os.listdir() == []

    def test_an_older_dest_stays(self, cacher: Run, place: Place, origin: Origin) -> None:
        Path("f").write_bytes(b"old")
        url = origin.script("/f", Reply(body=FILE))
        cacher("download", "k", "f", "--url", url, "--sha256", "0" * 64).failed(5)
        assert Path("f").read_bytes() == b"old"
        assert os.listdir() == ["f"]
        assert place.keys() == []

    def test_stdout_gets_only_what_is_proved(
        self, cacher: Run, place: Place, origin: Origin
    ) -> None:
        url = origin.script("/f", Reply(body=blob(9 * MIB)))
        ended = cacher("download", "k", "-", "--url", url, "--sha256", "0" * 64)
        ended.failed(5)
        assert ended.out == b""
        assert place.keys() == []

    @pytest.mark.parametrize(
        "url",
        ["ftp://h/f", "f", "http:///f", "http://h:99999/", "http://[::1/f", "http://h h/", ""],
    )
    def test_not_a_url(self, cacher: Run, place: Place, url: str) -> None:
        assert "not an http(s) URL" in cacher("download", "k", "f", "--url", url).failed(2)
        assert os.listdir() == []


class TestCacheFails:
    def test_the_store_is_not_there(
        self, cacher: Run, bucket: BucketPlace, origin: Origin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CACHER_ENDPOINT", "http://127.0.0.1:1")
        url = origin.script("/f", Reply(body=FILE))
        ended = cacher("download", "k", "f", "--url", url)
        assert ended.status == 0
        assert len(ended.warnings) == 1
        refused = r"http://127\.0\.0\.1:1: connection refused \(6 tries in \d\.\d s\); continuing"
        assert re.search(refused, ended.warnings[0])
        assert not ended.last.endswith("stored")
        assert Path("f").read_bytes() == FILE

    @pytest.mark.parametrize("answer", [Respond(403, "AccessDenied"), Respond(500, "Oops")])
    def test_the_store_refuses_or_fails(
        self, cacher: Run, bucket: BucketPlace, origin: Origin, answer: Respond
    ) -> None:
        bucket.server.inject(Fault(answer, times=None))
        url = origin.script("/f", Reply(body=FILE))
        ended = cacher("download", "k", "f", "--url", url)
        assert ended.status == 0
        assert "continuing without the cache" in ended.warnings[0]
        assert Path("f").read_bytes() == FILE
        assert bucket.server.count(method="PUT") == 0  # it is not asked in vain a second time

    @pytest.mark.parametrize("size", [300_000, 17 * MIB])
    def test_storing_fails(
        self, cacher: Run, bucket: BucketPlace, origin: Origin, size: int
    ) -> None:
        for operation in ("PutObject", "UploadPart"):
            fault = Fault(Respond(403, "AccessDenied"), operation=operation, times=None)
            bucket.server.inject(fault)
        url = origin.script("/f", Reply(body=blob(size)))
        ended = cacher("download", "k", "f", "--url", url)
        assert ended.status == 0
        assert ended.warnings[0].startswith("not stored for next time: storing k")
        assert not ended.last.endswith("stored")
        assert Path("f").read_bytes() == blob(size)
        assert bucket.keys() == bucket.leftovers() == []

    @pytest.mark.parametrize("told", [True, False])
    def test_a_damaged_entry_is_fetched_anew_and_replaced(
        self, cacher: Run, place: Place, origin: Origin, told: bool
    ) -> None:
        place.put("k", FILE)
        place.corrupt("k")
        url = origin.script("/f", Reply(body=FILE))
        digest = ("--sha256", sha256(FILE)) if told else ()
        ended = cacher("download", "k", "f", "--url", url, *digest)
        assert ended.status == 0
        assert "k has digest" in ended.warnings[0]
        assert ended.warnings[0].endswith("fetching it from --url")
        assert ended.last.endswith("stored")
        assert Path("f").read_bytes() == place.get("k") == FILE
        assert place.digest("k") == sha256(FILE)

    @pytest.mark.parametrize("recorded", [None, ""])
    def test_another_file_in_the_cache_is_replaced(
        self, cacher: Run, place: Place, origin: Origin, recorded: str | None
    ) -> None:
        place.put("k", b"an older release", recorded)
        url = origin.script("/f", Reply(body=FILE))
        ended = cacher("download", "k", "f", "--url", url, "--sha256", sha256(FILE))
        assert ended.status == 0
        assert "expected" in ended.warnings[0]
        assert Path("f").read_bytes() == place.get("k") == FILE

    def test_damaged_metadata(self, cacher: Run, local: LocalPlace, origin: Origin) -> None:
        local.put("k", FILE)
        (local.root / ".cacher/meta/k.json").write_bytes(b"")
        url = origin.script("/f", Reply(body=FILE))
        assert "is damaged" in cacher("download", "k", "f", "--url", url).warnings[0]
        assert local.digest("k") == sha256(FILE)

    def test_a_configuration_that_is_wrong_is_no_outage(
        self, cacher: Run, bucket: BucketPlace, origin: Origin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CACHER_BUCKET")
        url = origin.script("/f", Reply(body=FILE))
        assert "no bucket" in cacher("download", "k", "f", "--url", url).failed(2)
        assert origin.seen == []
        assert os.listdir() == []

    @pytest.mark.parametrize("missing", [("KEY_ID", "SECRET"), ("KEY_ID",), ("SECRET",)])
    def test_credentials_that_are_missing_are_no_outage(
        self,
        cacher: Run,
        bucket: BucketPlace,
        origin: Origin,
        monkeypatch: pytest.MonkeyPatch,
        missing: tuple[str, ...],
    ) -> None:
        """A secret that a CI service does not hand out would else go unnoticed for ever."""
        for name in missing:
            monkeypatch.delenv(f"CACHER_S3_{name}")
        url = origin.script("/f", Reply(body=FILE))
        says = "no credentials" if len(missing) > 1 else "half a pair of credentials"
        assert says in cacher("download", "k", "f", "--url", url).failed(2)
        assert origin.seen == []
        assert bucket.server.requests == []
        assert os.listdir() == []
