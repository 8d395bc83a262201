"""Archives of images as they pass: whole ones only, their end held back until it is proved."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacher.docker.image_archive import (
    SAVE_BUFFER_SIZE,
    WITHHELD_BUFFERS,
    copy_from_engine,
    copy_to_engine,
)
from cacher.errors import IntegrityError, SourceError


def archive(*sizes: int) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("manifest.json"))
        directory = tarfile.TarInfo("layers")
        directory.type = tarfile.DIRTYPE
        tar.addfile(directory)
        for number, size in enumerate(sizes):
            info = tarfile.TarInfo(f"layers/{number}")
            info.size = size
            tar.addfile(info, io.BytesIO(bytes([number + 1]) * size))
    return target.getvalue()


class FakeSource:
    def __init__(
        self, data: bytes, error: SourceError | None = None, *, lasts: bool = False
    ) -> None:
        self._file = io.BytesIO(data)
        self._error = error
        self._lasts = lasts
        self.is_finished = False

    def readinto(self, buffer: memoryview) -> int:
        return self._file.readinto(buffer)

    def discard_output(self) -> bool:
        return not self._lasts

    def finish(self) -> None:
        self.is_finished = True
        if self._error:
            raise self._error


class FakeSink:
    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: memoryview) -> None:
        self.data += data


def pieces(data: bytes, size: int) -> Callable[[], memoryview]:
    """Buffers of a ring that are used again when they may be."""
    buffers = [bytearray(size) for _ in range(WITHHELD_BUFFERS + 1)]
    stream, count = io.BytesIO(data), 0

    def next_piece() -> memoryview:
        nonlocal count
        buffer = buffers[count % len(buffers)]
        count += 1
        return memoryview(buffer)[: stream.readinto(buffer)]

    return next_piece


@pytest.mark.parametrize("sizes", [(), (0,), (1,), (511, 512, 513), (3 * SAVE_BUFFER_SIZE + 5, 1)])
def test_a_whole_archive_is_copied_and_counted(sizes: tuple[int, ...]) -> None:
    data, sink = archive(*sizes), FakeSink()
    source = FakeSource(data)
    passed = copy_from_engine(source, sink.write)
    assert bytes(sink.data) == data
    assert source.is_finished
    assert (passed.members, passed.content) == (2 + len(sizes), sum(sizes))


def test_an_archive_that_is_cut_off_is_a_failure_of_its_source() -> None:
    data = archive(1000, 2000)
    end = len(data.rstrip(b"\0"))
    for cut in [0, 1, 511, 512, 1024, 1536, 2048, 4096, end]:
        with pytest.raises(SourceError, match="not an archive of images"):
            copy_from_engine(FakeSource(data[:cut]), FakeSink().write)


def test_the_error_of_the_source_comes_first() -> None:
    with pytest.raises(SourceError, match="disk on fire"):
        copy_from_engine(
            FakeSource(archive(1000)[:700], SourceError("disk on fire")), FakeSink().write
        )


def test_a_source_that_fails_after_a_whole_archive_has_failed() -> None:
    with pytest.raises(SourceError, match="late"):
        copy_from_engine(FakeSource(archive(1000), SourceError("late")), FakeSink().write)


def test_the_error_of_a_source_of_garbage_comes_first() -> None:
    with pytest.raises(SourceError, match=r"^disk on fire$"):
        copy_from_engine(
            FakeSource(b"garbage" * 1000, SourceError("disk on fire")), FakeSink().write
        )


def test_endless_garbage_is_refused_without_waiting_for_its_end() -> None:
    source = FakeSource(b"no tar" * 1000, SourceError("must not be asked"), lasts=True)
    with pytest.raises(SourceError, match="not an archive of images"):
        copy_from_engine(source, FakeSink().write)
    assert not source.is_finished


def test_bytes_that_are_not_an_archive_are_not_shown() -> None:
    with pytest.raises(SourceError) as caught:
        copy_from_engine(FakeSource(b"garbage\x1b[2J" * 1000), FakeSink().write)
    assert "garbage" not in caught.value.message


@given(
    sizes=st.lists(st.integers(0, 5000), max_size=5),
    buffer=st.integers(1, 8).map(lambda count: count * 512),
)
def test_all_of_it_is_relayed_with_its_end_last(sizes: list[int], buffer: int) -> None:
    data, sink = archive(*sizes), FakeSink()
    passed, rest = copy_to_engine(pieces(data, buffer), sink.write)
    assert bytes(sink.data) + b"".join(map(bytes, rest)) == data
    assert len(rest) == min(WITHHELD_BUFFERS, -(-len(data) // buffer))
    assert (passed.members, passed.content) == (2 + len(sizes), sum(sizes))


def test_of_an_archive_that_is_cut_off_the_end_is_never_given() -> None:
    data = archive(9000, 100)
    for cut in range(0, len(data.rstrip(b"\0")) + 512, 512):
        sink = FakeSink()
        with pytest.raises(IntegrityError):
            copy_to_engine(pieces(data[:cut], 1024), sink.write)
        assert len(sink.data) <= max(0, cut - WITHHELD_BUFFERS * 1024 + 512)


def test_more_than_the_limit_is_refused() -> None:
    with pytest.raises(IntegrityError, match="more than 5000 bytes"):
        copy_to_engine(pieces(archive(9000), 512), FakeSink().write, 5000)


def test_an_archive_of_something_else_is_refused() -> None:
    target, sink = io.BytesIO(), FakeSink()
    with tarfile.open(fileobj=target, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("deep/manifest.json"))
    with pytest.raises(IntegrityError, match="has no images"):
        copy_to_engine(pieces(target.getvalue(), 512), sink.write)


def test_something_behind_the_end_is_refused() -> None:
    with pytest.raises(IntegrityError, match="follows the end"):
        copy_to_engine(pieces(archive(10) + b"x" * 512, 512), FakeSink().write)
