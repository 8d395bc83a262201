"""HTTP over real sockets: what is sent, what comes back, and what is made of failures."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from cacher.http.exceptions import FailureKind, TransportError
from cacher.http.transport import Host, Transport
from cacher.s3.request_body import SEND_SIZE, MemoryBody
from cacher.s3.signing import encode_path
from tests.support.tcp_servers import OK, Recorder, failure_kind, get, listening


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def host(recorder: Recorder) -> Iterator[Host]:
    with listening(recorder.serve) as host:
        yield host


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = Transport(stall_timeout=100.0)
    yield transport
    transport.close()


# --- what is sent --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["a/../b", "a/./b", "a//b", "a~b", "a+b", "a b", "é", "%41", "..", "a/", "a?b", "a%2fb"]
)
def test_targets_are_sent_as_they_are_signed(
    recorder: Recorder, host: Host, transport: Transport, key: str
) -> None:
    target = f"{encode_path(f'/bucket/{key}')}?prefix={quote(key, safe='-_.~')}&uploads="
    assert get(transport, host, target) == b"ok"
    assert recorder.seen[0].line == f"GET {target} HTTP/1.1"


@pytest.mark.parametrize(
    ("host", "header", "text"),
    [
        (Host("http", "store", 80), "store", "http://store"),
        (Host("http", "store", 443), "store:443", "http://store:443"),
        (Host("https", "store", 443), "store", "https://store"),
        (Host("https", "store", 80), "store:80", "https://store:80"),
        (Host("http", "::1", 3900), "[::1]:3900", "http://[::1]:3900"),
        (Host("https", "::1", 443), "[::1]", "https://[::1]"),
    ],
)
def test_the_host_header_omits_the_default_port(host: Host, header: str, text: str) -> None:
    assert (host.header, str(host)) == (header, text)


def test_headers_are_sent_once_and_nothing_is_added(
    recorder: Recorder, host: Host, transport: Transport
) -> None:
    get(transport, host, headers={"user-agent": "cacher/1", "x-amz-date": "d", "host": "signed"})
    assert sorted(recorder.seen[0].headers) == [
        ("accept-encoding", "identity"),
        ("host", f"127.0.0.1:{host.port}"),
        ("user-agent", "cacher/1"),
        ("x-amz-date", "d"),
    ]


def test_who_sends_is_told_unless_the_caller_tells_it(recorder: Recorder, host: Host) -> None:
    transport = Transport(user_agent="cacher/1")
    get(transport, host)
    get(transport, host, headers={"user-agent": "another"})
    assert [seen.all("user-agent") for seen in recorder.seen] == [["cacher/1"], ["another"]]


@pytest.mark.parametrize("size", [0, 1, SEND_SIZE, 3 * SEND_SIZE + 1])
def test_bodies_have_a_length_and_are_not_chunked(
    recorder: Recorder, host: Host, transport: Transport, size: int
) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    with transport.send(host, "PUT", "/k", {}, MemoryBody(data[:size])) as answer:
        assert answer.status == 200
    (seen,) = recorder.seen
    assert seen.body == data[:size]
    assert seen.all("content-length") == [str(size)]
    assert not seen.all("transfer-encoding")
    assert not seen.all("expect")


# --- connections ---------------------------------------------------------------------------------


def test_a_connection_is_used_again_once_its_answer_was_read(
    recorder: Recorder, host: Host, transport: Transport
) -> None:
    for _ in range(3):
        get(transport, host)
    with transport.send(host, "PUT", "/k", {}, MemoryBody(b"x" * SEND_SIZE * 3)) as answer:
        answer.read_all(10)
    get(transport, host)
    assert {seen.connection for seen in recorder.seen} == {1}


def test_a_connection_is_given_up_with_its_answer(
    recorder: Recorder, host: Host, transport: Transport
) -> None:
    recorder.answer = lambda _seen: b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhalf"
    with transport.send(host, "GET", "/", {}) as answer:
        assert answer.read(4) == b"half"
    recorder.answer = lambda _seen: OK
    get(transport, host)
    assert [seen.connection for seen in recorder.seen] == [1, 2]


def test_a_kept_connection_that_is_closed_under_us_is_told_apart(
    recorder: Recorder, host: Host, transport: Transport
) -> None:
    recorder.answer = lambda seen: OK if len(recorder.seen) == 1 else b""
    get(transport, host)
    with pytest.raises(TransportError) as caught:
        get(transport, host)
    assert (caught.value.kind, caught.value.was_idle) == (FailureKind.BROKEN, True)
    with pytest.raises(TransportError) as caught:  # a new one, which never answered
        get(transport, host)
    assert (caught.value.kind, caught.value.was_idle) == (FailureKind.BROKEN, False)


def test_closing_closes_what_is_idle(recorder: Recorder, host: Host, transport: Transport) -> None:
    get(transport, host)
    transport.close()
    get(transport, host)
    assert [seen.connection for seen in recorder.seen] == [1, 2]


# --- answers -------------------------------------------------------------------------------------


def test_redirects_are_answers(recorder: Recorder, host: Host, transport: Transport) -> None:
    recorder.answer = lambda _seen: (
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"
    )
    with transport.send(host, "GET", "/", {}) as answer:
        assert answer.status == 307
        assert answer.headers["LOCATION"] == "/other"
    assert len(recorder.seen) == 1


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_nothing_is_tried_twice(
    recorder: Recorder, host: Host, transport: Transport, status: int
) -> None:
    head = f"HTTP/1.1 {status} X\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n".encode()
    recorder.answer = lambda _seen: head
    with transport.send(host, "GET", "/", {}) as answer:
        assert answer.status == status
    assert len(recorder.seen) == 1


def test_bodies_are_not_decoded(recorder: Recorder, host: Host, transport: Transport) -> None:
    packed = gzip.compress(b"text")
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    recorder.answer = lambda _seen: head.encode() + packed
    assert get(transport, host) == packed


def test_a_chunked_answer(recorder: Recorder, host: Host, transport: Transport) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    recorder.answer = lambda _seen: head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert get(transport, host) == b"abcde"
    recorder.answer = lambda _seen: b""
    assert failure_kind(lambda: get(transport, host)) is FailureKind.BROKEN


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhalf", id="half-a-body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal", id="half-a-chunk"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", id="no-last-chunk"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc", id="no-chunk-size"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\n", id="no-head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="half-a-head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0", id="a-head-without-its-end"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", id="no-empty-line"),
    ],
)
def test_an_answer_that_is_cut_off_or_none_is_broken(transport: Transport, answer: bytes) -> None:
    def serve(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(answer)

    with listening(serve) as host:
        assert failure_kind(lambda: get(transport, host)) is FailureKind.BROKEN


def test_an_answer_without_a_length_shows_it(transport: Transport) -> None:
    """Its end is not proved: callers must look."""

    def serve(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")

    with listening(serve) as host, transport.send(host, "GET", "/", {}) as answer:
        assert "content-length" not in answer.headers
        assert "transfer-encoding" not in answer.headers
        assert answer.read_all(10) == b""


def test_an_answer_is_bounded(recorder: Recorder, host: Host, transport: Transport) -> None:
    recorder.answer = lambda _seen: b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b"x" * 11
    with transport.send(host, "GET", "/", {}) as answer:
        assert answer.read_all(11) == b"x" * 11
    with (
        transport.send(host, "GET", "/", {}) as answer,
        pytest.raises(TransportError, match="an answer of over 10 bytes"),
    ):
        answer.read_all(10)


def test_a_head_has_no_body(recorder: Recorder, host: Host, transport: Transport) -> None:
    recorder.answer = lambda _seen: b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\nETag: e\r\n\r\n"
    for _ in range(2):
        with transport.send(host, "HEAD", "/", {}) as answer:
            assert answer.headers["content-length"] == "900"
            assert answer.read_all(0) == b""
    assert recorder.connections == 1


def test_a_refusal_that_comes_before_the_body_was_read_is_an_answer(transport: Transport) -> None:
    """Stores refuse at the head of a request, and cut the connection."""

    def refuse(sock: socket.socket) -> None:
        sock.recv(1024)
        sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):  # so that closing is not a reset, which may eat the answer
            pass

    with listening(refuse) as host:
        body = MemoryBody(bytes(40 * SEND_SIZE))
        with transport.send(host, "PUT", "/k", {}, body) as answer:
            assert (answer.status, answer.read_all(10)) == (403, b"no")


# --- failures ------------------------------------------------------------------------------------


def test_nobody_listens(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = Host("http", "127.0.0.1", listener.getsockname()[1])
    with pytest.raises(TransportError) as caught:
        get(transport, host)
    assert (caught.value.kind, caught.value.detail) == (FailureKind.REFUSED, "connection refused")


def test_a_name_that_does_not_resolve(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(TransportError) as caught:
        get(transport, Host("http", "store.example.org", 80))
    assert caught.value.kind is FailureKind.NAME
    assert caught.value.detail == "name or service not known"


def test_a_name_that_cannot_be_one(transport: Transport) -> None:
    """A label of more than 63 characters fails before any resolver is asked."""
    assert failure_kind(lambda: get(transport, Host("http", "x" * 64 + ".org", 80))) in (
        FailureKind.NAME,
        FailureKind.BROKEN,
    )


def test_what_a_body_raises_comes_through(host: Host, transport: Transport) -> None:
    class Given(Exception):
        pass

    def check() -> None:
        raise Given

    with pytest.raises(Given):
        transport.send(host, "PUT", "/k", {}, MemoryBody(b"x", check=check))
