"""Tar headers, written: ustar, and PAX records for what it cannot say.

POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header". Nothing that changes from
run to run is in them: the same member gives the same bytes. Knows no files.
"""

from __future__ import annotations

import zlib

BLOCK = 512

FILE, HARD_LINK, SYMLINK, DIRECTORY, PAX = b"0", b"1", b"2", b"5", b"x"

_NAME, _PREFIX, _LINK = 100, 155, 100
_MAX_ID = 0o7777777
_MAX_SIZE = 0o77777777777
"""The largest numbers that fit: eleven octal digits are 8 GiB, or the year 2242."""

_SECOND = 1_000_000_000

_HEAD = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0"
"""Name of 100 bytes, mode, uid, gid, size, mtime: all that is before the checksum."""

_TAIL = b"%b%bustar\00000" + bytes(32 + 32) + b"0000000\0000000000\0%b" + bytes(12)
"""Type, link of 100 bytes, no names of users and groups, no device, prefix of 155: all after it."""

_TAILS = {
    kind: _TAIL % (kind, bytes(_LINK), bytes(_PREFIX))
    for kind in (FILE, HARD_LINK, SYMLINK, DIRECTORY, PAX)
}

_SUMS = {kind: sum(tail) + 8 * ord(" ") for kind, tail in _TAILS.items()}
"""What all but the head, the link and the prefix have in the checksum, which is of spaces then."""


def header(
    name: bytes,
    mode: int,
    size: int,
    mtime_ns: int,
    kind: bytes,
    link: bytes = b"",
    uid: int = 0,
    gid: int = 0,
) -> bytes:
    """A member's header, whole blocks; its content follows, padded to blocks.

    `name` is relative, and a directory's ends in a slash. `mtime_ns` is nanoseconds.
    """
    seconds, fraction = divmod(mtime_ns, _SECOND)
    prefix = b""
    records = b""
    short = name
    if len(name) > _NAME:
        prefix, short = _split(name)
        if not short:
            records += _record(b"path", name)
            short = name[:_NAME]
    if len(link) > _LINK:
        records += _record(b"linkpath", link)
        link = link[:_LINK]
    if records and not _is_text(records):
        # POSIX: the values of records are UTF-8, unless this says otherwise.
        records = _record(b"hdrcharset", b"BINARY") + records
    if size > _MAX_SIZE:
        records += _record(b"size", b"%d" % size)
    if uid > _MAX_ID or gid > _MAX_ID:
        records += _record(b"uid", b"%d" % uid) + _record(b"gid", b"%d" % gid)
    if fraction or not 0 <= seconds <= _MAX_SIZE:
        if not records and 1_000_000_000 <= seconds <= _MAX_SIZE:
            # By far the most frequent.
            before = TIME_HEADER + (b"30 mtime=%d.%09d\n" % (seconds, fraction)).ljust(BLOCK, b"\0")
            return before + _block(short, mode, size, seconds, kind, link, uid, gid, prefix)
        records += _record(b"mtime", _decimal(mtime_ns))
    block = _block(
        short,
        mode,
        size if size <= _MAX_SIZE else 0,
        min(max(seconds, 0), _MAX_SIZE),
        kind,
        link,
        uid if uid <= _MAX_ID else 0,
        gid if gid <= _MAX_ID else 0,
        prefix,
    )
    return _extended(records) + block if records else block


def end() -> bytes:
    """What ends an archive: two blocks of zeros."""
    return bytes(2 * BLOCK)


def _block(
    name: bytes,
    mode: int,
    size: int,
    seconds: int,
    kind: bytes,
    link: bytes,
    uid: int,
    gid: int,
    prefix: bytes,
) -> bytes:
    head = _HEAD % (name.ljust(_NAME, b"\0"), mode, uid, gid, size, seconds)
    total = _SUMS[kind] + _sum(head)
    if link or prefix:
        tail = _TAIL % (kind, link.ljust(_LINK, b"\0"), prefix.ljust(_PREFIX, b"\0"))
        total += _sum(link) + _sum(prefix)
    else:
        tail = _TAILS[kind]
    return b"%b%06o\0 %b" % (head, total, tail)


def _sum(data: bytes) -> int:
    """The sum of at most 256 bytes, ten times as fast as `sum`.

    The low half of Adler-32 is 1 and the sum of the bytes, modulo 65521.
    """
    return (zlib.adler32(data) & 0xFFFF) - 1


def _split(name: bytes) -> tuple[bytes, bytes]:
    """The name as prefix and rest; both empty if it does not fit so."""
    cut = name.find(b"/", len(name) - _NAME - 1, len(name) - 1)
    if 0 < cut <= _PREFIX:
        return name[:cut], name[cut + 1 :]
    return b"", b""


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE\\n`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _decimal(mtime_ns: int) -> bytes:
    sign, (seconds, fraction) = "", divmod(mtime_ns, _SECOND)
    if mtime_ns < 0:
        sign, (seconds, fraction) = "-", divmod(-mtime_ns, _SECOND)
    text = f"{sign}{seconds}.{fraction:09}" if fraction else f"{sign}{seconds}"
    return text.encode()


def _extended(records: bytes) -> bytes:
    block = _block(b"././@PaxHeader", 0o644, len(records), 0, PAX, b"", 0, 0, b"")
    return block + records + bytes(-len(records) % BLOCK)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


TIME_RECORD = 30
"""Bytes of a record of a time with nanoseconds, of ten digits, from 2001 on."""

TIME_HEADER = _block(b"././@PaxHeader", 0o644, TIME_RECORD, 0, PAX, b"", 0, 0, b"")
"""The header before a record of a time with nanoseconds and nothing else: always the same."""
