"""Answers that trickle are given up, heads and bodies; whoever is slow to take them is not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from cacher.http.exceptions import FailureKind, TransportError
from cacher.http.transport import Answer, Transport
from cacher.time_limits import LIMITS, MIN_SPEED, Limits
from tests.support.tcp_servers import LONG, get, listening, read_request

HASTY = LIMITS._replace(stall=0.3, slow=0.5)

HEAD = b"HTTP/1.1 200 OK\r\nX-Long: " + b"y" * 2000 + b"\r\nContent-Length: 200000\r\n\r\n"

MANY = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def paced(limits: Limits = HASTY) -> Transport:
    return Transport(stall_timeout=limits.stall, speed_limits=limits, monotonic=time.monotonic)


def trickle(sock: socket.socket, *, at_once: bytes, then: bytes, pause: float = 0.05) -> None:
    """Answer with the first bytes at once, and with the others one by one."""
    with sock.makefile("rb", buffering=0) as stream:
        read_request(stream)
    sock.sendall(at_once)
    for byte in then:
        threading.Event().wait(pause)
        sock.sendall(bytes([byte]))


@pytest.mark.parametrize(
    ("at_once", "then"),
    [
        (b"", HEAD),
        (HEAD[:500], HEAD[500:]),
        (HEAD, bytes(1000)),
        (b"", MANY),
        (CHUNKED, b"0" * 1000),
        (CHUNKED + b"3e8\r\n", bytes(1000)),
    ],
    ids=["head", "half a head", "body", "heads before the head", "chunk's size", "chunk"],
)
def test_what_trickles_is_given_up(at_once: bytes, then: bytes) -> None:
    began = time.monotonic()
    with (
        listening(partial(trickle, at_once=at_once, then=then)) as host,
        pytest.raises(TransportError) as caught,
    ):
        get(paced(), host)
    assert HASTY.slow <= time.monotonic() - began < LONG / 2
    detail = "less than 1 KiB/s for 0.5 s"
    assert (caught.value.kind, caught.value.detail) == (FailureKind.SLOW, detail)


@pytest.mark.slow
def test_an_answer_that_may_be_late_may_not_trickle() -> None:
    """As that to a body that was sent: once it has begun, it must come."""

    def serve(sock: socket.socket) -> None:
        threading.Event().wait(1.5 * HASTY.slow)
        trickle(sock, at_once=b"", then=HEAD)

    with (
        listening(serve) as host,
        pytest.raises(TransportError) as caught,
    ):
        began = time.monotonic()
        paced().send(host, "PUT", "/", {}, answer_timeout=HASTY.write)
    assert 2.5 * HASTY.slow <= time.monotonic() - began < HASTY.write / 2
    assert caught.value.kind is FailureKind.SLOW


@pytest.mark.slow
def test_the_time_of_whoever_takes_the_bytes_does_not_count() -> None:
    body = b"a" * 400_000
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n"
    serve = partial(trickle, at_once=head + body, then=b"")
    with listening(serve) as host, paced().send(host, "GET", "/", {}) as answer:
        taken = answer.read(10)
        threading.Event().wait(2 * HASTY.slow)
        while piece := answer.read(10_000):
            taken += piece
    assert taken == body


@pytest.mark.slow
def test_what_is_slow_and_no_slower_than_it_may_be_comes_whole() -> None:
    """Three times the least rate, for three times the time in which it is measured."""
    body = bytes(90 * int(MIN_SPEED * HASTY.slow / 10))

    def serve(sock: socket.socket) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        trickle(sock, at_once=head, then=b"")
        for _ in range(90):
            threading.Event().wait(HASTY.slow / 30)
            sock.sendall(body[: len(body) // 90])

    with listening(serve) as host:
        assert get(paced(), host) == body


@pytest.mark.slow
def test_blanks_keep_an_answer_alive_that_may_take_long() -> None:
    """So AWS does while it completes an upload."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n"
    serve = partial(trickle, at_once=head, then=b" " * 30)
    with (
        listening(serve) as host,
        paced().send(host, "POST", "/", {}, answer_timeout=LONG) as answer,
    ):
        assert answer.read_all(100) == b" " * 30  # after three times the limit on trickling


@pytest.fixture
def answers() -> Iterator[list[Answer]]:
    opened: list[Answer] = []
    yield opened
    for answer in opened:
        answer.close()


def test_a_time_out_that_was_cut_short_is_whole_again_once_bytes_come(
    answers: list[Answer],
) -> None:
    limits = LIMITS._replace(stall=LONG, slow=20.0)
    resume = threading.Event()

    def serve(sock: socket.socket) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 30001\r\n\r\n"
        trickle(sock, at_once=head + bytes(30_000), then=b"")
        resume.wait(LONG)
        sock.sendall(b"x")

    with listening(serve) as host:
        answers.append(paced(limits).send(host, "GET", "/", {}, answer_timeout=0.5))
        count = 0
        while count < 30_000:
            count += len(answers[0].read(30_000 - count))
        threading.Timer(1.0, resume.set).start()
        assert answers[0].read(10) == b"x"


@pytest.mark.parametrize("call", [get])
def test_a_connection_is_used_again(call: Callable[..., bytes]) -> None:
    connections = []

    def serve(sock: socket.socket) -> None:
        connections.append(sock)
        with sock.makefile("rb") as stream:
            while read_request(stream) is not None:
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    transport = paced()
    with listening(serve) as host:
        for _ in range(3):
            assert call(transport, host) == b"ok"
    assert len(connections) == 1
