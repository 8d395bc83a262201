"""Frames: the walk agrees with what zstd writes, however it is cut into pieces."""

from __future__ import annotations

import os
import random
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacher.archive.zstd_frames import FrameScanner, Segment
from cacher.errors import IntegrityError
from tests.support.zstd_streams import zstd

TEXT = b"to be compressed, again and again, " * 40
NOISE = random.Random(1).randbytes(300_000)

FRAMES: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", []),
    "text": (TEXT, []),
    "one byte": (b"x", []),
    "run": (b"\0" * 400_000, []),
    "noise": (NOISE, []),
    "without checksum": (TEXT, ["--no-check"]),
    "size known": (TEXT, [f"--stream-size={len(TEXT)}"]),
    "large size known": (NOISE, [f"--stream-size={len(NOISE)}"]),
    "long": (NOISE + TEXT + NOISE, ["--long=27"]),
    "level 19": (TEXT, ["-19"]),
    "threads": (NOISE, ["-T2"]),
}


@cache
def frame_of(name: str) -> bytes:
    """What the `zstd` program writes for one of `FRAMES`."""
    data, flags = FRAMES[name]
    return zstd(data, *flags)


SKIPPABLE = {
    "none": b"",
    "empty": (0x184D2A50).to_bytes(4, "little") + bytes(4),
    "short": (0x184D2A5F).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"abc",
    "long": (0x184D2A57).to_bytes(4, "little") + (70_000).to_bytes(4, "little") + bytes(70_000),
}


def walked(stream: bytes, step: int) -> tuple[bytes, bytes, FrameScanner]:
    """The bytes of data frames, those of skippable ones, and the walker afterwards."""
    frames = FrameScanner()
    data, skipped = bytearray(), bytearray()
    for start in range(0, len(stream), step):
        for segment in frames.walk(memoryview(stream)[start : start + step]):
            (data if segment.is_data else skipped).extend(segment.view)
    return bytes(data), bytes(skipped), frames


@pytest.mark.parametrize("skippable", SKIPPABLE.values(), ids=SKIPPABLE)
@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("step", [1, 3, 4, 7, 8, 1000, 1 << 20])
def test_data_and_skippable_frames_are_known(name: str, skippable: bytes, step: int) -> None:
    frame = frame_of(name)
    if step < 1000 < len(frame):
        frame = frame_of("text")
    data, skipped, frames = walked(skippable + frame + skippable + frame + skippable, step)
    assert data == frame * 2
    assert skipped == skippable * 3
    assert frames.is_complete


@pytest.mark.parametrize("name", ["empty", "text", "one byte", "without checksum", "size known"])
def test_a_stream_that_is_cut_is_not_complete(name: str) -> None:
    frame = frame_of(name)
    whole = frame + SKIPPABLE["short"] + frame
    ends = {len(frame), len(frame) + len(SKIPPABLE["short"]), len(whole)}
    for end in range(len(whole) + 1):
        assert walked(whole[:end], 1 << 20)[2].is_complete == (end in ends), end
        assert walked(whole[:end], 5)[2].is_complete == (end in ends), end


def test_every_block_boundary_is_a_cut() -> None:
    whole = frame_of("noise")
    for end in range(0, len(whole), 509):
        assert not walked(whole[:end], 1 << 20)[2].is_complete


def test_skippable_frames_alone_are_no_stream() -> None:
    assert not walked(SKIPPABLE["short"], 100)[2].is_complete
    assert not FrameScanner().is_complete


@pytest.mark.parametrize("step", [1, 5, 100])
def test_another_format_is_refused(step: int) -> None:
    with pytest.raises(IntegrityError, match="not a zstd stream"):
        walked(b"\x1f\x8b\x08\0 gzip", step)
    with pytest.raises(IntegrityError, match="follows the end"):
        walked(frame_of("text") + b"junk", step)


def test_a_reserved_block_is_refused() -> None:
    frame = bytearray(frame_of("without checksum"))
    header = next(i for i in range(5, 12) if (frame[i] >> 1) & 3 == 2)
    frame[header] |= 0b110
    with pytest.raises(IntegrityError, match="damaged"):
        walked(bytes(frame), 100)


def test_each_skippable_frame_has_a_beginning_and_an_end() -> None:
    stream = frame_of("text") + SKIPPABLE["short"] + SKIPPABLE["empty"]
    segments = list(FrameScanner().walk(memoryview(stream)))
    found = [(s.is_data, s.begins, s.ends, len(s.view)) for s in segments]
    assert found[2:] == [
        (False, True, False, 4),
        (False, False, True, 7),
        (False, True, False, 4),
        (False, False, True, 4),
    ]


def test_data_comes_in_as_few_segments_as_there_are_pieces() -> None:
    """Blocks are no reason to cut: what is decompressed comes in large pieces."""
    segments: list[Segment] = list(FrameScanner().walk(memoryview(frame_of("noise"))))
    assert len(segments) == 2


@given(st.binary(max_size=200), st.integers(1, 50))
def test_garbage_is_refused_or_walked_whole(garbage: bytes, step: int) -> None:
    try:
        data, skipped, frames = walked(frame_of("text") + garbage, step)
    except IntegrityError:
        return
    if frames.is_complete:
        assert len(data) + len(skipped) == len(frame_of("text") + garbage)


def test_a_size_of_nothing_takes_no_memory() -> None:
    """A skippable frame may call itself 4 GiB long."""
    huge = (0x184D2A50).to_bytes(4, "little") + b"\xff" * 4 + os.urandom(1000)
    assert walked(huge, 100)[1] == huge
