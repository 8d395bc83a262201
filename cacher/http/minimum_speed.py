"""A limit on how slowly an answer may come.

A socket's time-out begins again with each byte, so a server that sends one byte every few seconds
would never time out. Knows no HTTP.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from typing import Any

from cacher.time_limits import MIN_SPEED, Limits


class TooSlow(TimeoutError):
    """The answer came more slowly than `MIN_SPEED`."""


class TimedReader(io.RawIOBase):
    """Read `raw`, which reads from `sock`, no more slowly than `MIN_SPEED`.

    Count bytes and the time spent waiting for them, but not the time between two reads.

    It costs 0.05 s of CPU for a GiB in records of TLS, 16 KiB each, where all else takes 2.5 s.
    """

    def __init__(
        self,
        raw: io.RawIOBase,
        sock: socket.socket,
        limits: Limits,
        monotonic: Callable[[], float],
    ) -> None:
        self._raw = raw
        self._sock = sock
        self._clock = monotonic
        self._stall = limits.stall
        self._slow = limits.slow
        self._soon = 0.0
        """Seconds of waiting before the speed is checked: once bytes come, most reads wait less."""
        self._enough = MIN_SPEED * limits.slow
        self._timeout = self._set = sock.gettimeout() or 0.0
        # While a store completes an upload it may keep the connection alive by blanks, as long as
        # it has for that.
        completes = self._timeout > limits.write
        self._window = self._timeout if completes else limits.slow
        """Seconds from the first byte in which `MIN_SPEED` counts."""
        self._has_begun = False
        self._waited = 0.0
        self._count = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read as `raw` does. Raises `TooSlow`."""
        began = self._clock()
        try:
            count = self._raw.readinto(buffer)
        except TimeoutError:
            if self._set < self._timeout:
                raise self._too_slow() from None
            raise
        if self._has_begun:  # the silence before the first byte has a limit of its own
            self._waited += self._clock() - began
        self._has_begun = True
        self._count += count or 0
        if self._waited < self._soon:
            return count
        if self._count >= self._enough:
            self._count, self._waited = 0, 0.0
            self._timeout, self._soon = self._stall, self._slow / 30
            self._limit(self._window)
        elif count and self._waited > self._window:
            raise self._too_slow()
        else:
            self._limit(self._window - self._waited)
        return count

    def _limit(self, seconds: float) -> None:
        """Let the next read wait at most `seconds`, and at most the socket's own time-out."""
        seconds = max(min(seconds, self._timeout), 0.001)
        if seconds != self._set:
            self._sock.settimeout(seconds)
            self._set = seconds

    def _too_slow(self) -> TooSlow:
        return TooSlow(f"less than {MIN_SPEED / 1024:g} KiB/s for {self._window:.3g} s")

    def close(self) -> None:
        """Close `raw`, too."""
        self._raw.close()
        super().close()
