"""Storing, for next time, what was got elsewhere: whatever goes wrong with it is only a warning."""

from __future__ import annotations

from collections.abc import Callable

from cacher.commands.run import Run
from cacher.errors import CacherError, TimedOut


def seeded(run: Run, store: Callable[[], object]) -> bool:
    """Whether `store` has stored it; if it raises, that is a warning.

    The build has what it wanted, so that a store which hangs may cost it less time than before.
    """
    run.hurry()
    try:
        store()
    except CacherError as error:
        run.report.warn(f"not stored for next time: {error.message}", error.hint)
        return False
    except TimedOut as error:
        late = f"not done after {error.seconds:g} s (--timeout)"
        run.report.warn(f"not stored for next time: {late}")
        return False
    return True
