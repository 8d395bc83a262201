"""What is asked and answered, for whoever wants to see it: one `Exchange` for each request.

Knows how to leave secrets out; must not know where it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from cacher import urls
from cacher.s3.transport import Answer
from cacher.s3.troubles import TransportError

HIDDEN = "…"

_SECRET = re.compile(
    r"auth|cookie|credential|key$|key-|passw|secret|session|signature|token", re.IGNORECASE
)
"""What the names of headers have whose values are secrets, or may be: `authorization`,
`proxy-authorization`, `x-amz-security-token`, `set-cookie`, `x-api-key`."""

_LOGIN = re.compile(r"\b(?:basic|bearer|digest|negotiate|aws4-hmac-\w+)\s+\S.*", re.IGNORECASE)
"""A login in the value of any header."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s<>\"]+", re.IGNORECASE)

_QUERY = re.compile(r"[?#]\S*")


class Exchange(NamedTuple):
    """A request and its answer, or why there is none. Headers as they are, secrets included."""

    method: str
    what: str
    """The key, or the URL without secrets."""
    tries: int
    """Which try it is, from 1."""
    seconds: float
    """Until the head of the answer was there."""
    status: int
    """0 for no answer."""
    failure: str
    sent: Mapping[str, str]
    received: Mapping[str, str]


class Trace(Protocol):
    """Who is told."""

    def exchange(self, exchange: Exchange) -> None:
        """A request was answered, or was not."""
        ...

    def note(self, text: str) -> None:
        """Something was learned."""
        ...


def traced(
    trace: Trace,
    monotonic: Callable[[], float],
    send: Callable[[], Answer],
    *,
    method: str,
    what: str,
    tries: int,
    sent: Mapping[str, str],
) -> Answer:
    """Send, and tell `trace`. Raises what `send` raises."""
    began = monotonic()

    def tell(status: int, failure: str, received: Mapping[str, str]) -> None:
        seconds = monotonic() - began
        trace.exchange(Exchange(method, what, tries, seconds, status, failure, sent, received))

    try:
        answer = send()
    except TransportError as error:
        tell(0, error.detail, MappingProxyType({}))
        raise
    tell(answer.status, "", answer.headers)
    return answer


def masked(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Headers by their lower-case names, without what is a secret or may be one."""
    for name, value in headers.items():
        yield name.lower(), HIDDEN if _SECRET.search(name) else _without_secrets(value)


def _without_secrets(value: str) -> str:
    value = _LOGIN.sub(HIDDEN, value)
    value = _URL.sub(lambda match: urls.shown(match[0]), value)
    # A relative address has a query as well, with a signature in it.
    return _QUERY.sub(f"?{HIDDEN}", value)
