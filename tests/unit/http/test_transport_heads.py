"""Heads of answers as servers and proxies send them: read as curl reads them, or refused."""

from __future__ import annotations

import io
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.client import BadStatusLine, HTTPException
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import ProtocolError

from cacher.http.exceptions import FailureKind, TransportError, translate_exception
from cacher.http.response_parser import MIN_READ, MalformedHead, read_fields
from cacher.http.transport import Answer, Host, Transport
from cacher.s3.request_body import SEND_SIZE, MemoryBody
from tests.support.tcp_servers import LONG, OK, Recorder, SeenRequest, get, listening

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n"


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


def once(answer: bytes) -> Callable[[SeenRequest], bytes]:
    """Give an answer to the first request, and a good one to all that follow."""
    answers = iter([answer])
    return lambda _seen: next(answers, OK)


def giving(answer: bytes) -> Callable[[socket.socket], None]:
    """Give one answer and end the connection."""

    def serve(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(answer)

    return serve


def answered(line: bytes = b"", rest: bytes = b"Content-Length: 2\r\n\r\nok") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + line + rest


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"X-Served-By : cache\r\n", id="a-space-before-the-colon"),
        pytest.param(b"X-Served-By\t: cache\r\n", id="a-tab-before-the-colon"),
        pytest.param("X-Größe: 1\r\n".encode(), id="a-name-in-utf-8"),
        pytest.param(b"X-Gr\xf6\xdfe: 1\r\n", id="a-name-in-latin-1"),
        pytest.param(b"X Served By: cache\r\n", id="a-name-with-spaces"),
        pytest.param(b": nameless\r\n", id="no-name"),
        pytest.param(b"From me: x\r\n", id="an-envelope"),
        pytest.param(b"X-Folded: a\r\n b\r\n\tc\r\n", id="folded"),
        pytest.param(b"X Folded: a\r\n b: c\r\n", id="a-folded-line-of-a-name-with-spaces"),
        pytest.param(b"X-Lone: a\rb\r\n", id="a-lone-cr"),
        pytest.param(b"X-Unix: a\n", id="a-line-feed-alone"),
        pytest.param(b"X-Empty:\r\n", id="no-value"),
        pytest.param(b"X-Nul: a\0b\r\n", id="a-nul"),
        pytest.param(b"X-Many: a\r\n" * 150, id="many"),
        pytest.param(b"X-Long: " + b"a" * 100_000 + b"\r\n", id="long"),
        pytest.param(b"Content-Type: message/rfc822\r\n", id="a-message"),
        pytest.param(b"Content-Type: multipart/mixed; boundary=x\r\n", id="a-multipart"),
    ],
)
@pytest.mark.parametrize("rest", [b"Content-Length: 5\r\n\r\nabcde", CHUNKED], ids=["length", "te"])
def test_an_odd_line_hides_nothing(
    recorder: Recorder, host: Host, transport: Transport, line: bytes, rest: bytes
) -> None:
    recorder.answer = lambda _seen: answered(line, b"x-amz-meta-cacher-sha256: 12\r\n" + rest)
    for _ in range(2):
        with transport.send(host, "GET", "/", {}) as answer:
            assert answer.headers["x-amz-meta-cacher-sha256"] == "12"
            assert answer.read_all(100) == b"abcde"
    assert recorder.connections == 1


def test_fields_are_read_as_they_are_meant() -> None:
    head = b"A : 1\r\nB:2 \t\r\nb: 3\r\nC: x\r\n  y\r\nD E: 4\r\n f\r\nF: \xe4\rz\r\n\r\nbody"
    stream = io.BytesIO(head)
    assert read_fields(stream).items() == [
        ("A", "1"),
        ("B", "2"),
        ("b", "3"),
        ("C", "x y"),
        ("F", "ä z"),
    ]
    assert stream.read() == b"body"


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_no_head_is_so_odd_that_it_fails_otherwise(lines: list[bytes]) -> None:
    stream = io.BytesIO(b"\r\n".join([*lines, b"End: 1", b"", b"the body"]))
    try:
        fields = read_fields(stream)
    except (MalformedHead, HTTPException, ConnectionError):
        return
    if not any(line.strip(b"\r") == b"" or b"\n" in line for line in lines):
        assert fields["End"] == "1"
        assert stream.read() == b"the body"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(answered(b"no colon\r\n"), "a header line has no colon", id="no-colon"),
        pytest.param(answered(b"\r\r\n"), "a header line has no colon", id="a-lone-cr-for-a-line"),
        pytest.param(answered(b" folded\r\n"), "has no colon", id="folded-at-once"),
        pytest.param(
            answered(b"HTTP/1.1 200 OK\r\n"), "a header line has no colon", id="a-second-status"
        ),
        pytest.param(
            answered(b"X: y\r\n" * 50_000), "its head has over 256 KiB", id="too-many-lines"
        ),
        pytest.param(
            answered(b"X: " + b"y" * 300_000 + b"\r\n"), "its head has over 256 KiB", id="too-long"
        ),
        pytest.param(
            answered(b"Transfer-Encoding: gzip, chunked\r\n"),
            "its transfer encoding is not chunked",
            id="another-coding",
        ),
        pytest.param(
            answered(b"Content-Length: 3\r\n"), "its Content-Length is not one number", id="two"
        ),
        *(
            pytest.param(
                b"HTTP/1.1 200 OK\r\nContent-Length:" + length + b"\r\n\r\nok",
                "its Content-Length is not one number",
                id=f"length-{length[:6].decode()}",
            )
            for length in (b"2, 3", b"-2", b"+2", b"2x", b"", b"1" * 20, b"1" * 5000, b"2_0")
        ),
        pytest.param(
            b"HTTP/1.1 103 Early Hints\r\n\r\n" * 101 + OK,
            "too many informational answers",
            id="hints-without-end",
        ),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP", id="another-protocol"),
        pytest.param(b"HTTP/1.1 2x0 OK\r\n\r\n", "the answer is not HTTP", id="no-status"),
        pytest.param(b"HTTP/2.0 200 OK\r\n\r\n", "the answer is not HTTP", id="another-version"),
        *(
            pytest.param(
                b"HTTP/1.1 " + status + b" OK\r\nContent-Length: 2\r\n\r\nok",
                "the answer is not HTTP",
                id=f"status-{status.decode('latin-1')}",
            )
            for status in (b"+200", b"2_00", b"0200", b"20", b"2000", b"-200", b"200OK", b"\xb200")
        ),
        pytest.param(b"\0\1\2\3\n", "the answer is not HTTP", id="bytes"),
    ],
)
def test_a_head_that_cannot_be_read_is_refused_and_not_tried_again(
    recorder: Recorder, host: Host, transport: Transport, answer: bytes, says: str
) -> None:
    recorder.answer = once(answer)
    with pytest.raises(TransportError) as caught:
        get(transport, host)
    assert (caught.value.kind, caught.value.is_final) == (FailureKind.MALFORMED, True)
    assert says in caught.value.detail
    assert caught.value.detail.isprintable()
    assert get(transport, host) == b"ok"
    assert [seen.connection for seen in recorder.seen] == [1, 2]


@pytest.mark.parametrize("garbage", [MalformedHead("x"), BadStatusLine("x")])
def test_garbage_on_a_kept_connection_may_be_of_the_last_answer(garbage: HTTPException) -> None:
    failure = translate_exception(ProtocolError("aborted", garbage), reused=True)
    assert (failure.kind, failure.was_idle) == (FailureKind.BROKEN, True)


def test_a_port_that_speaks_tls(transport: Transport) -> None:
    alert = giving(b"\x15\x03\x03\x00\x02\x02\x16")
    with listening(alert) as host, pytest.raises(TransportError) as caught:
        get(transport, host)
    assert (caught.value.kind, caught.value.is_final) == (FailureKind.UNEXPECTED_TLS, True)


@pytest.mark.parametrize(
    ("answer", "kind", "detail"),
    [
        (
            b"\x15\x03\x01\x00\x02\x02\x46",
            FailureKind.OUTDATED_TLS,
            "no TLS that is still safe",
        ),
        (b"\x15\x03\x01\x00\x02\x02\x28", FailureKind.BROKEN, "TLS failed: "),
        (b"", FailureKind.BROKEN, "the connection was closed in the middle of TLS"),
    ],
)
def test_tls_that_fails_is_said_without_numbers_of_openssl(
    transport: Transport, answer: bytes, kind: FailureKind, detail: str
) -> None:
    with listening(giving(answer)) as host, pytest.raises(TransportError) as caught:
        get(transport, host._replace(scheme="https"))
    assert caught.value.kind is kind
    assert detail in caught.value.detail
    assert "[" not in caught.value.detail


# --- informational answers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "before",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </style>\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 199 Odd\r\nX : y\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 20 + b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_informational_answers_are_skipped(
    recorder: Recorder, host: Host, transport: Transport, before: bytes, method: str
) -> None:
    rest = b"ETag: e\r\nContent-Length: 2\r\n\r\n" + (b"" if method == "HEAD" else b"ok")
    recorder.answer = lambda _seen: before + b"HTTP/1.1 206 Partial Content\r\n" + rest
    body = MemoryBody(b"x" * 3 * SEND_SIZE) if method == "PUT" else None
    for _ in range(2):
        with transport.send(host, method, "/", {}, body) as answer:
            assert (answer.status, answer.headers["etag"]) == (206, "e")
            assert answer.read_all(10) == (b"" if method == "HEAD" else b"ok")
    assert recorder.connections == 1


def test_a_change_of_protocol_is_the_answer(
    recorder: Recorder, host: Host, transport: Transport
) -> None:
    recorder.answer = once(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
    with transport.send(host, "GET", "/", {}) as answer:
        assert (answer.status, answer.read_all(0)) == (101, b"")
    assert get(transport, host) == b"ok"
    assert [seen.connection for seen in recorder.seen] == [1, 2]


# --- framing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde", id="twice"),
        pytest.param(b"Content-Length: 5, 5\r\n\r\nabcde", id="a-list"),
        pytest.param(b"Content-Length: 05\r\nContent-Length:5 \r\n\r\nabcde", id="equal-numbers"),
        pytest.param(b"Content-Length: 9\r\n" + CHUNKED, id="chunks-and-another-length"),
        pytest.param(b"Content-Length: 1, 2\r\n" + CHUNKED, id="chunks-and-two-lengths"),
        pytest.param(b"Content-Length: " + b"9" * 5000 + b"\r\n" + CHUNKED, id="chunks-and-a-lot"),
        pytest.param(b"Transfer-Encoding: chunked\r\n" + CHUNKED, id="chunked-twice"),
        pytest.param(CHUNKED.replace(b"chunked", b"Chunked \t"), id="a-space-after-it"),
        pytest.param(
            b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nabcde", id="identity"
        ),
        pytest.param(CHUNKED.replace(b"2;", b"0" * 5000 + b"2;"), id="a-long-chunk-size"),
    ],
)
def test_the_end_of_a_body_is_where_the_head_says(
    recorder: Recorder, host: Host, transport: Transport, rest: bytes
) -> None:
    recorder.answer = lambda _seen: answered(rest=rest)
    for _ in range(2):
        with transport.send(host, "GET", "/", {}) as answer:
            reported = answer.headers.get("content-length")
            assert reported == (None if b"hunked" in rest else "5")
            assert answer.read_all(100) == b"abcde"
    assert recorder.connections == 1


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body(
    recorder: Recorder, host: Host, transport: Transport, status: int
) -> None:
    head = f"HTTP/1.1 {status} X\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n"
    recorder.answer = lambda _seen: head.encode()
    for _ in range(2):
        with transport.send(host, "GET", "/", {}) as answer:
            assert (answer.status, answer.read_all(0)) == (status, b"")
    assert recorder.connections == 1


@pytest.mark.parametrize("kept", [b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.0 \t200 O K "])
def test_a_status_line_without_a_reason(
    recorder: Recorder, host: Host, transport: Transport, kept: bytes
) -> None:
    recorder.answer = lambda _seen: kept + b"\r\nContent-Length: 2\r\n\r\nok"
    assert get(transport, host) == b"ok"


NO_SIZES = [b"F" * 5000, b"", b"x", b"-3", b"0x3", b"0_3", b"+3", b" 3", b"3_", b"3 4", b"3x", b";"]


@pytest.mark.parametrize("size", NO_SIZES)
def test_a_chunk_without_a_size_that_can_be_is_broken(transport: Transport, size: bytes) -> None:
    rest = b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabc\r\n0\r\n\r\n"
    with listening(giving(answered(rest=rest))) as host, pytest.raises(TransportError) as caught:
        get(transport, host)
    assert caught.value.kind is FailureKind.BROKEN
    assert caught.value.detail == "the chunks of the answer are damaged"


@pytest.mark.parametrize("after", [b"", b"X", b"XX", b"\r", b"\rX", b"X\r\n", b"\n\r", b"  "])
def test_data_after_a_chunk_is_broken(transport: Transport, after: bytes) -> None:
    rest = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc" + after + b"2\r\nde\r\n0\r\n\r\n"
    with listening(giving(answered(rest=rest))) as host, pytest.raises(TransportError) as caught:
        get(transport, host)
    assert caught.value.kind is FailureKind.BROKEN
    assert caught.value.detail == "the chunks of the answer are damaged"


@pytest.mark.parametrize(
    "chunks",
    [
        b"3\nabc\n2\nde\n0\n\n",
        b"3  \r\nabc\r\n02\t;a=b\r\nde\r\n0;\r\n\r\n",
        b'3;x="y; z"\r\nabc\r\n2 ; q\r\nde\r\n000\r\nA: b\r\n\r\n',
    ],
)
def test_chunks_as_some_servers_send_them(
    recorder: Recorder, host: Host, transport: Transport, chunks: bytes
) -> None:
    recorder.answer = lambda _seen: answered(rest=b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    for _ in range(2):
        assert get(transport, host) == b"abcde"
    assert recorder.connections == 1


@pytest.mark.parametrize("kept", range(1, 19))
def test_chunks_that_are_cut_off(transport: Transport, kept: int) -> None:
    chunks = b"3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n"[:kept]
    rest = b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    with listening(giving(answered(rest=rest))) as host, pytest.raises(TransportError) as caught:
        get(transport, host)
    assert caught.value.kind is FailureKind.BROKEN
    assert "closed before the end" in caught.value.detail


# --- bodies --------------------------------------------------------------------------------------


BODY = bytes(range(251)) * 2000


def framed(body: bytes, kind: str) -> bytes:
    """An answer with `body`, by its length or in chunks of odd sizes."""
    if kind == "length":
        return answered(rest=b"Content-Length: %d\r\n\r\n" % len(body) + body)
    pieces = [body[at : at + 7001] for at in range(0, len(body), 7001)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return answered(rest=b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")


def read_in_place(answer: Answer, size: int) -> tuple[bytes, list[int]]:
    """The body through one buffer, and how much came at a time."""
    buffer, body, counts = memoryview(bytearray(size)), bytearray(), []
    while count := answer.readinto(buffer):
        body += buffer[:count]
        counts.append(count)
    return bytes(body), counts


def test_the_inner_reader_is_in_use(recorder: Recorder, host: Host, transport: Transport) -> None:
    """It is not a part of urllib3's interface: a release that hides it makes TLS slow again."""
    with transport.send(host, "GET", "/", {}) as answer:
        assert answer.reads_in_place, f"urllib3 {version('urllib3')} has another inner reader"


@pytest.mark.parametrize("kind", ["length", "chunked"])
@pytest.mark.parametrize("size", [1000, MIN_READ, 256 * 1024])
def test_a_body_is_read_into_a_buffer(
    recorder: Recorder, host: Host, transport: Transport, kind: str, size: int
) -> None:
    recorder.answer = lambda _seen: framed(BODY, kind)
    for _ in range(2):
        with transport.send(host, "GET", "/", {}) as answer:
            body, counts = read_in_place(answer, size)
            assert answer.readinto(memoryview(bytearray(10))) == 0
        assert body == BODY
        assert min(counts[:-1]) >= min(size, MIN_READ)
    assert recorder.connections == 1


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_a_urllib3_without_that_reader_reads_too(
    recorder: Recorder,
    host: Host,
    transport: Transport,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder.answer = lambda _seen: framed(BODY, kind)
    for _ in range(2):
        with transport.send(host, "GET", "/", {}) as answer:
            monkeypatch.setattr(answer, "_body", None)
            assert read_in_place(answer, 5000)[0] == BODY
    assert recorder.connections == 1


@pytest.mark.parametrize("kind", ["length", "chunked"])
@pytest.mark.parametrize("reset", [False, True])
def test_what_came_before_a_cut_counts(transport: Transport, kind: str, reset: bool) -> None:
    """Or an origin that cuts every answer would have to be asked for the same bytes for ever."""
    sent = framed(BODY, kind)
    kept = len(sent) // 2

    def serve(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(sent[:kept])
        if reset:
            taken.wait(LONG)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    taken = threading.Event()
    with listening(serve) as host, transport.send(host, "GET", "/", {}) as answer:
        buffer, body = memoryview(bytearray(MIN_READ)), bytearray()
        with pytest.raises(TransportError) as caught:
            while True:
                count = answer.readinto(buffer)
                body += buffer[:count]
                assert count
                if kept - len(body) < MIN_READ + 1000:
                    taken.set()
    assert caught.value.kind is FailureKind.BROKEN
    assert BODY.startswith(bytes(body))
    assert len(body) > kept - 1000
