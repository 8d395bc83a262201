"""Retry policy: which statuses to retry, and when. No socket, no sleep, no S3."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from cacher.time_limits import MIN_SPEED, Limits

RETRY_STATUSES = frozenset([408, 429, 499, 500, 502, 503, 504, 520])
"""The same request may succeed later: what botocore, minio-go, restic and s5cmd retry."""

_MIN_SHARE = 0.1
"""The share of a limit that must be left for another try."""


_DAY = 86400.0


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
        self._had_idle_connection = False
        self.failed = 0
        """Tries that failed since the last progress."""

    @property
    def spent(self) -> float:
        """Seconds since the last progress."""
        return self._spent + self._monotonic() - self._since

    def left(self, time_limit: float) -> float:
        """Return the seconds left of `time_limit`: at least a small share, never zero."""
        return max(time_limit - self.spent, time_limit * _MIN_SHARE)

    def delay(
        self,
        time_limit: float,
        *,
        was_idle: bool = False,
        silent_seconds: float = 0.0,
        retry_after: float | None = None,
    ) -> float | None:
        """Return the seconds to wait before the next try, or None to give up.

        `time_limit`: seconds since the last progress that failures of this kind may cost in all.
        `was_idle`: the server closed a kept-alive connection, which it may do at any time, so the
        first such failure is repeated at once. `silent_seconds`: how long no byte came before the
        failure, whenever progress was reported. `retry_after`: seconds that the server asks for;
        if that is more than is left, give up.
        """
        self._spent += max(silent_seconds - self.spent, 0.0)
        if was_idle and not self._had_idle_connection and self._tries > 1:
            self._had_idle_connection = True
            return 0.0
        self.failed += 1
        left = time_limit * (1 - _MIN_SHARE) - self.spent
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
        """Record that `count` bytes moved for the first time; 0 or less for none.

        They are worth the seconds that they take at `MIN_SPEED`: a server that gives one byte and
        is then silent cannot go on for ever.
        """
        now = self._monotonic()
        self._spent = max(self._spent + now - self._since - max(count, 0) / MIN_SPEED, 0.0)
        self._since = now
        if count > 0:
            self.failed = 0

    def resume(self) -> None:
        """Do not count the time since the last progress: the reader of the bytes was busy."""
        self._since = self._monotonic()


def retry_after(headers: Mapping[str, str], clock: Callable[[], float]) -> float | None:
    """Return the seconds that `Retry-After` asks for, as a number or as a date; else None.

    A date is compared with the server's own (RFC 9110, section 10.2.3), or with `clock`.
    """
    text = headers.get("retry-after", "").strip()
    if re.fullmatch("[0-9]+", text):
        return float(text)
    until = http_date(text)
    if until is None:
        return None
    now = http_date(headers.get("date", ""))
    return max(until - (clock() if now is None else now), 0.0)


def describe_wait(seconds: float) -> str:
    """Describe the wait that a server asks for."""
    return f"it asks to wait {f'{seconds:.0f} s' if seconds <= _DAY else 'for more than a day'}"


def http_date(text: str) -> float | None:
    """Return POSIX seconds, or None; a date without a zone is in UTC."""
    from datetime import UTC  # needed by few, and every start would load it
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
