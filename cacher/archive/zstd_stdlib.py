"""`zstd.py` with Python's own `compression.zstd` (3.14 and newer) in place of zstandard.

Importing it raises `ImportError` where Python has no zstd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from compression import zstd  # type: ignore[import-not-found, unused-ignore]

from cacher.archive import zstd_settings

LIBRARY = f"{zstd.zstd_version} of this Python"

_SLICE = 16 * 1024
"""Bytes given to a decompressor at a time: at each frame's end it copies the rest of them."""


class Compressor:
    """As `zstd.Compressor`; the bytes differ between versions of zstd, as they always may."""

    def __init__(self, level: int = zstd_settings.LEVEL, workers: int | None = None) -> None:
        zstd_settings.check_level(level)
        parameter = zstd.CompressionParameter
        options = {
            parameter.compression_level: level,
            parameter.checksum_flag: 1,
            parameter.content_size_flag: 0,
        }
        # A zstd that was built without threads refuses the parameter.
        limit = parameter.nb_workers.bounds()[1]
        if limit:
            options[parameter.nb_workers] = min(workers or zstd_settings.default_threads(), limit)
            options[parameter.job_size] = zstd_settings.job_size(level)
        self._compressor = _translate_errors(lambda: zstd.ZstdCompressor(options=options))

    def compress(self, data: memoryview) -> Iterator[bytes]:
        """Yield the output there is; `data` may be reused once all of it was yielded.

        Raises `LocalError` where there is not enough memory, as `finish` does.
        """
        return _chunks(_translate_errors(lambda: self._compressor.compress(data)))

    def finish(self) -> Iterator[bytes]:
        """Yield the rest of the frame, and end it."""
        last = zstd.ZstdCompressor.FLUSH_FRAME
        return _chunks(_translate_errors(lambda: self._compressor.flush(last)))


_Result = TypeVar("_Result")


def _translate_errors(call: Callable[[], _Result]) -> _Result:
    try:
        return call()
    except (MemoryError, zstd.ZstdError) as error:
        raise zstd_settings.compression_error(error) from error


class Decompressor:
    """As `zstd.Decompressor`, with the same `next_data`."""

    def __init__(self, next_data: Callable[[], memoryview]) -> None:
        self._next_data = next_data
        self._options = {zstd.DecompressionParameter.window_log_max: zstd_settings.MAX_WINDOW_LOG}
        self._frame = zstd.ZstdDecompressor(options=self._options)
        self._rest = memoryview(b"")
        """The rest of the last bytes of `next_data`."""
        self._unused = b""
        """The rest of the piece in which a frame ended."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer`; 0 at the end.

        Raises `IntegrityError`, and the errors of `next_data`.
        """
        while True:
            needs_input = self._frame.needs_input
            piece = self._next_piece() if needs_input else b""
            if needs_input and not piece:
                return 0
            try:
                content = self._frame.decompress(piece, len(buffer))
            except (MemoryError, zstd.ZstdError) as error:
                raise zstd_settings.decompression_error(error) from error
            if self._frame.eof:
                self._unused = self._frame.unused_data
                self._frame = zstd.ZstdDecompressor(options=self._options)
            if content:
                buffer[: len(content)] = content
                return len(content)

    def _next_piece(self) -> memoryview | bytes:
        """Return the next bytes of the frames, none at their end."""
        if self._unused:
            piece, self._unused = self._unused, b""
            return piece
        if not self._rest:
            self._rest = self._next_data()
        given, self._rest = self._rest[:_SLICE], self._rest[_SLICE:]
        return given


def _chunks(data: bytes) -> Iterator[bytes]:
    step = zstd_settings.OUTPUT_SIZE
    return (data[start : start + step] for start in range(0, len(data), step))
