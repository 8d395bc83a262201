"""The stores under contract: each is a `Subject`, and adding one is a fixture and a line.

To add a store, write a session-scoped fixture `<name>_subject` that returns a `Subject`, and name
it in `SUBJECTS`, with the mark of the server it needs (the fixture is asked for by name, too late
for marks of its own): `pytest.param("garage_subject", id="garage", marks=pytest.mark.garage)`.
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from cacher.store.base import Store
from cacher.store.local import LocalStore
from tests.contract.hands import Hands

MIB = 1 << 20

SUBJECTS = [
    pytest.param("local_subject", id="local"),
]

StoreFactory = Callable[[str], Store]
"""Makes a store whose keys lie under the given prefix."""


@dataclass(frozen=True)
class Subject:
    """A kind of store, and what its tests need to know of it."""

    make: StoreFactory

    leftovers: Callable[[], list[str]]
    """What unfinished writers left behind in the whole store: uploads, temporary files."""

    part_size: int = 5 * MIB
    """The bytes of a part of the stores that `make` makes: the tests go to both sides of it."""

    ordered: bool = True
    """Whether listings come in UTF-8 byte order."""

    crowd: int = 1001
    """How many keys fill more than one page of a listing."""


@pytest.fixture(scope="session")
def local_subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    root = tmp_path_factory.mktemp("local") / "root"

    def leftovers() -> list[str]:
        temporary = root / ".cacher" / "tmp"
        return sorted(os.listdir(temporary)) if temporary.exists() else []

    return Subject(make=lambda prefix: LocalStore(str(root), prefix), leftovers=leftovers)


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
