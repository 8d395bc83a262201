"""Request bodies: the same bytes each time, or an error; what the meter is told."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cacher.errors import LocalError
from cacher.s3.request_body import SEND_SIZE, FileBody, MemoryBody, SignedBody
from cacher.s3.thread_pool import Cancelled

DATA = random.Random(2).randbytes(3 * SEND_SIZE + 17)
SIZES = [0, 1, SEND_SIZE - 1, SEND_SIZE, SEND_SIZE + 1, 3 * SEND_SIZE + 17]


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    fd = os.open(path, os.O_RDWR)
    yield fd
    os.close(fd)


def sent(body: SignedBody) -> bytes:
    """What a socket gets: each piece is used before the next is asked for."""
    data = bytearray()
    for piece in body:
        assert 0 < len(piece) <= SEND_SIZE
        data += piece
    return bytes(data)


@pytest.mark.parametrize("size", SIZES)
def test_memory_and_file_give_the_same_bytes_every_time(fd: int, size: int) -> None:
    for start in (0, 5):
        data = DATA[start : start + size]
        for body in (MemoryBody(data), FileBody(fd, start, len(data))):
            assert body.size == len(data)
            assert body.sha256 == hashlib.sha256(data).hexdigest()
            assert [sent(body), sent(body)] == [data, data]
            assert body.times_sent == 2


@pytest.mark.parametrize("size", SIZES)
def test_a_slice_can_be_loaded_whole(fd: int, size: int) -> None:
    assert FileBody(fd, 3, min(size, len(DATA) - 3)).load() == DATA[3:][:size]


def test_the_position_of_the_file_does_not_matter(fd: int) -> None:
    os.lseek(fd, 100, os.SEEK_SET)
    assert sent(FileBody(fd, 0, 10)) == DATA[:10]
    assert os.lseek(fd, 0, os.SEEK_CUR) == 100


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"xabc")[1:]])
def test_any_bytes_will_do(data: bytes | bytearray | memoryview) -> None:
    assert sent(MemoryBody(data)) == b"abc"


def test_the_meter_takes_back_what_is_sent_again(fd: int) -> None:
    for make in (
        lambda on_progress: MemoryBody(DATA, on_progress),
        lambda on_progress: FileBody(fd, 0, len(DATA), on_progress),
    ):
        reported: list[int] = []
        body = make(reported.append)
        pieces = iter(body)
        next(pieces)
        next(pieces)  # the first is known to be sent only now
        assert sum(reported) == SEND_SIZE
        assert sent(body) == DATA
        assert sum(reported) == len(DATA)
        assert min(reported) == -SEND_SIZE


def test_digesting_is_not_sending(fd: int) -> None:
    reported: list[int] = []
    body = FileBody(fd, 0, len(DATA), reported.append)
    assert body.sha256
    assert not reported
    assert body.times_sent == 0


def test_a_job_that_is_given_up_stops_the_sending() -> None:
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 2:
            raise Cancelled

    pieces = iter(MemoryBody(DATA, check=check))
    assert next(pieces) == DATA[:SEND_SIZE]
    with pytest.raises(Cancelled):
        next(pieces)


def test_a_file_that_became_shorter(fd: int) -> None:
    body = FileBody(fd, SEND_SIZE, 2 * SEND_SIZE)
    assert body.sha256
    os.ftruncate(fd, 2 * SEND_SIZE)
    with pytest.raises(LocalError, match="shorter"):
        sent(body)
    with pytest.raises(LocalError, match="shorter"):
        body.refresh()


def test_a_file_that_changed(fd: int) -> None:
    body = FileBody(fd, 0, 100)
    body.refresh()  # before anything was signed, there is nothing to compare
    before = body.sha256
    body.refresh()
    assert body.sha256 == before
    os.pwrite(fd, b"another", 50)
    with pytest.raises(LocalError, match="changed"):
        body.refresh()


def test_what_changed_elsewhere_in_the_file_does_not_matter(fd: int) -> None:
    body = FileBody(fd, 0, 100)
    before = body.sha256
    os.pwrite(fd, b"another", 100)
    body.refresh()
    assert body.sha256 == before


def test_memory_is_digested_anew() -> None:
    data = bytearray(b"abc")
    body = MemoryBody(data)
    assert body.sha256 == hashlib.sha256(b"abc").hexdigest()
    data[0] ^= 1
    body.refresh()
    assert body.sha256 == hashlib.sha256(data).hexdigest()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with (
        open(tmp_path / "write-only", "wb") as file,
        pytest.raises(LocalError, match="cannot read the file") as caught,
    ):
        sent(FileBody(file.fileno(), 0, 1))
    assert isinstance(caught.value.__cause__, OSError)
