"""What is asked and answered, for whoever wants to see it: one `Exchange` for each request.

Must not know where it is shown. Imported by every start on a bucket, so it is small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from cacher.http.exceptions import TransportError
from cacher.http.transport import Answer


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
    """Receives each exchange."""

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
    """Send, and let `trace` know. Raises what `send` raises."""
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
