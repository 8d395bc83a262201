"""Signed requests to one bucket: sent, corrected where the store says how, and tried again.

Knows signing, the retry policy and what refusals mean; what the requests are for is `client.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from cacher.errors import CacherError
from cacher.s3 import quirks
from cacher.s3.body import SignedBody
from cacher.s3.documents import MalformedDocument, read_error
from cacher.s3.faults import Fault, explained, unanswered
from cacher.s3.retry import (
    CORRUPTED_CODES,
    PATIENT,
    Attempts,
    Patience,
    retry_after,
    worth_retrying,
)
from cacher.s3.sigv4 import EMPTY_SHA256, Keys, encode_path, encode_query, sign
from cacher.s3.transport import Answer, Host, Transport
from cacher.s3.troubles import TransportError

DOCUMENT_LIMIT = 16 * 1024 * 1024
"""Bytes: no answer that is a document (1000 listed keys) comes near this."""

ERROR_LIMIT = 256 * 1024

WRITE_PATIENCE = 120.0
"""Seconds a store may take to answer once a part is sent; it may be writing to slow disks."""

COMMIT_PATIENCE = 330.0
"""Seconds for what a store does in one go over many blocks. Garage's own limit is 300."""

Value = TypeVar("Value")


class Endpoint(NamedTuple):
    """Where the store is, how it is spoken to, and which bucket is meant."""

    host: Host
    bucket: str
    region: str = ""
    path: str = ""
    """Of a store behind a reverse proxy that serves it below `/path`."""


class Reply(NamedTuple, Generic[Value]):
    """An answer: of success with its parsed body, or an accepted refusal with its fault."""

    status: int
    headers: Mapping[str, str]
    value: Value | None = None
    fault: Fault | None = None

    @property
    def code(self) -> str:
        """The refusal's code, or an empty string."""
        return self.fault.error.code if self.fault else ""


class Request(NamedTuple):
    """One S3 request; `doing` says what it is for, as the beginning of an error's message."""

    method: str
    doing: str
    key: str = ""
    query: Mapping[str, str] = MappingProxyType({})
    headers: Mapping[str, str] = MappingProxyType({})
    body: SignedBody | None = None
    accept: Container[int] = ()
    """Statuses of refusal that the caller copes with."""
    answer_within: float | None = None
    policy: Patience | None = None
    """How often it is tried; the session's own number without it."""


class Session:
    """Sends requests to one bucket. For use by several threads.

    `clock` gives POSIX seconds, `pause` sleeps, `random` gives floats in [0, 1).
    """

    def __init__(
        self,
        endpoint: Endpoint,
        keys: Keys,
        transport: Transport,
        *,
        clock: Callable[[], float],
        pause: Callable[[float], None],
        random: Callable[[], float],
    ) -> None:
        self.endpoint = endpoint
        self.transport = transport
        self.region = (
            endpoint.region or quirks.region_of_host(endpoint.host.name) or quirks.DEFAULT_REGION
        )
        self.clock_offset = 0.0
        self.policy = PATIENT
        self.clock = clock
        self.pause = pause
        self.random = random
        self._keys = keys

    def call(
        self,
        request: Request,
        parse: Callable[[bytes], Value],
        pause: Callable[[float], None] | None = None,
    ) -> Reply[Value]:
        """Send, read the whole answer and parse it; one that cannot be parsed is a failure."""

        def receive(answer: Answer) -> Reply[Value]:
            body = answer.read_all(DOCUMENT_LIMIT)
            return Reply(answer.status, answer.headers, parse(body))

        return self._send(request, receive, pause)

    def open(self, request: Request, pause: Callable[[float], None] | None = None) -> Reply[Answer]:
        """Send, and leave the body of a success to the caller, who closes the answer."""
        return self._send(request, lambda a: Reply(a.status, a.headers, a), pause)

    def interrupted(self) -> None:
        """Make the requests of other threads fail at once."""
        self.transport.interrupt()

    def _send(
        self,
        request: Request,
        receive: Callable[[Answer], Reply[Value]],
        pause: Callable[[float], None] | None,
    ) -> Reply[Value]:
        attempts = Attempts(request.policy or self.policy, self.random)
        corrected: set[str] = set()
        while True:
            error: CacherError
            try:
                outcome = self._try(request, receive)
            except TransportError as failure:
                error = unanswered(failure, request.doing, str(self.endpoint.host))
                error.__cause__ = failure
                dead, dropped = failure.dead, failure.dropped
                wait = None if failure.hopeless else attempts.delay(dead=dead, dropped=dropped)
            else:
                if isinstance(outcome, Reply):
                    return outcome
                correction = self._correction(outcome, request)
                if correction and correction not in corrected:
                    corrected.add(correction)
                    continue
                error = explained(outcome, request.doing, self.endpoint.bucket)
                if not worth_retrying(outcome.status, outcome.error.code):
                    if outcome.status in request.accept:
                        return Reply(outcome.status, outcome.headers, fault=outcome)
                    raise error
                wait = attempts.delay(retry_after=retry_after(outcome.headers.get("retry-after")))
            if wait is None:
                raise error
            if wait:
                (pause or self.pause)(wait)

    def _try(
        self, request: Request, receive: Callable[[Answer], Reply[Value]]
    ) -> Reply[Value] | Fault:
        answer = self._transmit(request)
        if answer.status >= 300:
            return self._fault(request, answer)
        try:
            return receive(answer)
        except MalformedDocument as malformed:
            # A success with an error for a body, or cut off: AWS and Swift do so.
            status = quirks.status_meant(malformed.error)
            return Fault(status, malformed.error, answer.headers, str(malformed))

    def _transmit(self, request: Request) -> Answer:
        """Sign for now and send once."""
        endpoint = self.endpoint
        path = f"{endpoint.path}/{endpoint.bucket}"
        target = encode_path(f"{path}/{request.key}" if request.key else path)
        query = encode_query(request.query)
        headers = {**request.headers, "host": endpoint.host.header}
        signed = sign(
            request.method,
            target,
            query,
            headers,
            payload_sha256=request.body.sha256 if request.body else EMPTY_SHA256,
            keys=self._keys,
            region=self.region,
            now=self.clock() + self.clock_offset,
        )
        if request.method in ("PUT", "POST") and request.body is None:
            signed["content-length"] = "0"
        return self.transport.send(
            endpoint.host,
            request.method,
            f"{target}?{query}" if query else target,
            signed,
            request.body,
            patience=request.answer_within,
        )

    def _fault(self, request: Request, answer: Answer) -> Fault:
        """Why the request was refused. A HEAD's refusal has no body, so it is asked again."""
        if request.method == "HEAD" and answer.status in (301, 307, 400, 401, 403):
            answer.read_all(0)
            query = {} if request.key else {"location": ""}
            ranged = {"range": "bytes=0-0"} if request.key else {}
            asked = Request("GET", request.doing, request.key, query, ranged)
            again = self._transmit(asked)
            if again.status >= 300:
                told = self._fault(asked, again)
                if told.status == answer.status or told.error.code:
                    return told
            again.close()
            return Fault(answer.status, headers=answer.headers)
        body = answer.read_all(ERROR_LIMIT)
        error = read_error(body)
        excerpt = "" if error.code else " ".join(body[:200].decode(errors="replace").split())
        return Fault(answer.status, error, answer.headers, excerpt)

    def _correction(self, fault: Fault, request: Request) -> str:
        """Put right what the refusal says is wrong; the name of what was, or an empty string."""
        region = quirks.region_told(fault.status, fault.headers, fault.error)
        if region and region != self.region:
            self.region = region
            return "region"
        if quirks.clock_is_off(fault.error) and "date" in fault.headers:
            try:
                server = parsedate_to_datetime(fault.headers["date"]).timestamp()
            except ValueError:
                return ""
            self.clock_offset = server - self.clock()
            return "clock"
        if fault.error.code in CORRUPTED_CODES and request.body:
            request.body.refresh()
            return "body"
        return ""


def no_document(_body: bytes) -> None:
    """The parser of answers whose body does not matter."""
