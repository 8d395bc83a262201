"""The fields of tar headers and PAX records: bytes become numbers and names, or a refusal.

POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header". Knows no stream.
"""

from __future__ import annotations

import zlib

from cacher.errors import IntegrityError

BLOCK_SIZE = 512
"""Bytes: headers are one block, and contents are padded to whole ones."""

FILE, HARD_LINK, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO = (b"%d" % n for n in range(7))
"""Types of members."""

PAX = b"x"

SECOND = 1_000_000_000
"""Nanoseconds."""

PaxRecords = dict[bytes, bytes]

_ADLER = 65521

_PAX_KEYS = frozenset([b"path", b"linkpath", b"size", b"mtime", b"uid", b"gid"])

SPARSE = b"GNU.sparse."
"""How the keys begin that GNU tar gives a sparse member."""

_UNSUPPORTED = {
    # GNU tar manual, "Basic Tar Format"; star(5) for those of Solaris and star.
    b"A": "an access control list of Solaris",
    b"D": "a directory of `tar --listed-incremental`",
    b"I": "a name of star without content",
    b"M": "a part of an archive on several volumes",
    b"N": "a list of long names of an old GNU tar",
    b"X": "an extended header of Solaris",
}


def printable(name: bytes) -> str:
    """Return a member's name for a message: one line of at most 200 characters."""
    text = name.decode(errors="backslashreplace") or "a member without a name"
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= 200 else f"{text[:100]}…{text[-99:]}"


def name_field(block: bytes) -> bytes:
    """Return the name in a header, with ustar's prefix."""
    name = block[:100].split(b"\0", 1)[0]
    if block[345] and block[257:263] == b"ustar\0":
        return text_field(block, 345, 155) + b"/" + name
    return name


def text_field(block: bytes, start: int, size: int) -> bytes:
    """Return a field up to its first NUL."""
    end = block.find(0, start, start + size)
    return block[start : end if end >= 0 else start + size]


def size_field(block: bytes) -> int:
    """Return the bytes of the content that follows a header."""
    return number_field(block, 124, 12, text_field(block, 0, 100))


def number_field(block: bytes, start: int, size: int, name: bytes) -> int:
    """Return the number in a field: octal digits, or GNU's binary form, whose first bit is set.

    Raises `IntegrityError` with `name` in the message.
    """
    field = block[start : start + size]
    if field[0] & 0x80:
        bits = 8 * size - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if value >> (bits - 1) else value
    digits = field.strip(b" \0")
    if not digits:
        return 0
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise IntegrityError(f"{printable(name)}: a number in its header is malformed")


def byte_sum(data: bytes) -> int:
    """Return the sum of at most 256 bytes, ten times as fast as `sum`; modulo 65521 of more.

    The low half of Adler-32 is 1 and the sum of the bytes, modulo 65521.
    """
    return (zlib.adler32(data) & 0xFFFF) - 1


def verify_checksum(block: bytes) -> None:
    """Raise `IntegrityError` unless a header's checksum is the sum of its bytes.

    The field of the checksum itself counts as spaces. Compared modulo 65521, see `byte_sum`.
    """
    field = block[148:156]
    digits = field.strip(b" \0")
    try:
        recorded = int(digits, 8) if digits.isdigit() else None
    except ValueError:
        recorded = None
    actual = byte_sum(block) - sum(field) + 8 * ord(" ")
    is_right = recorded is not None and (actual - recorded) % _ADLER == 0
    if not is_right and recorded != _signed_sum(block):
        # Not its name: these bytes may be anything.
        raise IntegrityError(
            "the header of a member is damaged",
            "it may not be a tar archive, or it is damaged",
        )


def _signed_sum(block: bytes) -> int:
    """Return the checksum as some old programs computed it, with bytes from -128 to 127."""
    plain = block[:148] + b" " * 8 + block[156:]
    return sum(byte - 256 if byte > 127 else byte for byte in plain)


def parse_pax_records(data: bytes) -> PaxRecords:
    """Return the records that matter here, without those that are empty and so mean nothing.

    Raises `IntegrityError` unless `data` is `LENGTH KEY=VALUE\\n` from end to end.
    """
    records: PaxRecords = {}
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        length = data[position:space] if space > 0 else b""
        if not length.isdigit():
            raise _malformed_records()
        end = position + int(length)
        if not space < end <= len(data) or data[end - 1] != 0x0A:
            raise _malformed_records()
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals:
            raise _malformed_records()
        if key in _PAX_KEYS or key.startswith(SPARSE):
            if 0 in value:
                raise IntegrityError(f"a NUL in the {key.decode(errors='replace')} of a member")
            records[key] = value
            if not value:
                del records[key]
        position = end
    return records


def _malformed_records() -> IntegrityError:
    return IntegrityError("an extended header of the archive is malformed")


def pax_number(records: PaxRecords, key: bytes, default: int, name: bytes) -> int:
    """Return the number of a record, `default` without one.

    Raises `IntegrityError` with `name` in the message.
    """
    value = records.get(key)
    if value is None:
        return default
    if not value.isdigit() or len(value) > 20:
        raise IntegrityError(f"{printable(name)}: its {key.decode()} is not a number")
    return int(value)


def pax_time(value: bytes, name: bytes) -> int:
    """Return the nanoseconds of a decimal number of seconds.

    Raises `IntegrityError` with `name` in the message.
    """
    digits = value.removeprefix(b"-")
    seconds, _, fraction = digits.partition(b".")
    if not seconds.isdigit() or len(seconds) > 12 or not (fraction.isdigit() or not fraction):
        raise IntegrityError(f"{printable(name)}: its mtime is not a valid time")
    nanoseconds = int(seconds) * SECOND + int(fraction[:9].ljust(9, b"0"))
    return -nanoseconds if value.startswith(b"-") else nanoseconds


def unsupported_type(name: bytes, kind: bytes) -> IntegrityError:
    """Return the error for a member of a type that cannot be unpacked."""
    if kind == b"S":
        return unsupported_sparse(name)
    description = _UNSUPPORTED.get(kind) or f"of the unknown type {kind!r}"
    return IntegrityError(
        f"{printable(name)}: it is {description}, which is not supported",
        "pack it again with plain `tar c`",
    )


def unsupported_sparse(name: bytes) -> IntegrityError:
    """Return the error for a member whose holes are left out."""
    return IntegrityError(
        f"{printable(name)}: sparse members are not supported", "pack it without --sparse"
    )
