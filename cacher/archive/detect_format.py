"""The format of a stream by its first bytes: zstd, another compression, or an archive.

The one place for magic numbers of formats; those of zstd are in `zstd_frames.py`.
"""

from __future__ import annotations

from cacher.archive.zstd_frames import ZSTD_MAGIC, is_skippable
from cacher.errors import IntegrityError

HEAD_SIZE = 512
"""Bytes that are enough to detect every format: a tar header."""

ZSTD, GZIP, XZ, BZIP2, LZ4, ZIP = "zstd", "gzip", "xz", "bzip2", "lz4", "a zip archive"
_EMPTY_ZIP, _SEVEN_ZIP = "an empty zip archive", "a 7z archive"
_TAR = "a tar archive without compression"

_MAGICS = (
    (b"\x1f\x8b", 0, GZIP),
    (b"\xfd7zXZ\0", 0, XZ),
    (b"BZh", 0, BZIP2),
    (b"\x04\x22\x4d\x18", 0, LZ4),
    (b"PK\x03\x04", 0, ZIP),
    (b"PK\x05\x06", 0, _EMPTY_ZIP),
    (b"7z\xbc\xaf\x27\x1c", 0, _SEVEN_ZIP),
    # POSIX ustar and pax, and GNU's: both begin so.
    (b"ustar", 257, _TAR),
)

_TAR_FLAGS = {GZIP: "z", XZ: "J", BZIP2: "j", _TAR: ""}
"""How tar is called to unpack a directory in that format."""


def detect_format(head: bytes) -> str | None:
    """Return the name of a stream's format, None for one that is not known here.

    `head` is its first `HEAD_SIZE` bytes, or all of a shorter stream. A tar archive older than
    POSIX has no magic number and is not recognised.
    """
    magic = int.from_bytes(head[:4], "little")
    if len(head) >= 4 and (magic == ZSTD_MAGIC or is_skippable(magic)):
        return ZSTD
    return next((name for magic, start, name in _MAGICS if head.startswith(magic, start)), None)


def require_zstd(head: bytes) -> None:
    """Raise `IntegrityError`, with a hint how to unpack it, unless a stream begins as zstd does.

    `head` is its first `HEAD_SIZE` bytes, or all of a shorter stream.
    """
    if not head:
        raise IntegrityError("it is empty")
    # A stream that is cut off within the first four bytes is for the decoder to refuse.
    if len(head) < 4 or (name := detect_format(head)) == ZSTD:
        return
    if name is None:
        raise IntegrityError(
            "it is not a zstd stream", "`cacher download KEY FILE` fetches it as it is"
        )
    if (flag := _TAR_FLAGS.get(name)) is not None:
        unpack = f"if it has a directory, `cacher download KEY - | tar x{flag} -C DIR` unpacks it"
    else:
        unpack = "`cacher download KEY FILE` fetches it, to be unpacked in DIR"
    raise IntegrityError(
        f"it is {name}, not zstd",
        f"{unpack}; `cacher dir upload` stores it as zstd, under another KEY",
    )
