"""What a store in a directory does when the machine does not play along."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import resource
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cacher.errors import AccessError, IntegrityError, LocalError, StoreError
from cacher.store.interface import SHA256
from cacher.store.local import files
from cacher.store.local import store as local
from cacher.store.local.store import LocalStore
from cacher.store.source_file import SourceFile
from tests.support.local_store_helpers import in_child, put, read, recorded, tree

MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(str(root), "p/q")


class TestCopying:
    @pytest.mark.parametrize("kernel", ["refuses", "has nothing", "stops half way", "is not asked"])
    def test_whatever_the_kernel_does(
        self, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: str
    ) -> None:
        original = os.copy_file_range
        calls = 0

        def fake(*arguments: int) -> int:
            nonlocal calls
            calls += 1
            if kernel == "has nothing":
                return 0
            if kernel == "stops half way" and calls % 3:
                src, dst, count, src_at, dst_at = arguments
                return original(src, dst, count // 2 + 1, src_at, dst_at)
            raise OSError(18, "cross-device link")

        if kernel == "is not asked":
            monkeypatch.delattr(os, "copy_file_range")
        else:
            monkeypatch.setattr(os, "copy_file_range", fake)
        data = random.Random(1).randbytes(3 * files.COPY_SIZE + 1)
        moved: list[int] = []
        (tmp_path / "source").write_bytes(data)
        with open(tmp_path / "source", "rb") as file:
            store.put("k", SourceFile.of(file.fileno(), "file"), recorded(data), moved.append)
        assert sum(moved) == len(data)
        with open(tmp_path / "target", "w+b") as target:
            with store.open("k", moved.append) or pytest.fail("missing") as reader:
                reader.save(target.fileno())
            assert target.read() == data
        assert sum(moved) == 2 * len(data)
        assert max(moved) <= 8 << 20
        assert bool(calls) == (kernel != "is not asked")

    def test_a_source_that_cannot_be_read(
        self, root: Path, store: LocalStore, tmp_path: Path
    ) -> None:
        (tmp_path / "source").write_bytes(b"abc")
        with (
            open(tmp_path / "source", "ab") as file,
            pytest.raises(LocalError, match="read the source"),
        ):
            store.put("k", SourceFile.of(file.fileno(), "the source"), {})
        assert store.head("k") is None
        assert os.listdir(root / ".cacher/tmp") == []


class TestOwnDirectories:
    @pytest.mark.parametrize("kind", ["file", "link"])
    @pytest.mark.parametrize("path", [".cacher", ".cacher/tmp", ".cacher/meta"])
    def test_one_that_is_something_else(
        self, root: Path, store: LocalStore, path: str, kind: str
    ) -> None:
        obstacle = root / path
        obstacle.parent.mkdir(parents=True)
        if kind == "file":
            obstacle.touch()
        else:
            obstacle.symlink_to("nowhere")
        with pytest.raises(StoreError) as caught:
            put(store, "k", b"abc", {})
        assert caught.value.message == f"{obstacle} is not a directory"
        assert caught.value.hint == "remove it: cacher makes a new directory"
        assert os.path.lexists(obstacle)
        obstacle.unlink()
        put(store, "k", b"abc", {})
        assert read(store, "k") == b"abc"


class TestMetadata:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"[]",
            b'{"format":2,"metadata":{}}',
            b'{"format":1,"metadata":{"a":1}}',
            b"\xff",
        ],
    )
    def test_damage_is_told_and_mended(self, root: Path, store: LocalStore, content: bytes) -> None:
        put(store, "k", b"abc", recorded(b"abc"))
        path = root / ".cacher/meta/p/q/k.json"
        assert json.loads(path.read_bytes())["metadata"] == recorded(b"abc")
        path.write_bytes(content)
        for act in (store.head, store.open):
            with pytest.raises(IntegrityError, match="metadata of k is damaged"):
                act("k")
        put(store, "k", b"abc", recorded(b"abc"))
        assert read(store, "k") == b"abc"
        path.write_bytes(content)
        assert [gone.error for gone in store.delete(["k"])] == [None]
        assert store.head("k") is None


class TestWithoutLocks:
    """Some file systems cannot lock, and from some we may only read."""

    @pytest.fixture
    def unlockable(self, store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
        put(store, "k", b"abc", recorded(b"abc"))

        def flock(_fd: int, _operation: int) -> None:
            raise OSError(37, "No locks available")

        monkeypatch.setattr(fcntl, "flock", flock)

    @pytest.mark.usefixtures("unlockable")
    def test_reading_goes_without(self, store: LocalStore) -> None:
        assert read(store, "k") == b"abc"

    @pytest.mark.usefixtures("unlockable")
    def test_writing_is_refused(self, root: Path, store: LocalStore) -> None:
        before = tree(root)
        with pytest.raises(StoreError, match=r"could not store l .*: no locks available"):
            put(store, "l", b"abc")
        (deletion,) = store.delete(["k"])
        assert isinstance(deletion.error, StoreError)
        assert tree(root) == before

    def test_data_and_metadata_belong_together_even_so(
        self, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(store, "k", b"old", recorded(b"old"))
        original = local._read_metadata
        rounds = 0

        def replaced_before(path: bytes, key: str) -> dict[str, str]:
            nonlocal rounds
            rounds += 1
            if rounds < 3:
                put(store, "k", b"new %d" % rounds, recorded(b"new %d" % rounds))
            return original(path, key)

        monkeypatch.setattr(local, "shared", lambda _lock: contextlib.nullcontext())
        monkeypatch.setattr(local, "_read_metadata", replaced_before)
        with store.open("k") or pytest.fail("missing") as reader:
            assert reader.entry.metadata[SHA256] == recorded(b"new 2")[SHA256]
            buffer = memoryview(bytearray(10))
            assert bytes(buffer[: reader.readinto(buffer)]) == b"new 2"
            assert reader.readinto(buffer) == 0
        assert rounds == 3


class TestReadOnly:
    @pytest.fixture
    def public(self) -> Iterator[Path]:
        """A directory which users without rights can reach."""
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o755)
            yield Path(directory) / "root"

    @staticmethod
    def unprivileged(act: Callable[[], None]) -> None:
        def child() -> None:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            act()

        in_child(child)

    @staticmethod
    def freeze(root: Path) -> None:
        for path in [root, *root.rglob("*")]:
            os.chmod(path, 0o555 if path.is_dir() else 0o444)

    @pytest.mark.parametrize("locked", [True, False])
    def test_it_can_be_read_and_refuses_the_rest(self, public: Path, locked: bool) -> None:
        store = LocalStore(str(public))
        put(store, "a/k", b"abc", recorded(b"abc"))
        if not locked:
            (public / ".cacher/lock").unlink()
        before = tree(public)
        self.freeze(public)

        def act() -> None:
            found = store.head("a/k")
            assert found is not None
            assert found.metadata == recorded(b"abc")
            assert read(store, "a/k") == b"abc"
            assert [entry.key for entry in store.list()] == ["a/k"]
            with pytest.raises(AccessError, match=r"could not store k .*: permission denied"):
                store.create("k", {})
            gone, refused = store.delete(["missing", "a/k"])
            assert gone.error is None
            assert isinstance(refused.error, AccessError)

        self.unprivileged(act)
        assert tree(public) == before
        for path in [public, *public.rglob("*")]:
            os.chmod(path, 0o755)

    def test_what_may_not_be_read_is_not_taken_for_missing(self, public: Path) -> None:
        store = LocalStore(str(public))
        put(store, "a/k", b"abc")
        put(store, "k", b"abc")
        os.chmod(public / "a", 0)
        os.chmod(public / "k", 0)

        def act() -> None:
            for key in ("a/k", "k", "a/missing"):
                with pytest.raises(AccessError, match=r"could not read .*: permission denied"):
                    store.head(key)
                with pytest.raises(AccessError):
                    store.open(key)
            with pytest.raises(AccessError, match="could not list"):
                list(store.list())

        self.unprivileged(act)
        os.chmod(public / "a", 0o755)

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs two users: run as root")
    def test_somebody_elses_directory_is_left_out_of_a_listing(self, public: Path) -> None:
        """What no store has put there: `lost+found`, another user's trash."""
        store = LocalStore(str(public))
        for key in ("a", "m/k", "z"):
            put(store, key, b"abc")
        for path, mode in (("lost+found", 0o700), ("m/.trash", 0o700), ("m/names.json", 0o744)):
            (public / path).mkdir()
            (public / path / "f").write_bytes(b"f")
            (public / path).chmod(mode)

        def act() -> None:
            assert [entry.key for entry in store.list()] == ["a", "m/k", "z"]
            assert [entry.key for entry in store.list("m/")] == ["m/k"]
            for asked_for in ("lost+found/", "m/.trash/f"):
                with pytest.raises(AccessError, match="could not list"):
                    list(store.list(asked_for))

        self.unprivileged(act)
        put(store, "m/names.json/k", b"abc")
        (public / "m/names.json").chmod(0o700)

        def fail() -> None:
            with pytest.raises(AccessError, match="could not list"):
                list(store.list())

        self.unprivileged(fail)

    def test_a_directory_of_ones_own_is_not_left_out(self, public: Path) -> None:
        store = LocalStore(str(public))

        def act() -> None:
            (public / "mine").mkdir()
            (public / "mine").chmod(0)
            with pytest.raises(AccessError, match="could not list"):
                list(store.list())
            (public / "mine").rmdir()

        public.mkdir()
        public.chmod(0o777)
        self.unprivileged(act)


class TestOddLock:
    """Something else has the name of the lock."""

    @pytest.mark.parametrize("kind", ["FIFO", "socket", "directory", "link", "dangling", "device"])
    def test_it_is_told_at_once(self, root: Path, store: LocalStore, kind: str) -> None:
        put(store, "k", b"abc")
        before = tree(root)
        lock = root / ".cacher/lock"
        lock.unlink()
        replace(lock, kind)
        found = f"{lock} is not a regular file"
        for act in (
            lambda: store.head("k"),
            lambda: store.open("k"),
            lambda: put(store, "l", b"abc"),
        ):
            with pytest.raises(StoreError) as failure:
                act()
            assert failure.value.message == found
            assert "remove it" in failure.value.hint
        (deletion,) = store.delete(["k"])
        assert isinstance(deletion.error, StoreError)
        assert deletion.error.message == found
        assert not os.path.exists(root / "elsewhere")
        if kind == "directory":
            lock.rmdir()
        else:
            lock.unlink()
        del before[".cacher/lock"]
        assert tree(root) == before


def replace(path: Path, kind: str) -> None:
    """Put something that is not a regular file there."""
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    elif kind == "directory":
        path.mkdir()
    elif kind == "device":
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root makes devices: run as root")
    else:
        path.symlink_to("/dev/null" if kind == "link" else "../elsewhere")


class TestNoSpace:
    """Twice: with a limit any user can set, and on a file system that is full."""

    @pytest.fixture
    def big(self, tmp_path: Path) -> Iterator[int]:
        """A file of 4 MiB."""
        with open(tmp_path / "big", "w+b") as file:
            os.truncate(file.fileno(), 4 * MIB)
            yield file.fileno()

    @staticmethod
    def check(root: Path, big: int, says: str = "no space left to store k") -> None:
        """There is room for less than 4 MiB in `root`."""
        store = LocalStore(str(root))
        put(store, "there", b"abc", recorded(b"abc"))
        before = tree(root)
        with pytest.raises(LocalError, match=says):
            store.put("k", SourceFile.of(big, "big"), {})
        assert tree(root) == before
        with (
            pytest.raises(LocalError, match=says),
            store.create("k", {}) as writer,
        ):
            for _ in range(40):
                writer.write(bytes(100_000))
        assert tree(root) == before
        assert read(store, "there") == b"abc"
        put(store, "k", bytes(500_000))
        assert [entry.key for entry in store.list()] == ["k", "there"]

    def test_a_limit(self, root: Path, big: int) -> None:
        def child() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))
            self.check(root, big, "could not store k in .*: file too large")

        in_child(child)

    def test_a_write_that_failed_cannot_be_committed(
        self, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def pwrite(*_arguments: object) -> int:
            raise OSError(28, "No space left on device")

        writer = store.create("k", {})
        writer.write(b"abc")
        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", pwrite)
            with pytest.raises(LocalError, match="no space left"):
                writer.write(b"def")
        with pytest.raises(ValueError, match="closed"):
            writer.commit()
        assert store.head("k") is None

    @pytest.fixture
    def tiny(self, tmp_path: Path) -> Iterator[Path]:
        """A file system of one MiB."""
        if os.geteuid():
            pytest.skip("only root may mount; test_a_limit goes the same way without")
        place = tmp_path / "tiny"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)

    def test_a_full_file_system(self, tiny: Path, big: int) -> None:
        self.check(tiny, big)

    def test_saving_where_there_is_none(self, tiny: Path, store: LocalStore) -> None:
        put(store, "k", bytes(2 * MIB))
        with (
            open(tiny / "target", "w+b") as file,
            store.open("k") or pytest.fail("missing") as reader,
            pytest.raises(LocalError, match="no space left to save k"),
        ):
            reader.save(file.fileno())
