"""Heads that are not as they should be, from stores and origins: no damage is ever exit 0."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support.cli_helpers import LocalPlace, sha256
from tests.support.tcp_servers import Recorder, listening, read_request

BODY = b"the whole file, " * 100
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
ODD = b"X-Served-By : cache\r\n"


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def url(recorder: Recorder) -> Iterator[str]:
    with listening(recorder.serve) as host:
        yield f"http://127.0.0.1:{host.port}"


def ok(head: bytes, body: bytes = BODY) -> Callable[[object], bytes]:
    return lambda _seen: b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body


class TestOrigins:
    def test_the_file_is_what_was_meant(
        self, cacher: Run, local: LocalPlace, recorder: Recorder, url: str
    ) -> None:
        recorder.answer = ok(ODD + b"Transfer-Encoding: chunked\r\n", CHUNKS)
        ended = cacher("download", "k", "f", "--url", f"{url}/f")
        assert (ended.status, ended.warnings) == (0, [])
        assert Path("f").read_bytes() == local.get("k") == BODY

    def test_what_cannot_be_read_is_refused_and_the_next_url_is_tried(
        self, cacher: Run, local: LocalPlace, recorder: Recorder, url: str
    ) -> None:
        recorder.answer = ok(b"cache hit\r\nTransfer-Encoding: chunked\r\n", CHUNKS)
        err = cacher("download", "k", "f", "--url", f"{url}/f").failed(6)
        assert "the answer is not proper HTTP: a header line has no colon" in err
        assert len(recorder.seen) == 1
        assert local.keys() == os.listdir() == []
        good = Recorder(ok(b"Content-Length: 1600\r\n"))
        with listening(good.serve) as host:
            urls = ("--url", f"{url}/f", "--url", f"http://127.0.0.1:{host.port}/f")
            assert cacher("download", "k", "f", *urls).status == 0
        assert Path("f").read_bytes() == BODY

    def test_a_range_of_thousands_of_digits(
        self, cacher: Run, local: LocalPlace, recorder: Recorder, url: str
    ) -> None:
        """The first answer breaks off; the second is another part than was asked for."""
        many = b"9" * 5000
        whole = ok(b'Content-Length: 1600\r\nETag: "e"\r\n')
        part = (
            b'HTTP/1.1 206 Partial Content\r\nETag: "e"\r\nContent-Length: 3\r\n'
            b"Content-Range: bytes %b-%b/%b\r\n\r\nabc" % (many, many, many)
        )

        def serve(sock: socket.socket) -> None:
            with sock.makefile("rb") as stream:
                seen = read_request(stream)
                ranges.append(seen.all("range") if seen else [])
            sock.sendall([whole(seen)[:-1000], part, whole(seen)][len(ranges) - 1])

        ranges: list[list[str]] = []
        with listening(serve) as host:
            address = f"http://127.0.0.1:{host.port}/f"
            assert cacher("download", "k", "f", "--url", address).status == 0
        assert ranges == [[], ["bytes=600-"], []]
        assert Path("f").read_bytes() == local.get("k") == BODY

    def test_numbers_that_are_too_long_mean_nothing(
        self, cacher: Run, local: LocalPlace, recorder: Recorder, url: str
    ) -> None:
        headers = (b"Retry-After", b"Date", b"Last-Modified", b"Age")
        long = b"".join(b"%b: %b\r\n" % (header, b"9" * 5000) for header in headers)
        recorder.answer = lambda _seen: (
            b"HTTP/1.1 404 Not Found\r\n" + long + b"Content-Length: 0\r\n\r\n"
        )
        cacher("download", "k", "f", "--url", f"{url}/f").failed(6)
        recorder.answer = ok(long + b"Content-Length: 1600\r\n")
        assert cacher("download", "k", "f", "--url", f"{url}/f").status == 0


class TestStores:
    @pytest.fixture
    def store(self, url: str, monkeypatch: pytest.MonkeyPatch) -> str:
        for name, value in (("ENDPOINT", url), ("BUCKET", "cache"), ("S3_KEY_ID", "k")):
            monkeypatch.setenv(f"CACHER_{name}", value)
        monkeypatch.setenv("CACHER_S3_SECRET", "s")
        return url

    def answer(self, odd: bytes, digest: str) -> Callable[[object], bytes]:
        """The object in one range, with what a store tells of it after an odd line."""
        size = len(BODY)
        head = (
            b'HTTP/1.1 206 Partial Content\r\nETag: "e"\r\nContent-Range: bytes 0-%d/%d\r\n'
            % (size - 1, size)
            + odd
            + b"x-amz-meta-cacher-sha256: %b\r\n" % digest.encode()
            + b"Last-Modified: Fri, 27 Nov 2026 10:00:00 GMT\r\n"
        )
        return lambda _seen: head + b"Content-Length: %d\r\n\r\n" % size + BODY

    def test_what_follows_an_odd_line_counts(
        self, cacher: Run, recorder: Recorder, store: str
    ) -> None:
        recorder.answer = self.answer(ODD, sha256(BODY))
        assert cacher("download", "k", "f").status == 0
        recorder.answer = self.answer(ODD, "0" * 64)
        cacher("download", "k", "g").failed(5)
        assert os.listdir() == ["f"]

    def test_what_cannot_be_read_is_refused_once(
        self, cacher: Run, recorder: Recorder, store: str
    ) -> None:
        recorder.answer = self.answer(b"cache hit\r\n", sha256(BODY))
        Path("f").write_bytes(BODY)
        for argv in (("exists", "k"), ("download", "k", "g"), ("upload", "k", "f"), ("list",)):
            recorder.seen.clear()
            err = cacher(*argv).failed(3)
            assert "the answer is not proper HTTP: a header line has no colon" in err
            assert "cacher: hint: check --endpoint" in err
            assert len(recorder.seen) == 1
        assert os.listdir() == ["f"]

    @pytest.mark.parametrize("etag", [b"", b'ETag: ""\r\n', b"ETag:\r\n"])
    def test_an_empty_etag_proves_nothing(
        self, cacher: Run, recorder: Recorder, store: str, etag: bytes
    ) -> None:
        recorder.answer = ok(etag + b"Content-Length: 1600\r\n")
        Path("f").write_bytes(BODY)
        for argv in (("download", "k", "g"), ("upload", "--force", "k", "f")):
            err = cacher(*argv).failed(3)
            assert "answered, but not as an S3 store does" in err
        assert os.listdir() == ["f"]
