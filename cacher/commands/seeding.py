"""Storing, for next time, what was got elsewhere: whatever goes wrong with it is only a warning."""

from __future__ import annotations

from collections.abc import Callable

from cacher.errors import CacherError, TimedOut
from cacher.report import Report


def seeded(report: Report, store: Callable[[], object]) -> bool:
    """Whether `store` has stored it; if it raises, people are told."""
    try:
        store()
    except CacherError as error:
        report.warn(f"not stored for next time: {error.message}")
        return False
    except TimedOut as error:
        report.warn(f"not stored for next time: not done after {error.seconds:g} s (--timeout)")
        return False
    return True
