"""Signals as exceptions in the main thread, so that everything is undone on the way out.

Loaded by every start. The only module that installs handlers; knows no command.
"""

from __future__ import annotations

import signal

from cacher.errors import Stopped, TimedOut

BROKEN_PIPE = 128 + signal.SIGPIPE
"""The exit status of a program whose reader is gone, as a shell gives it."""

_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")


def catch() -> None:
    """Let the signals that stop a program raise `Stopped`."""

    def stop(signum: int, _frame: object) -> None:
        # Undoing takes a moment and must not be undone itself. It is bounded by time-outs.
        for name in _STOPPING:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        raise Stopped(signum)

    for name in _STOPPING:
        number = getattr(signal, name)
        # A shell starts background jobs with SIGINT ignored, and nohup does so with SIGHUP.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def release() -> None:
    """All is undone: let further signals end the process as they do by default."""
    for name in _STOPPING:
        signal.signal(getattr(signal, name), signal.SIG_DFL)


def arm(seconds: float) -> None:
    """Let `TimedOut` be raised after so many seconds."""

    def ring(_signum: int, _frame: object) -> None:
        raise TimedOut(seconds)

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def disarm() -> None:
    """Raise no `TimedOut` any more."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def name_of(signum: int) -> str:
    """`SIGTERM` for 15."""
    return signal.Signals(signum).name
