"""When a request is sent again: the table, and the arithmetic of waiting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacher.http.retry import Attempts, describe_wait, retry_after
from cacher.time_limits import LIMITS, MIN_SPEED

ALMOST_ONE = 1 - 2**-53


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def attempts(*, random: float = 0.0, tries: int = 0) -> Attempts:
    """Attempts in no time at all."""
    return Attempts(LIMITS, lambda: random, Clock(), tries=tries)


def waits(counted: Attempts) -> list[float]:
    """All waits until it is enough."""
    waited = []
    while (wait := counted.delay(300.0)) is not None:
        waited.append(wait)
        assert len(waited) < 100
    return waited


def test_waits_double_up_to_the_longest() -> None:
    limits = LIMITS._replace(tries=10, first_pause=0.5, longest_pause=6.0)
    expected = [0.5, 1, 2, 4, 6, 6, 6, 6, 6]
    assert waits(Attempts(limits, lambda: ALMOST_ONE, Clock())) == pytest.approx(expected)


def test_waits_are_jittered_in_full() -> None:
    assert waits(attempts(random=0.0)) == [0.0] * (LIMITS.tries - 1)
    assert waits(attempts(random=0.5)) == pytest.approx([0.125, 0.25, 0.5, 1.0, 2.0])


@given(
    tries=st.integers(1, 9),
    failures=st.lists(st.tuples(st.booleans(), st.floats(0, 40)), max_size=30),
    random=st.floats(0, 1, exclude_max=True),
    within=st.floats(1, 300),
)
def test_it_is_enough_at_some_point(
    tries: int, failures: list[tuple[bool, float]], random: float, within: float
) -> None:
    clock = Clock()
    counted = Attempts(LIMITS, lambda: random, clock, tries=tries)
    allowed = 0
    for was_idle, seconds in failures:
        clock.now += min(seconds, counted.left(within))  # as a time-out has it
        wait = counted.delay(within, was_idle=was_idle)
        if wait is None:
            break
        assert 0 <= wait <= LIMITS.longest_pause
        clock.now += wait
        allowed += 1
    assert allowed <= tries  # the first request is one of them, a dropped connection another
    assert clock.now <= within * 1.1 + 40 * (allowed <= 1)


@pytest.mark.parametrize(
    ("within", "one", "tries"),
    [
        (LIMITS.unreachable, LIMITS.connect, 3),
        (LIMITS.silent, LIMITS.stall, 2),
        (LIMITS.write, LIMITS.write, 1),
        (LIMITS.commit, LIMITS.commit, 1),
    ],
)
@pytest.mark.parametrize("random", [0.0, 0.5, ALMOST_ONE])
def test_what_waits_for_a_whole_time_out_ends_after_a_few(
    within: float, one: float, tries: int, random: float
) -> None:
    clock = Clock()
    counted = Attempts(LIMITS, lambda: random, clock)
    wait: float | None = 0.0
    while wait is not None:
        clock.now += wait
        clock.now += min(one, counted.left(within))
        wait = counted.delay(within)
    assert counted.failed == tries
    assert within * 0.9 <= clock.now <= within + 0.001


@pytest.mark.parametrize("random", [0.0, 0.5, ALMOST_ONE])
def test_what_fails_at_once_is_tried_until_the_time_is_over(random: float) -> None:
    clock = Clock()
    counted = Attempts(LIMITS, lambda: random, clock)
    while (wait := counted.delay(LIMITS.refused)) is not None:
        clock.now += wait
    assert clock.now <= LIMITS.refused
    assert counted.failed == LIMITS.tries or clock.now > 0.8 * LIMITS.refused


def test_the_first_dropped_connection_costs_nothing() -> None:
    counted = attempts(random=ALMOST_ONE, tries=2)
    assert counted.delay(30.0, was_idle=True) == 0.0
    assert counted.delay(30.0, was_idle=True) == pytest.approx(0.25)
    assert counted.delay(30.0, was_idle=True) is None


def test_once_is_once() -> None:
    assert attempts(tries=1).delay(30.0) is None
    assert attempts(tries=1).delay(30.0, was_idle=True) is None
    assert attempts(tries=1).delay(30.0, retry_after=1.0) is None


def test_progress_begins_the_count_again() -> None:
    counted = attempts(random=ALMOST_ONE, tries=3)
    for _ in range(20):
        assert counted.delay(30.0) == pytest.approx(0.25)
        counted.progress(1)
    assert counted.delay(30.0) is not None
    assert counted.delay(30.0) is not None
    assert counted.delay(30.0) is None


def test_progress_is_worth_the_time_that_it_takes_at_the_least_rate() -> None:
    clock = Clock()
    counted = Attempts(LIMITS, lambda: 0.0, clock)
    clock.now += 20.0
    counted.progress(int(5 * MIN_SPEED))
    assert counted.spent == 15.0
    counted.progress(int(500 * MIN_SPEED))
    assert counted.spent == 0.0
    clock.now += 1.0
    assert counted.spent == 1.0


def test_half_of_what_is_left_again_and_again_is_not_enough() -> None:
    """A server gives half of what it is asked for, and is silent then."""
    clock = Clock()
    counted = Attempts(LIMITS, lambda: 0.5, clock)
    left = 4096
    wait: float | None = 0.0
    while wait is not None:
        clock.now += wait
        left //= 2
        counted.progress(left)
        clock.now += min(LIMITS.stall, counted.left(LIMITS.silent))
        wait = counted.delay(LIMITS.silent)
    assert clock.now < LIMITS.silent + 4


def test_the_time_of_whoever_takes_the_bytes_does_not_count() -> None:
    clock = Clock()
    counted = Attempts(LIMITS, lambda: 0.0, clock)
    counted.progress(1 << 20)
    clock.now += 3600.0
    counted.resume()
    assert counted.spent == 0.0
    assert counted.delay(LIMITS.silent) == 0.0


def test_what_the_server_asks_for_is_the_least_and_ends_it_where_it_is_too_much() -> None:
    def first(random: float, asked: float) -> float | None:
        limits = LIMITS._replace(first_pause=8.0)
        return Attempts(limits, lambda: random, Clock()).delay(30.0, retry_after=asked)

    assert first(0.0, 3.0) == 3.0
    assert first(0.5, 3.0) == 4.0
    assert first(0.0, 27.0) == 27.0
    assert first(0.0, 3600.0) is None


def test_limits_in_another_time() -> None:
    scaled = LIMITS.scaled(0.5)
    assert scaled.tries == LIMITS.tries
    assert [half / whole for half, whole in zip(scaled[1:], LIMITS[1:], strict=True)] == (
        [0.5] * (len(LIMITS) - 1)
    )


NOON = "Fri, 27 Nov 2026 12:00:00 GMT"
NOON_SECONDS = 1795780800.0


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
        ("9999999", 9999999.0),
        ("9" * 23, 1e23),
        ("9" * 5000, float("inf")),
        ("²", None),
        ("Fri, 27 Nov 2026 12:01:30 GMT", 90.0),
        ("Friday, 27-Nov-26 12:01:30 GMT", 90.0),
        ("Fri Nov 27 12:01:30 2026", 90.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("Fri, 99 Nov 2026 12:01:30 GMT", None),
        ("tomorrow", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    headers = {} if header is None else {"retry-after": header}
    assert retry_after(headers, lambda: NOON_SECONDS) == seconds
    wrong_clock = retry_after(headers | {"date": NOON}, lambda: 0.0)
    assert wrong_clock == seconds


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(3600.0, "it asks to wait 3600 s"), (1e23, "it asks to wait for more than a day")],
)
def test_what_a_server_asks_for_is_said(seconds: float, says: str) -> None:
    assert describe_wait(seconds) == says


def test_the_same_bytes_again_are_no_progress() -> None:
    """A server that ignores ranges gives its first half again and again, and is silent then."""
    clock = Clock()
    counted = Attempts(LIMITS, lambda: 0.5, clock)
    new = 1500
    wait: float | None = 0.0
    while wait is not None:
        clock.now += wait
        counted.progress(new)
        counted.resume()
        clock.now += min(LIMITS.stall, counted.left(LIMITS.silent))
        new, wait = 0, counted.delay(LIMITS.silent)
    assert (counted.failed, counted.spent) == (2, clock.now)
    assert clock.now < LIMITS.silent + 4


def test_silence_counts_from_the_last_byte_and_not_from_the_report_of_it() -> None:
    """What came before a silence is handed over after it."""
    clock = Clock()
    counted = Attempts(LIMITS, lambda: 0.0, clock)
    clock.now += LIMITS.stall
    counted.progress(1 << 20)
    assert counted.delay(LIMITS.silent, silent_seconds=LIMITS.stall) == 0.0
    assert counted.spent == LIMITS.stall
    clock.now += LIMITS.stall
    assert counted.delay(LIMITS.silent, silent_seconds=LIMITS.stall) is None
    assert (counted.failed, counted.spent) == (2, 2 * LIMITS.stall)
