"""The checks of a diagnosis: what was looked at, how it is, and what was found."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from cacher.errors import CacherError, LocalError, Silent, os_reason

OK, WARN, FAIL, SKIP = "ok", "warn", "fail", "skip"


class Skipped(Exception):
    """A check makes no sense after what failed before; says why."""


class CheckWarning(Exception):
    """A check went well, but with something that deserves a warning; says what."""


class Check(NamedTuple):
    """One line: what was looked at, how it is, and what was found."""

    name: str
    state: str
    text: str
    error: CacherError | None = None


class Checklist:
    """The checks so far. `show` is called with each as it is done."""

    def __init__(self, show: Callable[[Check], None]) -> None:
        self.show = show
        self.checks: list[Check] = []

    def note(self, name: str, text: str, state: str = OK) -> None:
        """Something that is known without a check."""
        self._add(Check(name, state, text))

    def run(self, name: str, look: Callable[[], str]) -> bool:
        """One check: `look` says what it found or raises; whether it went well."""
        check = _checked(name, look)
        # Only now, as showing it may fail, which says nothing about what was looked at.
        self._add(check)
        return check.state in (OK, WARN)

    @property
    def is_silent(self) -> bool:
        """Whether a check got no answer, so that others would get none after as long a time."""
        return any(isinstance(check.error, Silent) for check in self.checks)

    def ask(self, name: str, look: Callable[[], str]) -> bool:
        """The same for a check that needs the store's answer."""

        def asked() -> str:
            if self.is_silent:
                raise Skipped("needs an answer")
            return look()

        return self.run(name, asked)

    def failed(self, name: str) -> bool:
        """Whether a check of that name failed."""
        return any(check.name == name and check.state == FAIL for check in self.checks)

    @property
    def first_error(self) -> CacherError | None:
        """What made the first check fail."""
        return next((check.error for check in self.checks if check.error), None)

    def _add(self, check: Check) -> None:
        self.checks.append(check)
        self.show(check)


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, OK, look())
    except Skipped as skipped:
        return Check(name, SKIP, str(skipped))
    except CheckWarning as doubt:
        return Check(name, WARN, str(doubt))
    except CacherError as error:
        return Check(name, FAIL, error.message, error)
    except OSError as error:
        local = LocalError(f"{name}: {os_reason(error)}")
        return Check(name, FAIL, local.message, local)


def test_entry_key() -> str:
    """A key that nobody else uses."""
    return f"cacher-doctor-{os.urandom(8).hex()}"
