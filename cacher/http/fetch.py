"""Fetch an http(s) URL into a file or a pipe.

Knows redirects, resuming and digests; must not know the cache. Requests are not signed, so
redirects may be followed. A URL's credentials go only to the host that they were given for.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from cacher.errors import IntegrityError, SourceError, UsageError
from cacher.fileio import BUFFER_SIZE, OnProgress
from cacher.http.exceptions import (
    FailureKind,
    TransportError,
    common_hint,
    describe_failure,
    status_text,
)
from cacher.http.proxies import login_hint
from cacher.http.redact_url import redacted
from cacher.http.retry import RETRY_STATUSES, Attempts, describe_wait, retry_after
from cacher.http.sinks import Sink
from cacher.http.transport import Answer, Host, Transport
from cacher.time_limits import Clocks, Limits

MAX_REDIRECTS = 10
"""As Go's and most other clients have it."""

_CHECK_URL = "check the URL; --url may be given several times"

_LATER = "a later run may succeed; --url may be given several times"

_CLOCK = "set this machine's clock, or ask the origin to renew its certificate"

_HINTS = {
    401: "the origin needs credentials: https://USER:TOKEN@HOST/...",
    403: "the origin refuses; does it need credentials (https://USER:TOKEN@HOST/...)?",
    404: "check the URL; the file may have moved",
    407: login_hint("http"),  # over https the tunnel is refused
    410: "check the URL; the file may have moved",
}

_FAILURE_HINTS = {
    FailureKind.EXPIRED: _CLOCK,
    FailureKind.NOT_YET_VALID: _CLOCK,
    FailureKind.WRONG_HOST: "check the host name in the URL",
    FailureKind.PLAIN_HTTP: "is it an http:// URL?",
    FailureKind.UNEXPECTED_TLS: "is it an https:// URL?",
    FailureKind.OUTDATED_TLS: "the origin must speak TLS 1.2 or newer",
    FailureKind.MALFORMED: _CHECK_URL,
    FailureKind.NAME: _CHECK_URL,
    FailureKind.CONNECT: _CHECK_URL,
    FailureKind.REFUSED: _CHECK_URL,
    FailureKind.TIMEOUT: _LATER,
    FailureKind.SLOW: _LATER,
    FailureKind.BROKEN: _LATER,
}

_ENCODE_HINT = "in a user name or a password / is %2F, ? is %3F, # is %23, @ is %40 and : is %3A"

_REDIRECTS = frozenset([301, 302, 303, 307, 308])


class Fetched(NamedTuple):
    """What was fetched: bytes, hex SHA-256, and whether it is proved to be complete."""

    size: int
    sha256: str
    is_complete: bool


def check_url(url: str) -> None:
    """Raise `UsageError` for a URL that cannot be fetched at all."""
    if not _is_fetchable(url):
        hint = _ENCODE_HINT if "@" in url else ""
        raise UsageError(f"--url {redacted(url)}: not an http(s) URL", hint)


def _is_fetchable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and not re.search(r"[\s\\^`{|}<>\"]", parts.hostname or "")
        return parts.scheme in ("http", "https") and named and parts.port != 0
    except ValueError:
        return False


class Fetch:
    """The fetch of one URL into `sink`, resumed where the origin allows it.

    `on_size` is called with the whole size once it is known, and may raise. `sha256` is the
    expected digest, if any.
    """

    def __init__(
        self,
        url: str,
        sink: Sink,
        transport: Transport,
        clocks: Clocks,
        limits: Limits,
        *,
        sha256: str = "",
        on_progress: OnProgress,
        on_size: Callable[[int], None],
    ) -> None:
        self._asked = self._url = url
        self._sink = sink
        self._transport = transport
        self._clocks = clocks
        self._limits = limits
        self._sha256 = sha256
        self._on_progress = on_progress
        self._on_size = on_size
        self._digest = hashlib.sha256(usedforsecurity=False)
        self._position = self._furthest = 0
        self._validator = ""
        self._resumes = True
        self._size: int | None = None
        self._is_complete = bool(sha256)

    def run(self) -> Fetched:
        """Fetch the URL.

        Raises `SourceError`, `IntegrityError` for another digest, and what `sink` raises.
        """
        limits = self._limits
        attempts = Attempts(limits, self._clocks.random, self._clocks.monotonic)
        while True:
            try:
                with self._open(attempts) as answer:
                    if answer.status in (200, 206) or (answer.status == 416 and self._resuming):
                        self._receive(answer, attempts)
                        return self._finish()
                    reason, hint = status_text(answer.status), _HINTS.get(answer.status, "")
                    asked = retry_after(answer.headers, self._clocks.clock)
                    lasting = answer.status not in RETRY_STATUSES
                    hint = hint if lasting else _LATER
                    wait = None
                    if not lasting:
                        wait = attempts.delay(limits.silent, retry_after=asked)
                        if wait is None and asked:
                            reason += f"; {describe_wait(asked)}"
            except TransportError as error:
                hint = _FAILURE_HINTS.get(error.kind) or common_hint(error.kind)
                wait = error.delay(attempts, limits, limits.silent)
                reason = describe_failure(error, attempts)
            if wait is None:
                raise self._failure(reason, hint)
            self._clocks.pause(wait)

    def _finish(self) -> Fetched:
        self._sink.end(self._position)
        found = self._digest.hexdigest()
        if self._sha256 and found != self._sha256:
            raise IntegrityError(
                f"{redacted(self._asked)} has digest {found}, expected {self._sha256}",
                "the file was replaced at its origin, or --sha256 is of another one",
            )
        return Fetched(self._position, found, self._is_complete)

    def _failure(self, reason: str, hint: str = "") -> SourceError:
        redirected = f" (redirected to {redacted(self._url)})" if self._url != self._asked else ""
        text = f"fetching {redacted(self._asked)}{redirected}: {reason}"
        return SourceError(text, hint or _CHECK_URL)

    def _open(self, attempts: Attempts) -> Answer:
        """Return the answer at the end of the redirects."""
        self._url = self._asked
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._send(self._url, attempts)
            location = answer.headers.get("location", "")
            if answer.status not in _REDIRECTS or not location:
                return answer
            answer.close()
            self._follow(location)
        raise self._failure("too many redirects")

    def _follow(self, location: str) -> None:
        """Set the URL to where a redirect leads."""
        # http.client reads headers as Latin-1; what is not ASCII is sent as the bytes it came as.
        location = "".join(c if c.isascii() else f"%{ord(c):02X}" for c in location)
        try:
            target = urljoin(self._url, location)
        except ValueError:
            target = ""
        if not _is_fetchable(target):
            raise self._failure("it redirects to something that is not an http(s) URL")
        here, there = urlsplit(self._url), urlsplit(target)
        if here.scheme == "https" and there.scheme == "http" and not self._sha256:
            raise self._failure(
                "it redirects from https to http", "with --sha256 that would be followed"
            )
        # The same host asks for its own credentials again; no other host may see them.
        if there.username is None and Host.of(here) == Host.of(there):
            userinfo = here.netloc.rpartition("@")[:2]
            there = there._replace(netloc="".join((*userinfo, there.netloc)))
        self._url = urlunsplit(there)

    def _send(self, url: str, attempts: Attempts) -> Answer:
        parts = urlsplit(url)
        host = Host.of(parts)
        headers = {"accept": "*/*"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        if self._resuming:
            headers["range"] = f"bytes={self._position}-"
            headers["if-range"] = self._validator
        # Characters that are not legal in a request line are encoded; an encoding stays as it is.
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~?[]')}" if parts.query else ""
        return self._transport.send(
            host,
            "GET",
            path + query,
            headers,
            connect=min(self._limits.connect, attempts.left(self._limits.unreachable)),
            answer_timeout=min(self._limits.stall, attempts.left(self._limits.silent)),
            subject=redacted(url),
            tries=attempts.failed + 1,
        )

    @property
    def _resuming(self) -> bool:
        """Whether to ask only for the rest of the file."""
        return bool(self._resumes and self._position and self._validator)

    def _receive(self, answer: Answer, attempts: Attempts) -> None:
        """Append the body of the answer, or start over if it begins at the first byte."""
        if answer.status == 200:
            self._start_over(answer)
        elif self._resuming:
            self._check_resumed(answer)
        else:
            raise self._failure(f"{status_text(answer.status)}, and the whole file was asked for")
        buffer = memoryview(bytearray(BUFFER_SIZE))
        while count := answer.readinto(buffer):
            # Only what is new counts: an origin may cut every answer at the same place.
            attempts.progress(self._position + count - self._furthest)
            self._write(buffer[:count])
            self._furthest = max(self._furthest, self._position)
            attempts.resume()
        if self._size is not None and self._position != self._size:
            raise TransportError(FailureKind.BROKEN, "the answer ended early")

    def _start_over(self, answer: Answer) -> None:
        self._on_progress(-self._position)
        self._position = 0
        self._digest = hashlib.sha256(usedforsecurity=False)
        self._sink.begin()
        etag = answer.headers.get("etag", "")
        # Only a strong validator proves that two pieces are of one file (RFC 9110, 13.1.5).
        self._validator = "" if etag in ("", '""') or etag.startswith("W/") else etag
        if answer.headers.get("accept-ranges", "").lower() == "none":
            self._validator = ""
        length = answer.headers.get("content-length", "")
        self._size = int(length) if length.isascii() and length.isdigit() else None
        chunked = "chunked" in answer.headers.get("transfer-encoding", "").lower()
        self._is_complete = bool(self._sha256) or chunked or self._size is not None
        if self._size is not None:
            self._on_size(self._size)

    def _check_resumed(self, answer: Answer) -> None:
        """Raise `TransportError` unless the answer is the rest of the file that has begun.

        The ETag is compared, since a CDN may ignore `If-Range`; a 206 has it if the 200 had
        (RFC 9110, section 15.3.7). What fails once is not asked for again.
        """
        given = re.match(
            r"bytes ([0-9]{1,19})-[0-9]{1,19}/([0-9]{1,19}|\*)$",
            answer.headers.get("content-range", ""),
        )
        size = self._size
        if given and given[2] != "*":
            size = int(given[2])
        is_rest = (
            answer.status == 206
            and given is not None
            and int(given[1]) == self._position
            and size is not None
            and size == (self._size or size)
            and answer.headers.get("etag", "") == self._validator
        )
        if not is_rest:
            self._resumes = False
            raise TransportError(FailureKind.BROKEN, "the answer is not the rest of the same file")
        self._size = size

    def _write(self, piece: memoryview) -> None:
        self._sink.write(piece, self._position)
        self._digest.update(piece)
        self._position += len(piece)
        self._on_progress(len(piece))
