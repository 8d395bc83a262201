"""A reader of tar: v7, ustar, GNU and PAX headers from a stream that may be hostile.

POSIX.1-2017, pax, and the GNU tar manual, "Basic Tar Format". Knows bytes; must not know where a
member is unpacked to. A header that is not understood is refused, never guessed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator

from cacher.errors import IntegrityError
from cacher.tar.header_fields import (
    BLOCK_SIZE,
    CHARACTER,
    DEVICE,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    PAX,
    SECOND,
    SPARSE,
    SYMLINK,
    PaxRecords,
    name_field,
    number_field,
    parse_pax_records,
    pax_number,
    pax_time,
    printable,
    size_field,
    text_field,
    unsupported_sparse,
    unsupported_type,
    verify_checksum,
)
from cacher.tar.writer import TIME_HEADER

_LINKS = (HARD_LINK, SYMLINK)
_OTHERS = (HARD_LINK, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO)

_FILES = (b"\0", b"0", b"7")
"""Types of regular files: v7's, ustar's, and "contiguous", which POSIX lets be the same."""

_VOLUME = b"V"
"""GNU's label of an archive: nothing to unpack."""

_PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"g", b"L", b"K"

_EXTENDED_LIMIT = 1024 * 1024
"""Bytes of an extended header or a long name: no path on any system has as many."""

_ZEROS = bytes(BLOCK_SIZE)

_USUAL_FIELDS = re.compile(
    rb"([0-7]{7})\0([0-7]{7})\0([0-7]{7})\0([0-7]{11})\0([0-7]{11})\0([0-7]{6})\0 "
).match
"""Mode, user, group, size, time and checksum as all programs write them, from byte 100 on."""

_USUAL_TIME = re.compile(rb"30 mtime=([0-9]{10})\.([0-9]{9})\n").match

_CHECKSUM_BASE = 8 * ord(" ") - 1
"""The field of the checksum counts as eight spaces; Adler-32 begins at one."""

_TIME_LIMIT = 10**12
"""Seconds from 1970 either way: some 30,000 years, beyond what any file system keeps."""


class Member:
    """A member's header; its content, of `size` bytes, comes next in the stream."""

    __slots__ = ("gid", "kind", "link", "mode", "mtime_ns", "name", "size", "uid")

    def __init__(
        self,
        name: bytes,
        kind: bytes,
        mode: int,
        size: int,
        mtime_ns: int,
        link: bytes,
        uid: int,
        gid: int,
    ) -> None:
        self.name = name
        self.kind = kind
        self.mode = mode
        self.size = size
        self.mtime_ns = mtime_ns
        self.link = link
        self.uid = uid
        self.gid = gid


class TarReader:
    """The members of a tar stream, in order.

    `next_chunk` returns the stream's next bytes, an empty view at its end, and may reuse the view
    before. A stream of more than `limit` bytes is refused. Methods raise `IntegrityError`, and the
    errors of `next_chunk`.
    """

    def __init__(self, next_chunk: Callable[[], memoryview], limit: int) -> None:
        self._next_chunk = next_chunk
        self._limit = limit
        self._total = 0
        self._chunk = memoryview(b"")
        self._position = 0
        self._global: PaxRecords = {}
        self._is_pax = False

    def next(self) -> Member | None:
        """Return the next member, None at the proved end.

        All of the last member's content must have been read or skipped.
        """
        return self._fast_member() or self._slow_member()

    def _fast_member(self) -> Member | None:
        """Return a member of the usual form: a PAX header with a time alone, then a plain header.

        Any other is left to `_slow_member`, with nothing of it read.
        """
        start = self._position
        blocks = bytes(self._chunk[start : start + 3 * BLOCK_SIZE])
        if not blocks.startswith(TIME_HEADER) or len(blocks) < 3 * BLOCK_SIZE or self._global:
            return None
        header = blocks[2 * BLOCK_SIZE :]
        time, fields = _USUAL_TIME(blocks, BLOCK_SIZE), _USUAL_FIELDS(header, 100)
        kind = header[156:157]
        if time is None or fields is None or (kind != FILE and kind != DIRECTORY):
            return None
        mode, uid, gid, size, _seconds, checksum = [int(digits, 8) for digits in fields.groups()]
        if (zlib.adler32(header) - checksum - sum(header[148:156]) + _CHECKSUM_BASE) & 0xFFFF:
            return None
        if self._total - len(self._chunk) + start + size > self._limit:
            return None
        name = name_field(header)
        if size if kind == DIRECTORY else name.endswith(b"/"):
            return None
        self._position = start + 3 * BLOCK_SIZE
        self._is_pax = True
        mtime_ns = int(time[1]) * SECOND + int(time[2])
        return Member(name, kind, mode & 0o7777, size, mtime_ns, b"", uid, gid)

    def _slow_member(self) -> Member | None:
        records: PaxRecords = {}
        while True:
            block = self._next_block()
            kind = block[156:157]
            if kind == PAX:
                records |= self._pax_records(block)
            elif kind == _PAX_GLOBAL:
                self._global |= self._pax_records(block)
            elif kind == _GNU_NAME:
                records[b"path"] = self._extended_content(block).split(b"\0", 1)[0]
            elif kind == _GNU_LINK:
                records[b"linkpath"] = self._extended_content(block).split(b"\0", 1)[0]
            elif kind == _VOLUME:
                self._check_label(block)
            elif block == _ZEROS:
                self._require_end()
                return None
            else:
                return self._parse_member(block, kind, records)

    def contiguous(self, size: int) -> memoryview | None:
        """Return all of the next `size` bytes of content, None unless they lie in one chunk.

        The view is valid until the next call.
        """
        start = self._position
        end = start + size
        if end + (-size % BLOCK_SIZE) > len(self._chunk):
            return None
        self._position = end + (-size % BLOCK_SIZE)
        return self._chunk[start:end]

    def chunks(self, size: int) -> Iterator[memoryview]:
        """Yield all of a content of `size` bytes in views, each valid until the next is yielded.

        The caller must take them all.
        """
        left = size
        while left:
            if self._position == len(self._chunk):
                self._require_chunk()
            chunk = self._chunk[self._position : self._position + left]
            self._position += len(chunk)
            left -= len(chunk)
            yield chunk
        if size % BLOCK_SIZE:
            self._skip_bytes(BLOCK_SIZE - size % BLOCK_SIZE)

    def skip(self, size: int) -> None:
        """Skip a content of `size` bytes."""
        self._skip_bytes(size + (-size % BLOCK_SIZE))

    def _parse_member(self, block: bytes, kind: bytes, records: PaxRecords) -> Member:
        name = name_field(block)
        fields = _USUAL_FIELDS(block, 100)
        if fields is not None:
            mode, uid, gid, size, seconds, checksum = [int(digits, 8) for digits in fields.groups()]
            if (zlib.adler32(block) - checksum - sum(block[148:156]) + _CHECKSUM_BASE) & 0xFFFF:
                verify_checksum(block)
        else:
            verify_checksum(block)
            mode, size = number_field(block, 100, 8, name), number_field(block, 124, 12, name)
            uid, gid = number_field(block, 108, 8, name), number_field(block, 116, 8, name)
            seconds = number_field(block, 136, 12, name)
        link = text_field(block, 157, 100) if kind in _LINKS else b""
        mtime_ns = seconds * SECOND
        member = Member(name, kind, mode & 0o7777, size, mtime_ns, link, uid, gid)
        if records or self._global:
            _apply(self._global | records, member)
        if kind in _FILES:
            # As tar and bsdtar do: in v7 the slash alone marks a directory.
            member.kind = DIRECTORY if member.name.endswith(b"/") else FILE
        elif kind not in _OTHERS:
            raise unsupported_type(member.name, kind)
        elif kind != HARD_LINK or not self._is_pax:
            # POSIX: "no data logical records are stored" for these, whatever their size says; a
            # hard link may have some in the pax format only.
            member.size = 0
        _require_sane(member)
        if self._total - len(self._chunk) + self._position + member.size > self._limit:
            raise self._too_large(member.name)
        return member

    def _pax_records(self, block: bytes) -> PaxRecords:
        """Return the records of a PAX header."""
        self._is_pax = True
        data = self._extended_content(block)
        try:
            records = parse_pax_records(data)
        except IntegrityError as error:
            raise _about(block, error) from None
        for key in [key for key in records if key.startswith(SPARSE)]:
            # One, with the name if there is any, is enough to refuse the member; any number of them
            # would fill the memory.
            value = records.pop(key)
            records.setdefault(SPARSE, b"")
            if key == b"GNU.sparse.name":
                records[SPARSE] = value
        return records

    def _check_label(self, block: bytes) -> None:
        verify_checksum(block)
        if size_field(block):
            name = printable(text_field(block, 0, 100))
            raise IntegrityError(f"{name}: a label of an archive with a size")

    def _extended_content(self, block: bytes) -> bytes:
        """Return the content of an extended header."""
        verify_checksum(block)
        size = size_field(block)
        if not 0 <= size <= _EXTENDED_LIMIT:
            name = text_field(block, 0, 100)
            raise IntegrityError(f"{printable(name)}: an extended header of {size} bytes")
        return b"".join(map(bytes, self.chunks(size)))

    def _next_block(self) -> bytes:
        """Return the next block of the stream."""
        start = self._position
        end = start + BLOCK_SIZE
        if end <= len(self._chunk):
            self._position = end
            return bytes(self._chunk[start:end])
        return b"".join(map(bytes, self.chunks(BLOCK_SIZE)))

    def _skip_bytes(self, count: int) -> None:
        while count:
            if self._position == len(self._chunk):
                self._require_chunk()
            step = min(count, len(self._chunk) - self._position)
            self._position += step
            count -= step

    def _require_chunk(self) -> None:
        """Read the next chunk, which must exist."""
        if not self._read_chunk():
            raise IntegrityError("the archive is cut off")

    def _read_chunk(self) -> bool:
        self._chunk, self._position = self._next_chunk(), 0
        self._total += len(self._chunk)
        if self._total > self._limit:
            raise self._too_large(b"")
        return bool(self._chunk)

    def _require_end(self) -> None:
        """Raise `IntegrityError` unless the rest is zeros, with which tar fills its last record."""
        while True:
            rest = bytes(self._chunk[self._position :])
            if rest.count(0) != len(rest):
                raise IntegrityError("something follows the end of the archive")
            if not self._read_chunk():
                return

    def _too_large(self, name: bytes) -> IntegrityError:
        about = f"{printable(name)}: " if name else ""
        return IntegrityError(
            f"{about}it unpacks to more than {self._limit} bytes", "--max-unpacked allows more"
        )


def _apply(records: PaxRecords, member: Member) -> None:
    """Replace fields of a header by those of extended headers."""
    name = records.get(b"path", member.name)
    if SPARSE in records:
        raise unsupported_sparse(records[SPARSE] or name)
    member.name = name
    member.link = records.get(b"linkpath", member.link)
    member.size = pax_number(records, b"size", member.size, name)
    member.uid = pax_number(records, b"uid", member.uid, name)
    member.gid = pax_number(records, b"gid", member.gid, name)
    if b"mtime" in records:
        member.mtime_ns = pax_time(records[b"mtime"], name)


def _require_sane(member: Member) -> None:
    """Raise `IntegrityError` for a number that no file has, however it was written."""
    if member.size < 0:
        raise IntegrityError(f"{printable(member.name)}: a size below zero")
    if abs(member.mtime_ns) > _TIME_LIMIT * SECOND:
        raise IntegrityError(f"{printable(member.name)}: its mtime is not a valid time")


def _about(block: bytes, error: IntegrityError) -> IntegrityError:
    """Return the error with the name of the extended header: often like that of its member."""
    return IntegrityError(f"{printable(text_field(block, 0, 100))}: {error.message}", error.hint)
