"""Small files: whatever has the name, nobody is waited for who may never come."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from cacher.fileio import read_small
from tests.support.descriptors import open_descriptors


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"content")
    assert read_small(str(tmp_path / "f"), 100) == b"content"
    assert read_small(str(tmp_path / "f"), 3) == b"con"
    (tmp_path / "empty").touch()
    assert read_small(str(tmp_path / "empty"), 100) == b""


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    before = open_descriptors()
    with pytest.raises(IsADirectoryError):
        read_small(str(tmp_path), 100)
    with pytest.raises(FileNotFoundError):
        read_small(str(tmp_path / "missing"), 100)
    with pytest.raises(OSError, match="nobody writes to this FIFO"):
        read_small(str(tmp_path / "fifo"), 100)
    assert open_descriptors() == before


def test_a_pipe_whose_writer_takes_its_time() -> None:
    """As of `<(command)` in a shell."""
    reading, writing = os.pipe()
    waiting = threading.Event()

    def write() -> None:
        os.write(writing, b"one ")
        waiting.wait()
        os.write(writing, b"two")
        os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    threading.Timer(0.1, waiting.set).start()
    assert read_small(f"/dev/fd/{reading}", 100) == b"one two"
    thread.join()
    os.close(reading)
