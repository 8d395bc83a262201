"""Why there is no answer: what urllib3, OpenSSL and the system raise, as one `TransportError`."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from http.client import (
    BadStatusLine,
    HTTPException,
    IncompleteRead,
    RemoteDisconnected,
    UnknownProtocol,
)

from cacher.http import urllib3_startup  # noqa: F401 - has what follows load faster

# isort: split

from urllib3.exceptions import (  # noqa: TID251 - only the names of its exceptions
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
)

from cacher.http.minimum_speed import TooSlow
from cacher.http.proxies import PROXY_HINT, login_hint
from cacher.http.response_parser import MalformedHead
from cacher.http.retry import RETRY_STATUSES, Attempts
from cacher.http.tls import (
    EXPIRED,
    NOT_YET_VALID,
    WRONG_ADDRESS,
    WRONG_NAME,
    certificate_hint,
    describe_certificate_flaw,
    is_not_tls,
    is_outdated,
    tls_complaint,
)
from cacher.time_limits import Limits

_CLOSED = "the connection was closed before the end of the answer"

_TLS_ALERT = "\x15\x03"
"""The start of the alert by which TLS refuses plain HTTP (RFC 8446, section 5.1)."""


class FailureKind(Enum):
    """Why there is no answer."""

    NAME = "name"
    CONNECT = "connect"
    REFUSED = "refused"
    TLS = "tls"
    EXPIRED = "expired"
    NOT_YET_VALID = "early"
    WRONG_HOST = "mismatch"
    PLAIN_HTTP = "plain"
    PROXY = "proxy"
    PROXY_TUNNEL = "tunnel"
    PROXY_LOGIN = "login"
    TIMEOUT = "silence"
    SLOW = "slow"
    BROKEN = "broken"
    MALFORMED = "malformed"
    UNEXPECTED_TLS = "encrypted"
    OUTDATED_TLS = "outdated"


_CERTIFICATE_FAILURES = {
    NOT_YET_VALID: FailureKind.NOT_YET_VALID,
    EXPIRED: FailureKind.EXPIRED,
    WRONG_NAME: FailureKind.WRONG_HOST,
    WRONG_ADDRESS: FailureKind.WRONG_HOST,
}

_FINAL = (
    *_CERTIFICATE_FAILURES.values(),
    FailureKind.TLS,
    FailureKind.PLAIN_HTTP,
    FailureKind.OUTDATED_TLS,
    FailureKind.MALFORMED,
    FailureKind.UNEXPECTED_TLS,
    FailureKind.PROXY_TUNNEL,
    FailureKind.PROXY_LOGIN,
)


_COMMON_HINTS = {
    FailureKind.PROXY: PROXY_HINT,
    FailureKind.PROXY_TUNNEL: PROXY_HINT,
    FailureKind.PROXY_LOGIN: login_hint("https"),  # only a tunnel is refused so
}


class TransportError(Exception):
    """There is no answer, or only a part of it. `detail` is one line without secrets."""

    def __init__(self, kind: FailureKind, detail: str, *, was_idle: bool = False) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.was_idle = was_idle
        """Whether the connection had answered before: the server closed it while it was idle."""
        self.silent_seconds = 0.0
        """Seconds without a byte before the failure, if the answer had begun."""

    def delay(self, attempts: Attempts, limits: Limits, silent: float) -> float | None:
        """Return the seconds to wait before the next try, None to give up."""
        if self.is_final:
            return None
        return attempts.delay(
            self.time_limit(limits, silent),
            was_idle=self.was_idle,
            silent_seconds=self.silent_seconds,
        )

    def time_limit(self, limits: Limits, silent: float) -> float:
        """Return the seconds that all tries may take; `silent` is the limit for silence.

        A refused connection shows that a machine is there, whose store may be starting. An answer
        that was too slow has used its time.
        """
        if self.kind is FailureKind.SLOW:
            return 0.0
        if self.kind in (FailureKind.REFUSED, FailureKind.NAME, FailureKind.PROXY):
            return limits.refused
        return limits.unreachable if self.kind is FailureKind.CONNECT else silent

    @property
    def is_final(self) -> bool:
        """Whether another try cannot help: a certificate stays as it is."""
        return self.kind in _FINAL


def common_hint(kind: FailureKind) -> str:
    """Return the next step for a failure of a proxy or of TLS, whatever the server is for."""
    return _COMMON_HINTS.get(kind) or certificate_hint()


class TunnelRefused(OSError):
    """A proxy did not answer CONNECT with a tunnel.

    `status` is 0 if the answer is not HTTP, and 200 for a page instead of a tunnel.
    """

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


def translate_exception(error: Exception, *, reused: bool = False) -> TransportError:
    """Return the error to raise for an exception of urllib3, http.client or the system.

    `reused`: the connection had been kept alive.
    """
    reason, cause = _reason(error), _cause(error)
    if isinstance(cause, TunnelRefused):
        return _tunnel_failure(cause.status)
    if isinstance(error, ProxyError):
        return TransportError(FailureKind.PROXY, f"the proxy failed: {reason}")
    if unconnected := _connect_failure(error, reason):
        return unconnected
    if flaw := describe_certificate_flaw(cause):
        number = getattr(cause, "verify_code", 0)
        return TransportError(_CERTIFICATE_FAILURES.get(number, FailureKind.TLS), flaw)
    if is_not_tls(cause):
        return TransportError(FailureKind.PLAIN_HTTP, "it does not speak TLS")
    if is_outdated(cause):
        return TransportError(FailureKind.OUTDATED_TLS, "it speaks no TLS that is still safe")
    if isinstance(error, ReadTimeoutError) or isinstance(cause, TimeoutError):
        return _timeout_failure(cause)
    if not reused and isinstance(cause, MalformedHead | BadStatusLine | UnknownProtocol):
        return _malformed_failure(cause)
    return TransportError(FailureKind.BROKEN, reason, was_idle=reused)


def _connect_failure(error: Exception, reason: str) -> TransportError | None:
    """Return the failure to connect, if `error` is one."""
    cause = _cause(error)
    if isinstance(error, NameResolutionError):
        return TransportError(FailureKind.NAME, reason)
    if isinstance(cause, LocationParseError):
        return TransportError(FailureKind.NAME, "not a host name")
    if isinstance(error, NewConnectionError):
        refused = isinstance(cause, ConnectionRefusedError)
        return TransportError(FailureKind.REFUSED if refused else FailureKind.CONNECT, reason)
    if isinstance(error, ConnectTimeoutError):
        return TransportError(FailureKind.CONNECT, "no connection")
    return None


def _tunnel_failure(status: int) -> TransportError:
    answer = status_text(status) if status else "something that is not HTTP"
    page = " and a page" if status == HTTPStatus.OK else ""
    kind = FailureKind.PROXY_TUNNEL
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        kind = FailureKind.PROXY_LOGIN
    elif status in RETRY_STATUSES:
        kind = FailureKind.PROXY
    return TransportError(kind, f"the proxy answered CONNECT with {answer}{page}")


def status_text(status: int) -> str:
    """Return the status for a message: "HTTP 404 Not Found"."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _timeout_failure(cause: BaseException) -> TransportError:
    if isinstance(cause, TooSlow):
        return TransportError(FailureKind.SLOW, str(cause))
    return TransportError(FailureKind.TIMEOUT, "no answer")


def _malformed_failure(cause: HTTPException) -> TransportError:
    """Return the failure for an answer that is not HTTP.

    On a kept connection it may be the rest of the last answer: see the caller."""
    if isinstance(cause, MalformedHead):
        return TransportError(FailureKind.MALFORMED, f"the answer is not proper HTTP: {cause}")
    if isinstance(cause, RemoteDisconnected):
        return TransportError(FailureKind.BROKEN, _CLOSED)
    if isinstance(cause, BadStatusLine) and getattr(cause, "line", "").startswith(_TLS_ALERT):
        return TransportError(FailureKind.UNEXPECTED_TLS, "it speaks TLS")
    return TransportError(FailureKind.MALFORMED, "the answer is not HTTP")


def innermost_cause(error: Exception) -> BaseException | None:
    """Return the innermost exception, for tracebacks: urllib3's own may show a secret host."""
    cause = _cause(error)
    return None if isinstance(cause, HTTPError) else cause


def describe_failure(error: TransportError, attempts: Attempts) -> str:
    """Return the failure, its duration and the tries: "no answer for 30 s (2 tries)"."""
    seconds = f"{attempts.spent:.{0 if attempts.spent >= 10 else 1}f} s"
    lasted = error.kind in (FailureKind.TIMEOUT, FailureKind.CONNECT)
    text = f"{error.detail} for {seconds}" if lasted else error.detail
    if attempts.failed < 2:
        return text
    return f"{text} ({attempts.failed} tries{'' if lasted else f' in {seconds}'})"


def _cause(error: BaseException) -> BaseException:
    """Return the innermost exception."""
    while True:
        inner = error.__cause__ or next(
            (arg for arg in error.args if isinstance(arg, BaseException)), None
        )
        if inner is None or inner is error:
            return error
        error = inner


def _reason(error: Exception) -> str:
    """Return the innermost reason in one line, in the words of the system or of OpenSSL."""
    cause = _cause(error)
    if complaint := describe_certificate_flaw(cause) or tls_complaint(cause):
        return complaint
    if isinstance(cause, RemoteDisconnected | IncompleteRead):
        return _CLOSED
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    text = " ".join(str(cause).split()) or type(cause).__name__
    return text[:200]
