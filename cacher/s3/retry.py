"""What is worth trying again, and when: policy only, no socket, no sleep.

One table for every store; the sources are the stores' own documents and what botocore, minio-go,
restic and s5cmd repeat.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

RETRY_STATUSES = frozenset([408, 429, 499, 500, 502, 503, 504, 520])

RETRY_CODES = frozenset(
    [
        "ConditionalRequestConflict",  # 409
        "ConnectionClosed",  # 410, Wasabi
        "DisconnectError",  # 410, Wasabi
        "InternalError",
        "OperationAborted",  # 409
        "RequestLimitExceeded",
        "RequestTimeout",  # 400 on AWS
        "ServiceUnavailable",
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "TooManyRequests",
        "Unavailable",
        "XMinioServerNotInitialized",
    ]
)

CORRUPTED_CODES = frozenset(
    ["BadDigest", "IncompleteBody", "InvalidDigest", "XAmzContentSHA256Mismatch"]
)
"""The body did not arrive as it was signed: sent again once, after a new look at its source."""

_THROTTLED = re.compile("^Throttl")


def worth_retrying(status: int, code: str) -> bool:
    """Whether the same request may succeed later."""
    return status in RETRY_STATUSES or code in RETRY_CODES or bool(_THROTTLED.match(code))


class Patience(NamedTuple):
    """How many tries a request gets, the first included."""

    tries: int = 6
    dead_tries: int = 3
    """Where nobody answers (no route, silence), each try can cost a whole time-out."""
    base: float = 0.25
    cap: float = 20.0
    """Seconds: the first and the longest back-off."""


PATIENT = Patience()
ONCE = Patience(tries=1, dead_tries=1)


class Attempts:
    """The failures of one request so far.

    `random` gives floats in [0, 1). Not for use by several threads.
    """

    def __init__(self, patience: Patience, random: Callable[[], float]) -> None:
        self._patience = patience
        self._random = random
        self._failed = 0
        self._dead = 0
        self._dropped = False

    def delay(
        self, *, dead: bool = False, dropped: bool = False, retry_after: float | None = None
    ) -> float | None:
        """Seconds to wait before the next try, or None when it is enough.

        `dead`: nobody answered. `dropped`: a kept-alive connection was closed under us, which
        servers may do at any time, so the first one is repeated at once. `retry_after`: what the
        server asked for, in seconds.
        """
        self._failed += 1
        self._dead += dead
        if dropped and not self._dropped and self._patience.tries > 1:
            self._dropped = True
            self._failed -= 1
            return 0.0
        if self._failed >= self._patience.tries or self._dead >= self._patience.dead_tries:
            return None
        ceiling = min(self._patience.cap, self._patience.base * 2.0 ** (self._failed - 1))
        # Full jitter: many jobs that failed together must not come back together.
        wait = ceiling * self._random()
        return wait if retry_after is None else max(wait, min(retry_after, self._patience.cap))

    def progress(self) -> None:
        """Bytes have arrived since the last failure: the count begins anew."""
        self._failed = self._dead = 0


def retry_after(header: str | None) -> float | None:
    """The seconds in a `Retry-After` header; its other form, a date, is not worth a parser."""
    return float(header) if header and re.fullmatch(r"\d{1,6}", header.strip()) else None
