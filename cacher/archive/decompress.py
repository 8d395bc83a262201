"""The decompression of archives that other programs made: plain tar, or tar in gzip or zstd."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cacher.archive.detect_format import BZIP2, GZIP, HEAD_SIZE, LZ4, XZ, ZIP, ZSTD, detect_format
from cacher.archive.sealed_stream import SealedReader
from cacher.errors import IntegrityError
from cacher.fileio import BUFFER_SIZE, read_full
from cacher.tar.header_fields import verify_checksum

Read = Callable[[memoryview], int]
"""Fills the front of a buffer and returns the number of bytes; 0 at the end."""

_GZIP_WINDOW = 31
"""zlib's number for "gzip alone, with any window"."""

_REFUSED = {XZ: "xz", BZIP2: "bzip2", LZ4: "lz4", ZIP: "zip"}


@contextmanager
def open_decompressed(read: Read, clock: Callable[[], float]) -> Iterator[Read]:
    """Give a function that reads a tar stream, decompressed if need be.

    Each of its calls fills the buffer, unless the end comes first. Opening and reading raise
    `IntegrityError` for an unknown format, and for a stream that is damaged or cut off.
    """
    stream = _PeekedStream(read)
    name = detect_format(stream.head)
    if name in _REFUSED:
        raise IntegrityError(f"it is compressed by {_REFUSED[name]}", "tar, gzip and zstd are read")
    if name == GZIP:
        yield _GzipReader(stream.readinto).readinto
    elif name == ZSTD:
        with SealedReader(stream.readinto, clock) as reader:
            yield reader.readinto
    else:
        _require_tar(stream.head)
        yield lambda buffer: read_full(stream.readinto, buffer)


def _require_tar(head: bytes) -> None:
    """Raise `IntegrityError` unless a stream begins as a tar archive does, of any age."""
    if not head:
        raise IntegrityError("it is empty")
    if len(head) == HEAD_SIZE:
        try:
            verify_checksum(head)  # "ustar" came later than tar
        except IntegrityError:
            pass
        else:
            return
    raise IntegrityError("it is not a tar archive, nor one in gzip or zstd")


class _PeekedStream:
    """A stream whose first bytes, `head`, are known before they are read."""

    def __init__(self, read: Read) -> None:
        self._read = read
        buffer = memoryview(bytearray(HEAD_SIZE))
        self._left = buffer[: read_full(read, buffer)]
        self.head = bytes(self._left)

    def readinto(self, buffer: memoryview) -> int:
        if not self._left:
            return self._read(buffer)
        piece, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


class _GzipReader:
    """The content of a gzip file, which may have several members (RFC 1952, section 2.2)."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._buffer = memoryview(bytearray(BUFFER_SIZE))
        self._inflater = zlib.decompressobj(_GZIP_WINDOW)
        self._left: bytes | memoryview = b""

    def readinto(self, buffer: memoryview) -> int:
        return read_full(self._inflate, buffer)

    def _inflate(self, buffer: memoryview) -> int:
        """Fill the front of `buffer`; 0 at the end."""
        while True:
            if self._inflater.eof and not self._begin_member():
                return 0
            data = self._left or self._next_input()
            if not data:
                raise IntegrityError("the gzip stream is cut off")
            try:
                piece = self._inflater.decompress(data, len(buffer))
            except zlib.error as error:
                raise IntegrityError(f"the gzip stream is damaged: {error}") from error
            self._left = self._inflater.unconsumed_tail
            if piece:
                buffer[: len(piece)] = piece
                return len(piece)

    def _begin_member(self) -> bool:
        """Go on to the next member, if there is one; as gzip does, skip zeros after the last."""
        rest: bytes | memoryview = self._inflater.unused_data
        while not (rest := bytes(rest).lstrip(b"\0")):
            if not (rest := self._next_input()):
                return False
        self._inflater = zlib.decompressobj(_GZIP_WINDOW)
        self._left = rest
        return True

    def _next_input(self) -> memoryview:
        return self._buffer[: self._read(self._buffer)]
