"""The seal: a last frame that proves a stream complete, and that other zstd tools ignore.

One skippable frame of exactly 512 bytes (docs/formats.md), so that reading the end of an object is
enough. Knows bytes; must not know where they are stored.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from cacher.errors import IntegrityError

SEAL_SIZE = 512
"""Bytes of the whole frame, header included, in every version of the format."""

SEAL_MAGIC = 0x184D2A5C
"""One of the sixteen that zstd skips (RFC 8878, section 3.1.2); pzstd uses 0x184D2A50."""

SEAL_VERSION = 1

_HEADER = SEAL_MAGIC.to_bytes(4, "little") + (SEAL_SIZE - 8).to_bytes(4, "little")
_SIGNATURE = b"cacher-seal "


class Seal(NamedTuple):
    """The record of a stream: `size` bytes before compression, of an archive of that `kind`.

    It has `members` (files, directories, links), and `content` bytes in its files. `sha256` is the
    hex digest of all bytes before the seal; `created` is POSIX seconds.
    """

    kind: str
    members: int
    content: int
    size: int
    sha256: str
    created: int

    def frame(self) -> bytes:
        """Return the frame that ends a stream."""
        fields = json.dumps(self._asdict()).encode("ascii")
        text = b"%b%d %b\n" % (_SIGNATURE, SEAL_VERSION, fields)
        return _HEADER + text.ljust(SEAL_SIZE - len(_HEADER))


def is_seal(frame: bytes) -> bool:
    """Whether a whole skippable frame is a seal, of any version."""
    return frame[:4] == _HEADER[:4] and frame[8:].startswith(_SIGNATURE)


def parse_seal(frame: bytes) -> Seal:
    """Return the seal in a frame. Raises `IntegrityError` if it is damaged or too new."""
    version, _, text = frame[8 + len(_SIGNATURE) :].partition(b" ")
    if not version.isdigit():
        raise _damaged()
    if int(version) != SEAL_VERSION:
        raise IntegrityError(
            f"its seal has version {int(version)}, which this cacher does not know",
            "a newer cacher reads it",
        )
    try:
        fields: Any = json.loads(text)
        seal = Seal(**{name: fields[name] for name in Seal._fields})
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _damaged() from None
    counts = (seal.members, seal.content, seal.size, seal.created)
    if not all(type(count) is int and count >= 0 for count in counts):
        raise _damaged()
    if not isinstance(seal.kind, str) or not isinstance(seal.sha256, str):
        raise _damaged()
    return seal


def find_seal(tail: bytes) -> Seal | None:
    """Return the seal of a stream that ends with these bytes, None if it has none."""
    frame = tail[-SEAL_SIZE:]
    return parse_seal(frame) if len(frame) == SEAL_SIZE and is_seal(frame) else None


def _damaged() -> IntegrityError:
    return IntegrityError("its seal is damaged")
