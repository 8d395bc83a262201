"""Small servers on the loopback interface that see what is really sent, and behave badly.

Raw bytes over plain sockets: nothing here decodes, normalises or forgives.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from cacher.http.exceptions import FailureKind, TransportError
from cacher.http.transport import Host, Transport

LONG = 300.0
"""Seconds that nothing here may take."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

NO_HEADERS: Mapping[str, str] = {}


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[Host]:
    """Where every connection is given to `serve`, each in a thread of its own, until the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    stopping = threading.Event()
    threads: list[threading.Thread] = []
    sockets: list[socket.socket] = []

    def handle(sock: socket.socket) -> None:
        try:
            serve(sock)
        except OSError:
            pass  # the client has gone, or the test is over
        finally:
            sock.close()

    def accept() -> None:
        while True:
            sock, _ = listener.accept()
            if stopping.is_set():
                sock.close()
                return
            thread = threading.Thread(target=handle, args=(sock,), daemon=True)
            sockets.append(sock)
            threads.append(thread)
            thread.start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield Host("http", "127.0.0.1", port)
    finally:
        stopping.set()
        with socket.create_connection(("127.0.0.1", port)):  # wakes the acceptor
            acceptor.join(LONG)
        listener.close()
        for sock in sockets:
            shut_down(sock)
        for thread in threads:
            thread.join(LONG)


def shut_down(sock: socket.socket) -> None:
    """Wake whoever waits on a socket."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # closed already


@dataclass(frozen=True)
class SeenRequest:
    """One request as it came; header names are lower case, in order, repeated ones too."""

    connection: int
    line: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for given, value in self.headers if given == name]


@dataclass
class Recorder:
    """Answers every request, and keeps what it saw. `answer` gives raw bytes; none: hang up."""

    answer: Callable[[SeenRequest], bytes] = lambda _seen: OK
    seen: list[SeenRequest] = field(default_factory=list)
    connections: int = 0

    def serve(self, sock: socket.socket) -> None:
        """For `listening`."""
        self.connections += 1
        number = self.connections
        with sock.makefile("rb") as stream:
            while (seen := read_request(stream, number)) is not None:
                self.seen.append(seen)
                answer = self.answer(seen)
                if not answer:
                    return
                sock.sendall(answer)


def read_request(stream: socket.SocketIO | object, number: int = 1) -> SeenRequest | None:
    """The next request, or None at the end of the connection."""
    readline, read = stream.readline, stream.read  # type: ignore[union-attr]
    line = readline().decode("latin-1").rstrip("\r\n")
    if not line:
        return None
    headers = []
    while (header := readline().decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = header.partition(":")
        headers.append((name.lower(), value.strip()))
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    return SeenRequest(number, line, headers, read(length))


def get(
    transport: Transport, host: Host, target: str = "/", headers: Mapping[str, str] = NO_HEADERS
) -> bytes:
    """The whole body of the answer to a GET."""
    with transport.send(host, "GET", target, headers) as answer:
        return answer.read_all(1 << 20)


def failure_kind(call: Callable[[], object]) -> FailureKind:
    """Return the kind of failure that a call ends in."""
    try:
        call()
    except TransportError as error:
        return error.kind
    raise AssertionError("there was an answer")
