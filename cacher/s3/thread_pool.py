"""A few threads at one job: the first failure ends it for all. Knows nothing of HTTP."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from cacher.errors import CacherError, OutOfThreads
from cacher.fileio import start_thread
from cacher.http.exceptions import Cancelled
from cacher.time_limits import LIMITS

_INTERRUPT_INTERVAL = 0.1
"""Seconds after which a thread that has not ended is interrupted again."""


class ThreadPool:
    """Threads that share a condition, `changed`, which guards whatever the job shares.

    `interrupt` wakes those that wait on a socket. The owner's thread does the waiting, so that
    signals reach it; leaving the `with` block early cancels the rest and waits for it to end.
    """

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self.changed = threading.Condition()
        self._interrupt = interrupt
        self._failure: BaseException | None = None
        self._cancelled = False
        self._threads: list[threading.Thread] = []

    def start(self, count: int, work: Callable[[], None]) -> None:
        """Let `count` threads run `work` once each, or fewer where the system has no more.

        Raises `OutOfThreads` where it has none.
        """
        for number in range(count):
            thread = threading.Thread(target=self._run, args=(work,), daemon=True)
            self._threads.append(thread)
            try:
                start_thread(thread, jobs=count)
            except OutOfThreads:
                self._threads.remove(thread)
                if number:
                    return
                raise

    def check(self) -> None:
        """For the threads: raises `Cancelled` once the job is given up."""
        if self._cancelled:
            raise Cancelled

    def pause(self, seconds: float) -> None:
        """For the threads: sleep, unless the job is given up meanwhile."""
        with self.changed:
            self.changed.wait_for(lambda: self._cancelled, seconds)
        self.check()

    def wait_in_thread(self, ready: Callable[[], bool]) -> None:
        """For threads that hold `changed`: until `ready()`; raises `Cancelled`."""
        self.changed.wait_for(lambda: self._cancelled or ready())
        self.check()

    def wait_for(self, ready: Callable[[], bool]) -> None:
        """For the owner: until `ready()`; raises what made a thread fail.

        And `Cancelled`, if another thread of the owner's has given the job up.
        """
        self.changed.acquire()
        try:
            self.changed.wait_for(lambda: self._failure is not None or self._cancelled or ready())
            if self._failure is not None:
                raise self._failure
            if not ready():
                raise Cancelled
        finally:
            self._release()

    def join(self) -> None:
        """For the owner: until every thread has ended; raises what made one fail."""
        self.wait_for(lambda: not self._threads)

    def wait_briefly(self, ready: Callable[[], bool], seconds: float) -> None:
        """For an owner that gives up: wait a little for what must not be lost."""
        with self.changed:
            self.changed.wait_for(lambda: not self._threads or ready(), seconds)

    def stop(self, seconds: float = LIMITS.undo) -> None:
        """Give the job up, and return once no thread works on it any more, or after `seconds`.

        A thread that is left behind waits for a connection; it ends when it has one, or has none.
        """
        self._release()
        with self.changed:
            self._cancelled = True
            self.changed.notify_all()
            threads = list(self._threads)
        # Again and again: a thread may have been on its way to the next socket.
        for _ in range(max(math.ceil(seconds / _INTERRUPT_INTERVAL), 1)):
            threads = [thread for thread in threads if thread.is_alive()]
            if not threads:
                return
            self._interrupt()
            threads[0].join(_INTERRUPT_INTERVAL)

    def _release(self) -> None:
        """For the owner: release `changed`, as often as it was taken, or not at all.

        A signal's exception may come in the lines of `threading` that take it and give it back:
        then it is still held when nobody is in its block, or the other way round.
        """
        try:
            while True:
                self.changed.release()
        except RuntimeError:
            pass  # it is not ours

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Cancelled:
            pass
        except BaseException as failure:
            with self.changed:
                self._failure = self._failure or failure
                self._cancelled = True
        finally:
            with self.changed:
                self._threads.remove(threading.current_thread())
                self.changed.notify_all()


def run_with_timeout(
    seconds: float, work: Callable[[], None], interrupt: Callable[[], None]
) -> None:
    """Do `work` in a thread, whose failures are dropped; leave it behind where it takes longer."""
    pool = ThreadPool(interrupt)
    try:
        pool.start(1, work)
        pool.wait_briefly(lambda: False, seconds)
    except OutOfThreads:
        with suppress(CacherError):
            work()
    finally:
        pool.stop(0.0)
