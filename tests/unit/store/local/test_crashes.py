"""What a store in a directory makes of processes that die, and of many that live."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cacher.errors import StoreError
from cacher.store.local.store import LocalStore
from tests.support.local_store_helpers import files, in_child, put, read, recorded, spawn, tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(str(root), "p/q")


class TestCrashes:
    """A process may be killed between any two steps."""

    @staticmethod
    def killed_at(step: int, act: Callable[[], object]) -> bool:
        """Run `act` in a child that dies before its `step`-th change of a name; whether it died."""

        def child() -> None:
            left = step

            def counted(original: Callable[..., None]) -> Callable[..., None]:
                def call(*arguments: object, **options: object) -> None:
                    nonlocal left
                    if not left:
                        os._exit(9)
                    left -= 1
                    original(*arguments, **options)

                return call

            for name in ("unlink", "rename", "mkdir", "rmdir"):
                setattr(os, name, counted(getattr(os, name)))
            act()

        try:
            in_child(child)
        except AssertionError as error:
            assert "ended with 9" in str(error)
            return True
        return False

    def steps(self, act: Callable[[], object], prepare: Callable[[], object]) -> Iterator[int]:
        """Once for each step `act` can be killed at, before it has done nothing and almost all."""
        for step in range(100):
            prepare()
            if not self.killed_at(step, act):
                assert step > 2
                return
            yield step
        pytest.fail("it never comes to an end")

    def test_storing(self, store: LocalStore) -> None:
        seen = set()

        def prepare() -> None:
            list(store.delete(["a/k"]))

        for _ in self.steps(lambda: put(store, "a/k", b"new", recorded(b"new")), prepare):
            found = store.head("a/k")
            if found is not None:
                assert read(store, "a/k") == b"new"
            seen.add(found is not None and found.sha256 != "")
            seen.add(found is None)
            put(store, "a/k", b"next", recorded(b"next"))
            assert read(store, "a/k") == b"next"
        assert seen == {True, False}

    def test_replacing(self, store: LocalStore) -> None:
        seen = set()

        def prepare() -> None:
            put(store, "k", b"old", recorded(b"old"))

        for _ in self.steps(lambda: put(store, "k", b"new", recorded(b"new")), prepare):
            found = store.head("k")
            assert found is not None
            seen.add((read(store, "k"), bool(found.sha256)))  # never another's digest
        assert seen == {(b"old", True), (b"old", False), (b"new", False)}

    def test_deleting(self, store: LocalStore) -> None:
        seen = set()

        def prepare() -> None:
            put(store, "a/b/k", b"old", recorded(b"old"))

        def act() -> None:
            assert [gone.error for gone in store.delete(["a/b/k"])] == [None]

        for _ in self.steps(act, prepare):
            found = store.head("a/b/k")
            if found is not None:
                assert read(store, "a/b/k") == b"old"
            seen.add(found is not None)
            act()
            assert list(store.list()) == []
        assert seen == {True, False}

    @pytest.mark.parametrize("failing", range(2))
    def test_a_failure_while_publishing_leaves_nothing(
        self, root: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch, failing: int
    ) -> None:
        put(store, "other", b"")
        before = tree(root)
        original = os.rename
        calls = 0

        def rename(source: bytes, target: bytes) -> None:
            nonlocal calls
            calls += 1
            if calls > failing:
                raise OSError(5, "Input/output error")
            original(source, target)

        monkeypatch.setattr(os, "rename", rename)
        with pytest.raises(StoreError, match=r"could not store a/k .*: input/output error"):
            put(store, "a/k", b"abc")
        assert tree(root) == before
        assert not (root / "p/q/a").exists()
        assert not (root / ".cacher/meta/p/q/a").exists()


class TestStaleTemporaries:
    @pytest.fixture
    def temporaries(self, root: Path) -> Path:
        return root / ".cacher/tmp"

    @staticmethod
    def age(directory: Path, seconds: float) -> set[str]:
        """Make all temporary files older; their names."""
        names = set(os.listdir(directory))
        for name in names:
            then = os.stat(directory / name).st_mtime - seconds
            os.utime(directory / name, (then, then))
        return names

    @staticmethod
    def abandon(store: LocalStore) -> None:
        def child() -> None:
            store.create("k", {}).write(b"abc")
            os._exit(9)

        with pytest.raises(AssertionError, match="ended with 9"):
            in_child(child)

    def test_the_next_writer_sweeps_the_dead(self, store: LocalStore, temporaries: Path) -> None:
        self.abandon(store)
        dead = self.age(temporaries, 3700)
        assert len(dead) == 1
        assert store.head("k") is None
        assert list(store.list()) == []
        store.create("other", {}).close()
        assert os.listdir(temporaries) == []

    def test_the_young_are_spared(self, store: LocalStore, temporaries: Path) -> None:
        self.abandon(store)
        dead = self.age(temporaries, 3500)
        store.create("other", {}).close()
        assert set(os.listdir(temporaries)) == dead

    def test_the_living_are_spared(self, store: LocalStore, temporaries: Path) -> None:
        def child() -> bytes:
            with store.create("k", {}) as writer:
                writer.write(b"abc")
                self.age(temporaries, 7200)
                (temporaries / "ready").touch()
                while (temporaries / "ready").exists():
                    time.sleep(0.01)
                writer.commit()
            return read(store, "k")

        answer = spawn(child)
        while not (temporaries / "ready").exists():
            time.sleep(0.01)
        store.create("other", {}).close()
        (temporaries / "ready").unlink()
        assert answer() == b"abc"


class TestManyProcesses:
    def test_entries_are_whole_whoever_writes(self, root: Path, store: LocalStore) -> None:
        blobs = [random.Random(seed).randbytes(50_000 + seed) for seed in range(3)]
        put(store, "d/k", blobs[0], recorded(blobs[0]))

        def write(data: bytes) -> Callable[[], None]:
            def act() -> None:
                for _ in range(60):
                    put(store, "d/k", data, recorded(data))

            return act

        def look() -> int:
            verified = 0
            for _ in range(150):
                with store.open("d/k") or pytest.fail("missing") as reader:
                    verified += bool(reader.entry.sha256)
                assert read(store, "d/k") in blobs
            return verified

        answers = [spawn(write(data)) for data in blobs]
        looking = [spawn(look) for _ in range(2)]
        for answer in answers:
            answer()
        assert [answer() for answer in looking] == [150, 150]  # locks: metadata is always there
        assert read(store, "d/k") in blobs
        assert files(root) == {".cacher/lock", ".cacher/meta/p/q/d/k.json", "p/q/d/k"}

    def test_directories_come_and_go(self, root: Path, store: LocalStore) -> None:
        def churn(name: str) -> Callable[[], None]:
            def act() -> None:
                for _ in range(100):
                    put(store, f"a/b/{name}", b"abc", recorded(b"abc"))
                    assert read(store, f"a/b/{name}") == b"abc"
                    assert [gone.error for gone in store.delete([f"a/b/{name}"])] == [None]

            return act

        answers = [spawn(churn(name)) for name in "xyz"]
        for answer in answers:
            answer()
        assert files(root) == {".cacher/lock"}
        assert list(store.list()) == []
