"""A writer of tar headers: ustar, and PAX records for values that do not fit into it.

POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header". The same member always
gives the same bytes. Knows no files.
"""

from __future__ import annotations

from cacher.tar.header_fields import (
    BLOCK_SIZE,
    DIRECTORY,
    FILE,
    HARD_LINK,
    PAX,
    SECOND,
    SYMLINK,
    byte_sum,
)

_NAME, _PREFIX, _LINK = 100, 155, 100
_MAX_ID = 0o7777777
_MAX_SIZE = 0o77777777777
"""The largest numbers that fit: eleven octal digits are 8 GiB, or the year 2242."""

_HEAD = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0"
"""The fields before the checksum: name of 100 bytes, mode, uid, gid, size, mtime."""

_TAIL = b"%b%bustar\00000" + bytes(32 + 32) + b"0000000\0000000000\0%b" + bytes(12)
"""The fields after it: type, link of 100 bytes, no user and group, no device, prefix of 155."""

_TAILS = {
    kind: _TAIL % (kind, bytes(_LINK), bytes(_PREFIX))
    for kind in (FILE, HARD_LINK, SYMLINK, DIRECTORY, PAX)
}

_TAIL_SUMS = {kind: sum(tail) + 8 * ord(" ") for kind, tail in _TAILS.items()}
"""The checksum without the head, link and prefix; its own field counts as spaces."""


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
    """Return a member's header, in whole blocks; its content follows, padded to blocks.

    `name` is relative, and a directory's ends in a slash. `mtime_ns` is nanoseconds.
    """
    seconds, fraction = divmod(mtime_ns, SECOND)
    prefix = b""
    records = b""
    short = name
    if len(name) > _NAME:
        prefix, short = _split_prefix(name)
        if not short:
            records += _pax_record(b"path", name)
            short = name[:_NAME]
    if len(link) > _LINK:
        records += _pax_record(b"linkpath", link)
        link = link[:_LINK]
    if records and not _is_utf8(records):
        # POSIX: the values of records are UTF-8, unless this says otherwise.
        records = _pax_record(b"hdrcharset", b"BINARY") + records
    if size > _MAX_SIZE:
        records += _pax_record(b"size", b"%d" % size)
    if uid > _MAX_ID or gid > _MAX_ID:
        records += _pax_record(b"uid", b"%d" % uid) + _pax_record(b"gid", b"%d" % gid)
    if fraction or not 0 <= seconds <= _MAX_SIZE:
        if not records and 1_000_000_000 <= seconds <= _MAX_SIZE:
            # By far the most frequent.
            records = b"30 mtime=%d.%09d\n" % (seconds, fraction)
            records = TIME_HEADER + records.ljust(BLOCK_SIZE, b"\0")
            return records + _block(short, mode, size, seconds, kind, link, uid, gid, prefix)
        records += _pax_record(b"mtime", _seconds_text(mtime_ns))
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
    return _pax_header(records) + block if records else block


def end_of_archive() -> bytes:
    """Return the end of an archive: two blocks of zeros."""
    return bytes(2 * BLOCK_SIZE)


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
    total = _TAIL_SUMS[kind] + byte_sum(head)
    if link or prefix:
        tail = _TAIL % (kind, link.ljust(_LINK, b"\0"), prefix.ljust(_PREFIX, b"\0"))
        total += byte_sum(link) + byte_sum(prefix)
    else:
        tail = _TAILS[kind]
    return b"%b%06o\0 %b" % (head, total, tail)


def _split_prefix(name: bytes) -> tuple[bytes, bytes]:
    """Return a name as prefix and rest; both empty if it does not fit."""
    cut = name.find(b"/", len(name) - _NAME - 1, len(name) - 1)
    if 0 < cut <= _PREFIX:
        return name[:cut], name[cut + 1 :]
    return b"", b""


def _pax_record(key: bytes, value: bytes) -> bytes:
    """Return `LENGTH KEY=VALUE\\n`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _seconds_text(mtime_ns: int) -> bytes:
    sign, (seconds, fraction) = "", divmod(mtime_ns, SECOND)
    if mtime_ns < 0:
        sign, (seconds, fraction) = "-", divmod(-mtime_ns, SECOND)
    text = f"{sign}{seconds}.{fraction:09}" if fraction else f"{sign}{seconds}"
    return text.encode()


def _pax_header(records: bytes) -> bytes:
    block = _block(b"././@PaxHeader", 0o644, len(records), 0, PAX, b"", 0, 0, b"")
    return block + records + bytes(-len(records) % BLOCK_SIZE)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


TIME_RECORD = 30
"""Bytes of a time's record with nanoseconds and ten digits of seconds: from 2001 on."""

TIME_HEADER = _block(b"././@PaxHeader", 0o644, TIME_RECORD, 0, PAX, b"", 0, 0, b"")
"""The PAX header before a `TIME_RECORD` alone: always the same bytes."""
