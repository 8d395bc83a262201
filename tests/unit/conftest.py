"""What the tests of the double of an S3 server share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.clients import Sender
from tests.fakes.s3server import FakeS3Server


@pytest.fixture
def server() -> Iterator[FakeS3Server]:
    """A double with Garage's manners."""
    with FakeS3Server() as running:
        yield running


@pytest.fixture
def sender(server: FakeS3Server) -> Iterator[Sender]:
    """A client that sends to the double whatever it is told to."""
    with Sender(server) as ready:
        yield ready
