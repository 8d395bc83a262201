"""What is worth trying again, and when: policy only, no socket, no sleep.

One table for every store; the sources are the stores' own documents and what botocore, minio-go,
restic and s5cmd repeat.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from cacher.time_limits import RATE, Limits

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

_LEAST = 0.1
"""The share of a limit that must be left for another try: less is not worth it."""


_DAY = 86400.0


def worth_retrying(status: int, code: str) -> bool:
    """Whether the same request may succeed later."""
    return status in RETRY_STATUSES or code in RETRY_CODES or bool(_THROTTLED.match(code))


class Attempts:
    """The failures of one request so far, and the seconds that they have cost since progress.

    `random` gives floats in [0, 1), `monotonic` gives seconds. Not for use by several threads.
    """

    def __init__(
        self,
        limits: Limits,
        random: Callable[[], float],
        monotonic: Callable[[], float],
        *,
        tries: int = 0,
    ) -> None:
        self._limits = limits
        self._tries = tries or limits.tries
        self._random = random
        self._monotonic = monotonic
        self._spent = 0.0
        self._since = monotonic()
        self._dropped = False
        self.failed = 0
        """Tries that failed since the last progress."""

    @property
    def spent(self) -> float:
        """Seconds since the last progress."""
        return self._spent + self._monotonic() - self._since

    def left(self, within: float) -> float:
        """The seconds that are left of `within`: a small time-out at the end, never none."""
        return max(within - self.spent, within * _LEAST)

    def delay(
        self,
        within: float,
        *,
        dropped: bool = False,
        silence: float = 0.0,
        retry_after: float | None = None,
    ) -> float | None:
        """Seconds to wait before the next try, or None when it is enough.

        `within`: the seconds since the last progress that failures of this kind may cost in all.
        `dropped`: a kept-alive connection was closed under us, which servers may do at any time,
        so the first one is repeated at once. `silence`: the seconds before the failure in which no
        byte came, whenever progress was reported. `retry_after`: the seconds that the server asked
        for; where they are more than what is left, it is enough.
        """
        self._spent += max(silence - self.spent, 0.0)
        if dropped and not self._dropped and self._tries > 1:
            self._dropped = True
            return 0.0
        self.failed += 1
        left = within * (1 - _LEAST) - self.spent
        if self.failed >= self._tries or left <= 0:
            return None
        ceiling = min(
            self._limits.longest_pause, self._limits.first_pause * 2.0 ** (self.failed - 1)
        )
        # Full jitter: many jobs that failed together must not come back together.
        wait = ceiling * self._random()
        if retry_after is None:
            return min(wait, left)
        wait = max(wait, retry_after)
        return wait if wait <= left else None

    def progress(self, count: int) -> None:
        """So many bytes have moved that had never moved before; 0 or less if none has.

        They are worth the seconds that they take at `RATE`: a server that gives one byte, and is
        silent then, cannot go on for ever.
        """
        now = self._monotonic()
        self._spent = max(self._spent + now - self._since - max(count, 0) / RATE, 0.0)
        self._since = now
        if count > 0:
            self.failed = 0

    def resume(self) -> None:
        """The time since the last progress was ours: whoever takes the bytes was busy."""
        self._since = self._monotonic()


def retry_after(headers: Mapping[str, str], clock: Callable[[], float]) -> float | None:
    """The seconds that `Retry-After` asks for, as a number or as a date; None for neither.

    A date is compared with the server's own (RFC 9110, section 10.2.3), or with `clock`.
    """
    text = headers.get("retry-after", "").strip()
    if re.fullmatch("[0-9]+", text):
        return float(text)
    until = _http_date(text)
    if until is None:
        return None
    now = _http_date(headers.get("date", ""))
    return max(until - (clock() if now is None else now), 0.0)


def wish(seconds: float) -> str:
    """Say what a server asked for."""
    return f"it asks to wait {f'{seconds:.0f} s' if seconds <= _DAY else 'for more than a day'}"


def _http_date(text: str) -> float | None:
    """POSIX seconds; a date without a zone is in UTC."""
    from datetime import UTC  # needed by few, and every start would load it
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
