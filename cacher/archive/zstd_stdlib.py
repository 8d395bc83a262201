"""zstd by Python's own `compression.zstd`, 3.14 and newer: what `zstd.py` does with zstandard.

Importing it raises `ImportError` where Python has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from compression import zstd  # type: ignore[import-not-found, unused-ignore]

from cacher.archive.zstd_settings import (
    CHUNK,
    LEVEL,
    WINDOW_LOG,
    check_level,
    damage,
    failure,
    job_size,
    shortage,
    threads,
)

LIBRARY = f"{zstd.zstd_version} of this Python"

_SLICE = 16 * 1024
"""Bytes given to a decompressor at a time: of each frame's end it copies the rest of them."""


class Compressor:
    """As `zstd.Compressor`; the bytes differ between versions of zstd, as they always may."""

    def __init__(self, level: int = LEVEL, workers: int | None = None) -> None:
        check_level(level)
        wanted = zstd.CompressionParameter
        options = {
            wanted.compression_level: level,
            wanted.checksum_flag: 1,
            wanted.content_size_flag: 0,
        }
        # A zstd that was built without threads refuses to hear of them.
        most = wanted.nb_workers.bounds()[1]
        if most:
            options[wanted.nb_workers] = min(workers or threads(), most)
            options[wanted.job_size] = job_size(level)
        self._compressor = _tried(lambda: zstd.ZstdCompressor(options=options))

    def compress(self, data: memoryview) -> Iterator[bytes]:
        """Take `data`, which may be reused once all output there is was asked for.

        Raises `LocalError` where there is not enough memory, as `finish` does.
        """
        return _chunks(_tried(lambda: self._compressor.compress(data)))

    def finish(self) -> Iterator[bytes]:
        """The rest of the frame, which ends here."""
        last = zstd.ZstdCompressor.FLUSH_FRAME
        return _chunks(_tried(lambda: self._compressor.flush(last)))


_Made = TypeVar("_Made")


def _tried(make: Callable[[], _Made]) -> _Made:
    try:
        return make()
    except MemoryError as error:
        raise failure("not enough memory") from error
    except zstd.ZstdError as error:
        raise failure(str(error).rpartition(": ")[2]) from error


class Decompressor:
    """As `zstd.Decompressor`, which `more` has to be for, too."""

    def __init__(self, more: Callable[[], memoryview]) -> None:
        self._more = more
        self._options = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
        self._frame = zstd.ZstdDecompressor(options=self._options)
        self._rest = memoryview(b"")
        """Of what `more` gave last."""
        self._unused = b""
        """Of the piece in which a frame ended."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer`; 0 at the end.

        Raises `IntegrityError`, and what `more` raises.
        """
        while True:
            hungry = self._frame.needs_input
            piece = self._next() if hungry else b""
            if hungry and not piece:
                return 0
            try:
                content = self._frame.decompress(piece, len(buffer))
            except zstd.ZstdError as error:
                raise damage(str(error).rpartition(": ")[2]) from error
            except MemoryError as error:
                raise shortage() from error
            if self._frame.eof:
                self._unused = self._frame.unused_data
                self._frame = zstd.ZstdDecompressor(options=self._options)
            if content:
                buffer[: len(content)] = content
                return len(content)

    def _next(self) -> memoryview | bytes:
        """The next bytes of the frames; none at their end."""
        if self._unused:
            piece, self._unused = self._unused, b""
            return piece
        if not self._rest:
            self._rest = self._more()
        given, self._rest = self._rest[:_SLICE], self._rest[_SLICE:]
        return given


def _chunks(data: bytes) -> Iterator[bytes]:
    return (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))
