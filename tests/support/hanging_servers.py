"""Stores and origins that hang, each in its own way, and how long a command may wait for them.

The rows of the table "How long a command waits" in docs/manual.md. `Pace` of a server is the time
between two of its bytes.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import NamedTuple

from cacher.time_limits import Limits
from tests.fakes.faults import Fault, Respond, Stall
from tests.fakes.origin import Origin, Reply
from tests.fakes.s3server import FakeS3Server
from tests.support.cli_helpers import MIB, BucketPlace, blob
from tests.support.tcp_servers import listening, read_request

FOREVER = 900.0

BIG = 12 * MIB
"""Bytes of three parts."""

HALVED = 4096
"""Bytes of an entry of which half of what is asked for comes, again and again."""

Environ = Mapping[str, str]
Stage = Callable[[float], AbstractContextManager[Environ]]
"""Takes the factor by which all seconds are scaled; gives the variables that lead to the store."""


class Row(NamedTuple):
    """What hangs, the command, and the seconds within which it must have ended."""

    name: str
    stage: Stage
    argv: tuple[str, ...]
    within: Callable[[Limits], float]
    said: str
    status: int = 3


def _environ(endpoint: str) -> Environ:
    return {
        "CACHER_ENDPOINT": endpoint,
        "CACHER_BUCKET": "cache",
        "CACHER_S3_KEY_ID": "id",
        "CACHER_S3_SECRET": "secret",
        "CACHER_PART_SIZE": "5MiB",
    }


@contextmanager
def _refusing(_factor: float) -> Iterator[Environ]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield _environ(f"http://127.0.0.1:{port}")


@contextmanager
def _unreachable(_factor: float) -> Iterator[Environ]:
    """More connections wait than the backlog holds, so the next one gets no answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for sock in waiting:
                sock.setblocking(False)
                sock.connect_ex(listener.getsockname())
            yield _environ(f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            for sock in waiting:
                sock.close()


@contextmanager
def _served(
    serve: Callable[[socket.socket, Callable[[float], object]], None], factor: float
) -> Iterator[Environ]:
    """`serve` gets each connection after a request has come, and a sleep that ends with all."""
    over = threading.Event()

    def answer(sock: socket.socket) -> None:
        with sock.makefile("rb") as stream:
            while (seen := read_request(stream)) is not None:
                _ranges[threading.get_ident()] = dict(seen.headers).get("range", "")
                serve(sock, lambda seconds: over.wait(seconds * factor))

    with listening(answer) as host:
        try:
            yield _environ(str(host))
        finally:
            over.set()


_ranges: dict[int, str] = {}
"""The range that the thread of a connection was asked for last."""


def _silent(_sock: socket.socket, sleep: Callable[[float], object]) -> None:
    sleep(FOREVER)


def _head_trickles(sock: socket.socket, sleep: Callable[[float], object]) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"y" * 1000:
        sock.sendall(bytes([byte]))
        sleep(5.0)


def _body_trickles(sock: socket.socket, sleep: Callable[[float], object]) -> None:
    sock.sendall(
        b'HTTP/1.1 206 Partial Content\r\nETag: "e"\r\nContent-Length: 4096\r\n'
        b"Content-Range: bytes 0-4095/4096\r\n\r\n"
    )
    for _ in range(1000):
        sock.sendall(b"x")
        sleep(5.0)


def _half(sock: socket.socket, sleep: Callable[[float], object]) -> None:
    asked = re.fullmatch(r"bytes=(\d+)-(\d+)", _ranges[threading.get_ident()])
    start, last = (int(asked[1]), min(int(asked[2]), HALVED - 1)) if asked else (0, HALVED - 1)
    count = last + 1 - start
    sock.sendall(
        b'HTTP/1.1 206 Partial Content\r\nETag: "e"\r\nContent-Length: %d\r\n'
        b"Content-Range: bytes %d-%d/%d\r\n\r\n" % (count, start, last, HALVED)
    )
    sock.sendall(b"x" * (count // 2))
    sleep(FOREVER)


def _served_by(serve: Callable[[socket.socket, Callable[[float], object]], None]) -> Stage:
    return partial(_served, serve)


@contextmanager
def _faulty(faults: Mapping[str, float], factor: float) -> Iterator[Environ]:
    """A store that does as it should, but for the operations named, which stall for so long."""
    with FakeS3Server() as server:
        place = BucketPlace(server)
        for operation, seconds in faults.items():
            name, _, nth = operation.partition(" ")
            stall = Stall(seconds * factor)
            server.inject(Fault(stall, operation=name, nth=int(nth or 1), times=None))
        yield {**place.environment, "CACHER_PART_SIZE": "5MiB"}


def _stalling(*operations: str) -> Stage:
    return partial(_faulty, dict.fromkeys(operations, FOREVER))


@contextmanager
def _busy(_factor: float) -> Iterator[Environ]:
    with FakeS3Server() as server:
        asks = Respond(503, "SlowDown", headers={"Retry-After": "3600"})
        server.inject(Fault(asks, times=None))
        yield BucketPlace(server).environment


@contextmanager
def _good_origin(stage: Stage, size: int, factor: float) -> Iterator[Environ]:
    """A store that hangs, and an origin that does not."""
    with stage(factor) as environ, Origin() as origin:
        yield {**environ, "ORIGIN": origin.script("/f", Reply(body=blob(size)))}


@contextmanager
def _hanging_origin(reply: Reply, factor: float) -> Iterator[Environ]:
    """An origin that hangs, and a store that does not."""
    stall = reply.stall * factor
    rate = None if reply.rate is None else max(int(reply.rate / factor), 1)
    with FakeS3Server() as server, Origin() as origin:
        url = origin.script("/f", Reply(body=reply.body, stall=stall, rate=rate))
        yield {**BucketPlace(server).environment, "ORIGIN": url}


def _at(name: str) -> Callable[[Limits], float]:
    return lambda limits: float(getattr(limits, name))


def _rows() -> Iterator[Row]:
    exists = ("exists", "k")
    download = ("download", "k", "f")
    fetched = (*download, "--url", "ORIGIN")
    yield Row("refused", _refusing, exists, _at("refused"), r"connection refused \(\d tries in")
    yield Row("unreachable", _unreachable, exists, _at("unreachable"), "no connection for")
    for argv in (
        exists,
        download,
        ("upload", "k", "small"),
        ("list",),
        ("delete", "k"),
        ("dir", "download", "k", "d"),
        ("dir", "upload", "k", "tree"),
    ):
        name = f"silence: {' '.join(argv[:2])}"
        yield Row(name, _served_by(_silent), argv, _at("silent"), r"no answer for .* \(2 tries\)")
    slow = "less than 1 KiB/s for"
    yield Row("the head trickles", _served_by(_head_trickles), exists, lambda at: 2 * at.slow, slow)
    yield Row(
        "the head trickles after a PUT",
        _served_by(_head_trickles),
        ("upload", "k", "small", "--force"),
        lambda at: 2 * at.slow,
        slow,
    )
    yield Row(
        "the body trickles", _served_by(_body_trickles), download, lambda at: 2 * at.slow, slow
    )
    yield Row(
        "half an answer, again and again",
        _served_by(_half),
        download,
        lambda at: at.silent + HALVED / 1024,
        "no answer for",
    )
    stage, unanswered = _stalling("PutObject"), r"no answer for [\d.]+ s\n"  # in one try
    yield Row("PUT", stage, ("upload", "k", "small"), _at("write"), unanswered)
    yield Row("PUT of a tree", stage, ("dir", "upload", "k", "tree"), _at("write"), unanswered)
    yield Row(
        "UploadPart",
        _stalling("UploadPart"),
        ("upload", "k", "big"),
        lambda at: at.write + at.undo,
        rf"part \d\): .*: {unanswered}",
    )
    for name, operation, said in (
        ("looking before deleting", "HeadObject", r"looking for k: .*: no answer for"),
        ("DeleteObjects", "DeleteObjects", "; it is not known which of these 3 are deleted"),
    ):
        yield Row(name, _stalling(operation), ("delete", "k", "l", "m"), _at("silent"), said)
    complete = ("upload", "k", "big")
    yield Row(
        "Complete that has happened",
        _stalling("CompleteMultipartUpload"),
        complete,
        lambda at: at.commit + at.silent,
        "stored k",
        0,
    )
    yield Row(
        "Complete of which nothing is known",
        _stalling("CompleteMultipartUpload", "HeadObject 2"),
        complete,
        lambda at: at.commit + at.silent + at.undo,
        unanswered,
    )
    yield Row("Retry-After", _busy, exists, _at("refused"), "it asks to wait 3600 s")
    stored = "not stored for next time: storing k.*no answer for"
    stage = partial(_good_origin, _stalling("PutObject"), 300_000)
    yield Row("storing what was fetched", stage, fetched, _at("silent"), stored, 0)
    for operations in (
        ("CreateMultipartUpload",),
        ("UploadPart",),
        ("CompleteMultipartUpload", "HeadObject"),
    ):
        stage = partial(_good_origin, _stalling(*operations), BIG)
        name = f"storing what was fetched in parts: {operations[0]}"
        yield Row(name, stage, fetched, lambda at: at.silent + at.undo, stored, 0)
    stage = partial(_good_origin, _served_by(_silent), 300_000)
    yield Row("looking before fetching", stage, fetched, _at("silent"), "without the cache", 0)
    stage = partial(_hanging_origin, Reply(body=blob(1000), stall=FOREVER))
    yield Row("a silent origin", stage, fetched, _at("silent"), "no answer for", 6)
    timed = ("--timeout", "TIMEOUT", "upload", "k", "big")
    for name, faults in (
        ("--timeout", ("UploadPart",)),
        ("--timeout, abort", ("UploadPart", "AbortMultipartUpload")),
        ("--timeout, the upload's id", ("CreateMultipartUpload",)),
    ):
        yield Row(
            name, _stalling(*faults), timed, lambda at: at.connect + at.undo, r"\(--timeout\)"
        )


ROWS = list(_rows())
