"""Signals as exceptions in the main thread, so that everything is undone on the way out.

Loaded by every start. The only module that installs handlers; knows no command.
"""

from __future__ import annotations

import signal
import sys

from cacher.errors import Stopped, TimedOut

BROKEN_PIPE = 128 + signal.SIGPIPE
"""The exit status of a program whose reader is gone, as a shell gives it."""

_AGAIN = 0.5
"""Seconds after which it is looked whether a signal's exception got lost."""

_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")


def catch() -> None:
    """Let the signals that stop a program raise `Stopped`."""

    def stop(signum: int, _frame: object) -> None:
        # Undoing takes a moment and must not be undone itself. It is bounded by time-outs.
        for name in _STOPPING:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        _insist(signum)
        raise Stopped(signum)

    for name in _STOPPING:
        number = getattr(signal, name)
        # A shell starts background jobs with SIGINT ignored, and nohup does so with SIGHUP.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def _insist(signum: int) -> None:
    """Raise `Stopped` again if it got lost.

    Python drops an exception that a handler raises while a finalizer or a weak reference's callback
    runs. As long as ours is on its way, it or what it led to is what is being handled.
    """

    def again(_signum: int, _frame: object) -> None:
        handled = sys.exc_info()[1]
        while handled is not None and not isinstance(handled, Stopped):
            handled = handled.__context__
        if handled is None:
            raise Stopped(signum)

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)


def release() -> None:
    """All is undone: let further signals end the process as they do by default."""
    disarm()
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
