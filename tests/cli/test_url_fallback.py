"""Origins as they are: redirects, cut connections, silence, odd framing, logins and proxies."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import STALL_TIMEOUT, Run
from tests.fakes.certificates import write_certificate
from tests.fakes.origin import Origin, Reply, redirect
from tests.support.cli_helpers import MIB, BucketPlace, LocalPlace, Place, blob, sha256
from tests.support.tcp_servers import Recorder, listening

FILE = blob(300_000)
BIG = blob(2 * MIB)


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_to_another_path_and_host(
        self, cacher: Run, local: LocalPlace, origin: Origin, status: int
    ) -> None:
        origin.script("/real", Reply(body=FILE))
        origin.script("/b", redirect(origin.url("/real", host="localhost"), status))
        url = origin.script("/a", redirect("b?x=1", status))
        ended = cacher("download", "k", "f", "--url", url)
        assert ended.status == 0
        assert f"fetched {url} (" in ended.err
        assert [seen.target for seen in origin.seen] == ["/a", "/b?x=1", "/real"]
        assert Path("f").read_bytes() == local.get("k") == FILE

    def test_without_end(self, cacher: Run, place: Place, origin: Origin) -> None:
        origin.script("/b", redirect("/a"))
        url = origin.script("/a", redirect("/b"))
        assert "too many redirects" in cacher("download", "k", "f", "--url", url).failed(6)
        assert len(origin.seen) == 11
        assert place.keys() == os.listdir() == []

    @pytest.mark.parametrize(
        "location",
        ["file:///etc/passwd", "ftp://h/f", "http://[::1/", "http://h:99999/", "mailto:x"],
    )
    def test_to_nowhere(
        self, cacher: Run, local: LocalPlace, origin: Origin, location: str
    ) -> None:
        url = origin.script("/a", redirect(location))
        err = cacher("download", "k", "f", "--url", url).failed(6)
        assert f"fetching {url}: it redirects to something that is not an http(s) URL" in err
        assert local.keys() == os.listdir() == []

    def test_a_failure_tells_where_it_led(
        self, cacher: Run, local: LocalPlace, origin: Origin
    ) -> None:
        url = origin.script("/a", redirect("http://127.0.0.1:1/mirror?sig=abc"))
        err = cacher("download", "k", "f", "--url", url).failed(6)
        assert "(redirected to http://127.0.0.1:1/mirror?…): connection refused" in err

    def test_to_an_endless_address(self, cacher: Run, local: LocalPlace, origin: Origin) -> None:
        """The whole is asked for, and only its beginning is shown."""
        path = "/" + "a" * 60_000
        url = origin.script("/a", redirect(path))
        err = cacher("download", "k", "f", "--url", url).failed(6)
        assert re.search(r"\(redirected to http://127\.0\.0\.1:\d+/a{100,190}…\): HTTP 4", err)
        assert len(err) < 600
        assert local.keys() == os.listdir() == []

    def test_from_https_to_http_only_with_a_digest(
        self, cacher: Run, local: LocalPlace, origin: Origin, tmp_path: Path
    ) -> None:
        certificate, key = write_certificate(tmp_path)
        plain = origin.script("/f", Reply(body=FILE))
        with Origin((certificate, key)) as secure:
            url = secure.script("/a", redirect(plain))
            argv = ("download", "k", "f", "--url", url, "--ca-file", certificate)
            err = cacher(*argv).failed(6)
            assert "redirects from https to http" in err
            assert "--sha256" in err
            assert local.keys() == os.listdir() == []
            assert cacher(*argv, "--sha256", sha256(FILE)).status == 0
        assert Path("f").read_bytes() == FILE


class TestLogin:
    def test_basic(self, cacher: Run, local: LocalPlace, origin: Origin) -> None:
        origin.script("/f", Reply(body=FILE, login="me:s3cret/x"))
        url = origin.url("/f", login="me:s3cret%2Fx")
        ended = cacher("download", "k", "f", "--url", url)
        assert ended.status == 0
        assert "s3cret" not in ended.err
        assert Path("f").read_bytes() == local.get("k") == FILE

    def test_the_same_host_gets_it_again(
        self, cacher: Run, local: LocalPlace, origin: Origin
    ) -> None:
        origin.script("/b", Reply(body=FILE, login="me:s3cret"))
        origin.script("/a", redirect(origin.url("/b")))
        url = origin.url("/a", login="me:s3cret")
        assert cacher("download", "k", "f", "--url", url).status == 0

    def test_no_other_host_gets_it(self, cacher: Run, local: LocalPlace, origin: Origin) -> None:
        origin.script("/b", Reply(body=FILE))
        origin.script("/a", redirect(origin.url("/b", host="localhost")))
        url = origin.url("/a", login="me:s3cret")
        assert cacher("download", "k", "f", "--url", url).status == 0
        expected = base64.b64encode(b"me:s3cret").decode()
        assert [seen.header("authorization") for seen in origin.seen] == [f"Basic {expected}", ""]


class TestBrokenConnections:
    @pytest.mark.parametrize("reset", [False, True])
    def test_it_goes_on_where_it_stopped(
        self, cacher: Run, local: LocalPlace, origin: Origin, reset: bool
    ) -> None:
        # At a rate, since a reset takes away what was received and not yet read.
        cut = Reply(body=BIG, cut=3 * MIB // 2, reset=reset, rate=10 * MIB)
        url = origin.script("/f", cut, Reply(body=BIG))
        assert cacher("download", "k", "f", "--url", url).status == 0
        assert Path("f").read_bytes() == local.get("k") == BIG
        again = origin.seen[-1]
        start = int(again.header("range").removeprefix("bytes=").removesuffix("-"))
        assert 0 < start <= 3 * MIB // 2
        assert again.header("if-range").startswith('"')

    def test_another_file_by_then_is_taken_whole(
        self, cacher: Run, local: LocalPlace, origin: Origin
    ) -> None:
        new = blob(3 * MIB // 2, 1)
        url = origin.script("/f", Reply(body=BIG, cut=MIB), Reply(body=new))
        assert cacher("download", "k", "f", "--url", url).status == 0
        assert Path("f").read_bytes() == local.get("k") == new

    @pytest.mark.parametrize(
        "settings",
        [{"etag": ""}, {"etag": 'W/"weak"'}, {"ranges": False}, {"ranges": False, "etag": '"x"'}],
    )
    def test_without_a_way_to_resume_it_begins_anew(
        self, cacher: Run, local: LocalPlace, origin: Origin, settings: dict[str, object]
    ) -> None:
        whole = Reply(body=BIG, **settings)  # type: ignore[arg-type]
        cut = Reply(body=BIG, cut=MIB, **settings)  # type: ignore[arg-type]
        url = origin.script("/f", cut, cut, whole)
        assert cacher("download", "k", "f", "--url", url).status == 0
        assert Path("f").read_bytes() == local.get("k") == BIG

    def test_another_range_than_asked_for(
        self, cacher: Run, local: LocalPlace, origin: Origin
    ) -> None:
        wrong = {"Content-Range": f"bytes 0-{MIB - 1}/{2 * MIB}"}
        liar = Reply(206, BIG[:MIB], wrong, etag='"x"')
        cut = Reply(body=BIG, cut=MIB, etag='"x"')
        url = origin.script("/f", cut, liar, Reply(body=BIG, etag='"x"'))
        assert cacher("download", "k", "f", "--url", url).status == 0
        assert Path("f").read_bytes() == local.get("k") == BIG
        assert [seen.header("range") for seen in origin.seen] == ["", f"bytes={MIB}-", ""]

    @pytest.mark.parametrize(
        ("etag", "content_range"),
        [
            pytest.param('"v2"', "bytes {at}-{last}/{size}", id="another-etag"),
            pytest.param("", "bytes {at}-{last}/{size}", id="no-etag"),
            pytest.param('W/"v1"', "bytes {at}-{last}/{size}", id="a-weak-etag"),
            pytest.param('"v1"', "bytes {at}-{last}/{more}", id="another-size"),
            pytest.param('"v1"', "bytes 0-{last}/{size}", id="from-elsewhere"),
            pytest.param('"v1"', "", id="no-range"),
        ],
    )
    def test_two_versions_are_never_put_together(
        self,
        cacher: Run,
        local: LocalPlace,
        origin: Origin,
        etag: str,
        content_range: str,
    ) -> None:
        """A CDN that ignores `If-Range`."""
        size, new = len(FILE), blob(len(FILE), 1)
        told = content_range.format(at=1000, last=size - 1, size=size, more=size + 1)
        first = Reply(body=FILE, cut=1000, etag='"v1"')
        rest = Reply(206, new[1000:], {"Content-Range": told} if told else {}, etag=etag)
        again = Reply(body=new, cut=2000, etag='"v2"')
        url = origin.script("/f", first, rest, again, Reply(body=new, etag='"v2"'))
        assert cacher("download", "k", "f", "--url", url).status == 0
        assert Path("f").read_bytes() == local.get("k") == new
        assert [seen.header("range") for seen in origin.seen] == ["", "bytes=1000-", "", ""]

    def test_two_versions_in_chunks(self, cacher: Run, local: LocalPlace, origin: Origin) -> None:
        new, told = blob(len(FILE), 1), {"Content-Range": f"bytes 1000-299999/{len(FILE)}"}
        first = Reply(body=FILE, cut=1000, etag='"v1"', framing="chunked")
        rest = Reply(206, new[1000:], told, etag='"v2"', framing="chunked")
        url = origin.script("/f", first, rest, Reply(body=new, etag='"v2"', framing="chunked"))
        assert cacher("download", "k", "f", "--url", url).status == 0
        assert Path("f").read_bytes() == local.get("k") == new

    def test_the_rest_of_a_file_that_got_shorter(
        self, cacher: Run, local: LocalPlace, origin: Origin
    ) -> None:
        first = Reply(body=FILE, cut=1000)
        url = origin.script("/f", first, Reply(416), Reply(body=b"short"))
        assert cacher("download", "k", "f", "--url", url).status == 0
        assert Path("f").read_bytes() == local.get("k") == b"short"

    def test_a_range_of_a_file_whose_size_nobody_tells(
        self, cacher: Run, local: LocalPlace, origin: Origin
    ) -> None:
        first = Reply(body=FILE, cut=1000, etag='"x"', framing="chunked")
        some = Reply(206, FILE[1000:2000], {"Content-Range": "bytes 1000-1999/*"}, etag='"x"')
        url = origin.script("/f", first, some, Reply(body=FILE, etag='"x"'))
        assert cacher("download", "k", "f", "--url", url).status == 0
        assert Path("f").read_bytes() == local.get("k") == FILE

    def test_an_empty_etag_proves_nothing(
        self, cacher: Run, local: LocalPlace, origin: Origin
    ) -> None:
        url = origin.script("/f", Reply(body=FILE, cut=9, etag='""'), Reply(body=FILE, etag='""'))
        assert cacher("download", "k", "f", "--url", url).status == 0
        assert [seen.header("range") for seen in origin.seen] == ["", ""]
        assert Path("f").read_bytes() == local.get("k") == FILE

    def test_a_part_that_nobody_asked_for(self, cacher: Run, place: Place, origin: Origin) -> None:
        part = Reply(206, FILE[:100], {"Content-Range": "bytes 0-99/300000"})
        url = origin.script("/f", part)
        err = cacher("download", "k", "f", "--url", url).failed(6)
        assert (
            f"fetching {url}: HTTP 206 Partial Content, and the whole file was asked for\n" in err
        )
        assert len(origin.seen) == 1
        assert place.keys() == os.listdir() == []

    def test_a_cut_every_time(self, cacher: Run, place: Place, origin: Origin) -> None:
        url = origin.script("/f", Reply(body=FILE, cut=0))
        assert f"fetching {url}: " in cacher("download", "k", "f", "--url", url).failed(6)
        assert place.keys() == os.listdir() == []

    def test_silence_before_the_answer(
        self, cacher: Run, local: LocalPlace, origin: Origin, impatient: None
    ) -> None:
        slow = Reply(body=FILE, stall=3 * STALL_TIMEOUT)
        url = origin.script("/f", slow, Reply(body=FILE))
        assert cacher("download", "k", "f", "--url", url).status == 0
        assert Path("f").read_bytes() == FILE

    def test_silence_in_the_middle(
        self, cacher: Run, local: LocalPlace, origin: Origin, impatient: None
    ) -> None:
        slow = Reply(body=BIG, stall=3 * STALL_TIMEOUT, stall_after=MIB)
        url = origin.script("/f", slow, Reply(body=BIG))
        assert cacher("download", "k", "f", "--url", url).status == 0
        assert Path("f").read_bytes() == local.get("k") == BIG
        assert origin.seen[-1].header("range") == f"bytes={MIB}-"

    @pytest.mark.parametrize(
        ("asked", "says"),
        [
            ("3600", "it asks to wait 3600 s"),
            ("9" * 23, "it asks to wait for more than a day"),
            ("Fri, 27 Nov 2026 13:00:00 GMT", "it asks to wait 3600 s"),
        ],
    )
    def test_it_asks_for_too_much_time(
        self, cacher: Run, place: Place, origin: Origin, asked: str, says: str
    ) -> None:
        busy = {"Retry-After": asked, "Date": "Fri, 27 Nov 2026 12:00:00 GMT"}
        url = origin.script("/f", Reply(503, headers=busy))
        err = cacher("download", "k", "f", "--url", url).failed(6)
        assert f"fetching {url}: HTTP 503 Service Unavailable; {says}\n" in err
        assert len(origin.seen) == 1
        assert place.keys() == os.listdir() == []


class TestFraming:
    def test_chunks(self, cacher: Run, place: Place, origin: Origin) -> None:
        url = origin.script("/f", Reply(body=FILE, framing="chunked"))
        ended = cacher("download", "k", "f", "--url", url)
        assert ended.status == 0
        assert ended.last.endswith("stored")
        assert Path("f").read_bytes() == place.get("k") == FILE

    def test_cut_chunks(self, cacher: Run, local: LocalPlace, origin: Origin) -> None:
        cut = Reply(body=FILE, framing="chunked", cut=1000, rate=50_000)
        url = origin.script("/f", cut, Reply(body=FILE, framing="chunked"))
        assert cacher("download", "k", "f", "--url", url).status == 0
        assert Path("f").read_bytes() == local.get("k") == FILE

    def test_what_may_have_been_cut_is_delivered_but_not_stored(
        self, cacher: Run, place: Place, origin: Origin
    ) -> None:
        url = origin.script("/f", Reply(body=FILE, framing="close"))
        ended = cacher("download", "k", "f", "--url", url)
        assert ended.status == 0
        assert "did not send the length" in ended.warnings[0]
        assert Path("f").read_bytes() == FILE
        assert place.keys() == []
        assert cacher("download", "k", "f", "--url", url, "--sha256", sha256(FILE)).status == 0
        assert place.get("k") == FILE

    def test_odd_characters_in_the_url(
        self, cacher: Run, local: LocalPlace, origin: Origin
    ) -> None:
        origin.script("/a%20b/%C3%BC+%2F", Reply(body=FILE))
        url = origin.url("/a b/ü+%2F?x=a b&y=%25")
        assert cacher("download", "k", "f", "--url", url).status == 0
        assert origin.seen[0].target == "/a%20b/%C3%BC+%2F?x=a%20b&y=%25"


@pytest.fixture
def proxy() -> Iterator[Origin]:
    with Origin(forwards=True) as proxy:
        yield proxy


class TestProxies:
    def test_the_origin_is_reached_through_it(
        self,
        cacher: Run,
        local: LocalPlace,
        origin: Origin,
        proxy: Origin,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("http_proxy", proxy.url(login="me:s3cret"))
        url = origin.script("/f", Reply(body=FILE))
        assert cacher("download", "k", "f", "--url", url).status == 0
        assert [seen.target for seen in proxy.seen] == [url]
        login = base64.b64encode(b"me:s3cret").decode()
        assert proxy.seen[0].header("proxy-authorization") == f"Basic {login}"
        assert origin.seen[0].header("proxy-authorization") == ""
        assert Path("f").read_bytes() == local.get("k") == FILE

    def test_the_store_is_reached_through_it(
        self,
        cacher: Run,
        bucket: BucketPlace,
        proxy: Origin,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("http_proxy", proxy.url())
        Path("f").write_bytes(FILE)
        assert cacher("upload", "a b", "f").status == 0
        assert cacher("download", "a b", "g").status == 0
        assert Path("g").read_bytes() == FILE
        assert cacher("exists", "none").status == 1
        whole = f"{bucket.server.endpoint}/{bucket.server.bucket}"
        expected = {f"{whole}/a%20b", f"{whole}/none"}
        assert {seen.target for seen in proxy.seen} == expected
        assert len(proxy.seen) == len(bucket.server.requests)

    def test_one_that_wants_a_login(
        self, cacher: Run, local: LocalPlace, proxy: Origin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Over http it answers in the origin's place; the variable to set is that for http."""
        monkeypatch.setenv("http_proxy", proxy.url())
        proxy.script("/f", Reply(status=407))
        url = proxy.url() + "/f"
        ended = cacher("download", "k", "f", "--url", url)
        assert "HTTP 407 Proxy Authentication Required" in ended.failed(6)
        assert "HTTP_PROXY=http://USER:PASSWORD@HOST:PORT" in ended.err
        assert local.keys() == []

    @pytest.mark.parametrize(
        ("answer", "says", "hint"),
        [
            (b"302 Found\r\nLocation: http://x/", "HTTP 302 Found", "check HTTPS_PROXY"),
            (b"200 OK\r\nContent-Length: 9", "HTTP 200 OK and a page", "check HTTPS_PROXY"),
            (
                b"407 No",
                "HTTP 407 Proxy Authentication Required",
                "the proxy needs credentials: HTTPS_",
            ),
        ],
    )
    def test_one_that_gives_no_tunnel(
        self,
        cacher: Run,
        place: Place,
        monkeypatch: pytest.MonkeyPatch,
        answer: bytes,
        says: str,
        hint: str,
    ) -> None:
        recorder = Recorder(lambda _seen: b"HTTP/1.1 " + answer + b"\r\n\r\n<p>no</p>")
        with listening(recorder.serve) as host:
            monkeypatch.setenv("HTTPS_PROXY", str(host))
            err = cacher("download", "k", "f", "--url", "https://h.test/f").failed(6)
        assert f"fetching https://h.test/f: the proxy answered CONNECT with {says}\n" in err
        assert f"cacher: hint: {hint}" in err
        assert len(recorder.seen) == 1
        assert place.keys() == os.listdir() == []
