"""What goes wrong, and for which request: a schedule of failures a test sets up.

A `Fault` matches requests and holds an action; the actions are plain data, carried out by
`connection.py`. Thread-safe and countable: `fault.hits` tells how often it struck.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.fakes.journal import Query, has_query
from tests.fakes.request import Request


@dataclass(frozen=True)
class Respond:
    """Another answer: an error document if `code` is given, `body` as it is, or nothing.

    `executed`: the request takes effect all the same ("the server commits, the client is told
    503"). `early`: answered before the body is read, then the connection is cut, as a store does
    that refuses an upload at its head. `Respond(200, "InternalError")` is an error under 200, and
    `Respond(307, headers={"Location": ...})` a redirect.
    """

    status: int
    code: str = ""
    message: str = "injected by the test"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    executed: bool = False
    early: bool = False


@dataclass(frozen=True)
class Reset:
    """The connection is reset, without an answer.

    Before the body is read (as if the request never arrived), in the middle of it (after
    `body_bytes`; an interrupted attempt at a part counts as the latest one), after it and before
    anything is done, or once the request has been executed.
    """

    when: Literal["before-body", "mid-body", "before-answer", "executed"] = "before-answer"
    body_bytes: int = 0


@dataclass(frozen=True)
class CutAnswer:
    """The answer ends after so many bytes of its body, though Content-Length promised more.

    Closed in good order, or reset. With `after` past the end the answer is whole, and the
    connection is closed without a word of warning: a stale keep-alive connection.
    """

    after: int
    reset: bool = False


@dataclass(frozen=True)
class CutDocument:
    """Only so many bytes of the body are sent, with a Content-Length to match: truncated XML."""

    keep: int


@dataclass(frozen=True)
class Stall:
    """So many seconds of silence: before the answer, or after so many bytes of its body."""

    seconds: float
    after: int | None = None


@dataclass(frozen=True)
class Trickle:
    """The answer's body comes at a rate, in bytes a second."""

    rate: int


@dataclass(frozen=True)
class Replace:
    """Somebody else stores another object under the request's key, just before it is executed."""

    body: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ChangeETag:
    """The answer bears another ETag than the object has (given without quotes)."""

    etag: str


Action = Respond | Reset | CutAnswer | CutDocument | Stall | Trickle | Replace | ChangeETag


@dataclass(eq=False)
class Fault:
    """An action for the requests that match everything given.

    `operation` is S3's name (`UploadPart`); `query` maps names to a value or to None for any
    value. Strikes from the `nth` match on (from 1), `times` times, or without end if None.
    """

    action: Action
    operation: str | None = None
    method: str | None = None
    key: str | None = None
    query: Query = field(default_factory=dict)
    where: Callable[[Request], bool] | None = None
    nth: int = 1
    times: int | None = 1
    matches: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)

    def fits(self, request: Request) -> bool:
        """Whether the request is one this fault is about."""
        return (
            self.operation in (None, request.operation)
            and self.method in (None, request.method)
            and self.key in (None, request.key)
            and has_query(request, self.query)
            and (self.where is None or self.where(request))
        )


class Schedule:
    """The faults a test has injected, in order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Schedule one more."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """No more faults; those that were keep their counts."""
        with self._lock:
            self._faults.clear()

    def strike(self, request: Request) -> Action | None:
        """The action for a request, if any: one request is struck by one fault.

        Faults see a request in the order of their injection until one strikes, so two that match
        the same requests strike one after the other.
        """
        with self._lock:
            for fault in self._faults:
                if not fault.fits(request) or not _left(fault):
                    continue
                fault.matches += 1
                if fault.matches >= fault.nth:
                    fault.hits += 1
                    return fault.action
        return None


def _left(fault: Fault) -> bool:
    return fault.times is None or fault.hits < fault.times
