"""The format of a stream that is not zstd, by its first bytes: for people who stored it so."""

from __future__ import annotations

from typing import NamedTuple

from cacher.archive.zstd_frames import MAGIC, SKIPPABLE
from cacher.errors import IntegrityError

HEAD = 512
"""Bytes that are enough to tell: a tar header."""

_STORE = "`cacher dir upload` stores it as zstd, under another KEY"


class _Format(NamedTuple):
    name: str
    magic: bytes
    unpack: str
    """How to unpack it if it holds a directory."""
    offset: int = 0


def _tar(flag: str) -> str:
    return f"if it has a directory, `cacher download KEY - | tar x{flag} -C DIR` unpacks it"


_FILE = "`cacher download KEY FILE` fetches it, to be unpacked in DIR"

_FORMATS = (
    _Format("gzip", b"\x1f\x8b", _tar("z")),
    _Format("xz", b"\xfd7zXZ\0", _tar("J")),
    _Format("bzip2", b"BZh", _tar("j")),
    _Format("lz4", b"\x04\x22\x4d\x18", _FILE),
    _Format("a zip archive", b"PK\x03\x04", _FILE),
    _Format("an empty zip archive", b"PK\x05\x06", _FILE),
    _Format("a 7z archive", b"7z\xbc\xaf\x27\x1c", _FILE),
    # POSIX ustar and pax, and GNU's: both begin so.
    _Format("a tar archive without compression", b"ustar", _tar(""), offset=257),
)


def require_zstd(head: bytes) -> None:
    """Raises `IntegrityError` for a stream that does not begin as zstd does.

    `head` is its first `HEAD` bytes, fewer if it has no more.
    """
    if not head:
        raise IntegrityError("it is empty")
    magic = int.from_bytes(head[:4], "little")
    # A stream that is cut off within the first four bytes is for the decoder to refuse.
    if len(head) < 4 or magic == MAGIC or magic & ~0xF == SKIPPABLE:
        return
    for form in _FORMATS:
        if head.startswith(form.magic, form.offset):
            raise IntegrityError(f"it is {form.name}, not zstd", f"{form.unpack}; {_STORE}")
    raise IntegrityError(
        "it is not a zstd stream", "`cacher download KEY FILE` fetches it as it is"
    )
