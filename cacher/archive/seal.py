"""The seal: a last frame that proves a stream whole, and that no other zstd tool looks at.

One skippable frame of exactly 512 bytes (docs/formats.md), so that the end of an object is all it
takes to read it. Knows bytes; must not know where they are kept.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from cacher.errors import IntegrityError

SIZE = 512
"""Bytes of the whole frame, header included, in every version of the format."""

MAGIC = 0x184D2A5C
"""One of the sixteen that zstd skips (RFC 8878, section 3.1.2); pzstd uses 0x184D2A50."""

FORMAT = 1

_HEADER = MAGIC.to_bytes(4, "little") + (SIZE - 8).to_bytes(4, "little")
_SIGNATURE = b"cacher-seal "


class Seal(NamedTuple):
    """What was stored: `size` bytes, before they were compressed, of a `kind` of archive.

    It has so many `members` (files, directories, links), with `content` bytes in the files.
    `sha256` is the hex digest of all the bytes before the seal; `created` is POSIX seconds.
    """

    kind: str
    members: int
    content: int
    size: int
    sha256: str
    created: int

    def frame(self) -> bytes:
        """The seal as it ends a stream."""
        told = {
            "kind": self.kind,
            "members": self.members,
            "content": self.content,
            "size": self.size,
            "sha256": self.sha256,
            "created": self.created,
        }
        text = b"%b%d %b\n" % (_SIGNATURE, FORMAT, json.dumps(told).encode("ascii"))
        return _HEADER + text.ljust(SIZE - len(_HEADER))


def may_be(frame: bytes) -> bool:
    """Whether these bytes, the whole of a skippable frame, are a seal of any version."""
    return frame[:4] == _HEADER[:4] and frame[8:].startswith(_SIGNATURE)


def parse(frame: bytes) -> Seal:
    """The seal that a frame is; raises `IntegrityError` for one that cannot be understood."""
    version, _, text = frame[8 + len(_SIGNATURE) :].partition(b" ")
    if not version.isdigit():
        raise _damaged()
    if int(version) != FORMAT:
        raise IntegrityError(
            f"its seal has version {int(version)}, which this cacher does not know",
            "a newer cacher reads it",
        )
    try:
        told: Any = json.loads(text)
        seal = Seal(**{name: told[name] for name in Seal._fields})
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _damaged() from None
    counts = (seal.members, seal.content, seal.size, seal.created)
    if not all(type(count) is int and count >= 0 for count in counts):
        raise _damaged()
    if not isinstance(seal.kind, str) or not isinstance(seal.sha256, str):
        raise _damaged()
    return seal


def find(tail: bytes) -> Seal | None:
    """The seal at the end of a stream whose last bytes these are, if it has one."""
    frame = tail[-SIZE:]
    return parse(frame) if len(frame) == SIZE and may_be(frame) else None


def _damaged() -> IntegrityError:
    return IntegrityError("its seal is damaged")
