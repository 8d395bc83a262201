"""A store that is started anew: nobody listens for a second or two, and is then there again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cacher.errors import StoreError
from tests.fakes.s3server import FakeS3Server
from tests.support.store_helpers import blob
from tests.support.stores import Pauses, open_fake

AWAY = 2.0
"""Seconds that the store is away for."""


@pytest.fixture
def away() -> Iterator[FakeS3Server]:
    """A server that is not there yet; its port is, and has nobody."""
    with FakeS3Server() as former:
        port = former.port
    server = FakeS3Server(port=port)
    yield server
    server.stop()
    assert server.violations == []


class Waiting(Pauses):
    """Sleep that is not slept; once it would have been long enough, the server is there."""

    def __init__(self, server: FakeS3Server) -> None:
        super().__init__()
        self._server = server
        self._started = False

    def __call__(self, seconds: float) -> None:
        super().__call__(seconds)
        if sum(self.seconds) >= AWAY and not self._started:
            self._started = True
            self._server.start()


def test_it_is_waited_for(away: FakeS3Server) -> None:
    waiting = Waiting(away)
    store = open_fake(away, waiting, chance=0.6)
    with store.create("k", {}) as writer:
        writer.write(blob(1000))
        writer.commit()
    assert len(waiting.seconds) == 4
    assert away.objects["k"].body == blob(1000)
    store.close()


def test_not_for_ever(away: FakeS3Server) -> None:
    pauses = Pauses()
    store = open_fake(away, pauses, chance=0.5)
    with pytest.raises(StoreError, match="connection refused"):
        store.head("k")
    assert pauses.seconds == [0.125, 0.25, 0.5, 1.0, 2.0]
    store.close()
    away.start()
