"""Tar, read: v7, ustar, GNU and PAX headers from a stream that may be hostile.

POSIX.1-2017, pax, and the GNU tar manual, "Basic Tar Format". Knows bytes; must not know what a
member is unpacked to. What is not understood is refused, never guessed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator

from cacher.errors import IntegrityError
from cacher.tar.header_fields import (
    SECOND,
    decimal,
    name_of,
    number,
    require_sum,
    shown,
    size_of,
    text,
    time,
)
from cacher.tar.pax import Records, read_records
from cacher.tar.unsupported import refused, sparse
from cacher.tar.writer import TIME_HEADER

BLOCK = 512

FILE, HARD_LINK, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO = (b"%d" % n for n in range(7))

_LINKS = (HARD_LINK, SYMLINK)
_KINDS = (HARD_LINK, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO)

_FILES = (b"\0", b"0", b"7")
"""Types of regular files: v7's, ustar's, and "contiguous", which POSIX lets be the same."""

_VOLUME = b"V"
"""GNU's label of an archive: nothing to unpack."""

_SPARSE = b"GNU.sparse."
"""What is left of the records of a sparse member: its name, if they told."""

_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"x", b"g", b"L", b"K"

_EXTENDED_LIMIT = 1024 * 1024
"""Bytes of an extended header or a long name: no path on any system has as many."""

_ZEROS = bytes(BLOCK)

_PLAIN = re.compile(
    rb"([0-7]{7})\0([0-7]{7})\0([0-7]{7})\0([0-7]{11})\0([0-7]{11})\0([0-7]{6})\0 "
).match
"""Mode, user, group, size, time and sum as everybody writes them, from byte 100 of a header."""

_PLAIN_TIME = re.compile(rb"30 mtime=([0-9]{10})\.([0-9]{9})\n").match

_SUM = 8 * 32 - 1
"""The field of the sum counts as eight spaces; Adler-32 begins at one."""
_TIME_LIMIT = 10**12
"""Seconds from 1970 either way: some 30,000 years, beyond what any file system keeps."""


class Member:
    """What a header says of a member; its content comes next in the stream."""

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
    """The members of a tar stream.

    `next_chunk` gives its next piece, an empty one at the end, and may take back the one before.
    More than `limit` bytes are refused. Raises `IntegrityError`, and what `next_chunk` raises.
    """

    def __init__(self, next_chunk: Callable[[], memoryview], limit: int) -> None:
        self._next_chunk = next_chunk
        self._limit = limit
        self._total = 0
        self._piece = memoryview(b"")
        self._at = 0
        self._global: Records = {}
        self._is_pax = False

    def next(self) -> Member | None:
        """The next member, once all of the last one's content was taken; None at the proved end."""
        return self._fast_member() or self._slow_member()

    def _fast_member(self) -> Member | None:
        """A member as we write most of them, if that is what comes next: a time, then a header.

        Nothing is taken otherwise, so that whatever is odd about it goes the long way.
        """
        at = self._at
        blocks = bytes(self._piece[at : at + 3 * BLOCK])
        if not blocks.startswith(TIME_HEADER) or len(blocks) < 3 * BLOCK or self._global:
            return None
        header = blocks[2 * BLOCK :]
        time, plain, kind = _PLAIN_TIME(blocks, BLOCK), _PLAIN(header, 100), header[156:157]
        if time is None or plain is None or (kind != FILE and kind != DIRECTORY):
            return None
        mode, uid, gid, size, _seconds, total = [int(digits, 8) for digits in plain.groups()]
        if (zlib.adler32(header) - total - sum(header[148:156]) + _SUM) & 0xFFFF:
            return None
        if self._total - len(self._piece) + at + size > self._limit:
            return None
        name = name_of(header)
        if size if kind == DIRECTORY else name.endswith(b"/"):
            return None
        self._at = at + 3 * BLOCK
        self._is_pax = True
        mtime_ns = int(time[1]) * SECOND + int(time[2])
        return Member(name, kind, mode & 0o7777, size, mtime_ns, b"", uid, gid)

    def _slow_member(self) -> Member | None:
        records: Records = {}
        while True:
            block = self._block()
            kind = block[156:157]
            if kind == _PAX:
                records |= self._records(block)
            elif kind == _PAX_GLOBAL:
                self._global |= self._records(block)
            elif kind == _GNU_NAME:
                records[b"path"] = self._extended(block).split(b"\0", 1)[0]
            elif kind == _GNU_LINK:
                records[b"linkpath"] = self._extended(block).split(b"\0", 1)[0]
            elif kind == _VOLUME:
                self._label(block)
            elif block == _ZEROS:
                self._require_end()
                return None
            else:
                return self._member(block, kind, records)

    def contiguous(self, size: int) -> memoryview | None:
        """All of a content, if it lies in one piece; good until anything else is asked for."""
        at = self._at
        end = at + size
        if end + (-size % BLOCK) > len(self._piece):
            return None
        self._at = end + (-size % BLOCK)
        return self._piece[at:end]

    def pieces(self, size: int) -> Iterator[memoryview]:
        """A content in pieces, each good until the next is asked for; all must be taken."""
        left = size
        while left:
            if self._at == len(self._piece):
                self._more()
            piece = self._piece[self._at : self._at + left]
            self._at += len(piece)
            left -= len(piece)
            yield piece
        if size % BLOCK:
            self._pass(BLOCK - size % BLOCK)

    def skip(self, size: int) -> None:
        """Pass over a content."""
        self._pass(size + (-size % BLOCK))

    def _member(self, block: bytes, kind: bytes, records: Records) -> Member:
        name = name_of(block)
        plain = _PLAIN(block, 100)
        if plain is not None:
            mode, uid, gid, size, seconds, total = [int(digits, 8) for digits in plain.groups()]
            if (zlib.adler32(block) - total - sum(block[148:156]) + _SUM) & 0xFFFF:
                require_sum(block)
        else:
            require_sum(block)
            mode, size = number(block, 100, 8, name), number(block, 124, 12, name)
            uid, gid = number(block, 108, 8, name), number(block, 116, 8, name)
            seconds = number(block, 136, 12, name)
        link = text(block, 157, 100) if kind in _LINKS else b""
        mtime_ns = seconds * SECOND
        member = Member(name, kind, mode & 0o7777, size, mtime_ns, link, uid, gid)
        if records or self._global:
            _apply(self._global | records, member)
        if kind in _FILES:
            # As tar and bsdtar take it: v7 had no other way to tell of a directory.
            member.kind = DIRECTORY if member.name.endswith(b"/") else FILE
        elif kind not in _KINDS:
            raise sparse(member.name) if kind == b"S" else refused(member.name, kind)
        elif kind != HARD_LINK or not self._is_pax:
            # POSIX: "no data logical records are stored" for these, whatever their size says; a
            # hard link may have some in the pax format only.
            member.size = 0
        _require_sane(member)
        if self._total - len(self._piece) + self._at + member.size > self._limit:
            raise self._too_large(member.name)
        return member

    def _records(self, block: bytes) -> Records:
        """What an extended header says."""
        self._is_pax = True
        data = self._extended(block)
        try:
            records = read_records(data)
        except IntegrityError as error:
            raise _about(block, error) from None
        for key in [key for key in records if key.startswith(b"GNU.sparse.")]:
            # One is enough to refuse the member; any number of them would fill the memory.
            value = records.pop(key)
            records.setdefault(_SPARSE, b"")
            if key == b"GNU.sparse.name":
                records[_SPARSE] = value
        return records

    def _label(self, block: bytes) -> None:
        require_sum(block)
        if size_of(block):
            raise IntegrityError(f"{shown(text(block, 0, 100))}: a label of an archive with a size")

    def _extended(self, block: bytes) -> bytes:
        """The content of an extended header."""
        require_sum(block)
        size = size_of(block)
        if not 0 <= size <= _EXTENDED_LIMIT:
            name = text(block, 0, 100)
            raise IntegrityError(f"{shown(name)}: an extended header of {size} bytes")
        return b"".join(map(bytes, self.pieces(size)))

    def _block(self) -> bytes:
        """The next header."""
        at = self._at
        end = at + BLOCK
        if end <= len(self._piece):
            self._at = end
            return bytes(self._piece[at:end])
        return b"".join(map(bytes, self.pieces(BLOCK)))

    def _pass(self, count: int) -> None:
        while count:
            if self._at == len(self._piece):
                self._more()
            step = min(count, len(self._piece) - self._at)
            self._at += step
            count -= step

    def _more(self) -> None:
        """The next piece, which there must be."""
        if not self._advance():
            raise IntegrityError("the archive is cut off")

    def _advance(self) -> bool:
        self._piece, self._at = self._next_chunk(), 0
        self._total += len(self._piece)
        if self._total > self._limit:
            raise self._too_large(b"")
        return bool(self._piece)

    def _require_end(self) -> None:
        """Nothing but zeros to the end of the stream: tar fills up its last record with them."""
        while True:
            rest = bytes(self._piece[self._at :])
            if rest.count(0) != len(rest):
                raise IntegrityError("something follows the end of the archive")
            if not self._advance():
                return

    def _too_large(self, name: bytes) -> IntegrityError:
        about = f"{shown(name)}: " if name else ""
        return IntegrityError(
            f"{about}it unpacks to more than {self._limit} bytes", "--max-unpacked allows more"
        )


def _apply(records: Records, member: Member) -> None:
    """What extended headers say goes before what the header does."""
    name = records.get(b"path", member.name)
    if _SPARSE in records:
        raise sparse(records[_SPARSE] or name)
    member.name = name
    member.link = records.get(b"linkpath", member.link)
    member.size = decimal(records, b"size", member.size, name)
    member.uid = decimal(records, b"uid", member.uid, name)
    member.gid = decimal(records, b"gid", member.gid, name)
    if b"mtime" in records:
        member.mtime_ns = time(records[b"mtime"], name)


def _require_sane(member: Member) -> None:
    """What any number of a hostile header, however it was written, may be at most."""
    if member.size < 0:
        raise IntegrityError(f"{shown(member.name)}: a size below zero")
    if abs(member.mtime_ns) > _TIME_LIMIT * SECOND:
        raise IntegrityError(f"{shown(member.name)}: its mtime is not a valid time")


def _about(block: bytes, error: IntegrityError) -> IntegrityError:
    """The error, and the extended header that it is about: often named like its member."""
    return IntegrityError(f"{shown(text(block, 0, 100))}: {error.message}", error.hint)
