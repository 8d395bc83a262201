"""Where bytes come from when the cache has none: an http(s) URL, fetched into a file.

Knows redirects, resuming and digests; must not know the cache. Nothing here signs, so redirects
may be followed, and a URL's own credentials go only to the host that they were given for.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from cacher.errors import IntegrityError, LocalError, SourceError, UsageError
from cacher.s3.retry import PATIENT, Attempts, retry_after, worth_retrying
from cacher.s3.transport import Answer, Host, Transport, TransportError, Trouble

PIECE = 256 * 1024

MAX_REDIRECTS = 10
"""As Go's and most other clients have it."""

_REDIRECTS = frozenset([301, 302, 303, 307, 308])

Meter = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched: bytes, hex SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Clockwork:
    """Where waiting comes from: `pause` sleeps seconds, `random` gives floats in [0, 1)."""

    pause: Callable[[float], None]
    random: Callable[[], float]


def check_url(url: str) -> None:
    """Raises `UsageError` for what cannot be fetched at all."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        fine = False
    if not fine:
        raise UsageError(f"--url {shown(url)}: not an http(s) URL")


def shown(url: str) -> str:
    """The URL for messages: what may be a secret (user, password, query) is left out."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))


def fetch(
    url: str,
    fd: int,
    transport: Transport,
    clockwork: Clockwork,
    *,
    user_agent: str,
    sha256: str = "",
    meter: Meter,
    sized: Callable[[int], None],
) -> Fetched:
    """Fetch `url` into the empty file `fd`, resuming where the origin allows it.

    `sized` is told the whole size once it is known, and may raise. With `sha256` the digest must
    be that one. Raises `SourceError`, and `IntegrityError` for another digest.
    """
    fetching = _Fetching(url, fd, transport, clockwork, user_agent, bool(sha256), meter, sized)
    fetched = fetching.run()
    if sha256 and fetched.sha256 != sha256:
        raise IntegrityError(
            f"{shown(url)} has digest {fetched.sha256}, expected {sha256}",
            "the file was replaced at its origin, or --sha256 is of another one",
        )
    return fetched


class _Refused(Exception):
    """The origin answered, and it is not the file."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Fetching:
    """One file from one URL."""

    def __init__(
        self,
        url: str,
        fd: int,
        transport: Transport,
        clockwork: Clockwork,
        user_agent: str,
        proved: bool,
        meter: Meter,
        sized: Callable[[int], None],
    ) -> None:
        self._url = url
        self._fd = fd
        self._transport = transport
        self._clockwork = clockwork
        self._user_agent = user_agent
        self._proved = proved
        self._meter = meter
        self._sized = sized
        self._digest = hashlib.sha256(usedforsecurity=False)
        self._position = 0
        self._validator = ""
        self._size: int | None = None

    def run(self) -> Fetched:
        attempts = Attempts(PATIENT, self._clockwork.random)
        while True:
            try:
                answer = self._open()
                if not isinstance(answer, Answer):
                    raise _Refused("too many redirects")
                with answer:
                    if answer.status in (200, 206):
                        self._take(answer, attempts)
                        return Fetched(self._position, self._digest.hexdigest())
                    if not worth_retrying(answer.status, ""):
                        raise _Refused(f"the answer is {answer.status}")
                    asked = retry_after(answer.headers.get("retry-after"))
                    reason, wait = (
                        f"the answer is {answer.status}",
                        attempts.delay(retry_after=asked),
                    )
            except TransportError as error:
                reason = error.detail
                wait = attempts.delay(dead=error.dead, dropped=error.dropped)
                if error.hopeless:
                    wait = None
            except _Refused as refused:
                reason, wait = refused.reason, None
            if wait is None:
                raise SourceError(f"fetching {shown(self._url)}: {reason}")
            self._clockwork.pause(wait)

    def _open(self) -> Answer | None:
        """The answer at the end of the redirects; None if they do not end."""
        url = self._url
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._send(url)
            location = answer.headers.get("location", "")
            if answer.status not in _REDIRECTS or not location:
                return answer
            answer.close()
            target = urljoin(url, location)
            parts = urlsplit(target)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise _Refused("it redirects to what is not an http(s) URL")
            if url.startswith("https:") and parts.scheme == "http" and not self._proved:
                raise _Refused(
                    "it redirects from https to http; with --sha256 it would be followed"
                )
            url = target
        return None

    def _send(self, url: str) -> Answer:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        host = Host(parts.scheme, parts.hostname or "", port)
        headers = {"user-agent": self._user_agent, "accept": "*/*"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        if self._position and self._validator:
            headers["range"] = f"bytes={self._position}-"
            headers["if-range"] = self._validator
        # What is not legal in a request line is encoded; what is encoded already stays.
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~?[]')}" if parts.query else ""
        return self._transport.send(host, "GET", path + query, headers)

    def _take(self, answer: Answer, attempts: Attempts) -> None:
        """Append the answer's body, or begin anew if the answer does."""
        if answer.status == 206:
            self._check_resumed(answer)
        else:
            self._begin(answer)
        while piece := answer.read(PIECE):
            self._write(piece)
            attempts.progress()
        if self._size is not None and self._position != self._size:
            raise TransportError(Trouble.BROKEN, "the answer ended early")

    def _begin(self, answer: Answer) -> None:
        self._meter(-self._position)
        self._position = 0
        self._digest = hashlib.sha256(usedforsecurity=False)
        os.ftruncate(self._fd, 0)
        etag = answer.headers.get("etag", "")
        weak = etag.startswith("W/")
        # Only a strong validator proves that two pieces are of one file (RFC 9110, 13.1.5).
        self._validator = etag if etag and not weak else ""
        if answer.headers.get("accept-ranges", "").lower() == "none":
            self._validator = ""
        length = answer.headers.get("content-length", "")
        self._size = int(length) if length.isdigit() else None
        if self._size is not None:
            self._sized(self._size)

    def _check_resumed(self, answer: Answer) -> None:
        told = re.match(r"bytes (\d+)-\d+/(\d+|\*)$", answer.headers.get("content-range", ""))
        same_size = told and (self._size is None or told[2] in ("*", str(self._size)))
        if not told or int(told[1]) != self._position or not same_size:
            self._validator = ""  # never again: the next try begins anew
            raise TransportError(Trouble.BROKEN, "the origin resumed with another range")

    def _write(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            try:
                count = os.pwrite(self._fd, view, self._position)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise LocalError(f"writing what was fetched: {reason}") from error
            self._digest.update(view[:count])
            self._position += count
            view = view[count:]
        self._meter(len(piece))
