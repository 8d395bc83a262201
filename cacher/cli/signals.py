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
    from types import FrameType

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

    def stop(signum: int, frame: FrameType | None) -> None:
        _end_times.append(monotonic())
        _set_action(signal.SIG_IGN)
        _raise_until_handled(signum, frame)

    _end_times.clear()
    _handled[:] = [number for number in _STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    for number in _handled:
        signal.signal(number, stop)
    sys.unraisablehook = _on_dropped_exception


def _on_dropped_exception(dropped: UnraisableHookArgs) -> None:
    """Raise a signal's or a time-out's exception again that Python would only print.

    After a signal, other exceptions are those of objects that it left half made: ignore them.
    """
    if isinstance(dropped.exc_value, Stopped):
        signal.setitimer(signal.ITIMER_REAL, _RAISE_AGAIN_DELAY, _CHECK_INTERVAL)
    elif isinstance(dropped.exc_value, TimedOut):
        signal.setitimer(signal.ITIMER_REAL, _RAISE_AGAIN_DELAY)
    elif not _end_times:
        sys.__unraisablehook__(dropped)


def _raise_until_handled(signum: int, frame: FrameType | None) -> None:
    """Raise `Stopped`, and again if it was dropped; restore default signals after a second.

    Python drops an exception that a handler raises while a finalizer or a weak reference's callback
    runs (`_on_dropped_exception`), and libraries may. As long as `Stopped` is on its way, it is the
    exception being handled, or among its contexts.
    """
    checks = 0

    def check(_signum: int, frame: FrameType | None) -> None:
        nonlocal checks
        if _is_loading(frame):
            signal.setitimer(signal.ITIMER_REAL, _RAISE_AGAIN_DELAY, _CHECK_INTERVAL)
            return
        checks += 1
        if checks == _CHECKS_BEFORE_DEFAULT:
            _set_action(signal.SIG_DFL)
        handled = sys.exc_info()[1]
        while handled is not None and not isinstance(handled, Stopped):
            handled = handled.__context__
        if handled is None:
            raise Stopped(signum)

    signal.signal(signal.SIGALRM, check)
    first = _RAISE_AGAIN_DELAY if _is_loading(frame) else _CHECK_INTERVAL
    signal.setitimer(signal.ITIMER_REAL, first, _CHECK_INTERVAL)
    if not _is_loading(frame):
        raise Stopped(signum)


def _is_loading(frame: FrameType | None) -> bool:
    """Return whether a module is being loaded, where nothing can be raised.

    A module in C may hide an exception behind one of its own, as if it were missing, and a module
    in Python may take it for an answer. It takes milliseconds.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


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


def start_timeout(seconds: float, monotonic: Callable[[], float]) -> None:
    """Let `TimedOut` be raised after so many seconds."""

    def end(_signum: int, frame: FrameType | None) -> None:
        if _is_loading(frame):
            signal.setitimer(signal.ITIMER_REAL, _RAISE_AGAIN_DELAY)
            return
        _end_times.append(monotonic())
        raise TimedOut(seconds)

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def cancel_timeout() -> None:
    """Raise no `TimedOut` any more."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def signal_name(signum: int) -> str:
    """Return `SIGTERM` for 15."""
    return signal.Signals(signum).name
