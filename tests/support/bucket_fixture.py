"""A fake server, a bucket store on it, and helpers for tests of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cacher.store.s3_store import S3Store
from tests.fakes.faults import Action, Fault
from tests.fakes.profile import GARAGE, Profile
from tests.fakes.s3server import FakeS3Server
from tests.support.store_helpers import StoreHelper
from tests.support.stores import Pauses, open_fake

PART = 1 << 20
"""Bytes of a part: Garage has no minimum, but a file's parts are whole MiB."""

Take = Callable[..., bytes]
"""`take(helper, key)`: the entry's bytes, read or saved."""

read_each_way = pytest.mark.parametrize(
    "take", [StoreHelper.read, StoreHelper.save], ids=["read", "save"]
)
store_each_way = pytest.mark.parametrize("how", ["file", "stream"])


@dataclass(frozen=True)
class BucketFixture:
    """The parts that belong together; `pauses` are those that the store wanted to make."""

    server: FakeS3Server
    store: S3Store
    helper: StoreHelper
    pauses: Pauses

    def fault(self, action: Action, operation: str | None = None, **given: Any) -> Fault:
        """Let the requests that match go wrong; the fault, for its `hits`."""
        return self.server.inject(Fault(action, operation, **given))

    def seen(self) -> list[tuple[str, int]]:
        """What was asked of the server since the last look, and the status answered, in order.

        The status is 0 where there was no answer.
        """
        records = self.server.requests
        assert self.server.violations == []
        self.server.forget()
        return [(record.operation, record.status) for record in records]


@contextmanager
def bucket_fixture(
    directory: Path, profile: Profile = GARAGE, **given: Any
) -> Iterator[BucketFixture]:
    """Open a fixture for the block; at its end nothing unfinished may be left in the server.

    `given` goes to `open_fake`: without more of it, the store never waits.
    """
    with FakeS3Server(profile) as server:
        pauses = Pauses()
        store = open_fake(server, pauses, **{"part_size": PART, **given})
        yield BucketFixture(server, store, StoreHelper(store, directory), pauses)
        store.close()
        assert list(server.uploads.values()) == []
        assert server.violations == []
