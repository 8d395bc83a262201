"""Threads that share one job: the first failure ends it for all. Knows no HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from cacher.errors import CacherError, OutOfThreads
from cacher.fileio import start_thread, stop_threads
from cacher.time_limits import LIMITS


class Cancelled(Exception):
    """The job that a thread belongs to was given up."""


class ThreadPool:
    """Threads with a condition, `changed`, which guards the state that they share.

    `interrupt` wakes those that wait on a socket. The owner's thread waits for them, so that
    signals reach it; leaving the `with` block early cancels them and waits until they end.
    """

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self.changed = threading.Condition()
        self._interrupt = interrupt
        self._failure: BaseException | None = None
        self._cancelled = False
        self._threads: list[threading.Thread] = []

    def start(self, count: int, work: Callable[[], None]) -> None:
        """Let `count` threads run `work` once each, or fewer if the system has no more.

        Raises `OutOfThreads` if it has none.
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
        """For the threads: raise `Cancelled` if the job was cancelled."""
        if self._cancelled:
            raise Cancelled

    def pause(self, seconds: float) -> None:
        """For the threads: sleep, unless the job is cancelled meanwhile."""
        with self.changed:
            self.changed.wait_for(lambda: self._cancelled, seconds)
        self.check()

    def wait_in_thread(self, ready: Callable[[], bool]) -> None:
        """For threads that hold `changed`: wait until `ready()`. Raises `Cancelled`."""
        self.changed.wait_for(lambda: self._cancelled or ready())
        self.check()

    def wait_for(self, ready: Callable[[], bool]) -> None:
        """For the owner: wait until `ready()`. Raises the exception of a thread that failed.

        Raises `Cancelled` if another thread of the owner has cancelled the job.
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
        """For the owner: wait until every thread has ended. Raises the exception of a thread."""
        self.wait_for(lambda: not self._threads)

    def wait_briefly(self, ready: Callable[[], bool], seconds: float) -> None:
        """For an owner that gives up: wait up to `seconds` for a result that must not be lost."""
        with self.changed:
            self.changed.wait_for(lambda: not self._threads or ready(), seconds)

    def stop(self, seconds: float = LIMITS.undo) -> None:
        """Cancel the job; return when all threads have ended, or after `seconds`.

        A thread that has not ended waits for a connection, and ends when that is made or fails.
        """
        self._release()
        with self.changed:
            self._cancelled = True
            self.changed.notify_all()
            threads = list(self._threads)
        stop_threads(threads, self._interrupt, seconds)

    def _release(self) -> None:
        """For the owner: release `changed` as often as this thread holds it.

        A signal's exception may interrupt `threading` while it takes or releases the lock: then
        the lock may be held outside of its block, or free inside of it.
        """
        try:
            while True:
                self.changed.release()
        except RuntimeError:
            pass  # this thread does not hold it

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
    """Run `work` in a thread for up to `seconds`, then abandon it; its failures are ignored."""
    pool = ThreadPool(interrupt)
    try:
        pool.start(1, work)
        pool.wait_briefly(lambda: False, seconds)
    except OutOfThreads:
        with suppress(CacherError):
            work()
    finally:
        pool.stop(0.0)
