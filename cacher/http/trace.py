"""A record of each HTTP request for `-v` and `--debug`.

Must not know where it is shown. Imported by every start on a bucket: keep it small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from cacher.http.exceptions import TransportError
from cacher.http.transport import Answer


class TracedRequest(NamedTuple):
    """A request and its answer, or why there is none. Headers as they are, secrets included."""

    method: str
    subject: str
    """The key, or the URL without secrets."""
    tries: int
    """Which try it is, from 1."""
    seconds: float
    """From sending until the head of the answer arrived."""
    status: int
    """0 for no answer."""
    failure: str
    request_headers: Mapping[str, str]
    response_headers: Mapping[str, str]


class Trace(Protocol):
    """Receives each request that was sent."""

    def record(self, request: TracedRequest) -> None:
        """Note a request that was answered, or was not."""
        ...

    def note(self, text: str) -> None:
        """Note one line of text."""
        ...


def send_traced(
    trace: Trace,
    monotonic: Callable[[], float],
    send: Callable[[], Answer],
    *,
    method: str,
    subject: str,
    tries: int,
    request_headers: Mapping[str, str],
) -> Answer:
    """Call `send` and record the request in `trace`. Raises what `send` raises."""
    began = monotonic()

    def record(status: int, failure: str, headers: Mapping[str, str]) -> None:
        seconds = monotonic() - began
        trace.record(
            TracedRequest(
                method, subject, tries, seconds, status, failure, request_headers, headers
            )
        )

    try:
        answer = send()
    except TransportError as error:
        record(0, error.detail, MappingProxyType({}))
        raise
    record(answer.status, "", answer.headers)
    return answer
