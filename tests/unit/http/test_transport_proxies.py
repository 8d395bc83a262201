"""Requests through a proxy: the whole address for http, a tunnel for https, credentials for it."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from cacher.errors import UsageError
from cacher.http.exceptions import FailureKind, TransportError
from cacher.http.proxies import Proxies
from cacher.http.transport import Host, Transport
from cacher.keys.template import check_key
from tests.fakes.certificates import write_certificate
from tests.fakes.s3server import FakeS3Server
from tests.support.tcp_servers import (
    LONG,
    OK,
    Recorder,
    SeenRequest,
    failure_kind,
    get,
    listening,
    read_request,
    shut_down,
)

REFUSED = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass
class Proxy:
    """Answers for http hosts itself, and connects to https ones."""

    connect: Callable[[SeenRequest], bytes] = lambda _seen: ESTABLISHED
    seen: list[SeenRequest] = field(default_factory=list)

    def serve(self, sock: socket.socket) -> None:
        with sock.makefile("rb", buffering=0) as stream:
            while (seen := read_request(stream)) is not None:
                self.seen.append(seen)
                if not seen.line.startswith("CONNECT "):
                    sock.sendall(OK)
                    continue
                answer = self.connect(seen)
                sock.sendall(answer)
                if answer == ESTABLISHED:
                    relay(sock, seen.target)
                return


def relay(client: socket.socket, target: str) -> None:
    """Carry bytes both ways until either side ends."""
    name, _, port = target.rpartition(":")
    with socket.create_connection((name, int(port)), timeout=LONG) as server:
        back = threading.Thread(target=copy, args=(server, client), daemon=True)
        back.start()
        copy(client, server)
        back.join(LONG)


def copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass  # the other direction has ended it
    shut_down(source)
    shut_down(target)


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


@pytest.fixture
def place(proxy: Proxy) -> Iterator[Host]:
    """Where the proxy is."""
    with listening(proxy.serve) as host:
        yield host


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return write_certificate(tmp_path)


@pytest.fixture
def store(certificate: tuple[Path, Path]) -> Iterator[FakeS3Server]:
    with FakeS3Server(tls=certificate) as server:
        yield server


def through(place: Host, userinfo: str = "", **environ: str) -> Proxies:
    url = f"http://{userinfo}{place.name}:{place.port}"
    return Proxies({"http_proxy": url, "https_proxy": url, **environ})


def test_http_gets_the_whole_address(proxy: Proxy, place: Host) -> None:
    transport = Transport(proxies=through(place))
    assert get(transport, Host("http", "store.test", 80), "/b/a%2Bb?x=%20") == b"ok"
    assert get(transport, Host("http", "store.test", 3900), "/b/k") == b"ok"
    assert [seen.line for seen in proxy.seen] == [
        "GET http://store.test/b/a%2Bb?x=%20 HTTP/1.1",
        "GET http://store.test:3900/b/k HTTP/1.1",
    ]
    assert [seen.all("host") for seen in proxy.seen] == [["store.test"], ["store.test:3900"]]


@pytest.mark.parametrize("key", ["a//b", "a~b", "a%2Bb", "a%20b", "%C3%A9", "%2541"])
def test_targets_through_a_proxy_are_sent_as_they_are_signed(
    proxy: Proxy, place: Host, key: str
) -> None:
    get(Transport(proxies=through(place)), Host("http", "store.test", 80), f"/bucket/{key}")
    assert proxy.seen[0].target == f"http://store.test/bucket/{key}"


@pytest.mark.parametrize("key", ["a/../b", "a/./b"])
def test_dot_segments_through_a_proxy_do_not_survive(proxy: Proxy, place: Host, key: str) -> None:
    """urllib3 removes them from whole addresses, so no key may have any: they are refused."""
    get(Transport(proxies=through(place)), Host("http", "store.test", 80), f"/bucket/{key}")
    assert proxy.seen[0].target == "http://store.test/bucket/" + os.path.normpath(key)
    with pytest.raises(UsageError):
        check_key(key)


@pytest.mark.parametrize(
    ("userinfo", "pair"),
    [
        ("user:secret@", "user:secret"),
        ("user%40corp:p%3Aw%2F%2541@", "user@corp:p:w/%41"),
        ("user@", "user:"),
    ],
)
def test_the_proxy_gets_its_credentials(
    proxy: Proxy, place: Host, userinfo: str, pair: str
) -> None:
    get(Transport(proxies=through(place, userinfo)), Host("http", "store.test", 80))
    (seen,) = proxy.seen
    (authorization,) = seen.all("proxy-authorization")
    scheme, _, encoded = authorization.partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(encoded).decode() in (pair, pair.rstrip(":"))
    assert "secret" not in seen.line


def test_https_goes_through_a_tunnel_and_its_ends_see_only_their_own(
    proxy: Proxy, place: Host, store: FakeS3Server, certificate: tuple[Path, Path]
) -> None:
    transport = Transport(ca_files=(str(certificate[0]),), proxies=through(place, "user:secret@"))
    host = Host("https", "127.0.0.1", store.port)
    for _ in range(2):
        with transport.send(host, "GET", "/cache/k", {"x-amz-date": "d"}) as answer:
            assert answer.status in (400, 403)  # the store's own words: nothing was signed
            answer.read_all(1 << 16)
    transport.close()
    (tunnel,) = proxy.seen  # used again, like any connection
    assert tunnel.line.startswith(f"CONNECT 127.0.0.1:{store.port} HTTP/1.")
    assert tunnel.all("proxy-authorization") == [
        f"Basic {base64.b64encode(b'user:secret').decode()}"
    ]
    assert not tunnel.all("x-amz-date")
    assert [record.target for record in store.requests] == ["/cache/k"] * 2
    for record in store.requests:
        assert record.headers["host"] == f"127.0.0.1:{store.port}"
        assert record.headers["x-amz-date"] == "d"
        assert "proxy-authorization" not in record.headers


def test_the_certificate_is_checked_through_a_tunnel(
    proxy: Proxy, place: Host, store: FakeS3Server
) -> None:
    transport = Transport(proxies=through(place))
    with pytest.raises(TransportError) as caught:
        get(transport, Host("https", "127.0.0.1", store.port))
    assert caught.value.kind is FailureKind.TLS
    assert len(proxy.seen) == 1
    assert not store.requests


def test_who_needs_no_proxy_is_asked_directly(proxy: Proxy, place: Host) -> None:
    recorder = Recorder()
    with listening(recorder.serve) as host:
        transport = Transport(proxies=through(place, no_proxy="127.0.0.0/8"))
        assert get(transport, host) == b"ok"
    assert [seen.line for seen in recorder.seen] == ["GET / HTTP/1.1"]
    assert not proxy.seen


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = Host("http", "127.0.0.1", listener.getsockname()[1])
    transport = Transport(proxies=through(place, "user:secret@"))
    with pytest.raises(TransportError) as caught:
        get(transport, Host(scheme, "store.test", 9))
    assert caught.value.kind is FailureKind.PROXY
    assert caught.value.detail == "the proxy failed: connection refused"


PAGE = b"<html><title>Log in</title>please</html>"


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (REFUSED, FailureKind.PROXY_LOGIN, "HTTP 407 Proxy Authentication Required"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n" + PAGE,
            FailureKind.PROXY_TUNNEL,
            "HTTP 302 Found",
        ),
        (
            b"HTTP/1.1 403 Not <b>here</b>\r\n\r\n" + PAGE,
            FailureKind.PROXY_TUNNEL,
            "HTTP 403 Forbidden",
        ),
        (b"HTTP/1.1 503 Busy\r\n\r\n", FailureKind.PROXY, "HTTP 503 Service Unavailable"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + PAGE, FailureKind.PROXY_TUNNEL, "HTTP 200 OK and a page"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(PAGE), PAGE),
            FailureKind.PROXY_TUNNEL,
            "HTTP 200 OK and a page",
        ),
        (PAGE, FailureKind.PROXY_TUNNEL, "something that is not HTTP"),
    ],
)
def test_a_proxy_that_refuses(
    proxy: Proxy, place: Host, answer: bytes, kind: FailureKind, says: str
) -> None:
    proxy.connect = lambda _seen: answer
    transport = Transport(proxies=through(place, "user:secret@"))
    with pytest.raises(TransportError) as caught:
        get(transport, Host("https", "store.test", 443))
    assert caught.value.kind is kind
    assert caught.value.detail == f"the proxy answered CONNECT with {says}"
    assert caught.value.is_final == (kind is not FailureKind.PROXY)


def test_a_proxy_that_hangs_up(proxy: Proxy, place: Host) -> None:
    proxy.connect = lambda _seen: b""
    with pytest.raises(TransportError) as caught:
        get(Transport(proxies=through(place)), Host("https", "store.test", 443))
    assert not caught.value.is_final


def test_a_page_that_follows_in_the_place_of_tls() -> None:
    """It comes after the client's first bytes of TLS."""

    def serve(sock: socket.socket) -> None:
        with sock.makefile("rb") as stream:
            read_request(stream)
            sock.sendall(ESTABLISHED)
            stream.read(5)
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + PAGE)
            sock.shutdown(socket.SHUT_WR)
            while stream.read1(4096):
                pass

    with listening(serve) as place, pytest.raises(TransportError) as caught:
        get(Transport(proxies=through(place)), Host("https", "store.test", 443))
    assert caught.value.detail == "the proxy answered CONNECT with HTTP 200 OK and a page"


@pytest.mark.parametrize(
    "url", ["socks5://proxy:1080", "ftp://proxy:21", "http://proxy:99999", "http://["]
)
def test_a_proxy_that_cannot_be_used(url: str) -> None:
    transport = Transport(proxies=Proxies({"all_proxy": url}))
    with pytest.raises(TransportError) as caught:
        get(transport, Host("http", "store.test", 80))
    assert caught.value.kind is FailureKind.PROXY


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_spoken_to_over_tls(
    proxy: Proxy, scheme: str, certificate: tuple[Path, Path]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    proxy.connect = lambda _seen: REFUSED
    with listening(partial(serve_tls, context, proxy.serve)) as place:
        proxies = Proxies({"all_proxy": f"https://127.0.0.1:{place.port}"})
        transport = Transport(ca_files=(str(certificate[0]),), proxies=proxies)
        host = Host(scheme, "store.test", 3900)
        if scheme == "http":
            assert get(transport, host) == b"ok"
        else:
            assert failure_kind(lambda: get(transport, host)) is FailureKind.PROXY_LOGIN
        transport.close()  # or the proxy waits for more
    (seen,) = proxy.seen
    whole, tunnel = "GET http://store.test:3900/ ", "CONNECT store.test:3900 "
    assert seen.line.startswith(whole if scheme == "http" else tunnel)


def serve_tls(
    context: ssl.SSLContext, serve: Callable[[socket.socket], None], sock: socket.socket
) -> None:
    with context.wrap_socket(sock, server_side=True) as secured:
        serve(secured)
