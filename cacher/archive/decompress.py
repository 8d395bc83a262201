"""Archives as the world wraps them: tar as it is, in gzip or in zstd. Told apart by their bytes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cacher.archive.sealed_stream import SealedReader
from cacher.errors import IntegrityError
from cacher.fileio import BUFFER_SIZE
from cacher.tar.header_fields import verify_checksum

Read = Callable[[memoryview], int]
"""Fills the front of a buffer; 0 is the end."""

_MAGIC = 512
"""Bytes that tell: a tar header."""

_GZIP_WINDOW = 31
"""What zlib calls "gzip alone, with any window"."""

_OTHERS = {
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "zip",
}


@contextmanager
def unwrapped(read: Read, clock: Callable[[], float]) -> Iterator[Read]:
    """What is in the wrapping, whatever it is; each read fills its buffer, or is the last.

    Raises `IntegrityError`: for an unknown wrapping, and for one that is damaged or cut off.
    """
    stream = _Peeked(read)
    head = stream.head
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise IntegrityError(f"it is compressed by {name}", "tar, gzip and zstd are read")
    if head.startswith(b"\x1f\x8b"):
        yield _Gunzip(stream.readinto).readinto
    elif head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        with SealedReader(stream.readinto, clock) as reader:
            yield reader.readinto
    else:
        _require_tar(head)
        yield _Whole(stream.readinto).readinto


def _require_tar(head: bytes) -> None:
    """Raises `IntegrityError` unless it begins as a tar archive does."""
    if not head:
        raise IntegrityError("it is empty")
    if len(head) == _MAGIC:
        try:
            verify_checksum(head)  # of any age: "ustar" came later than tar
        except IntegrityError:
            pass
        else:
            return
    raise IntegrityError("it is not a tar archive, nor one in gzip or zstd")


class _Peeked:
    """A stream whose first bytes were looked at."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._buffer = memoryview(bytearray(_MAGIC))
        filled = 0
        while filled < _MAGIC and (count := read(self._buffer[filled:])):
            filled += count
        self._left = self._buffer[:filled]
        self.head = bytes(self._left)

    def readinto(self, buffer: memoryview) -> int:
        if not self._left:
            return self._read(buffer)
        piece, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


class _Whole:
    """A stream in buffers that are full."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def readinto(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer) and (count := self._read(buffer[filled:])):
            filled += count
        return filled


class _Gunzip:
    """The content of a gzip file, which may have several members (RFC 1952, section 2.2)."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._buffer = memoryview(bytearray(BUFFER_SIZE))
        self._inflater = zlib.decompressobj(_GZIP_WINDOW)
        self._left: bytes | memoryview = b""

    def readinto(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer) and (piece := self._some(len(buffer) - filled)):
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
        return filled

    def _some(self, limit: int) -> bytes:
        """At most `limit` more bytes; none at the end."""
        while True:
            if self._inflater.eof and not self._begin_member():
                return b""
            data = self._left or self._more()
            if not data:
                raise IntegrityError("the gzip stream is cut off")
            try:
                piece = self._inflater.decompress(data, limit)
            except zlib.error as error:
                raise IntegrityError(f"the gzip stream is damaged: {error}") from error
            self._left = self._inflater.unconsumed_tail
            if piece:
                return piece

    def _begin_member(self) -> bool:
        """Go on to the next member, if there is one. Padding with zeros is none, as for gzip."""
        rest: bytes | memoryview = self._inflater.unused_data
        while not (rest := bytes(rest).lstrip(b"\0")):
            if not (rest := self._more()):
                return False
        self._inflater = zlib.decompressobj(_GZIP_WINDOW)
        self._left = rest
        return True

    def _more(self) -> memoryview:
        return self._buffer[: self._read(self._buffer)]
