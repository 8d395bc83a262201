"""How long a store, an origin or a network may take: every limit, and who set it.

Data only, at the bottom of the house: who waits for something takes a `Limits` as an argument, so
that a test can play an hour in a second (`scaled`).
"""

from __future__ import annotations

from typing import NamedTuple

MIN_SPEED = 1024.0
"""Bytes a second. What comes slower counts as silence: a modem of 1990 was faster."""


class Limits(NamedTuple):
    """Seconds, unless said otherwise; see "How long a command waits" in docs/manual.md."""

    tries: int = 6
    """Times that a request is sent, the first included, however quickly it fails: AWS's tools send
    it 3 to 5 times, minio-go 10."""

    first_pause: float = 0.25
    longest_pause: float = 20.0
    """The first and the longest back-off; botocore's longest is 20."""

    connect: float = 5.0
    """For one TCP connection, and again for its TLS handshake: a lost SYN is sent again after 1 s
    and 3 s."""

    refused: float = 5.0
    """For all tries where the connection is refused, or the host's name has no address: a machine
    answers, so its store may be starting."""

    unreachable: float = 15.0
    """For all tries where nothing answers a connection request."""

    stall: float = 15.0
    """Without a byte, either way, before one connection is given up."""

    silent: float = 30.0
    """For all tries since the last progress, where connections are silent or break."""

    slow: float = 30.0
    """An answer must bring `MIN_SPEED` bytes for each second of this time, or it is given up."""

    write: float = 120.0
    """For the answer to a body that was sent: the store may be writing it to slow disks. And for
    that to the deletion of 100 entries, of fewer in proportion."""

    commit: float = 300.0
    """For an upload's completion, in one go over many blocks. Garage's own limit is 300."""

    undo: float = 5.0
    """To undo what was begun, in all: people wait for it, and CI services kill after 10."""

    def scaled(self, factor: float) -> Limits:
        """The same limits in another time: all seconds times `factor`."""
        return Limits(self.tries, *(factor * seconds for seconds in self[1:]))

    def for_diagnosis(self) -> Limits:
        """For a diagnosis, which tells how things are and not how they may become."""
        return self._replace(
            tries=2,
            silent=self.stall,
            unreachable=self.connect,
            write=self.stall,
            commit=self.stall,
        )

    def for_undo(self) -> Limits:
        """For a request that undoes something, at a store that has left another unanswered."""
        return self._replace(tries=1, stall=self.undo, silent=self.undo)

    def for_background(self) -> Limits:
        """For work that nobody waits for: all of it ends `silent` seconds after the last progress.

        Half of them are for a question that settles an answer that did not come.
        """
        return self._replace(silent=self.stall, write=self.silent, commit=self.stall)


LIMITS = Limits()
