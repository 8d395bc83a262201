"""Short ways to use a store in tests, with whole byte strings."""

from __future__ import annotations

import hashlib
import random
import threading
from pathlib import Path

from cacher.fileio import OnProgress, ignore_progress
from cacher.store.interface import SHA256, Entry, Store
from cacher.store.source_file import SourceFile
from cacher.store.verified_reader import VerifiedReader


def blob(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def drain(reader: VerifiedReader, step: int = 1 << 20) -> bytes:
    buffer = memoryview(bytearray(step))
    data = bytearray()
    while count := reader.readinto(buffer):
        data += buffer[:count]
    assert reader.readinto(buffer) == 0
    return bytes(data)


class StoreHelper:
    """A store, used with whole byte strings."""

    def __init__(self, store: Store, directory: Path) -> None:
        self.store = store
        self._directory = directory
        self._lock = threading.Lock()
        self._count = 0

    def _file(self) -> Path:
        with self._lock:
            self._count += 1
            return self._directory / f"hand-{self._count}"

    def put(
        self,
        key: str,
        data: bytes,
        recorded: str | None = None,
        on_progress: OnProgress = ignore_progress,
    ) -> Entry:
        """Put `data`, with its digest unless another is `recorded` ('' is none)."""
        path = self._file()
        path.write_bytes(data)
        value = digest(data) if recorded is None else recorded
        with open(path, "rb") as file:
            metadata = {SHA256: value} if value else {}
            return self.store.put(key, SourceFile.of(file.fileno(), "file"), metadata, on_progress)

    def create(self, key: str, data: bytes, metadata: dict[str, str] | None = None) -> Entry:
        with self.store.create(key, metadata or {}) as writer:
            writer.write(data)
            return writer.commit()

    def opened(self, key: str, on_progress: OnProgress = ignore_progress) -> VerifiedReader:
        reader = self.store.open(key, on_progress)
        assert reader is not None
        return reader

    def read(
        self, key: str, step: int = 1 << 20, on_progress: OnProgress = ignore_progress
    ) -> bytes:
        with self.opened(key, on_progress) as reader:
            return drain(reader, step)

    def save(self, key: str, on_progress: OnProgress = ignore_progress) -> bytes:
        path = self._file()
        with open(path, "w+b") as file, self.opened(key, on_progress) as reader:
            reported = reader.save(file.fileno())
        data = path.read_bytes()
        assert reported == digest(data)
        return data

    def keys(self, prefix: str = "") -> list[str]:
        return sorted((entry.key for entry in self.store.list(prefix)), key=str.encode)


class ByteCounter:
    """A progress callback that adds up, from any thread."""

    def __init__(self) -> None:
        self.total = 0
        self._lock = threading.Lock()

    def __call__(self, count: int) -> None:
        with self._lock:
            self.total += count
