"""DEST as a stream: devices, FIFOs and stdout get their bytes once all of them are proved."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from cacher.commands import output_file
from cacher.commands.output_file import SpooledDestination, is_stream
from cacher.errors import LocalError
from cacher.fileio import BUFFER_SIZE

LONG = 300.0
"""Seconds that nothing here may take."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.mark.parametrize(
    "dest", ["-", "/dev/null", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "fifo", "to-fifo"]
)
def test_streams(here: Path, dest: str) -> None:
    os.mkfifo("fifo")
    (here / "to-fifo").symlink_to("fifo")
    assert is_stream(dest)


@pytest.mark.parametrize("dest", ["absent", "plain", "./-", "dangling", "/dev/absent", "/device"])
def test_what_is_no_stream(here: Path, dest: str) -> None:
    (here / "plain").write_bytes(b"")
    (here / "dangling").symlink_to("absent")
    assert not is_stream(dest)


def test_shared_memory_holds_plain_files() -> None:
    name = f"/dev/shm/cacher-test-{os.getpid()}"
    if not os.path.isdir("/dev/shm"):
        assert not is_stream(name)
        return
    Path(name).touch()
    try:
        assert not is_stream(name)
    finally:
        os.unlink(name)


def test_a_fifo_gets_its_bytes_once_they_are_published(here: Path) -> None:
    os.mkfifo("fifo")
    data = os.urandom(3 * BUFFER_SIZE + 1)
    received: list[bytes] = []
    reader = threading.Thread(
        target=lambda: received.append((here / "fifo").read_bytes()), daemon=True
    )
    with SpooledDestination("fifo") as place:
        os.pwrite(place.fd, data, 0)
        reader.start()
        place.publish()
    reader.join(LONG)
    assert received == [data]
    assert stat.S_ISFIFO((here / "fifo").lstat().st_mode)
    assert os.listdir() == ["fifo"]


def test_a_device_stays_one() -> None:
    with SpooledDestination("/dev/null") as place:
        os.pwrite(place.fd, b"new", 0)
        place.publish()
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("dest", ["-", "/dev/stdout"])
def test_stdout_goes_on_where_it_is(dest: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Opened anew, a file behind it would be written over from its beginning."""
    os.write(1, b"before ")
    with SpooledDestination(dest) as place:
        os.pwrite(place.fd, b"new", 0)
        place.publish()
    os.write(1, b" after")
    assert capfd.readouterr().out == "before new after"


def test_a_spool_has_no_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(here))
    with SpooledDestination("-") as place:
        os.pwrite(place.fd, b"new", 0)
        assert os.listdir() == []


def test_no_place_for_a_spool(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(here / "absent"))
    with pytest.raises(LocalError, match="cannot make a temporary file") as caught:
        SpooledDestination("-")
    assert "TMPDIR" in caught.value.hint


def test_a_reader_that_is_gone() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        for name in ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
            with pytest.raises(BrokenPipeError):
                output_file.write_stream(writer, memoryview(b"new"), name)
        with pytest.raises(LocalError, match=r"^writing fifo: its reader is gone$"):
            output_file.write_stream(writer, memoryview(b"new"), "fifo")
    finally:
        os.close(writer)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
def test_a_full_device() -> None:
    with SpooledDestination("/dev/full") as place:
        os.pwrite(place.fd, b"new", 0)
        with pytest.raises(LocalError, match="writing /dev/full: no space left on device"):
            place.publish()


def test_a_stream_that_cannot_be_opened(here: Path) -> None:
    with pytest.raises(LocalError, match="opening absent: no such file or directory"):
        output_file.open_stream("absent")
