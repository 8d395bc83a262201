"""What a store in a directory promises beyond the contract: its layout, and company."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacher.errors import IntegrityError, UsageError
from cacher.store.interface import Store
from cacher.store.local.store import LocalStore
from tests.support.local_store_helpers import files, in_child, put, read, recorded, tree

BAD_KEYS = ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "a\0b", "\ud800"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(str(root), "p/q")


class TestLayout:
    def test_what_lies_where(self, root: Path, store: LocalStore) -> None:
        put(store, "a/b", b"abc", {"note": "x"})
        assert tree(root) == {
            ".cacher/lock": b"",
            ".cacher/meta/p/q/a/b.json": b'{"format":1,"size":3,"metadata":{"note":"x"}}',
            "p/q/a/b": b"abc",
        }
        assert store.name == f"{root}/p/q"

    def test_an_entry_tells_of_its_file(self, root: Path, store: LocalStore) -> None:
        entry = put(store, "k", b"abc")
        os.utime(root / "p/q/k", ns=(0, 0x123456789))
        found = store.head("k")
        assert found is not None
        assert (found.modified, found.etag) == (0x123456789 / 1e9, '"123456789-3"')
        assert entry.etag != found.etag

    def test_modes_are_the_umask_s(self, root: Path, store: LocalStore) -> None:
        def child() -> None:
            os.umask(0o027)
            put(store, "a/b", b"abc")

        in_child(child)
        modes = {path: stat.S_IMODE(os.stat(root / path).st_mode) for path in files(root)}
        assert set(modes.values()) == {0o640}
        assert stat.S_IMODE(os.stat(root / "p/q/a").st_mode) == 0o750

    def test_it_is_a_store(self, store: LocalStore) -> None:
        as_store: Store = store
        as_store.close()

    def test_relative_roots_stay_where_they_were(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root.mkdir()
        monkeypatch.chdir(root)
        store = LocalStore("here")
        monkeypatch.chdir("/")
        put(store, "k", b"abc")
        assert (root / "here/k").read_bytes() == b"abc"


class TestKeys:
    @pytest.mark.parametrize("key", [*BAD_KEYS, "é" * 126])
    def test_what_no_directory_can_hold(self, root: Path, key: str) -> None:
        store = LocalStore(str(root))
        for act in (store.head, store.open, lambda key: store.create(key, {})):
            with pytest.raises(UsageError):
                act(key)
        (deletion,) = store.delete([key])
        assert isinstance(deletion.error, UsageError)
        assert not root.exists()

    def test_the_limit_is_named(self, store: LocalStore) -> None:
        put(store, "a/" + "s" * 250, b"abc")
        assert read(store, "a/" + "s" * 250) == b"abc"
        with pytest.raises(UsageError, match=r"segment of 251 bytes; .* takes 250"):
            store.head("a/" + "s" * 251)

    def test_the_store_s_own_name(self, root: Path, store: LocalStore) -> None:
        for key in (".cacher", ".cacher/lock"):
            with pytest.raises(UsageError, match="store's own"):
                LocalStore(str(root)).head(key)
        with pytest.raises(UsageError):
            LocalStore(str(root), ".cacher/x")
        put(store, ".cacher/lock", b"abc")  # below a prefix it is a name like any other
        assert [entry.key for entry in store.list()] == [".cacher/lock"]
        assert [entry.key for entry in LocalStore(str(root)).list()] == ["p/q/.cacher/lock"]
        assert list(LocalStore(str(root)).list(".cacher/")) == []

    def test_metadata_files_do_not_meet(self, store: LocalStore) -> None:
        keys = ["a", "a.json/b", "a.json+/b", "a.json++/b", "a.json+b", "c.json", "c.json+/d"]
        for key in keys:
            put(store, key, b"", {"of": key})
        for key in keys:
            found = store.head(key)
            assert found is not None
            assert found.metadata == {"of": key}


class TestConflicts:
    @pytest.mark.parametrize(
        ("first", "second", "named"),
        [("a", "a/b", "a"), ("a", "a/b/c", "a"), ("a/b", "a", "a/b"), ("a/b/c", "a", "a/b/c")],
    )
    def test_one_key_under_another(
        self, root: Path, store: LocalStore, first: str, second: str, named: str
    ) -> None:
        put(store, first, b"first")
        before = tree(root)
        with pytest.raises(UsageError, match=f"^{second} cannot be stored: {named} is in the way$"):
            store.create(second, {})
        assert tree(root) == before

    def test_found_at_the_commit(self, root: Path, store: LocalStore) -> None:
        with store.create("a/b", {}) as writer:
            put(store, "a", b"first")
            before = tree(root)
            with pytest.raises(UsageError, match="a is in the way"):
                writer.commit()
        assert tree(root) == {path: data for path, data in before.items() if "/tmp/" not in path}

    def test_an_entry_outside_the_prefix(self, root: Path, store: LocalStore) -> None:
        put(LocalStore(str(root)), "p", b"first")
        with pytest.raises(UsageError, match="p is in the way"):
            store.create("a", {})

    def test_an_empty_directory_is_not_in_the_way(self, root: Path, store: LocalStore) -> None:
        (root / "p/q/a").mkdir(parents=True)
        put(store, "a", b"abc")
        assert read(store, "a") == b"abc"


class TestByHand:
    """People may `cp` into and out of the directory."""

    def test_a_file_from_elsewhere_is_an_entry(self, root: Path, store: LocalStore) -> None:
        (root / "p/q/a").mkdir(parents=True)
        (root / "p/q/a/b").write_bytes(b"abc")
        assert read(store, "a/b") == b"abc"
        assert [(entry.key, entry.size) for entry in store.list()] == [("a/b", 3)]
        assert files(root) == {"p/q/a/b"}  # reading leaves nothing
        assert [gone.error for gone in store.delete(["a/b"])] == [None]
        assert sorted(os.listdir(root)) == [".cacher"]

    @pytest.mark.parametrize("data", [b"abd", b"ab", b"abcd", b""])
    def test_a_file_copied_over_an_entry_is_found_out(
        self, root: Path, store: LocalStore, data: bytes
    ) -> None:
        put(store, "k", b"abc", recorded(b"abc"))
        (root / "p/q/k").write_bytes(data)
        with pytest.raises(IntegrityError, match="digest"):
            read(store, "k")

    def test_a_file_that_shrinks_under_a_reader(self, root: Path, store: LocalStore) -> None:
        put(store, "k", b"abcdef")
        with store.open("k") or pytest.fail("missing") as reader:
            os.truncate(root / "p/q/k", 4)
            buffer = memoryview(bytearray(3))
            with pytest.raises(IntegrityError, match="truncated: 4 of 6 bytes"):
                while reader.readinto(buffer):
                    pass

    def test_a_file_that_grows_under_a_reader(
        self, root: Path, store: LocalStore, tmp_path: Path
    ) -> None:
        put(store, "k", b"abc", recorded(b"abc"))
        with store.open("k") or pytest.fail("missing") as reader:
            with open(root / "p/q/k", "ab") as file:
                file.write(b"def")
            buffer = memoryview(bytearray(10))
            assert bytes(buffer[: reader.readinto(buffer)]) == b"abc"
            assert reader.readinto(buffer) == 0
        (root / "p/q/k").write_bytes(b"abc")
        with store.open("k") or pytest.fail("missing") as reader:
            with open(root / "p/q/k", "ab") as file:
                file.write(b"def")
            with open(tmp_path / "target", "w+b") as target:
                reader.save(target.fileno())
                assert target.read() == b"abc"

    def test_links_and_special_files_are_no_entries(self, root: Path, store: LocalStore) -> None:
        put(store, "d/file", b"abc")
        base = root / "p/q"
        (base / "link").symlink_to("d/file")
        (base / "linked").symlink_to("d")
        (base / "dangling").symlink_to("nowhere")
        os.mkfifo(base / "fifo")
        (base / "d" / ("n" * 251)).touch()
        Path(os.fsdecode(os.fsencode(base) + b"/latin\xe9")).touch()
        assert [entry.key for entry in store.list()] == ["d/file"]
        for key in ("link", "dangling", "fifo", "d"):
            assert store.head(key) is None
            assert store.open(key) is None
        assert [gone.error for gone in store.delete(["link", "fifo", "d"])] == [None] * 3
        assert read(store, "d/file") == b"abc"
        assert (base / "fifo").exists()

    def test_nothing_is_written_through_a_link(
        self, root: Path, store: LocalStore, tmp_path: Path
    ) -> None:
        (tmp_path / "precious").write_bytes(b"precious")
        (root / "p/q").mkdir(parents=True)
        (root / "p/q/k").symlink_to(tmp_path / "precious")
        put(store, "k", b"abc")
        assert (tmp_path / "precious").read_bytes() == b"precious"
        assert read(store, "k") == b"abc"


class TestListing:
    segments = st.text(st.sampled_from("ab-./0~é日\U0001f600"), min_size=1, max_size=6)

    @given(
        names=st.sets(segments, max_size=30), prefix=st.sampled_from(["", "a", "a/", "a-", "b/a"])
    )
    def test_the_order_of_s3(
        self, tmp_path_factory: pytest.TempPathFactory, names: set[str], prefix: str
    ) -> None:
        store = LocalStore(str(tmp_path_factory.mktemp("listing")))
        stored = []
        for name in sorted(names):
            with contextlib.suppress(UsageError):
                put(store, name, b"")
                stored.append(name)
        expected = [name for name in sorted(stored, key=str.encode) if name.startswith(prefix)]
        assert [entry.key for entry in store.list(prefix)] == expected

    def test_what_vanishes_is_left_out(self, store: LocalStore) -> None:
        for key in ("a", "b", "c/d", "e"):
            put(store, key, b"")
        listing = store.list()
        assert next(listing).key == "a"
        list(store.delete(["b", "c/d"]))
        assert [entry.key for entry in listing] == ["e"]


class TestAbsentRoot:
    def test_reading_and_deleting_make_nothing(self, root: Path, store: LocalStore) -> None:
        assert store.head("k") is None
        assert store.open("k") is None
        assert list(store.list()) == []
        assert [gone.error for gone in store.delete(["k"])] == [None]
        assert not root.exists()


class TestDeleting:
    def test_it_leaves_no_trace(self, root: Path, store: LocalStore) -> None:
        for key in ("a/b/c", "a/b/d", "a/e", "k"):
            put(store, key, b"")
        list(store.delete(["a/b/c", "a/b/d", "k"]))
        assert files(root) == {".cacher/lock", ".cacher/meta/p/q/a/e.json", "p/q/a/e"}
        list(store.delete(["a/e"]))
        kept = {path.relative_to(root).as_posix() for path in root.rglob("*")}
        assert kept == {".cacher", ".cacher/lock", ".cacher/meta", ".cacher/tmp"}

    def test_what_a_person_has_removed_by_half(self, root: Path, store: LocalStore) -> None:
        put(store, "a/b/k", b"", {})
        shutil.rmtree(root / "p/q/a/b")
        assert store.head("a/b/k") is None
        assert [gone.error for gone in store.delete(["a/b/k"])] == [None]
        assert files(root) == {".cacher/lock"}
        assert not (root / "p").exists()

    def test_an_open_reader_goes_on(self, store: LocalStore) -> None:
        data = random.Random(1).randbytes(100_000)
        put(store, "k", data, recorded(data))
        with store.open("k") or pytest.fail("missing") as reader:
            buffer = memoryview(bytearray(60_000))
            first = bytes(buffer[: reader.readinto(buffer)])
            list(store.delete(["k"]))
            put(store, "k", b"other")
            rest = bytes(buffer[: reader.readinto(buffer)])
            assert reader.readinto(buffer) == 0
        assert first + rest == data


class TestWriter:
    def test_it_is_used_once(self, root: Path, store: LocalStore) -> None:
        writer = store.create("k", {})
        writer.commit()
        for act in (writer.commit, lambda: writer.write(b"x")):
            with pytest.raises(ValueError, match="closed"):
                act()
        closed = store.create("l", {})
        closed.close()
        with pytest.raises(ValueError, match="closed"):
            closed.commit()
        assert store.head("l") is None

    def test_the_file_counts_not_a_view_of_wide_items(self, store: LocalStore) -> None:
        with store.create("k", {}) as writer:
            writer.write(memoryview(b"12345678").cast("I"))
            assert writer.commit().size == 8
