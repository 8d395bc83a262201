"""The fields of tar headers and PAX records, read: bytes become numbers and names, or a refusal."""

from __future__ import annotations

import zlib

from cacher.errors import IntegrityError
from cacher.tar.pax import Records

SECOND = 1_000_000_000

_ADLER = 65521


def shown(name: bytes) -> str:
    """A member's name for a message, on one line, however long it is and whatever is in it."""
    text = name.decode(errors="backslashreplace") or "a member without a name"
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= 200 else f"{text[:100]}…{text[-99:]}"


def name_of(block: bytes) -> bytes:
    """The name that a header gives, with ustar's prefix."""
    name = block[:100].split(b"\0", 1)[0]
    if block[345] and block[257:263] == b"ustar\0":
        return text(block, 345, 155) + b"/" + name
    return name


def text(block: bytes, start: int, size: int) -> bytes:
    """A field up to its first NUL."""
    end = block.find(0, start, start + size)
    return block[start : end if end >= 0 else start + size]


def require_sum(block: bytes) -> None:
    """The sum of the header's bytes, where its own field counts as spaces.

    Compared modulo 65521: the low half of Adler-32 is one and the sum, ten times as fast.
    """
    field = block[148:156]
    told = field.strip(b" \0")
    try:
        expected = int(told, 8) if told.isdigit() else None
    except ValueError:
        expected = None
    found = (zlib.adler32(block) & 0xFFFF) - 1 - sum(field) + 8 * 32
    is_right = expected is not None and (found - expected) % _ADLER == 0
    if not is_right and expected != _signed_sum(block):
        # Not its name: these bytes may be anything.
        raise IntegrityError(
            "the header of a member is damaged",
            "it may not be a tar archive, or it is damaged",
        )


def _signed_sum(block: bytes) -> int:
    """As some old programs took it, with bytes from -128 to 127."""
    plain = block[:148] + b" " * 8 + block[156:]
    return sum(byte - 256 if byte > 127 else byte for byte in plain)


def size_of(block: bytes) -> int:
    """Bytes of what follows a header."""
    return number(block, 124, 12, text(block, 0, 100))


def number(block: bytes, start: int, size: int, name: bytes) -> int:
    """Octal digits, or GNU's binary form, whose first bit is set."""
    field = block[start : start + size]
    if field[0] & 0x80:
        bits = 8 * size - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if value >> (bits - 1) else value
    told = field.strip(b" \0")
    if not told:
        return 0
    try:
        if told.isdigit():
            return int(told, 8)
    except ValueError:
        pass
    raise IntegrityError(f"{shown(name)}: a number in its header is malformed")


def decimal(records: Records, key: bytes, default: int, name: bytes) -> int:
    """The number of a PAX record, if there is one."""
    told = records.get(key)
    if told is None:
        return default
    if not told.isdigit() or len(told) > 20:
        raise IntegrityError(f"{shown(name)}: its {key.decode()} is not a number")
    return int(told)


def time(told: bytes, name: bytes) -> int:
    """Nanoseconds of a decimal number of seconds."""
    digits = told.removeprefix(b"-")
    seconds, _, fraction = digits.partition(b".")
    if not seconds.isdigit() or len(seconds) > 12 or not (fraction.isdigit() or not fraction):
        raise IntegrityError(f"{shown(name)}: its mtime is not a valid time")
    value = int(seconds) * SECOND + int(fraction[:9].ljust(9, b"0"))
    return -value if digits is not told and told.startswith(b"-") else value
