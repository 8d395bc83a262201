"""Signals as exceptions in the main thread, so that everything is undone on the way out.

Loaded by every start. The only module that installs handlers for the whole run; knows no command.
"""

from __future__ import annotations

import signal
import sys

from cacher.errors import Stopped, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from sys import UnraisableHookArgs
    from typing import NoReturn

BROKEN_PIPE = 128 + signal.SIGPIPE
"""The exit status of a program whose reader is gone, as a shell gives it."""

_CHECK_INTERVAL = 0.5
"""Seconds between two checks whether Python has dropped a signal's exception."""

_RAISE_AGAIN_DELAY = 0.01
"""Seconds until a dropped exception is raised again."""

_CHECKS_BEFORE_DEFAULT = 2
"""Checks during which further signals count as the first: a CI service may send several at once, to
the process and to its group, and means one."""

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_end_times: list[float] = []
"""When signals and `--timeout` have ended the run, by the clock of `install_handlers`."""

_ended_by: list[Stopped | TimedOut] = []
"""The exceptions of those."""

_handled: list[signal.Signals] = []
"""Signals with a handler here: a shell starts background jobs with SIGINT ignored, nohup ignores
SIGHUP, and both stay ignored."""


def use_default_sigint() -> None:
    """Let SIGINT end the process without the traceback of an import, until `install_handlers`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def install_handlers(monotonic: Callable[[], float]) -> None:
    """Let the signals that stop a program raise `Stopped`, once; `monotonic` gives seconds.

    The undoing that follows must not be interrupted, and is bounded by time-outs. Whoever does not
    want to wait for it sends another signal after a second: that one ends the process at once.
    """

    def stop(signum: int, _frame: object) -> None:
        _end_times.append(monotonic())
        _set_action(signal.SIG_IGN)
        _raise_until_handled(Stopped(signum))

    _end_times.clear()
    _ended_by.clear()
    _handled[:] = [number for number in _STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    for number in _handled:
        signal.signal(number, stop)
    sys.unraisablehook = _on_dropped_exception


def _on_dropped_exception(dropped: UnraisableHookArgs) -> None:
    """Raise a signal's or a time-out's exception again that Python would only print.

    After a signal, other exceptions are those of objects that it left half made: ignore them.
    """
    if isinstance(dropped.exc_value, Stopped | TimedOut):
        signal.setitimer(signal.ITIMER_REAL, _RAISE_AGAIN_DELAY, _CHECK_INTERVAL)
    elif not _end_times:
        sys.__unraisablehook__(dropped)


def _raise_until_handled(ended: Stopped | TimedOut) -> NoReturn:
    """Raise what has ended the run, and again if it was dropped.

    After a signal the default ones are restored after a second. Python drops an exception that a
    handler raises while a finalizer or a weak reference's callback runs (`_on_dropped_exception`),
    and libraries may. As long as ours is on its way, the exception being handled is ours, or has
    ours among its contexts.
    """
    checks = 0

    def check(_signum: int, _frame: object) -> None:
        nonlocal checks
        checks += 1
        if checks == _CHECKS_BEFORE_DEFAULT and isinstance(ended, Stopped):
            _set_action(signal.SIG_DFL)
        handled = sys.exc_info()[1]
        while handled is not None and not isinstance(handled, type(ended)):
            handled = handled.__context__
        if handled is None:
            raise ended

    _ended_by.append(ended)
    signal.signal(signal.SIGALRM, check)
    signal.setitimer(signal.ITIMER_REAL, _CHECK_INTERVAL, _CHECK_INTERVAL)
    raise ended


def restore_default_soon() -> None:
    """In a moment, let further signals end the process as they do by default: all is undone.

    Not at once, since signals that were sent together with the first may still be on their way.
    """

    def restore(_signum: int, _frame: object) -> None:
        _set_action(signal.SIG_DFL)

    signal.signal(signal.SIGALRM, restore)
    signal.setitimer(signal.ITIMER_REAL, _CHECK_INTERVAL)


def _set_action(action: signal.Handlers) -> None:
    for number in _handled:
        signal.signal(number, action)


def ended_at() -> float | None:
    """Return when the last signal, or `--timeout`, ended the run; None if none has."""
    return _end_times[-1] if _end_times else None


def ended_by() -> Stopped | TimedOut | None:
    """Return the exception of the last signal, or of `--timeout`, that ended the run.

    What is in C may hide it behind an exception of its own: loading a module does.
    """
    return _ended_by[-1] if _ended_by else None


def start_timeout(seconds: float, monotonic: Callable[[], float]) -> None:
    """Let `TimedOut` be raised after so many seconds."""

    def end(_signum: int, _frame: object) -> None:
        _end_times.append(monotonic())
        _raise_until_handled(TimedOut(seconds))

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def cancel_timeout() -> None:
    """Raise no `TimedOut` any more."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def signal_name(signum: int) -> str:
    """Return `SIGTERM` for 15."""
    return signal.Signals(signum).name
