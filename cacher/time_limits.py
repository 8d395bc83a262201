"""How long a store, an origin or a network may take: every limit, and where it comes from.

Data only. Code that waits takes `Limits` and `Clocks` as arguments, so that a test can play an hour
in a second (`scaled`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

MIN_SPEED = 1024.0
"""Bytes per second. Slower transfers count as silence: a modem of 1990 was faster."""


class Limits(NamedTuple):
    """Time limits in seconds; see "How long a command waits" in docs/manual.md."""

    tries: int = 6
    """How often a request is sent in all: AWS's tools send it 3 to 5 times, minio-go 10."""

    first_pause: float = 0.25
    longest_pause: float = 20.0
    """The first and the longest back-off; botocore's longest is 20."""

    connect: float = 5.0
    """For one TCP connection, and again for its TLS handshake: systems repeat a lost SYN after 1 s
    and 3 s."""

    refused: float = 5.0
    """For all tries while connections are refused, or the host name has no address: the store may
    be starting."""

    unreachable: float = 15.0
    """For all tries while nothing answers a connection request."""

    stall: float = 15.0
    """Without a byte in either direction until one connection is given up."""

    silent: float = 30.0
    """For all tries since the last progress, while connections are silent or break."""

    slow: float = 30.0
    """An answer must bring `MIN_SPEED` bytes for each second of this time, or it is given up."""

    write: float = 120.0
    """For the answer to a body that was sent: the store may write it to slow disks. Also for the
    deletion of 100 entries, and in proportion for fewer."""

    commit: float = 300.0
    """For the completion of an upload, which touches many blocks. Garage's own limit is 300."""

    undo: float = 5.0
    """For undoing everything after a failure: people wait for it, and CI services kill after 10."""

    def scaled(self, factor: float) -> Limits:
        """Return the limits with all seconds multiplied by `factor`."""
        return Limits(self.tries, *(factor * seconds for seconds in self[1:]))

    def for_diagnosis(self) -> Limits:
        """Return limits for a diagnosis, which does not wait until things improve."""
        return self._replace(
            tries=2,
            silent=self.stall,
            unreachable=self.connect,
            write=self.stall,
            commit=self.stall,
        )

    def for_undo(self) -> Limits:
        """Return limits for undoing something in a store that did not answer before."""
        return self._replace(tries=1, stall=self.undo, silent=self.undo)

    def for_background(self) -> Limits:
        """Return limits for optional work, which ends `silent` seconds after the last progress.

        Half of them are for asking again about a request whose answer did not come.
        """
        return self._replace(silent=self.stall, write=self.silent, commit=self.stall)


LIMITS = Limits()


class Clocks(NamedTuple):
    """Time and chance: `pause` sleeps seconds, `random` gives floats in [0, 1).

    `monotonic` gives seconds, `clock` POSIX seconds. `ended_at` returns when a signal or
    `--timeout` ended the run, by `monotonic`; None if neither has.
    """

    pause: Callable[[float], None]
    random: Callable[[], float]
    monotonic: Callable[[], float]
    clock: Callable[[], float]
    ended_at: Callable[[], float | None] = lambda: None
