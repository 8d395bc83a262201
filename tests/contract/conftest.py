"""The stores under contract: each is a `Subject`, and adding one is a fixture and a line.

To add a store, write a session-scoped fixture `<name>_subject` that returns a `Subject`, and name
it in `SUBJECTS`, with the mark of the server it needs (the fixture is asked for by name, too late
for marks of its own).
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from cacher.store.interface import Store
from tests.fakes.profile import AWS, GARAGE, MIB, MINIO_2021, SWIFT, Profile
from tests.fakes.s3server import FakeS3Server
from tests.support import store_kinds
from tests.support.bucket_fixture import Rig, rigged
from tests.support.servers.base import Server
from tests.support.store_helpers import Hands
from tests.support.store_kinds import Subject

SUBJECTS = [
    pytest.param("local_subject", id="local"),
    pytest.param("fake_garage_subject", id="fake-garage"),
    pytest.param("fake_aws_subject", id="fake-aws"),
    pytest.param("fake_minio_subject", id="fake-minio"),
    pytest.param("fake_swift_subject", id="fake-swift"),
    pytest.param("fake_without_ranges_subject", id="fake-without-ranges"),
    pytest.param("fake_partial_200_subject", id="fake-partial-200"),
    pytest.param("seaweedfs_subject", id="seaweedfs", marks=pytest.mark.server),
    pytest.param("juicefs_subject", id="juicefs", marks=pytest.mark.server),
    pytest.param("garage_subject", id="garage", marks=[pytest.mark.server, pytest.mark.garage]),
]

SHORT_PAGES = 50
"""Entries on a page of the fakes' listings, but for the first one's: as good, and quicker."""


@pytest.fixture(scope="session")
def local_subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return store_kinds.directory(tmp_path_factory.mktemp("local") / "root")


def _fake(profile: Profile, part_size: int) -> Iterator[Subject]:
    with FakeS3Server(profile) as server:
        yield store_kinds.fake_bucket(server, part_size=part_size)


@pytest.fixture(scope="session")
def fake_garage_subject() -> Iterator[Subject]:
    yield from _fake(GARAGE, 5 * MIB)


@pytest.fixture(scope="session")
def fake_aws_subject() -> Iterator[Subject]:
    yield from _fake(replace(AWS, page_size=SHORT_PAGES), 5 * MIB)


@pytest.fixture(scope="session")
def fake_minio_subject() -> Iterator[Subject]:
    yield from _fake(replace(MINIO_2021, page_size=SHORT_PAGES), MIB)


@pytest.fixture(scope="session")
def fake_swift_subject() -> Iterator[Subject]:
    yield from _fake(replace(SWIFT, page_size=SHORT_PAGES), 5 * MIB)


@pytest.fixture(scope="session")
def fake_without_ranges_subject() -> Iterator[Subject]:
    yield from _fake(replace(GARAGE, ranges="ignored", page_size=SHORT_PAGES), 3 * MIB)


@pytest.fixture(scope="session")
def fake_partial_200_subject() -> Iterator[Subject]:
    yield from _fake(replace(GARAGE, ranges="partial-200", page_size=SHORT_PAGES), 3 * MIB)


@pytest.fixture(scope="session")
def seaweedfs_subject(seaweedfs: Server) -> Subject:
    return store_kinds.real_bucket(seaweedfs, ordered=False)  # it lists directory by directory


@pytest.fixture(scope="session")
def juicefs_subject(juicefs: Server) -> Subject:
    # While an object is replaced, one's headers may come with another's bytes, or with none of
    # its metadata: botocore sees the same.
    return store_kinds.real_bucket(juicefs, atomic=False)


@pytest.fixture(scope="session")
def garage_subject(garage: Server) -> Subject:
    return store_kinds.real_bucket(garage)


@pytest.fixture(scope="session", params=SUBJECTS)
def subject(request: pytest.FixtureRequest) -> Subject:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Subject)
    return found


_numbers = itertools.count(1)


@pytest.fixture
def prefix() -> str:
    """A prefix no other test has."""
    return f"contract-{os.getpid()}/{next(_numbers)}"


@pytest.fixture
def store(subject: Subject, prefix: str) -> Iterator[Store]:
    """An empty store; whatever a test does, it must leave nothing unfinished."""
    store = subject.make(prefix)
    yield store
    store.close()
    assert subject.leftovers() == []
    assert subject.complaints() == []


@pytest.fixture(scope="session")
def crowded(subject: Subject) -> Iterator[tuple[Store, list[str]]]:
    """A store with more entries than a page of a listing, made once, and their sorted keys."""
    store = subject.make(f"contract-{os.getpid()}/crowd")
    keys = [f"n/{number:05}" for number in range(subject.crowd - 2)] + ["n-1", "n0"]

    def put(key: str) -> None:
        with store.create(key, {}) as writer:
            writer.write(key.encode())
            writer.commit()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, keys))
    yield store, sorted(keys, key=str.encode)
    assert {deletion.error for deletion in store.delete(keys)} == {None}
    assert list(store.list()) == []
    store.close()


RigMaker = Callable[..., Rig]


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[RigMaker]:
    """Makes rigs of any profile, as `rigged` does."""
    with ExitStack() as rigs:
        yield lambda *given, **options: rigs.enter_context(rigged(tmp_path, *given, **options))


@pytest.fixture
def rig(make_rig: RigMaker) -> Rig:
    """A rig with Garage's manners."""
    return make_rig()


@pytest.fixture
def hands(store: Store, tmp_path: Path) -> Hands:
    return Hands(store, tmp_path)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[io.FileIO]:
    with open(tmp_path / "scratch", "w+b", buffering=0) as file:
        yield file


@pytest.fixture(params=["empty", "one", "part-1", "part", "part+1", "2part+1"])
def size(request: pytest.FixtureRequest, subject: Subject) -> int:
    part = subject.part_size
    return {
        "empty": 0,
        "one": 1,
        "part-1": part - 1,
        "part": part,
        "part+1": part + 1,
        "2part+1": 2 * part + 1,
    }[request.param]
