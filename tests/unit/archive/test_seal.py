"""The seal, and what is refused in its place."""

from __future__ import annotations

import hashlib
import json

import pytest

from cacher.archive.seal import SEAL_SIZE, Seal, find_seal, is_seal, parse_seal
from cacher.errors import IntegrityError
from tests.support.zstd_streams import sealed, unsealed, unzstd, zstd

SEAL = Seal("dir", 3, 1000, 4096, "ab" * 32, 1_700_000_000)


def frame_of(text: bytes) -> bytes:
    return SEAL.frame()[:8] + text.ljust(SEAL_SIZE - 8)


def test_a_seal_is_as_formats_md_says() -> None:
    frame = SEAL.frame()
    assert len(frame) == SEAL_SIZE == 512
    assert frame[:8] == bytes.fromhex("5c2a4d18f8010000")
    signature, version, fields = frame[8:].split(b" ", 2)
    assert (signature, version) == (b"cacher-seal", b"1")
    assert json.loads(fields) == SEAL._asdict()
    assert unzstd(zstd(b"data") + frame) == b"data"


def test_a_seal_is_read_back() -> None:
    assert is_seal(SEAL.frame())
    assert parse_seal(SEAL.frame()) == SEAL
    assert find_seal(b"whatever" + SEAL.frame()) == SEAL


def test_the_largest_numbers_fit() -> None:
    largest = Seal("image", 10**15, 10**18, 10**18, "f" * 64, 10**12)
    assert parse_seal(largest.frame()) == largest
    assert len(largest.frame()) == SEAL_SIZE


@pytest.mark.parametrize("tail", [b"", b"short", SEAL.frame()[1:], bytes(512)])
def test_no_seal_is_found_where_there_is_none(tail: bytes) -> None:
    assert find_seal(tail) is None


def test_in_a_frame_of_zstd_no_seal_is_found() -> None:
    assert find_seal(zstd(b"x" * 10_000)) is None


def test_fields_that_a_later_minor_form_adds_are_passed_over() -> None:
    fields = {**SEAL._asdict(), "later": True}
    assert parse_seal(frame_of(b"cacher-seal 1 " + json.dumps(fields).encode())) == SEAL


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"cacher-seal 2 {}", "version 2"),
        (b"cacher-seal x {}", "damaged"),
        (b"cacher-seal 1", "damaged"),
        (b"cacher-seal 1 {", "damaged"),
        (b"cacher-seal 1 []", "damaged"),
        (b"cacher-seal 1 {}", "damaged"),
        (b"cacher-seal 1 \xff", "damaged"),
        (b"cacher-seal 1 " + b"[" * 480, "damaged"),
    ],
)
def test_a_seal_that_makes_no_sense_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        parse_seal(frame_of(text))


@pytest.mark.parametrize(
    "change",
    [
        {"members": -1},
        {"content": "many"},
        {"size": 1.5},
        {"created": True},
        {"created": None},
        {"kind": 3},
        {"sha256": None},
    ],
)
def test_a_seal_with_a_field_of_another_kind_is_refused(change: dict[str, object]) -> None:
    fields = SEAL._asdict() | change
    with pytest.raises(IntegrityError, match="damaged"):
        parse_seal(frame_of(b"cacher-seal 1 " + json.dumps(fields).encode()))


def test_the_digest_is_of_all_the_bytes_before() -> None:
    stream = sealed(b"content" * 1000)
    seal = unsealed(stream)[1]
    assert seal
    assert seal.sha256 == hashlib.sha256(stream[:-SEAL_SIZE]).hexdigest()
    assert (seal.members, seal.content, seal.size) == (1, 7000, 7000)
