"""The ring: order, ends, failures, and being given up at any point."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from cacher.archive.read_ahead import READ_AHEAD_COUNT, READ_AHEAD_SIZE, ReadAhead
from cacher.errors import OutOfThreads
from cacher.time_limits import LIMITS
from tests.support.zstd_streams import no_clock

LONG = 200.0


def idle() -> None:
    pass


def counting(sizes: list[int]) -> Callable[[memoryview], int]:
    """A `fill` that gives buffers of these sizes, each full of its number."""
    numbers = iter(enumerate(sizes))

    def fill(buffer: memoryview) -> int:
        number, size = next(numbers, (0, 0))
        buffer[:size] = bytes([number % 251]) * size
        return size

    return fill


@pytest.mark.parametrize("count", [0, 1, 7, READ_AHEAD_COUNT, 9, 40])
def test_buffers_come_in_order_and_then_the_end(count: int) -> None:
    sizes = [READ_AHEAD_SIZE] * (count - 1) + [512] * min(count, 1)
    with ReadAhead(counting(sizes), idle, no_clock) as ring:
        for number, size in enumerate(sizes):
            view = ring.next()
            assert len(view) == size
            assert view[0] == view[-1] == number % 251
        assert not ring.next()
        assert not ring.next()


def test_few_buffers_are_used_again() -> None:
    seen = set()

    def fill(buffer: memoryview) -> int:
        seen.add(id(buffer.obj))
        return len(buffer) if len(seen) < 100 else 0

    with ReadAhead(fill, idle, no_clock) as ring:
        for _ in range(50):
            ring.next()
    assert len(seen) <= READ_AHEAD_COUNT


def test_a_failure_is_raised_where_it_is_waited_for() -> None:
    def fill(buffer: memoryview) -> int:
        if buffer[0]:
            raise ZeroDivisionError
        buffer[0] = 1
        return 1

    with pytest.raises(ZeroDivisionError), ReadAhead(fill, idle, no_clock) as ring:
        for _ in range(READ_AHEAD_COUNT + 1):
            assert ring.next()


def test_closing_cancels_a_fill_that_waits() -> None:
    cancelled = threading.Event()
    waits = threading.Event()

    def fill(_buffer: memoryview) -> int:
        waits.set()
        assert cancelled.wait(LONG)
        raise OSError("cancelled")

    before = threading.active_count()
    with pytest.raises(KeyError), ReadAhead(fill, cancelled.set, no_clock):
        assert waits.wait(LONG)
        raise KeyError
    assert threading.active_count() == before


def test_giving_up_while_all_buffers_are_full() -> None:
    filled = threading.Semaphore(0)

    def fill(buffer: memoryview) -> int:
        filled.release()
        return len(buffer)

    before = threading.active_count()
    with ReadAhead(fill, idle, no_clock) as ring:
        ring.next()
        for _ in range(READ_AHEAD_COUNT):
            assert filled.acquire(timeout=LONG)
    assert threading.active_count() == before


def test_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(OutOfThreads), ReadAhead(counting([1]), idle, no_clock):
        pass


def test_nothing_is_cancelled_that_came_to_its_end() -> None:
    def cancel() -> None:
        raise AssertionError

    with ReadAhead(counting([1]), cancel, no_clock) as ring:
        while ring.next():
            pass


def test_a_fill_that_cannot_be_cancelled_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr("cacher.archive.read_ahead.LIMITS", LIMITS._replace(undo=0.2))
    cancelled: list[int] = []

    def fill(_buffer: memoryview) -> int:
        over.wait(LONG)
        return 0

    with ReadAhead(fill, lambda: cancelled.append(1), no_clock):
        pass
    assert cancelled == [1, 1]
    assert not over.is_set()
    over.set()
