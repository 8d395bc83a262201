"""The stores under contract: each is a `StoreKind`.

To add a store, write a session-scoped fixture `<name>_kind` that returns a `StoreKind`, and name
it in `STORE_KINDS`, with the mark of the server that it needs (the fixture is requested by name,
too late for its own marks).
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
from tests.support.bucket_fixture import BucketFixture, bucket_fixture
from tests.support.servers.base import Server
from tests.support.store_helpers import StoreHelper
from tests.support.store_kinds import StoreKind

STORE_KINDS = [
    pytest.param("local_kind", id="local"),
    pytest.param("fake_garage_kind", id="fake-garage"),
    pytest.param("fake_aws_kind", id="fake-aws"),
    pytest.param("fake_minio_kind", id="fake-minio"),
    pytest.param("fake_swift_kind", id="fake-swift"),
    pytest.param("fake_without_ranges_kind", id="fake-without-ranges"),
    pytest.param("fake_partial_200_kind", id="fake-partial-200"),
    pytest.param("seaweedfs_kind", id="seaweedfs", marks=pytest.mark.server),
    pytest.param("juicefs_kind", id="juicefs", marks=pytest.mark.server),
    pytest.param("garage_kind", id="garage", marks=[pytest.mark.server, pytest.mark.garage]),
]

SHORT_PAGES = 50
"""Entries on a page of the fakes' listings, but for the first one's: as good, and quicker."""


@pytest.fixture(scope="session")
def local_kind(tmp_path_factory: pytest.TempPathFactory) -> StoreKind:
    return store_kinds.directory(tmp_path_factory.mktemp("local") / "root")


def _fake(profile: Profile, part_size: int) -> Iterator[StoreKind]:
    with FakeS3Server(profile) as server:
        yield store_kinds.fake_bucket(server, part_size=part_size)


@pytest.fixture(scope="session")
def fake_garage_kind() -> Iterator[StoreKind]:
    yield from _fake(GARAGE, 5 * MIB)


@pytest.fixture(scope="session")
def fake_aws_kind() -> Iterator[StoreKind]:
    yield from _fake(replace(AWS, page_size=SHORT_PAGES), 5 * MIB)


@pytest.fixture(scope="session")
def fake_minio_kind() -> Iterator[StoreKind]:
    yield from _fake(replace(MINIO_2021, page_size=SHORT_PAGES), MIB)


@pytest.fixture(scope="session")
def fake_swift_kind() -> Iterator[StoreKind]:
    yield from _fake(replace(SWIFT, page_size=SHORT_PAGES), 5 * MIB)


@pytest.fixture(scope="session")
def fake_without_ranges_kind() -> Iterator[StoreKind]:
    yield from _fake(replace(GARAGE, ranges="ignored", page_size=SHORT_PAGES), 3 * MIB)


@pytest.fixture(scope="session")
def fake_partial_200_kind() -> Iterator[StoreKind]:
    yield from _fake(replace(GARAGE, ranges="partial-200", page_size=SHORT_PAGES), 3 * MIB)


@pytest.fixture(scope="session")
def seaweedfs_kind(seaweedfs: Server) -> StoreKind:
    return store_kinds.real_bucket(seaweedfs, ordered=False)  # it lists directory by directory


@pytest.fixture(scope="session")
def juicefs_kind(juicefs: Server) -> StoreKind:
    # While an object is replaced, one's headers may come with another's bytes, or with none of
    # its metadata: botocore sees the same.
    return store_kinds.real_bucket(juicefs, atomic=False)


@pytest.fixture(scope="session")
def garage_kind(garage: Server) -> StoreKind:
    return store_kinds.real_bucket(garage)


@pytest.fixture(scope="session", params=STORE_KINDS)
def store_kind(request: pytest.FixtureRequest) -> StoreKind:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, StoreKind)
    return found


_numbers = itertools.count(1)


@pytest.fixture
def prefix() -> str:
    """A prefix no other test has."""
    return f"contract-{os.getpid()}/{next(_numbers)}"


@pytest.fixture
def store(store_kind: StoreKind, prefix: str) -> Iterator[Store]:
    """An empty store; whatever a test does, it must leave nothing unfinished."""
    store = store_kind.make(prefix)
    yield store
    store.close()
    assert store_kind.leftovers() == []
    assert store_kind.complaints() == []


@pytest.fixture(scope="session")
def crowded(store_kind: StoreKind) -> Iterator[tuple[Store, list[str]]]:
    """A store with more entries than a page of a listing, made once, and their sorted keys."""
    store = store_kind.make(f"contract-{os.getpid()}/crowd")
    keys = [f"n/{number:05}" for number in range(store_kind.crowd - 2)] + ["n-1", "n0"]

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


FixtureMaker = Callable[..., BucketFixture]


@pytest.fixture
def make_fake(tmp_path: Path) -> Iterator[FixtureMaker]:
    """Make fixtures of any profile, as `bucket_fixture` does."""
    with ExitStack() as stack:
        yield lambda *given, **options: stack.enter_context(
            bucket_fixture(tmp_path, *given, **options)
        )


@pytest.fixture
def fake(make_fake: FixtureMaker) -> BucketFixture:
    """A fake server with the behaviour of Garage, and a store on it."""
    return make_fake()


@pytest.fixture
def helper(store: Store, tmp_path: Path) -> StoreHelper:
    return StoreHelper(store, tmp_path)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[io.FileIO]:
    with open(tmp_path / "scratch", "w+b", buffering=0) as file:
        yield file


@pytest.fixture(params=["empty", "one", "part-1", "part", "part+1", "2part+1"])
def size(request: pytest.FixtureRequest, store_kind: StoreKind) -> int:
    part = store_kind.part_size
    return {
        "empty": 0,
        "one": 1,
        "part-1": part - 1,
        "part": part,
        "part+1": part + 1,
        "2part+1": 2 * part + 1,
    }[request.param]
