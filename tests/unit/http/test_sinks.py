"""Sinks: a file that is begun anew, and a pipe that only goes on if it is the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cacher.errors import LocalError, SourceError
from cacher.http.sinks import FileSink, PipeSink


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_a_file_is_written_by_position_and_begun_anew(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w+b") as file:
        sink = FileSink(file.fileno())
        sink.begin()
        sink.write(memoryview(b"longer than"), 0)
        sink.begin()
        sink.write(memoryview(b"ab"), 0)
        sink.write(memoryview(b"cd"), 2)
    assert (tmp_path / "file").read_bytes() == b"abcd"


def test_a_full_disk_is_this_machine() -> None:
    with open("/dev/full", "wb") as file, pytest.raises(LocalError, match="no space left"):
        FileSink(file.fileno()).write(memoryview(b"x"), 0)


def test_a_pipe_goes_on_where_it_was(pipe: tuple[int, int]) -> None:
    sink = PipeSink(pipe[1], "x")
    sink.begin()
    sink.write(memoryview(b"abc"), 0)
    for step in (1, 2, 3, 4, 5):  # begun anew, in pieces of another size
        sink.begin()
        for at in range(0, 6, step):
            sink.write(memoryview(b"abcdef")[at : at + step], at)
    sink.write(memoryview(b"g"), 6)
    assert os.read(pipe[0], 100) == b"abcdefg"


def test_less_than_went_already_is_another_file(pipe: tuple[int, int]) -> None:
    sink = PipeSink(pipe[1], "http://x/y")
    sink.begin()
    sink.write(memoryview(b"abcdef"), 0)
    sink.begin()
    sink.write(memoryview(b"abc"), 0)
    with pytest.raises(SourceError, match="it was replaced meanwhile"):
        sink.end(3)
    sink.begin()
    sink.write(memoryview(b"abcdef"), 0)
    sink.end(6)


def test_another_beginning_is_refused_before_anything_of_it_goes(pipe: tuple[int, int]) -> None:
    sink = PipeSink(pipe[1], "http://x/y")
    sink.begin()
    sink.write(memoryview(b"abc"), 0)
    sink.begin()
    with pytest.raises(SourceError, match="fetching http://x/y: it was replaced meanwhile"):
        sink.write(memoryview(b"abX and more"), 0)
    assert os.read(pipe[0], 100) == b"abc"
