"""Archives in each format: detected, decompressed, and refused when they are cut off."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
from typing import Literal

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cacher.archive.decompress import open_decompressed
from cacher.errors import IntegrityError
from tests.support.zstd_streams import no_clock

DATA = random.Random(1).randbytes(70_000) + bytes(70_000)


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def content(wrapped: bytes, *, at_once: int = 1 << 20, room: int = 50_000) -> bytes:
    stream, found = io.BytesIO(wrapped), bytearray()
    buffer = memoryview(bytearray(room))

    def read(view: memoryview) -> int:
        return stream.readinto(view[:at_once])

    with open_decompressed(read, no_clock) as readinto:
        while count := readinto(buffer):
            found += buffer[:count]
            if count < room:
                assert not readinto(buffer)
                break
    return bytes(found)


@pytest.mark.parametrize("at_once", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize("wrap", [gzip.compress, zstd])
@pytest.mark.parametrize("data", [b"", b"x", b"short", DATA], ids=["none", "one", "few", "many"])
def test_content_comes_out(wrap: object, data: bytes, at_once: int) -> None:
    assert callable(wrap)
    if at_once == 1:
        data = data[:3000]
    assert content(wrap(data), at_once=at_once) == data


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("at_once", [1, 7, 4096, 1 << 20])
def test_tar_comes_out_as_it_is(form: Literal[0, 1, 2], at_once: int) -> None:
    data = tarfile.TarInfo("name").tobuf(form) + bytes(3000)
    assert content(data, at_once=at_once) == data


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "it is empty"), (b"hello\n", "it is not a tar"), (b"<p>" * 1000, "it is not a tar")],
)
def test_an_unknown_format_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(IntegrityError, match=reason):
        content(data)


def test_gzip_may_have_members_and_padding() -> None:
    wrapped = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two") + bytes(700)
    assert content(wrapped) == b"onetwo"
    assert content(wrapped, at_once=1) == b"onetwo"


def test_zstd_may_begin_with_a_skippable_frame() -> None:
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    assert content(skippable + zstd(b"x")) == b"x"


@pytest.mark.parametrize("wrap", [gzip.compress, zstd])
def test_a_stream_that_is_cut_off_is_refused(wrap: object) -> None:
    assert callable(wrap)
    wrapped = wrap(DATA[:3000])
    for cut in range(6, len(wrapped)):
        with pytest.raises(IntegrityError, match=r"cut off|damaged"):
            content(wrapped[:cut])


@given(at=st.integers(10, 2000), bit=st.integers(0, 7))
def test_damaged_gzip_gives_nothing_else(at: int, bit: int) -> None:
    wrapped = bytearray(gzip.compress(DATA[:3000], mtime=0))
    wrapped[at] ^= 1 << bit
    try:
        assert content(bytes(wrapped)) == DATA[:3000]  # a bit that nobody reads
    except IntegrityError as error:
        assert "gzip stream" in error.message


def test_junk_behind_gzip_is_refused() -> None:
    with pytest.raises(IntegrityError, match="damaged"):
        content(gzip.compress(b"x") + b"junk")


@pytest.mark.parametrize(
    ("wrapped", "name"),
    [
        (lzma.compress(b"x"), "xz"),
        (bz2.compress(b"x"), "bzip2"),
        (b"\x04\x22\x4d\x18 and so on", "lz4"),
        (b"PK\x03\x04 and so on", "zip"),
    ],
)
def test_other_compressions_are_named(wrapped: bytes, name: str) -> None:
    with pytest.raises(IntegrityError, match=f"compressed by {name}"):
        content(wrapped)
