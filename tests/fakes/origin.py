"""An origin of files in this process, for tests: an HTTP server that answers as it is told.

    with Origin() as origin:
        origin.script("/go.tar.gz", Reply(503), Reply(body=b"..."))
        ...                               # a client against origin.url("/go.tar.gz")
        assert [seen.header("range") for seen in origin.seen] == ["", ""]

Each path has a script: one reply after the other, the last one for ever; other paths are 404. It
is also an HTTP proxy: a request in absolute form is answered from the script of its path or, with
`forwards`, by the host that it names. HTTP/1.1 on 127.0.0.1, a thread for each connection;
standard library only.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

TICK = 0.02  # seconds between two pieces of a trickled body
ABORT = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: close becomes a reset
HOP_BY_HOP = {"connection", "proxy-authorization", "proxy-connection", "keep-alive"}


@dataclass(frozen=True)
class Reply:
    """One answer. Without arguments: an empty file, with a strong ETag, that can be resumed."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    etag: str | None = None
    """As it is sent, quotes and all; empty for none. None is a strong one, of the body."""

    ranges: bool = True
    """Whether `Range` is honoured (and `If-Range` looked at), or taken for absent."""

    framing: Literal["length", "chunked", "close"] = "length"
    """How the body's end is told: Content-Length, chunks, or by the end of the connection."""

    cut: int | None = None
    """The connection ends after so many bytes of the body: in good order, or by a `reset`."""

    reset: bool = False

    stall: float = 0.0
    """So many seconds of silence: before the answer or, with `stall_after`, in its body."""

    stall_after: int | None = None

    rate: int | None = None
    """The body comes at a rate, in bytes a second."""

    login: str = ""
    """`user:password`, without which it is a 401."""


def redirect(location: str, status: int = 302) -> Reply:
    """A redirect, with a body that must not be taken for the file."""
    return Reply(status, b"<p>moved</p>", {"Location": location}, etag="")


@dataclass(frozen=True)
class Seen:
    """One request as it came; `target` is in absolute form if it was sent to a proxy."""

    method: str
    target: str
    headers: Mapping[str, str]

    def header(self, name: str) -> str:
        """A header's value, or an empty string."""
        return self.headers.get(name.lower(), "")


class Origin:
    """Scripted files on a port of the loopback interface.

    `tls`: a certificate and its key, PEM files. `forwards`: whether absolute-form requests go on
    to the host that they name. Used as a context manager.
    """

    def __init__(
        self, tls: tuple[str | Path, str | Path] | None = None, *, forwards: bool = False
    ) -> None:
        self.forwards = forwards
        self.stopping = threading.Event()
        self._secure = tls is not None
        self._lock = threading.Lock()
        self._seen: list[Seen] = []
        self._scripts: dict[str, list[Reply]] = {}
        origin = self

        class Bound(_Handler):
            def scripted(self) -> Origin:
                return origin

        self._server = _Server(("127.0.0.1", 0), Bound)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="origin", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def seen(self) -> list[Seen]:
        """Every request so far, in order of arrival."""
        with self._lock:
            return list(self._seen)

    def url(self, path: str = "", *, login: str = "", host: str = "127.0.0.1") -> str:
        """The address of a path; `login` is `user:password`, `localhost` is another host."""
        scheme = "https" if self._secure else "http"
        return f"{scheme}://{login}{'@' * bool(login)}{host}:{self.port}{path}"

    def script(self, path: str, *replies: Reply) -> str:
        """Answer `path` with these, one after the other; its URL."""
        with self._lock:
            self._scripts[path] = list(replies)
        return self.url(path)

    def wait_for(self, count: int = 1, patience: float = 10.0) -> None:
        """Return once so many requests have come."""
        until = time.monotonic() + patience
        while len(self.seen) < count:
            if time.monotonic() > until:
                raise TimeoutError(f"{len(self.seen)} of {count} requests have come")
            time.sleep(0.005)

    def enter(self, seen: Seen) -> Reply:
        """Note a request, and give the reply that its path has for it."""
        with self._lock:
            self._seen.append(seen)
            parts = urlsplit(seen.target)
            script = self._scripts.get(parts.path, [])
            if not script:
                return Reply(404, b"no such file", etag="")
            return script.pop(0) if len(script) > 1 else script[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_about: object) -> None:
        """Clients come and go as they please."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def scripted(self) -> Origin:
        """Whose handler it is."""
        raise NotImplementedError

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def log_message(self, *_about: object) -> None:
        """Nothing: what was seen is in `Origin.seen`."""

    def answer(self) -> None:
        """Answer one request of any method."""
        origin = self.scripted()
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = origin.enter(Seen(self.command, self.path, headers))
        if origin.forwards and self.path.startswith("http://"):
            self._forward(headers, body)
        else:
            self._play(reply, origin.stopping.wait)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    def _forward(self, headers: Mapping[str, str], body: bytes) -> None:
        """Ask whom the request names, as a proxy does."""
        parts = urlsplit(self.path)
        onward = http.client.HTTPConnection(parts.hostname or "", parts.port or 80)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        kept = {name: value for name, value in headers.items() if name not in HOP_BY_HOP}
        onward.request(self.command, target, body or None, kept)
        answer = onward.getresponse()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.read())
        onward.close()

    def _play(self, reply: Reply, wait: Callable[[float], object]) -> None:
        if reply.stall and reply.stall_after is None:
            wait(reply.stall)
        if reply.login and not self._is_logged_in(reply.login):
            reply = Reply(401, b"who are you?", {"WWW-Authenticate": "Basic"}, etag="")
        body, status, headers = self._ranged(reply)
        self.send_response_only(status)
        for name, value in {**headers, **reply.headers}.items():
            self.send_header(name, value)
        if reply.framing == "length":
            self.send_header("Content-Length", str(len(body)))
        elif reply.framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self._send(reply, body, wait)

    def _is_logged_in(self, login: str) -> bool:
        expected = f"Basic {base64.b64encode(login.encode()).decode()}"
        return self.headers.get("authorization") == expected

    def _ranged(self, reply: Reply) -> tuple[bytes, int, dict[str, str]]:
        """The bytes asked for, and how they are announced (RFC 9110, sections 13 and 14)."""
        etag = reply.etag
        if etag is None:
            etag = f'"{hashlib.sha256(reply.body).hexdigest()[:16]}"'
        headers = {"ETag": etag} if etag else {}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        condition = self.headers.get("if-range", etag)
        current = condition == etag and not condition.startswith("W/")
        if reply.status != 200 or not reply.ranges or not asked or not current:
            return reply.body, reply.status, headers
        size = len(reply.body)
        start, end = int(asked[1]), min(int(asked[2] or size), size - 1)
        if start >= size:
            return b"", 416, headers | {"Content-Range": f"bytes */{size}"}
        headers["Content-Range"] = f"bytes {start}-{end}/{size}"
        return reply.body[start : end + 1], 206, headers

    def _send(self, reply: Reply, body: bytes, wait: Callable[[float], object]) -> None:
        """The body, as far and as fast as the reply has it."""
        whole = reply.cut is None
        body = body[: reply.cut]
        if reply.stall_after is not None:
            self._write(reply, body[: reply.stall_after])
            wait(reply.stall)
            body = body[reply.stall_after :]
        step = max(int(reply.rate * TICK), 1) if reply.rate else max(len(body), 1)
        for start in range(0, len(body), step):
            if start:
                wait(TICK)
            self._write(reply, body[start : start + step])
        if whole and reply.framing == "chunked":
            self.wfile.write(b"0\r\n\r\n")
        if not whole or reply.framing == "close":
            self.close_connection = True
        if reply.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)

    def _write(self, reply: Reply, data: bytes) -> None:
        if data and reply.framing == "chunked":
            data = b"%x\r\n%s\r\n" % (len(data), data)
        self.wfile.write(data)
        self.wfile.flush()
