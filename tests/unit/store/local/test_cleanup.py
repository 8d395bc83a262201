"""A store that was only tried leaves nothing; one that is used stays as it is."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from cacher.store.local.cleanup import none_left
from cacher.store.local.store import LocalStore


def tree(directory: Path) -> list[str]:
    """All names below a directory."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def try_it(root: Path, prefix: str = "") -> None:
    """Store an entry and delete it, as `doctor` does."""
    store = LocalStore(str(root), prefix)
    with store.create("a/b", {}) as writer:
        writer.write(b"abc")
        writer.commit()
    assert [gone.error for gone in store.delete(["a/b"])] == [None]


@pytest.mark.parametrize("below", ["store", "cache/cacher/store"])
@pytest.mark.parametrize("prefix", ["", "team/ci"])
def test_nothing_is_left_of_a_store_that_was_not_there(
    tmp_path: Path, below: str, prefix: str
) -> None:
    with none_left(str(tmp_path / below)):
        try_it(tmp_path / below, prefix)
        assert tree(tmp_path)
    assert tree(tmp_path) == []


def test_nothing_is_left_in_a_directory_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    with none_left(str(tmp_path)):
        try_it(tmp_path)
    assert tree(tmp_path) == ["file"]


def test_nor_after_a_failure(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with pytest.raises(KeyError), none_left(str(root)):
        try_it(root)
        raise KeyError
    assert tree(tmp_path) == []


def test_what_was_made_in_part_goes_too(tmp_path: Path) -> None:
    with none_left(str(tmp_path / "a/b/store")):
        (tmp_path / "a/b").mkdir(parents=True)
    assert tree(tmp_path) == []


def test_a_store_that_was_there_stays(tmp_path: Path) -> None:
    try_it(tmp_path)
    before = tree(tmp_path)
    assert ".cacher/lock" in before
    with none_left(str(tmp_path)):
        try_it(tmp_path)
    assert tree(tmp_path) == before


def test_what_is_stored_meanwhile_stays(tmp_path: Path) -> None:
    root = tmp_path / "store"
    store = LocalStore(str(root))
    with none_left(str(root)):
        with store.create("k", {}) as writer:
            writer.write(b"abc")
            writer.commit()
        try_it(root)
    assert store.head("k") is not None
    assert (root / ".cacher/lock").exists()


def test_what_is_being_stored_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "store"
    store = LocalStore(str(root))
    with none_left(str(root)):
        writer = store.create("k", {})
        try_it(root)
    with writer:
        writer.commit()
    assert store.head("k") is not None


def test_where_it_cannot_be_undone_it_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    with none_left(str(tmp_path / "store")):
        try_it(tmp_path / "store")
        monkeypatch.setattr(os, "rmdir", refuse)
    assert (tmp_path / "store").exists()


def test_writers_and_trials_at_once(tmp_path: Path) -> None:
    """Whatever a trial takes away, no entry that was stored is lost, and no writer fails."""
    over = threading.Event()
    roots = [tmp_path / str(number) for number in range(100)]

    def tries() -> None:
        while not over.is_set():
            for root in roots:
                with none_left(str(root)):
                    pass

    trial = threading.Thread(target=tries)
    trial.start()
    try:
        for root in roots:
            with LocalStore(str(root)).create("k", {}) as writer:
                writer.write(b"abc")
                writer.commit()
    finally:
        over.set()
        trial.join()
    assert all(LocalStore(str(root)).head("k") for root in roots)
