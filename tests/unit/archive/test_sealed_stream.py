"""Sealed streams: whole, byte by byte, cut anywhere, damaged, and with something behind them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacher.archive import zstd_settings
from cacher.archive.seal import SEAL_SIZE, find_seal
from cacher.archive.sealed_stream import SealedReader
from cacher.archive.zstd import Compressor
from cacher.errors import IntegrityError, UsageError
from cacher.fileio import BUFFER_SIZE
from tests.support.zstd_streams import no_clock, sealed, source, unsealed, unzstd, zstd

TEXT = b"some text, which comes again and again. " * 60
NOISE = random.Random(2).randbytes(400_000)
STREAM = sealed(TEXT)
FOREIGN = (0x184D2A50).to_bytes(4, "little") + (4).to_bytes(4, "little") + b"\1\2\3\4"


@given(st.binary(max_size=3000), st.integers(1, 700), st.integers(1, 700), st.integers(1, 700))
@settings(max_examples=60)
def test_reading_returns_written_data(data: bytes, written: int, read: int, buffer: int) -> None:
    stream = sealed(data, step=written)
    content, seal = unsealed(stream, step=read, buffer=buffer)
    assert content == data
    assert seal
    assert (seal.size, seal.kind) == (len(data), "dir")
    assert unzstd(stream) == data


def test_large_streams_fill_every_buffer() -> None:
    data = random.Random(3).randbytes(9 * BUFFER_SIZE)
    stream = sealed(data)
    assert len(stream) > 8 * BUFFER_SIZE
    buffer = memoryview(bytearray(1 << 20))
    sizes = []
    with SealedReader(source(stream), no_clock) as reader:
        while count := reader.readinto(buffer):
            sizes.append(count)
    assert sum(sizes) == len(data)
    assert set(sizes[:-1]) == {1 << 20}


def test_the_same_data_gives_the_same_bytes() -> None:
    """Whatever the threads, and however it comes."""
    data = (NOISE + TEXT * 300) * 30
    streams = {
        sealed(data, workers=workers, step=step)
        for workers, step in ((1, 1 << 20), (2, 1 << 20), (5, 1 << 20), (2, 333_333))
    }
    assert len(streams) == 1


def test_levels_are_those_of_zstd() -> None:
    assert len(sealed(TEXT * 50, level=19)) < len(sealed(TEXT * 50, level=1))
    assert unsealed(sealed(TEXT, level=19))[0] == TEXT
    for level in (0, -1, 20, 23):
        with pytest.raises(UsageError, match=f"--level {level}"):
            Compressor(level)


@pytest.mark.parametrize("step", [0, 1])
def test_a_stream_that_is_cut_is_refused(step: int) -> None:
    for end in range(len(STREAM)):
        if end == len(STREAM) - SEAL_SIZE:
            assert unsealed(STREAM[:end], step=step) == (TEXT, None)
            continue
        with pytest.raises(IntegrityError, match="cut off"):
            unsealed(STREAM[:end], step=step)


def test_every_byte_before_the_seal_counts() -> None:
    for position in range(len(STREAM) - SEAL_SIZE):
        damaged = bytearray(STREAM)
        damaged[position] ^= 0x10
        with pytest.raises(IntegrityError):
            unsealed(bytes(damaged))


@pytest.mark.parametrize("junk", [b"\0", b"junk", STREAM, FOREIGN, STREAM[-512:]])
@pytest.mark.parametrize("step", [0, 1, 100])
def test_nothing_may_follow_the_seal(junk: bytes, step: int) -> None:
    with pytest.raises(IntegrityError):
        unsealed(STREAM + junk, step=step)


@pytest.mark.parametrize("step", [0, 1, 100])
def test_no_frame_of_zstd_may_follow_the_seal(step: int) -> None:
    with pytest.raises(IntegrityError):
        unsealed(STREAM + zstd(b""), step=step)


def test_a_seal_of_other_bytes_is_refused() -> None:
    other = sealed(TEXT + b"more")
    with pytest.raises(IntegrityError, match="not those that were sealed"):
        unsealed(STREAM[:-512] + other[-512:])


def test_a_seal_that_lies_about_the_size_is_refused() -> None:
    seal = find_seal(STREAM)
    assert seal
    lie = seal._replace(size=seal.size + 1)
    with pytest.raises(IntegrityError, match="another size"):
        unsealed(STREAM[:-512] + lie.frame())


def test_streams_of_other_programs_are_read() -> None:
    for stream in (
        zstd(TEXT),
        zstd(TEXT, "-19"),
        zstd(TEXT, "--no-check"),
        zstd(TEXT, "--long=27"),
        zstd(TEXT[:100]) + zstd(b"") + zstd(TEXT[100:]),
        FOREIGN + zstd(TEXT[:100]) + FOREIGN + zstd(TEXT[100:]) + FOREIGN,
    ):
        assert unsealed(stream) == (TEXT, None)
        assert unsealed(stream, step=1) == (TEXT, None)
        for end in (1, 5, len(stream) - 1):
            with pytest.raises(IntegrityError):
                unsealed(stream[:end])


def test_a_window_that_zstd_would_refuse_is_refused() -> None:
    frame = bytearray(zstd(NOISE, "--no-check"))
    assert not frame[4] & 0x20
    frame[5] = (29 - 10) << 3
    with pytest.raises(IntegrityError, match="window"):
        unsealed(bytes(frame))


def test_another_format_is_refused() -> None:
    for stream in (b"", b"x", b"plain text", b"\x1f\x8b\x08\0\0\0\0\0"):
        with pytest.raises(IntegrityError):
            unsealed(stream)


def test_failures_of_the_source_pass_through() -> None:
    def fail(_buffer: memoryview) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), SealedReader(fail, no_clock) as reader:
        reader.readinto(memoryview(bytearray(10)))


def test_cut_at_every_block() -> None:
    """zstandard's reader takes each of these for the end."""
    stream = sealed(NOISE)
    for end in range(0, len(stream) - SEAL_SIZE, 1021):
        with pytest.raises(IntegrityError, match="cut off"):
            unsealed(stream[:end])


def test_threads_are_those_of_the_machine_within_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(64)), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert zstd_settings.default_threads() == zstd_settings.MAX_THREADS
