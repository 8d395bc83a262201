"""The checks of a diagnosis: their names, states and findings."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, ParamSpec

from cacher.errors import CacherError, LocalError, Silent, os_reason

OK, WARN, FAIL, SKIP = "ok", "warn", "fail", "skip"


_Arguments = ParamSpec("_Arguments")


class Skipped(Exception):
    """A check is left out after an earlier failure. The text says why."""


class CheckWarning(Exception):
    """A check succeeded with a warning, which is the text."""


class Check(NamedTuple):
    """One line: the name of a check, its state, and its finding."""

    name: str
    state: str
    text: str
    error: CacherError | None = None


class Checklist:
    """The checks so far. `show` is called with each as it is done."""

    def __init__(self, show: Callable[[Check], None] | None = None) -> None:
        self._show = show
        self.checks: list[Check] = []

    def note(self, name: str, text: str, state: str = OK) -> None:
        """Add a line that needs no check."""
        self._add(Check(name, state, text))

    def run(
        self,
        name: str,
        look: Callable[_Arguments, str],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> bool:
        """Run a check: `look` returns its finding or raises. Returns whether it succeeded."""
        check = _checked(name, partial(look, *args, **kwargs))
        # Outside of the check: an error of showing the line is not a finding.
        self._add(check)
        return check.state in (OK, WARN)

    @property
    def is_silent(self) -> bool:
        """Whether a check got no answer; others would wait as long for none."""
        return any(isinstance(check.error, Silent) for check in self.checks)

    def ask(
        self,
        name: str,
        look: Callable[_Arguments, str],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> bool:
        """Run a check that needs an answer of the store."""
        if not self.is_silent:
            return self.run(name, look, *args, **kwargs)
        self.note(name, "needs an answer", SKIP)
        return False

    def failed(self, name: str) -> bool:
        """Whether a check of that name failed."""
        return any(check.name == name and check.state == FAIL for check in self.checks)

    @property
    def first_error(self) -> CacherError | None:
        """The error of the first check that failed."""
        return next((check.error for check in self.checks if check.error), None)

    def _add(self, check: Check) -> None:
        self.checks.append(check)
        if self._show:
            self._show(check)


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, OK, look())
    except Skipped as skipped:
        return Check(name, SKIP, str(skipped))
    except CheckWarning as warning:
        return Check(name, WARN, str(warning))
    except CacherError as error:
        return Check(name, FAIL, error.message, error)
    except OSError as error:
        local = LocalError(f"{name}: {os_reason(error)}")
        return Check(name, FAIL, local.message, local)


def test_entry_key() -> str:
    """Return a random key for a test entry."""
    return f"cacher-doctor-{os.urandom(8).hex()}"
