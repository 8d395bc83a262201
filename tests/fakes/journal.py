"""What the server has seen: every request in order of arrival, and every breach of conduct.

Thread-safe. Records are kept for tests to ask about; nothing here influences an answer.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.fakes.request import Request

Query = Mapping[str, str | None]
"""Query names and the values they must have; None stands for any value, so for presence."""


@dataclass
class Record:
    """One request and what became of it."""

    request: Request
    connection: int
    """The number of the connection it came over, from 1: equal numbers are a reused connection."""

    status: int = 0
    """The status answered; 0 while there is none, and for good where the connection was cut."""

    body_length: int = 0
    """How many bytes of the body were received."""

    denied: str = ""
    """Why it was refused before its body counted (signature, permission, ...), else empty. Also
    set where an injected fault answered in place of the refusal."""

    violations: list[str] = field(default_factory=list)

    @property
    def operation(self) -> str:
        return self.request.operation

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def target(self) -> str:
        return self.request.target

    @property
    def bucket(self) -> str:
        return self.request.bucket

    @property
    def key(self) -> str:
        return self.request.key

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query

    @property
    def headers(self) -> Mapping[str, str]:
        return self.request.headers


def has_query(request: Request, wanted: Query) -> bool:
    """Whether the request's query has all that is wanted."""
    return all(
        name in request.query and value in (None, request.query[name])
        for name, value in wanted.items()
    )


class Journal:
    """The records and the violations so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: list[Record] = []
        self._violations: list[str] = []

    def open(self, request: Request, connection: int) -> Record:
        """Enter a request that has just arrived."""
        record = Record(request, connection)
        with self._lock:
            self._records.append(record)
        return record

    def blame(self, record: Record, violations: list[str]) -> None:
        """Enter what was wrong with a request."""
        record.violations.extend(violations)
        with self._lock:
            lines = (f"{record.method} {record.target}: {what}" for what in violations)
            self._violations.extend(lines)

    def complain(self, violation: str) -> None:
        """Enter something that was not even a request."""
        with self._lock:
            self._violations.append(violation)

    def records(self) -> list[Record]:
        """All records so far, in order of arrival."""
        with self._lock:
            return list(self._records)

    def violations(self) -> list[str]:
        """All violations so far, each naming its request."""
        with self._lock:
            return list(self._violations)

    def clear(self) -> None:
        """Forget everything seen so far."""
        with self._lock:
            self._records.clear()
            self._violations.clear()
