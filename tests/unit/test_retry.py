"""When a request is sent again: the table, and the arithmetic of waiting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacher.s3.retry import (
    CORRUPTED_CODES,
    ONCE,
    PATIENT,
    RETRY_CODES,
    Attempts,
    Patience,
    retry_after,
    worth_retrying,
)

ALMOST_ONE = 1 - 2**-53


def waits(attempts: Attempts) -> list[float]:
    """All waits until it is enough."""
    waited = []
    while (wait := attempts.delay()) is not None:
        waited.append(wait)
        assert len(waited) < 100
    return waited


@pytest.mark.parametrize("status", [408, 429, 499, 500, 502, 503, 504, 520])
def test_statuses_that_pass(status: int) -> None:
    assert worth_retrying(status, "")
    assert worth_retrying(status, "Whatever")


@pytest.mark.parametrize(
    "status", [301, 307, 400, 401, 403, 404, 405, 409, 411, 412, 416, 501, 507]
)
def test_statuses_that_last(status: int) -> None:
    assert not worth_retrying(status, "")
    assert not worth_retrying(status, "AccessDenied")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((400, code) for code in sorted(RETRY_CODES)),
        (409, "OperationAborted"),
        (410, "ConnectionClosed"),
        (400, "RequestTimeout"),
        (400, "Throttling"),
        (400, "ThrottlingException"),
        (400, "ThrottledException"),
    ],
)
def test_codes_that_pass_under_any_status(status: int, code: str) -> None:
    assert worth_retrying(status, code)


@pytest.mark.parametrize("code", [*sorted(CORRUPTED_CODES), "NotThrottled", "slowdown"])
def test_codes_that_are_not_simply_sent_again(code: str) -> None:
    assert not worth_retrying(400, code)


def test_waits_double_up_to_the_cap() -> None:
    patience = Patience(tries=10, base=0.5, cap=6.0)
    expected = [0.5, 1, 2, 4, 6, 6, 6, 6, 6]
    assert waits(Attempts(patience, lambda: ALMOST_ONE)) == pytest.approx(expected)


def test_waits_are_jittered_in_full() -> None:
    assert waits(Attempts(PATIENT, lambda: 0.0)) == [0.0] * (PATIENT.tries - 1)
    half = waits(Attempts(PATIENT, lambda: 0.5))
    assert half == pytest.approx([0.125, 0.25, 0.5, 1.0, 2.0])


@given(
    tries=st.integers(1, 9),
    dead_tries=st.integers(1, 9),
    failures=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30),
    random=st.floats(0, 1, exclude_max=True),
)
def test_it_is_enough_at_some_point(
    tries: int, dead_tries: int, failures: list[tuple[bool, bool]], random: float
) -> None:
    patience = Patience(tries, dead_tries)
    attempts = Attempts(patience, lambda: random)
    allowed = 0
    for dead, dropped in failures:
        wait = attempts.delay(dead=dead, dropped=dropped)
        if wait is None:
            break
        assert 0 <= wait <= patience.cap
        allowed += 1
    assert allowed <= tries  # the first request is one of them, a dropped connection another


def test_dead_hosts_get_fewer_tries() -> None:
    attempts = Attempts(Patience(tries=6, dead_tries=3), lambda: 0.0)
    assert [attempts.delay(dead=True) for _ in range(3)] == [0.0, 0.0, None]
    attempts = Attempts(Patience(tries=6, dead_tries=3), lambda: 0.0)
    told = [attempts.delay(dead=dead) for dead in (False, True, False, True, True)]
    assert told == [0.0, 0.0, 0.0, 0.0, None]


def test_the_first_dropped_connection_costs_nothing() -> None:
    attempts = Attempts(Patience(tries=2), lambda: ALMOST_ONE)
    assert attempts.delay(dropped=True) == 0.0
    assert attempts.delay(dropped=True) == pytest.approx(0.25)
    assert attempts.delay(dropped=True) is None


def test_once_is_once() -> None:
    assert Attempts(ONCE, lambda: 0.0).delay() is None
    assert Attempts(ONCE, lambda: 0.0).delay(dropped=True) is None
    assert Attempts(ONCE, lambda: 0.0).delay(retry_after=1.0) is None


def test_progress_begins_anew() -> None:
    attempts = Attempts(Patience(tries=3, dead_tries=2), lambda: ALMOST_ONE)
    for _ in range(20):
        assert attempts.delay(dead=True) == pytest.approx(0.25)
        attempts.progress()
    assert attempts.delay(dead=True) is not None
    assert attempts.delay(dead=True) is None


def test_what_the_server_asks_for_is_the_least_but_bounded() -> None:
    def first(random: float, asked: float) -> float | None:
        return Attempts(Patience(base=8.0, cap=20.0), lambda: random).delay(retry_after=asked)

    assert first(0.0, 3.0) == 3.0
    assert first(0.5, 3.0) == 4.0
    assert first(0.0, 86400.0) == 20.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 5 ", 5.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("1e3", None),
        ("9999999", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds
