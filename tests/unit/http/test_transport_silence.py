"""Time-outs on silence, and waking threads that wait on a socket."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from cacher.http.exceptions import FailureKind, TransportError
from cacher.http.transport import Answer, Host, Transport
from cacher.s3.request_body import SEND_SIZE, MemoryBody
from tests.support.tcp_servers import LONG, OK, get, listening, read_request

SHORT = 0.2
"""Seconds of a time-out that is to pass."""

BIG = bytes(256 * SEND_SIZE)
"""32 MiB: more than the buffers of a loopback connection take."""

Serve = Callable[[socket.socket], None]


def read_one(sock: socket.socket) -> None:
    """Read one request, and not a byte more."""
    with sock.makefile("rb", buffering=0) as stream:
        read_request(stream)


def do_not_read(sock: socket.socket) -> None:
    """Wait for the end of the connection, whatever arrives."""
    poll = select.poll()
    poll.register(sock, 0)
    poll.poll(LONG * 1000)


def hang(sock: socket.socket) -> None:
    """Read a request, and say nothing."""
    read_one(sock)
    do_not_read(sock)


def answer_half(sock: socket.socket) -> None:
    """Send half of an answer, and hang."""
    read_one(sock)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhalf")
    do_not_read(sock)


def answer_half_and_close(sock: socket.socket) -> None:
    """Send half of an answer with which the connection is to end, and hang."""
    read_one(sock)
    sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 900\r\n\r\nhalf")
    do_not_read(sock)


def pause_before_reading(sock: socket.socket) -> None:
    """Read nothing for a while, then all of it, and answer."""
    threading.Event().wait(4 * SHORT)
    with sock.makefile("rb") as stream:
        read_request(stream)
    sock.sendall(OK)


def after_one_answer(serve: Serve) -> Serve:
    """Answer the first request of a connection, and serve the rest."""

    def answer(sock: socket.socket) -> None:
        read_one(sock)
        sock.sendall(OK)
        serve(sock)

    return answer


def put(transport: Transport, host: Host) -> Answer:
    return transport.send(host, "PUT", "/k", {}, MemoryBody(BIG))


def test_no_answer_to_the_connection_request() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:  # more than the backlog holds: the next one gets no answer
            sock.setblocking(False)
            sock.connect_ex(address)
        try:
            with pytest.raises(TransportError) as caught:
                get(Transport(connect_timeout=SHORT), Host("http", *address))
        finally:
            for sock in waiting:
                sock.close()
    assert caught.value.kind is FailureKind.CONNECT
    assert caught.value.detail == "no connection"


def test_no_answer_to_the_request() -> None:
    with listening(hang) as host, pytest.raises(TransportError) as caught:
        get(Transport(stall_timeout=SHORT), host)
    assert (caught.value.kind, caught.value.was_idle) == (FailureKind.TIMEOUT, False)
    assert caught.value.detail == "no answer"


def test_half_an_answer() -> None:
    transport = Transport(stall_timeout=SHORT)
    with listening(answer_half) as host, transport.send(host, "GET", "/", {}) as answer:
        assert answer.read(4) == b"half"
        with pytest.raises(TransportError) as caught:
            answer.read(4)
    assert caught.value.kind is FailureKind.TIMEOUT


@pytest.mark.parametrize("serve", [hang, after_one_answer(hang)])
def test_patience_is_for_the_answer(serve: Serve) -> None:
    transport = Transport(stall_timeout=LONG)
    with listening(serve) as host, pytest.raises(TransportError) as caught:
        for _ in range(2):
            with transport.send(host, "GET", "/", {}, answer_timeout=SHORT) as answer:
                answer.read_all(10)
    assert caught.value.kind is FailureKind.TIMEOUT


def test_patience_outlasts_the_stall_time_out() -> None:
    with listening(pause_before_reading) as host:
        transport = Transport(stall_timeout=SHORT)
        with transport.send(host, "GET", "/", {}, answer_timeout=LONG) as answer:
            assert answer.read_all(10) == b"ok"


def test_a_server_that_does_not_read() -> None:
    before = time.monotonic()
    with listening(do_not_read) as host, pytest.raises(TransportError):
        put(Transport(connect_timeout=LONG, stall_timeout=SHORT), host)
    assert time.monotonic() - before < LONG / 2


@pytest.mark.parametrize("kept", [False, True])
def test_a_server_that_does_not_read_is_silent(kept: bool) -> None:
    transport = Transport(connect_timeout=SHORT, stall_timeout=SHORT)
    with listening(after_one_answer(do_not_read) if kept else do_not_read) as host:
        if kept:
            get(transport, host)
        with pytest.raises(TransportError) as caught:
            put(transport, host)
    assert (caught.value.kind, caught.value.was_idle) == (FailureKind.TIMEOUT, False)


def test_a_pause_in_reading_is_no_stall() -> None:
    transport = Transport(connect_timeout=SHORT, stall_timeout=LONG)
    with listening(pause_before_reading) as host, put(transport, host) as answer:
        assert answer.read_all(10) == b"ok"


def test_a_pause_in_reading_is_no_stall_on_a_kept_connection() -> None:
    transport = Transport(connect_timeout=SHORT, stall_timeout=LONG)
    with listening(after_one_answer(pause_before_reading)) as host:
        get(transport, host)
        with put(transport, host) as answer:
            assert answer.read_all(10) == b"ok"


@pytest.mark.slow
def test_the_limit_is_on_silence_not_on_the_whole_body() -> None:
    def read_slowly(sock: socket.socket) -> None:
        left = len(BIG)
        while left > 0:
            threading.Event().wait(SHORT / 2)
            left -= len(sock.recv(1 << 20, socket.MSG_WAITALL))
        sock.sendall(OK)

    stall = 10 * SHORT  # a busy machine may take its time, too
    before = time.monotonic()
    with listening(read_slowly) as host, put(Transport(stall_timeout=stall), host) as answer:
        assert answer.read_all(10) == b"ok"
    assert time.monotonic() - before > stall


# --- interruption --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("serve", "call"),
    [
        pytest.param(hang, get, id="waiting-for-an-answer"),
        pytest.param(answer_half, get, id="reading-a-body"),
        pytest.param(answer_half_and_close, get, id="reading-a-body-that-ends-the-connection"),
        pytest.param(do_not_read, put, id="sending-a-body"),
    ],
)
def test_interrupting_wakes_whoever_waits(
    serve: Serve, call: Callable[[Transport, Host], object]
) -> None:
    transport = Transport(stall_timeout=LONG)
    failures: list[TransportError] = []

    def work(host: Host) -> None:
        try:
            call(transport, host)
        except TransportError as error:
            failures.append(error)

    before = time.monotonic()
    with listening(serve) as host:
        threads = [threading.Thread(target=partial(work, host), daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive() and time.monotonic() - before < LONG / 2:
                transport.interrupt()
                thread.join(0.05)
    assert [error.kind for error in failures] == [FailureKind.BROKEN] * 3
    assert time.monotonic() - before < LONG / 2


def test_after_an_interruption_all_goes_on() -> None:
    def serve(sock: socket.socket) -> None:
        while True:
            read_one(sock)
            sock.sendall(OK)

    transport = Transport(stall_timeout=LONG)
    with listening(serve) as host:
        assert get(transport, host) == b"ok"
        transport.interrupt()  # nobody waits: the idle connection goes
        assert get(transport, host) == b"ok"


def test_interrupting_nobody() -> None:
    Transport().interrupt()
