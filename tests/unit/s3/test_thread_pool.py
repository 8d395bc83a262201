"""A crew of threads: the first failure ends it for all, and nobody is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from cacher.errors import OutOfThreads, StoreError
from cacher.s3.thread_pool import Cancelled, ThreadPool, run_with_timeout

LONG = 300.0
"""Seconds that nothing here may take: whoever waits is woken."""


class Failure(Exception):
    pass


def idle() -> None:
    """There is no socket to wake anybody from."""


def test_everybody_works_once() -> None:
    done: list[int] = []
    with ThreadPool(idle) as pool:
        pool.start(4, lambda: done.append(1))
        pool.join()
        assert len(done) == 4


def test_joining_nobody() -> None:
    with ThreadPool(idle) as pool:
        pool.join()


def test_the_owner_gets_what_made_a_thread_fail() -> None:
    failure = Failure("first")

    def fail() -> None:
        raise failure

    with ThreadPool(idle) as pool:
        pool.start(1, fail)
        with pytest.raises(Failure) as caught:
            pool.wait_for(lambda: False)
        assert caught.value is failure
        with pytest.raises(Failure):
            pool.join()


@pytest.mark.parametrize("failure", [SystemExit(3), KeyboardInterrupt(), Failure()])
def test_whatever_it_was(failure: BaseException) -> None:
    def fail() -> None:
        raise failure

    with ThreadPool(idle) as pool:
        pool.start(1, fail)
        with pytest.raises(type(failure)):
            pool.join()


def test_a_failure_cancels_the_others() -> None:
    ended: list[str] = []
    waiting = threading.Barrier(4, timeout=LONG)

    def pausing(pool: ThreadPool) -> None:
        pool.pause(LONG)

    def waiting_for_ever(pool: ThreadPool) -> None:
        with pool.changed:
            pool.wait_in_thread(lambda: False)

    def checking(pool: ThreadPool) -> None:
        while True:
            pool.check()

    def watched(work: Callable[[ThreadPool], None], pool: ThreadPool) -> None:
        waiting.wait()
        try:
            work(pool)
        except Cancelled:
            ended.append(work.__name__)
            raise

    def fail() -> None:
        waiting.wait()
        raise Failure

    with pytest.raises(Failure), ThreadPool(idle) as pool:
        for work in (pausing, waiting_for_ever, checking):
            pool.start(1, partial(watched, work, pool))
        pool.start(1, fail)
        pool.join()
    assert sorted(ended) == ["checking", "pausing", "waiting_for_ever"]


def test_being_cancelled_is_no_failure() -> None:
    pool = ThreadPool(idle)
    pool.start(2, lambda: pool.pause(LONG))
    pool.stop()
    pool.join()


def test_whoever_comes_late_is_cancelled_at_once() -> None:
    pool = ThreadPool(idle)
    pool.stop()
    with pytest.raises(Cancelled):
        pool.pause(LONG)
    with pytest.raises(Cancelled), pool.changed:
        pool.wait_in_thread(lambda: True)


def test_leaving_early_interrupts_again_and_again_and_waits() -> None:
    """The first interruption may come before a thread is at its socket."""
    interruptions = threading.Semaphore(0)
    ended = threading.Event()

    def stubborn() -> None:
        for _ in range(3):
            assert interruptions.acquire(timeout=LONG)
        ended.set()

    with pytest.raises(Failure), ThreadPool(interruptions.release) as pool:
        pool.start(1, stubborn)
        raise Failure
    assert ended.is_set()


def test_nobody_is_interrupted_without_need() -> None:
    interruptions: list[int] = []
    with ThreadPool(lambda: interruptions.append(1)) as pool:
        pool.start(2, lambda: None)
        pool.join()
    assert not interruptions


def test_waiting_for_what_threads_do() -> None:
    done: list[int] = []

    def work() -> None:
        with pool.changed:
            done.append(1)
            pool.changed.notify_all()

    with ThreadPool(idle) as pool:
        pool.start(3, work)
        pool.wait_for(lambda: len(done) == 3)


def test_pausing_takes_the_time_it_takes() -> None:
    with ThreadPool(idle) as pool:
        pool.start(1, lambda: pool.pause(0.0))
        pool.join()


class Signal(BaseException):
    """What a signal's handler raises, wherever the owner is."""


def test_a_signal_while_the_lock_changes_hands() -> None:
    """It may come right after the owner has got the lock: then no block gives it back."""
    with ThreadPool(idle) as pool:
        pool.start(2, lambda: pool.pause(LONG))
        pool.changed.acquire()
        pool.changed.acquire()
        began = time.monotonic()
        pool.stop()
        assert time.monotonic() - began < LONG / 2


def test_a_signal_while_the_owner_begins_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come when the lock is released already, for those who will wake the owner."""
    with ThreadPool(idle) as pool:

        def struck(_ready: Callable[[], bool]) -> bool:
            pool.changed.release()
            raise Signal

        monkeypatch.setattr(pool.changed, "wait_for", struck)
        with pytest.raises(Signal):
            pool.wait_for(lambda: False)


def test_a_signal_while_a_thread_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come in `threading`'s own wait for it, which then fails for the lock."""

    def struck(_thread: threading.Thread) -> None:
        try:
            raise Signal
        finally:
            threading.Lock().release()  # as it is not held: RuntimeError

    with ThreadPool(idle) as pool:
        monkeypatch.setattr(threading.Thread, "start", struck)
        with pytest.raises(Signal):
            pool.start(1, lambda: None)


def test_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with ThreadPool(idle) as pool:
        monkeypatch.setattr(threading.Thread, "start", refused)
        with pytest.raises(OutOfThreads):
            pool.start(1, lambda: None)
        pool.join()  # there is nobody to wait for


def test_where_only_some_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started, done = threading.Thread.start, [0], [0]

    def limited(thread: threading.Thread) -> None:
        if started[0] == 2:
            raise RuntimeError("can't start new thread")
        started[0] += 1
        start(thread)

    def work() -> None:
        with pool.changed:
            done[0] += 1

    with ThreadPool(idle) as pool:
        monkeypatch.setattr(threading.Thread, "start", limited)
        pool.start(4, work)
        pool.join()
        assert done == [2]


def test_an_owner_that_waits_elsewhere_learns_that_the_job_is_given_up() -> None:
    """The owner may let another thread read for it, and give up itself."""
    pool = ThreadPool(idle)
    heard = threading.Event()

    def read() -> None:
        with pytest.raises(Cancelled):
            pool.wait_for(lambda: False)
        heard.set()

    reader = threading.Thread(target=read)
    reader.start()
    pool.stop()
    assert heard.wait(LONG)
    reader.join()


def hang(over: threading.Event) -> None:
    """Wait where no interruption reaches."""
    over.wait(LONG)


def test_a_thread_that_nothing_wakes_is_left_behind() -> None:
    over = threading.Event()
    pool = ThreadPool(idle)
    pool.start(3, partial(hang, over))
    began = time.monotonic()
    pool.stop(0.3)
    assert 0.3 <= time.monotonic() - began < LONG / 2
    over.set()


def test_work_within_its_time() -> None:
    done: list[int] = []
    began = time.monotonic()
    run_with_timeout(LONG, lambda: done.append(1), idle)
    assert done == [1]
    assert time.monotonic() - began < LONG / 2


def test_work_that_takes_longer_is_left_behind() -> None:
    over = threading.Event()
    began = time.monotonic()
    run_with_timeout(0.2, partial(hang, over), idle)
    assert 0.2 <= time.monotonic() - began < LONG / 2
    over.set()


def failing() -> None:
    raise StoreError("the store is gone")


def test_that_such_work_fails_changes_nothing() -> None:
    run_with_timeout(LONG, failing, idle)


@pytest.mark.parametrize("work", [idle, failing])
def test_such_work_without_a_thread_to_spare(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]
) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done: list[int] = []

    def noted() -> None:
        done.append(1)
        work()

    monkeypatch.setattr(threading.Thread, "start", refused)
    run_with_timeout(LONG, noted, idle)
    assert done == [1]
