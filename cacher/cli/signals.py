"""Signals as exceptions in the main thread, so that everything is undone on the way out.

Loaded by every start. The only module that installs handlers; knows no command.
"""

from __future__ import annotations

import signal
import sys

from cacher.errors import Stopped, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from sys import UnraisableHookArgs

BROKEN_PIPE = 128 + signal.SIGPIPE
"""The exit status of a program whose reader is gone, as a shell gives it."""

_AGAIN = 0.5
"""Seconds after which it is looked whether a signal's exception got lost."""

_SOON = 0.01
"""Seconds after which one is raised again that is known to be lost."""

_ONCE = 2
"""Looks during which further signals count as the first: a CI service may send several at once, to
the process and to its group, and means one."""

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_struck: list[float] = []
"""When signals and `--timeout` have ended the run, by the clock that `catch` was given."""

_caught: list[signal.Signals] = []
"""Those that are ours: a shell starts background jobs with SIGINT ignored, nohup with SIGHUP."""


def begin() -> None:
    """Until `catch`, let SIGINT end the process, and not with a traceback of an import."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def catch(monotonic: Callable[[], float]) -> None:
    """Let the signals that stop a program raise `Stopped`, once; `monotonic` gives seconds.

    What is undone then must not be undone itself, and is bounded by time-outs. Who does not want
    to wait for that sends another signal after a second: it ends the process at once.
    """

    def stop(signum: int, _frame: object) -> None:
        _struck.append(monotonic())
        _answer_with(signal.SIG_IGN)
        _insist(signum)
        raise Stopped(signum)

    _struck.clear()
    _caught[:] = [number for number in _STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    for number in _caught:
        signal.signal(number, stop)
    sys.unraisablehook = _lost


def _lost(dropped: UnraisableHookArgs) -> None:
    """Python drops an exception, which it would otherwise only print: ours is raised again.

    After a signal, others are those of objects that it left half made, and mean nothing.
    """
    if isinstance(dropped.exc_value, Stopped):
        signal.setitimer(signal.ITIMER_REAL, _SOON, _AGAIN)
    elif isinstance(dropped.exc_value, TimedOut):
        signal.setitimer(signal.ITIMER_REAL, _SOON)
    elif not _struck:
        sys.__unraisablehook__(dropped)


def _insist(signum: int) -> None:
    """Raise `Stopped` again if it got lost, and let go of further signals after a second.

    Python drops an exception that a handler raises while a finalizer or a weak reference's callback
    runs (`_lost`), and libraries may. As long as ours is on its way, it or what it led to is what
    is being handled.
    """
    looks = 0

    def again(_signum: int, _frame: object) -> None:
        nonlocal looks
        looks += 1
        if looks == _ONCE:
            _answer_with(signal.SIG_DFL)
        handled = sys.exc_info()[1]
        while handled is not None and not isinstance(handled, Stopped):
            handled = handled.__context__
        if handled is None:
            raise Stopped(signum)

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)


def release() -> None:
    """All is undone: in a moment let further signals end the process as they do by default.

    Not at once, since those that were sent together with the first may still be on their way.
    """

    def let_go(_signum: int, _frame: object) -> None:
        _answer_with(signal.SIG_DFL)

    signal.signal(signal.SIGALRM, let_go)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)


def _answer_with(action: signal.Handlers) -> None:
    for number in _caught:
        signal.signal(number, action)


def struck() -> float | None:
    """When the last signal, or `--timeout`, has ended the run; None if none has."""
    return _struck[-1] if _struck else None


def arm(seconds: float, monotonic: Callable[[], float]) -> None:
    """Let `TimedOut` be raised after so many seconds."""

    def ring(_signum: int, _frame: object) -> None:
        _struck.append(monotonic())
        raise TimedOut(seconds)

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def disarm() -> None:
    """Raise no `TimedOut` any more."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def name_of(signum: int) -> str:
    """`SIGTERM` for 15."""
    return signal.Signals(signum).name
