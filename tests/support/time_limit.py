"""A test that hangs fails, and the run goes on; a run that is stopped still tells what failed.

How long a test may take is pytest-timeout's to know: `timeout` in pyproject.toml, its mark, its
flag. Neither of its ways to end a test suits these: SIGALRM is taken by `main`, in this process,
and its thread ends the whole run. So a thread of ours sends the main thread a signal that nothing
here takes, at the limit and then again and again, as its exception may get lost. The set-up, the
test and the tear-down have the limit each, so that a tear-down that hangs as well does not last.

All of this holds in each worker of pytest-xdist. The process that started them passes on that the
run is to end, or they would go on for five seconds, and have no more than five to stop servers.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic
from typing import Any

import pytest
from pytest_timeout import is_debugging  # type: ignore[import-untyped]

TIME_IS_UP = signal.SIGUSR2
"""Sent to the main thread by the watch."""

STOP = (signal.SIGUSR1, signal.SIGTERM)
"""Sent by who wants the run to end. SIGTERM may be taken by `main`, and would be one test's end."""

_LOOK = 0.5  # seconds
_AGAIN = 5.0  # seconds

_LIMIT = pytest.StashKey[float]()

_workers: set[int] = set()
"""The ids of the processes that run tests for this one."""


class _Watch:
    """Reminds the main thread of its deadline; there is none outside of `limit`."""

    def __init__(self) -> None:
        self.seconds = self._deadline = inf
        self._ended = threading.Event()

    def start(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        threading.Thread(target=self._run, args=(main,), daemon=True, name="time limit").start()

    def stop(self) -> None:
        self._ended.set()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Let the block take so many seconds."""
        self.seconds = seconds
        self._deadline = monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = inf

    def is_over(self) -> bool:
        """Whether the time is up: a signal may come when the block has just been left."""
        return monotonic() >= self._deadline

    def _run(self, main: int) -> None:
        reminded = -inf
        while not self._ended.wait(_LOOK):
            now = monotonic()
            if now >= self._deadline and now - reminded >= _AGAIN:
                reminded = now
                signal.pthread_kill(main, TIME_IS_UP)


_watch = _Watch()


def pytest_configure(config: pytest.Config) -> None:
    """Take the signals, and start to watch."""
    signal.signal(TIME_IS_UP, _end_test)
    for number in STOP:
        signal.signal(number, _end_run)
    inherited = signal.getsignal(signal.SIGINT)
    if hasattr(config, "workerinput") and inherited is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_run)  # once: a terminal's Ctrl-C comes here, too
    _watch.start()


def pytest_unconfigure() -> None:
    _watch.stop()


def _end_test(_signum: int, _frame: object) -> None:
    if _watch.is_over() and not is_debugging():
        pytest.fail(f"took over {_watch.seconds:g} s; the other threads:\n{_stacks()}")


def _end_run(_signum: int, _frame: object) -> None:
    """As Ctrl-C does, but with nothing more to come in between."""
    for number in (*STOP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    _workers.add(node.gateway._rinfo().pid)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _workers.discard(node.gateway._rinfo().pid)


def pytest_keyboard_interrupt() -> None:
    for pid in _workers:
        os.kill(pid, STOP[0])


def _stacks() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    others = [(i, f) for i, f in sys._current_frames().items() if i != threading.get_ident()]
    return "".join(
        f"-- {names.get(ident, ident)}\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in others
        if names.get(ident) != "time limit"
    )


def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """Instead of pytest-timeout's own way."""
    item.stash[_LIMIT] = settings.timeout
    return True


def pytest_timeout_cancel_timer(item: pytest.Item) -> bool:
    """Not when a test has failed: its tear-down is watched, too."""
    return True


Phase = Generator[None, object, object]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Phase:
    with _watch.limit(item.stash.get(_LIMIT, inf)):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Phase:
    with _watch.limit(item.stash.get(_LIMIT, inf)):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Phase:
    with _watch.limit(item.stash.get(_LIMIT, inf)):
        return (yield)
