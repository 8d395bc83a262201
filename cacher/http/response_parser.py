"""http.client's response, but with a strict parser of heads and without copies of bodies.

http.client takes a header line that it cannot parse for the end of the head: before a
`Transfer-Encoding` line that turns the framing into body. Here every line of a head is read as curl
reads it, or the answer is refused. Knows no store.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.client import (
    BadStatusLine,
    HTTPException,
    HTTPMessage,
    HTTPResponse,
    IncompleteRead,
    RemoteDisconnected,
    UnknownProtocol,
)
from typing import Any, BinaryIO

MIN_READ = 64 * 1024
"""Bytes to read before they are processed: TLS returns 16 KiB at a time."""

_HEAD_LIMIT = 256 * 1024
"""Bytes; curl takes 300 KB."""

_MAX_INTERIM = 100
"""Informational answers before the final one. Servers send one or two."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, section 5.6.2."""

_LENGTH = re.compile("[0-9]{1,19}")

_STATUS = re.compile(r"(HTTP/[0-9](?:\.[0-9])?)[ \t]+([1-9][0-9]{2})(?:[ \t](.*))?", re.DOTALL)

_CHUNK = re.compile(rb"(?=[0-9A-Fa-f])0*([0-9A-Fa-f]{0,15})[ \t]*(?:;[^\n]*)?\r?\n")
"""The line before a chunk: its size, and extensions that nobody uses (RFC 9112, section 7.1)."""

_LINE = 64 * 1024
"""Bytes of a status line, or of the line before a chunk."""


class MalformedHead(HTTPException):
    """The head of an answer cannot be parsed, so its body cannot be trusted."""


class BadChunk(HTTPException):
    """The chunks of a body are malformed."""

    def __init__(self) -> None:
        super().__init__("the chunks of the answer are damaged")


class StrictResponse(HTTPResponse):
    """An HTTP response: `begin` reads its head, `fill` its body."""

    _failure: Exception | None = None

    def begin(self) -> None:
        """Read the head of the answer, and skip the informational ones before it.

        Those are all below 200 but 101, which has no other after it (RFC 9110, section 15.2).
        Raises `MalformedHead`, and what http.client raises.
        """
        for _ in range(_MAX_INTERIM):
            version, status, reason = self._read_status()
            headers = read_fields(self.fp)
            if not 100 <= status < 200 or status == 101:
                break
        else:
            raise MalformedHead("too many informational answers")
        if not version.startswith(("HTTP/1.", "HTTP/0.9")):
            raise UnknownProtocol(version)
        self.code = self.status = status
        self.reason = reason.strip()
        self.version = 10 if version in ("HTTP/1.0", "HTTP/0.9") else 11
        self.headers = self.msg = headers
        self.chunked, self.length = framing(headers)
        self.chunk_left = None
        if status in (204, 304) or status < 200 or self._method == "HEAD":  # type: ignore[attr-defined]
            self.chunked, self.length = False, 0
        endless = not self.chunked and self.length is None
        self.will_close = endless or status == 101 or self._check_close()  # type: ignore[attr-defined]

    def fill(self, buffer: memoryview) -> int:
        """Read the next bytes of the body into `buffer`, at least `MIN_READ` if there are so many.

        0 at the end, which is proved by the length or the last chunk if the head names either.
        """
        if self._failure is not None:
            raise self._failure
        least, count = min(MIN_READ, len(buffer)), 0
        try:
            while count < least and (more := self._read_some(buffer[count:])):
                count += more
        except (OSError, HTTPException) as failure:
            # Return what has come: a connection that is cut again and again must make progress.
            if not count:
                raise
            self._failure = failure
        return count

    def _read_some(self, buffer: memoryview) -> int:
        """Read as much as one system call returns."""
        if self.isclosed():
            return 0
        left: int | None = self.length
        if self.chunked:
            left = self._get_chunk_left()
            if left is None:
                return 0  # that was the last chunk
        count = self.fp.readinto1(buffer[:left]) if left != 0 else 0
        if left is not None:
            if left and not count:
                raise IncompleteRead(b"", left)
            left -= count
        if self.chunked:
            self.chunk_left = left
        else:
            self.length = left
            if not left and (left is not None or not count):
                self._close_conn()  # type: ignore[attr-defined]
        return count

    def _read_status(self) -> tuple[str, int, str]:
        """Replace http.client's method, which accepts `+200` and `2_00` as statuses."""
        line = self.fp.readline(_LINE).decode("latin-1")
        if not line:
            raise RemoteDisconnected("before a head")
        match = _STATUS.fullmatch(line.rstrip("\r\n"))
        if not match:
            raise BadStatusLine(line)
        return match[1], int(match[2]), match[3] or ""

    def _get_chunk_left(self) -> int | None:
        """Return the bytes left of a chunk; None after the last one.

        Replaces http.client's method, which takes any two bytes for the end of a chunk.
        """
        left: int | None = self.chunk_left
        if not left:
            if left is not None and self._line() not in (b"\r\n", b"\n"):
                raise BadChunk
            match = _CHUNK.fullmatch(self._line())
            if not match:
                raise BadChunk
            left = int(match[1] or b"0", 16)
            if not left:
                self._read_and_discard_trailer()  # type: ignore[attr-defined]
                self._close_conn()  # type: ignore[attr-defined]
                left = None
            self.chunk_left = left
        return left

    def _line(self) -> bytes:
        """Read a line between chunks, with its end."""
        line: bytes = self.fp.readline(_LINE)
        if not line.endswith(b"\n") and len(line) < _LINE:
            raise IncompleteRead(b"")
        return line


class TunnelResponse(StrictResponse):
    """A proxy's answer to CONNECT. The bytes that follow belong to the tunnel."""

    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._sock = sock
        self.is_page = False
        """Whether bytes came before anything was sent through the tunnel."""

    def close(self) -> None:
        """Look for such bytes without waiting, and close."""
        timeout = self._sock.gettimeout()
        try:
            self._sock.settimeout(0.0)
            self.is_page = bool(self.fp.peek(1))
        except (OSError, ValueError):
            pass  # nothing there, or closed
        finally:
            if self._sock.fileno() >= 0:
                self._sock.settimeout(timeout)
        super().close()


def read_fields(stream: BinaryIO) -> HTTPMessage:
    """Read the lines of a head after the first one, with the empty line that ends them.

    Spaces before a colon are dropped (RFC 9112, section 5.1), folded lines are joined (5.2), a lone
    CR is a space (2.2); a field whose name is not one is left out, as curl does not look at it.
    Raises `MalformedHead` for a line without a colon.
    """
    fields: list[tuple[str, str]] = []
    for line in _lines(stream):
        name, colon, value = line.partition(":")
        if line[0] in " \t" and fields:
            name, begun = fields.pop()
            value = f"{begun} {line.strip()}"
        elif not colon:
            raise MalformedHead("a header line has no colon")
        fields.append((name.rstrip(" \t"), value.strip(" \t")))
    headers = HTTPMessage()
    for name, value in fields:
        if _TOKEN.fullmatch(name):
            headers[name] = value
    return headers


def _lines(stream: BinaryIO) -> Iterator[str]:
    """Yield the lines before the first empty one, without their ends."""
    left = _HEAD_LIMIT
    while left > 0:
        line = stream.readline(left)
        left -= len(line)
        if not line.endswith(b"\n") and left:
            raise RemoteDisconnected("in the middle of a head")
        text = line.removesuffix(b"\n").removesuffix(b"\r").decode("latin-1")
        if not text:
            return
        yield text.replace("\r", " ")
    raise MalformedHead(f"its head has over {_HEAD_LIMIT // 1024} KiB")


def framing(headers: HTTPMessage) -> tuple[bool, int | None]:
    """Return whether the body is chunked, and else its length, if the head names one.

    Chunks win over a length, which is then dropped (RFC 9112, section 6.3); equal lengths count
    once. Raises `MalformedHead` for any other coding, and for two lengths.
    """
    codings = {coding.lower() for coding in _list_items(headers, "transfer-encoding")} - {
        "identity"
    }
    lengths = _list_items(headers, "content-length")
    del headers["content-length"]
    if codings:
        if codings != {"chunked"}:
            raise MalformedHead("its transfer encoding is not chunked")
        return True, None
    if not lengths:
        return False, None
    if not all(map(_LENGTH.fullmatch, lengths)) or len(set(map(int, lengths))) != 1:
        raise MalformedHead("its Content-Length is not one number")
    headers["content-length"] = str(int(lengths[0]))
    return False, int(lengths[0])


def _list_items(headers: HTTPMessage, name: str) -> list[str]:
    """Return the items of a field that is a list."""
    return [part.strip() for value in headers.get_all(name, []) for part in value.split(",")]
