"""How long undoing may take: from what ended the run, or from the failure."""

from __future__ import annotations

import pytest

from cacher.http.transport import Host, Transport
from cacher.s3.session import Endpoint, Session
from cacher.s3.signing import Keys
from cacher.time_limits import LIMITS, Clocks


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("ended_at", [None, 998.0, 900.0])
def test_one_deadline_from_the_beginning(ended_at: float | None) -> None:
    clock = Clock()
    session = Session(
        Endpoint(Host("http", "127.0.0.1", 1), "cache"),
        Keys("id", "secret"),
        Transport(),
        Clocks(lambda _seconds: None, lambda: 0.0, clock, lambda: 0.0, lambda: ended_at),
    )
    left = session.undo_time_left()
    expected = {None: LIMITS.undo, 998.0: LIMITS.undo - 2.0, 900.0: 0.0}[ended_at]
    assert left() == expected
    clock.now += 1.0
    assert left() == max(expected - 1.0, 0.0)
    clock.now += 10.0
    assert left() == 0.0
