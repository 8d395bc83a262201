"""Signed requests to one bucket: sent, corrected if the store says how, and retried.

Knows signing, the retry policy and the meaning of refusals; `client.py` knows the operations.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from cacher.errors import CacherError, StoreError, Unanswered
from cacher.http.exceptions import TransportError
from cacher.http.retry import RETRY_STATUSES, Attempts, describe_wait, retry_after
from cacher.http.transport import Answer, Host, Transport
from cacher.s3 import error_mapping, store_quirks
from cacher.s3.error_mapping import (
    NotAStore,
    Refusal,
    is_not_a_store,
    not_a_store,
)
from cacher.s3.object_head import store_date
from cacher.s3.request_body import SignedBody
from cacher.s3.signing import EMPTY_SHA256, Keys, encode_path, encode_query, sign
from cacher.s3.xml import MalformedDocument, read_error, read_list_page
from cacher.time_limits import LIMITS, Clocks, Limits

DOCUMENT_LIMIT = 16 * 1024 * 1024
"""Bytes: no document (1000 listed keys) comes near this."""

ERROR_LIMIT = 256 * 1024
"""Bytes read of a refusal: error documents are smaller, and pages are cut."""

OK_STATUSES = frozenset([200])
"""The status of success of all operations but GetObject and those that delete."""

Value = TypeVar("Value")


class Endpoint(NamedTuple):
    """The address of a store and the bucket in it."""

    host: Host
    bucket: str
    region: str = ""
    path: str = ""
    """For a store that a reverse proxy serves below `/path`."""


class Reply(NamedTuple, Generic[Value]):
    """An answer: a success with its parsed body, or an accepted refusal."""

    status: int
    headers: Mapping[str, str]
    value: Value | None = None
    refusal: Refusal | None = None

    @property
    def code(self) -> str:
        """The refusal's code, or an empty string."""
        return self.refusal.error.code if self.refusal else ""


class Proof(Enum):
    """What a success must have: any web server may answer 200."""

    HEADER = "the ETag of an object, or the id of the request"
    BODY = "a body that the parser accepts: the document that was asked for, or nothing"


class Request(NamedTuple):
    """One S3 request; `doing` describes it, as the beginning of an error message."""

    method: str
    doing: str
    key: str = ""
    query: Mapping[str, str] = MappingProxyType({})
    headers: Mapping[str, str] = MappingProxyType({})
    body: SignedBody | None = None
    success: Container[int] = OK_STATUSES
    proof: Proof = Proof.BODY
    accept: Container[int] = ()
    """Statuses of refusals that the caller handles; a 404 only with a store's error document."""
    answer_within: float | None = None
    """Seconds for the answer, and for all tries together; None for the limits' own."""
    tries: int = 0
    """How often it is sent at most; 0 for the limits' own number."""


class Session:
    """Sends requests to one bucket. Thread-safe.

    `note` gets details for people who debug.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        keys: Keys,
        transport: Transport,
        clocks: Clocks,
        limits: Limits = LIMITS,
        note: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.endpoint = endpoint
        self.transport = transport
        self.region = (
            endpoint.region
            or store_quirks.region_of_host(endpoint.host.name)
            or store_quirks.DEFAULT_REGION
        )
        self.clock_offset = 0.0
        self.limits = limits
        self.clocks = clocks
        self._note = note
        self._keys = keys
        self._is_store = False
        """Whether the server is proved to be a store, by more than the answer to a look-up."""

    def call(
        self,
        request: Request,
        parse: Callable[[bytes], Value],
        pause: Callable[[float], None] | None = None,
    ) -> Reply[Value]:
        """Send, read the whole answer and parse it; what cannot be parsed is a failure."""

        attempts = self.attempts(request.tries)

        def receive(answer: Answer) -> Reply[Value]:
            body = answer.read_all(DOCUMENT_LIMIT)
            try:
                return Reply(answer.status, answer.headers, parse(body))
            except MalformedDocument as malformed:
                if malformed.is_not_s3:
                    raise self._not_a_store(request, answer, body, attempts) from malformed
                raise

        return self._send(request, receive, pause, attempts)

    def open(
        self,
        request: Request,
        pause: Callable[[float], None] | None = None,
        attempts: Attempts | None = None,
    ) -> Reply[Answer]:
        """Send, and leave the body of a success to the caller, who closes the answer.

        A caller that resumes an answer passes its `attempts` so far.
        """

        return self._send(
            request,
            lambda answer: Reply(answer.status, answer.headers, answer),
            pause,
            attempts or self.attempts(request.tries),
        )

    def attempts(self, tries: int = 0) -> Attempts:
        """Return a new counter of failures, with at most `tries` unless that is 0."""
        return Attempts(self.limits, self.clocks.random, self.clocks.monotonic, tries=tries)

    def refusal_error(
        self, refusal: Refusal, doing: str, body: SignedBody | None = None
    ) -> CacherError:
        """Return the error for a refusal of a request, which had a `body`."""
        bucket, host, sent = self.endpoint.bucket, str(self.endpoint.host), body.size if body else 0
        return error_mapping.refusal_error(refusal, doing, bucket, host, sent=sent)

    def unanswered_error(
        self, failure: TransportError, doing: str, attempts: Attempts
    ) -> Unanswered:
        """Return the error for a request without an answer."""
        host = str(self.endpoint.host)
        error = error_mapping.unanswered_error(failure, doing, host, attempts)
        error.__cause__ = failure
        return error

    def undo_time_left(self) -> Callable[[], float]:
        """Return a function for the seconds left to undo, counted from the signal or from now."""
        ended_at, monotonic = self.clocks.ended_at(), self.clocks.monotonic
        until = (monotonic() if ended_at is None else ended_at) + self.limits.undo
        return lambda: max(until - monotonic(), 0.0)

    def _send(
        self,
        request: Request,
        receive: Callable[[Answer], Reply[Value]],
        pause: Callable[[float], None] | None,
        attempts: Attempts,
    ) -> Reply[Value]:
        corrected: set[str] = set()
        while True:
            try:
                outcome = self._try(request, receive, attempts)
            except TransportError as failure:
                wait, error = self._after_no_answer(failure, request, attempts)
            else:
                if isinstance(outcome, Reply):
                    return outcome
                correction = self._correction(outcome, request)
                if correction and correction not in corrected:
                    corrected.add(correction)
                    continue
                again = store_quirks.is_retryable(outcome.status, outcome.error.code)
                if outcome.status in request.accept and not again:
                    return Reply(outcome.status, outcome.headers, refusal=outcome)
                wait, error = self._after_refusal(outcome, request, attempts if again else None)
            if wait is None:
                raise error
            if wait:
                (pause or self.clocks.pause)(wait)

    def _after_no_answer(
        self, failure: TransportError, request: Request, attempts: Attempts
    ) -> tuple[float | None, CacherError]:
        """Return the seconds until the next try, None to give up, and the error then."""
        silent = self._silence_limit(request)
        if request.body and not request.body.is_sent:
            silent = min(silent, self.limits.silent)  # the store does not even take it
        wait = failure.delay(attempts, self.limits, silent)
        return wait, self.unanswered_error(failure, request.doing, attempts)

    def _after_refusal(
        self, refusal: Refusal, request: Request, attempts: Attempts | None
    ) -> tuple[float | None, CacherError]:
        """Return the same for a refusal, which is final without `attempts`."""
        error = self.refusal_error(refusal, request.doing, request.body)
        if attempts is None:
            return None, error
        asked = retry_after(refusal.headers, self.clocks.clock)
        wait = attempts.delay(self._silence_limit(request), retry_after=asked)
        if wait is None and asked:
            return None, StoreError(f"{error.message}; {describe_wait(asked)}", error.hint)
        return wait, error

    def _silence_limit(self, request: Request) -> float:
        return request.answer_within or self.limits.silent

    def _try(
        self,
        request: Request,
        receive: Callable[[Answer], Reply[Value]],
        attempts: Attempts,
    ) -> Reply[Value] | Refusal:
        """Send once and return the result. Raises `NotAStore`, which is final."""
        answer = self._send_once(request, attempts)
        if answer.status >= 300:
            refusal = self._read_refusal(request, answer, attempts)
            if refusal.status == 404 and request.method != "HEAD" and is_not_a_store(refusal):
                raise self.refusal_error(refusal, request.doing)
            return refusal
        marks = (answer.headers.get(name, "").strip('"') for name in store_quirks.PROOF_HEADERS)
        if answer.status not in request.success or (
            request.proof is Proof.HEADER and not any(marks)
        ):
            raise self._not_a_store(request, answer, _read_beginning(answer), attempts)
        if request.method in ("GET", "HEAD") and request.proof is Proof.HEADER:
            self._require_store(request, answer, attempts)
        try:
            return receive(answer)
        except MalformedDocument as malformed:
            # A success with an error as its body, or cut off: AWS and Swift send that.
            came = answer.status
            status = came if malformed.is_final else store_quirks.status_of_code(malformed.error)
            return Refusal(
                status, malformed.error, answer.headers, broken=str(malformed), came_as=came
            )

    def _require_store(self, request: Request, answer: Answer, attempts: Attempts) -> None:
        """Check once that the server is a store, if an object may be a web page: by a listing."""
        if self._is_store or not store_quirks.may_be_a_page(answer.headers):
            return
        query = {"list-type": "2", "max-keys": "1"}
        try:
            listed = self._send_once(Request("GET", request.doing, query=query), attempts)
            body = _read_beginning(listed)
        except BaseException:
            answer.close()
            raise
        self._is_store = _is_listing(body) or bool(read_error(body).code)
        if not self._is_store:
            raise self._not_a_store(request, answer, _read_beginning(answer), attempts)

    def _not_a_store(
        self, request: Request, answer: Answer, body: bytes, attempts: Attempts
    ) -> NotAStore:
        """Return the error for an answer of no S3 store; for a HEAD, GET its page first."""
        seen: bytes | None = body
        if request.method == "HEAD":
            again = self._send_once(Request("GET", request.doing, request.key), attempts)
            page = _read_beginning(again)
            seen = page if again.status == answer.status else None
        host = str(self.endpoint.host)
        return not_a_store(request.doing, host, answer.status, answer.headers, seen)

    def _send_once(self, request: Request, attempts: Attempts) -> Answer:
        """Sign with the current time and send once."""
        if request.body:
            request.body.on_first_sent = attempts.progress
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
            now=self.clocks.clock() + self.clock_offset,
        )
        if request.method in ("PUT", "POST") and request.body is None:
            signed["content-length"] = "0"
        return self.transport.send(
            endpoint.host,
            request.method,
            f"{target}?{query}" if query else target,
            signed,
            request.body,
            connect=min(self.limits.connect, attempts.left(self.limits.unreachable)),
            answer_timeout=min(
                request.answer_within or self.limits.stall,
                attempts.left(self._silence_limit(request)),
            ),
            subject=_describe_request(request, endpoint.bucket),
            tries=attempts.failed + 1,
        )

    def _read_refusal(self, request: Request, answer: Answer, attempts: Attempts) -> Refusal:
        """Why the request was refused. A HEAD's refusal has no body, so it is asked again."""
        if request.method == "HEAD" and answer.status in _ASKED_AGAIN:
            answer.read_all(0)
            query = {} if request.key else {"location": ""}
            ranged = {"range": "bytes=0-0"} if request.key else {}
            asked = Request("GET", request.doing, request.key, query, ranged)
            again = self._send_once(asked, attempts)
            if again.status >= 300:
                reported = self._read_refusal(asked, again, attempts)
                if reported.status == answer.status or reported.error.code:
                    return reported
            again.close()
            return Refusal(answer.status, headers=answer.headers)
        body = _read_beginning(answer)
        error = read_error(body)
        seen = None if error.code or request.method == "HEAD" else body
        return Refusal(answer.status, error, answer.headers, seen)

    def _correction(self, refusal: Refusal, request: Request) -> str:
        """Correct what the refusal names as wrong; return its name, or an empty string."""
        region = store_quirks.region_in_refusal(refusal.status, refusal.headers, refusal.error)
        if region and region != self.region:
            self._note(f"region {region} (from the store, instead of {self.region})")
            self.region = region
            return "region"
        if store_quirks.is_clock_refusal(refusal.error) and "date" in refusal.headers:
            server = store_date(refusal.headers["date"])
            if server is None:
                return ""
            self.clock_offset = server - self.clocks.clock()
            return "clock"
        if refusal.error.code in store_quirks.CORRUPTED_CODES and request.body:
            request.body.refresh()
            return "body"
        return ""


_ASKED_AGAIN = frozenset([301, 307, *range(400, 404), *range(406, 500)]) - RETRY_STATUSES
"""Statuses of a HEAD whose reason only a body can give. One of 404 is a miss, or looked into by who
must be certain."""


def _read_beginning(answer: Answer) -> bytes:
    """Read at most `ERROR_LIMIT` bytes of a body; close the connection if there is more."""
    body = b""
    while len(body) <= ERROR_LIMIT and (piece := answer.read(64 * 1024)):
        body += piece
    if len(body) > ERROR_LIMIT:
        answer.close()
    return body[:ERROR_LIMIT]


def _is_listing(body: bytes) -> bool:
    try:
        read_list_page(body)
    except MalformedDocument as malformed:
        return not malformed.is_not_s3
    return True


def ignore_body(_body: bytes) -> None:
    """Parse an answer whose body does not matter."""


def _describe_request(request: Request, bucket: str) -> str:
    """Describe a request by its key or bucket, and the names and numbers in its query."""
    query = "&".join(
        f"{name}={value}" if value.isdigit() else name for name, value in request.query.items()
    )
    what = request.key or f"the bucket {bucket}"
    return f"{what} ({query})" if query else what
