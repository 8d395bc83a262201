"""Storing, for next time, what a fallback delivered: a failure is only a warning."""

from __future__ import annotations

from collections.abc import Callable

from cacher.commands.context import Context
from cacher.errors import CacherError, TimedOut


def store_or_warn(context: Context, store: Callable[[], object]) -> bool:
    """Return whether `store` has stored it; if it raises, that is a warning.

    The build has what it wanted by now, so a store that hangs gets less time than before.
    """
    context.shorten_time_limits()
    try:
        store()
    except CacherError as error:
        context.report.warn(f"not stored for next time: {error.message}", error.hint)
        return False
    except TimedOut as error:
        late = f"not done after {error.seconds:g} s (--timeout)"
        context.report.warn(f"not stored for next time: {late}")
        return False
    return True
