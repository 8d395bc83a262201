"""What `doctor` prints, as data, and the stores that it is pointed at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import pytest

from tests.fakes.profile import GARAGE, Profile
from tests.fakes.s3server import FakeS3Server
from tests.support.cli_helpers import BucketPlace, Ended

NAME = slice(6, 18)
"""Columns of a line: the state before, the text behind."""


class Line(NamedTuple):
    """One check."""

    state: str
    name: str
    text: str


class Chart:
    """All lines that a run printed on stdout."""

    def __init__(self, ended: Ended) -> None:
        self.lines = [
            Line(line[: NAME.start].strip(), line[NAME].strip(), line[NAME.stop + 1 :])
            for line in ended.text.splitlines()
        ]

    def __getitem__(self, name: str) -> Line:
        """The last line of a name: settings come before the checks of the same name."""
        return [line for line in self.lines if line.name == name][-1]

    def __contains__(self, name: str) -> bool:
        return any(line.name == name for line in self.lines)

    def names(self, *states: str) -> list[str]:
        """The names of the lines in one of these states, in order."""
        return [line.name for line in self.lines if line.state in states]

    def texts(self, name: str, state: str) -> list[str]:
        """The texts of the lines with this name and state."""
        return [line.text for line in self.lines if (line.name, line.state) == (name, state)]


CHECKS: Sequence[str] = [
    *("dns", "tcp", "tls", "clock", "region", "bucket", "list", "write", "read"),
    *("conditional", "multipart", "range", "abort", "delete"),
]
"""What is looked at, once settings and credentials are known, in order."""

Serve = Callable[..., BucketPlace]
"""`serve(profile, keys=..., tls=...)`: a store that the environment names."""


@contextmanager
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Servers of any manners; nothing that a test did not put there may be left in them."""
    with ExitStack() as stack:

        def serve(profile: Profile = GARAGE, **options: Any) -> BucketPlace:
            server = stack.enter_context(FakeS3Server(profile, **options))
            stack.callback(_check, server)
            place = BucketPlace(server)
            for name, value in place.environment.items():
                monkeypatch.setenv(name, value)
            return place

        yield serve


def _check(server: FakeS3Server) -> None:
    assert not server.objects
    assert not server.uploads
    assert server.violations == []
