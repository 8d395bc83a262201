"""`VerifiedReader`: nothing but the recorded bytes gets an end."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cacher.errors import IntegrityError, LocalError
from cacher.fileio import BUFFER_SIZE
from cacher.store.interface import SHA256, Entry
from cacher.store.verified_reader import VerifiedReader

DATA = random.Random(1).randbytes(3 * BUFFER_SIZE + 5)


class FakeSource:
    """Gives `data` in steps; saves the pieces of a step in an order of its own."""

    def __init__(self, data: bytes, step: int = 1000, size: int | None = None) -> None:
        self.data = data
        self.step = step
        self.size = size
        self.position = 0
        self.closed = 0
        self.cancelled = False

    def readinto(self, buffer: memoryview) -> int:
        piece = self.data[self.position : self.position + min(self.step, len(buffer))]
        buffer[: len(piece)] = piece
        self.position += len(piece)
        return len(piece)

    def save(self, fd: int, on_written: Callable[[int], None]) -> int:
        starts = list(range(0, len(self.data), self.step))
        order = random.Random(len(starts)).sample(starts, len(starts))
        there: set[int] = set()
        end = 0
        for start in order:
            os.pwrite(fd, self.data[start : start + self.step], start)
            there.add(start)
            while end in there:
                end = min(end + self.step, len(self.data))
            on_written(end)
        return len(self.data)

    def tail(self, count: int) -> bytes:
        return self.data[-count:]

    def cancel(self) -> None:
        self.cancelled = True

    def close(self) -> None:
        self.closed += 1


def entry(data: bytes = DATA, recorded: bytes | None = None, size: int | None = None) -> Entry:
    value = hashlib.sha256(data if recorded is None else recorded).hexdigest()
    return Entry("k", len(data) if size is None else size, metadata={SHA256: value})


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def drain(reader: VerifiedReader, step: int) -> bytes:
    buffer = memoryview(bytearray(step))
    data = b""
    while count := reader.readinto(buffer):
        data += buffer[:count]
    return data


@pytest.mark.parametrize("step", [1, 2, 999, 1000, 1001])
@pytest.mark.parametrize("length", [0, 1, 2, 999, 1000, 1001])
def test_reading_proves_count_and_digest(length: int, step: int) -> None:
    data = DATA[:length]
    reader = VerifiedReader(FakeSource(data), entry(data))
    assert drain(reader, step) == data
    assert reader.readinto(memoryview(bytearray(1))) == 0


@pytest.mark.parametrize(
    "step", [1000, BUFFER_SIZE - 1, BUFFER_SIZE, BUFFER_SIZE + 1, len(DATA), 2 * len(DATA)]
)
def test_saving_proves_what_landed_in_any_order(fd: int, step: int) -> None:
    reader = VerifiedReader(FakeSource(DATA, step), entry())
    assert reader.save(fd) == hashlib.sha256(DATA).hexdigest()
    assert os.pread(fd, len(DATA) + 1, 0) == DATA


def test_saving_nothing(fd: int) -> None:
    assert VerifiedReader(FakeSource(b""), entry(b"")).save(fd) == hashlib.sha256().hexdigest()


def test_the_digest_follows_what_has_landed(fd: int) -> None:
    """Bytes changed after they landed, but before the end, have been taken already."""

    class Meddler(FakeSource):
        def save(self, fd: int, on_written: Callable[[int], None]) -> int:
            os.pwrite(fd, self.data, 0)
            on_written(10)
            os.pwrite(fd, b"0123456789", 0)
            return len(self.data)

    reader = VerifiedReader(Meddler(DATA), entry())
    assert reader.save(fd) == hashlib.sha256(DATA).hexdigest()


def test_what_is_saved_is_proved_not_what_was_fetched(fd: int) -> None:
    class Spoiler(FakeSource):
        def save(self, fd: int, on_written: Callable[[int], None]) -> int:
            os.pwrite(fd, bytes(len(self.data)), 0)
            return len(self.data)

    with pytest.raises(IntegrityError, match="digest"):
        VerifiedReader(Spoiler(DATA), entry()).save(fd)


@pytest.mark.parametrize("lost", [1, 1000, len(DATA)])
def test_truncated(fd: int, lost: int) -> None:
    held = len(DATA) - lost
    expected = f"^k is truncated: {held} of {len(DATA)} bytes$"
    for recorded in (entry(), Entry("k", len(DATA))):
        with pytest.raises(IntegrityError, match=expected):
            drain(VerifiedReader(FakeSource(DATA[:held]), recorded), 4096)
        with pytest.raises(IntegrityError, match=expected):
            VerifiedReader(FakeSource(DATA[:held]), recorded).save(fd)


def test_too_long(fd: int) -> None:
    recorded = entry(DATA[:-1])
    with pytest.raises(IntegrityError, match="too long"):
        drain(VerifiedReader(FakeSource(DATA), recorded), 4096)
    with pytest.raises(IntegrityError, match="too long"):
        VerifiedReader(FakeSource(DATA), recorded).save(fd)


def test_another_size_is_refused_before_a_byte_has_moved(fd: int) -> None:
    for size in (len(DATA) - 1, len(DATA) + 1):
        source = FakeSource(DATA, size=size)
        reader = VerifiedReader(source, entry())
        with pytest.raises(IntegrityError):
            reader.readinto(memoryview(bytearray(10)))
        with pytest.raises(IntegrityError):
            reader.save(fd)
        assert source.position == 0
        assert os.fstat(fd).st_size == 0


def test_another_digest_names_both(fd: int) -> None:
    found, recorded = hashlib.sha256(DATA).hexdigest(), hashlib.sha256(b"other").hexdigest()
    expected = f"^k has digest {found[:12]}…, recorded {recorded[:12]}…$"
    reader = VerifiedReader(FakeSource(DATA), entry(recorded=b"other"))
    for _ in range(2):
        with pytest.raises(IntegrityError, match=expected):
            drain(reader, 4096)
    with pytest.raises(IntegrityError, match=expected):
        VerifiedReader(FakeSource(DATA), entry(recorded=b"other")).save(fd)


def test_a_digest_recorded_in_capitals_is_the_same() -> None:
    value = hashlib.sha256(DATA).hexdigest().upper()
    recorded = Entry("k", len(DATA), metadata={SHA256: value})
    assert drain(VerifiedReader(FakeSource(DATA), recorded), 4096) == DATA


def test_no_digest_recorded(fd: int) -> None:
    reader = VerifiedReader(FakeSource(DATA), Entry("k", len(DATA)))
    assert reader.save(fd) == hashlib.sha256(DATA).hexdigest()


def test_a_stream_without_a_record_is_only_counted() -> None:
    reader = VerifiedReader(FakeSource(DATA), Entry("k", len(DATA)))
    assert drain(reader, 4096) == DATA
    assert reader.readinto(memoryview(bytearray(1))) == 0
    short = VerifiedReader(FakeSource(DATA[:-1]), Entry("k", len(DATA)))
    with pytest.raises(IntegrityError, match="truncated"):
        drain(short, 4096)


def test_the_tail_can_be_looked_at_first() -> None:
    reader = VerifiedReader(FakeSource(DATA), entry())
    assert reader.tail(10) == DATA[-10:]
    assert drain(reader, 4096) == DATA


def test_a_cancelled_reader_cancels_its_source() -> None:
    source = FakeSource(DATA)
    VerifiedReader(source, entry()).cancel()
    assert source.cancelled


def test_a_file_that_cannot_be_read_back(tmp_path: Path) -> None:
    with open(tmp_path / "target", "wb") as file, pytest.raises(LocalError, match="read back k"):
        VerifiedReader(FakeSource(DATA), entry()).save(file.fileno())


def test_a_file_that_shrinks(fd: int) -> None:
    class Liar(FakeSource):
        def save(self, fd: int, on_written: Callable[[int], None]) -> int:
            return len(self.data)

    with pytest.raises(LocalError, match="became shorter"):
        VerifiedReader(Liar(DATA), entry()).save(fd)


def test_it_closes_its_source() -> None:
    source = FakeSource(DATA)
    with VerifiedReader(source, entry()) as reader:
        assert reader.entry == entry()
    assert source.closed == 1
