"""The zstd compressor and decompressor. The only importer of zstandard.

Where zstandard is missing, Python 3.14's own zstd does the same: `zstd_stdlib.py`.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Iterator

from cacher.archive import zstd_settings
from cacher.errors import LocalError
from cacher.fileio import BUFFER_SIZE

_MISSING: ImportError | None = None
try:
    import zstandard
except ImportError as _error:
    _MISSING = _error


class Compressor:
    """A compressor of one frame, with a checksum.

    Its output depends on the data and the level, not on the number of threads: one thread works in
    the mode for many, since the single-threaded mode gives other bytes.
    """

    def __init__(self, level: int = zstd_settings.LEVEL, workers: int | None = None) -> None:
        zstd_settings.check_level(level)
        try:
            parameters = zstandard.ZstdCompressionParameters.from_level(
                level,
                threads=workers or zstd_settings.default_threads(),
                job_size=zstd_settings.job_size(level),
                write_checksum=True,
                write_content_size=False,
            )
            compressor = zstandard.ZstdCompressor(compression_params=parameters)
            self._chunker = compressor.chunker(chunk_size=zstd_settings.OUTPUT_SIZE)
        except (MemoryError, zstandard.ZstdError) as error:
            raise zstd_settings.compression_error(error) from error

    def compress(self, data: memoryview) -> Iterator[bytes]:
        """Yield the output there is; `data` may be reused once all of it was yielded.

        Raises `LocalError` where there is not enough memory, as `finish` does.
        """
        return _translate_errors(lambda: self._chunker.compress(data))

    def finish(self) -> Iterator[bytes]:
        """Yield the rest of the frame, and end it."""
        return _translate_errors(self._chunker.finish)


def _translate_errors(call: Callable[[], Iterable[bytes]]) -> Iterator[bytes]:
    try:
        yield from call()
    except (MemoryError, zstandard.ZstdError) as error:
        raise zstd_settings.compression_error(error) from error


class Decompressor:
    """The content of data frames.

    `next_data` returns the next bytes of the frames, an empty view at their end, which it must
    have proved: zstandard's reader takes a frame that is cut off for the end.
    """

    def __init__(self, next_data: Callable[[], memoryview]) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=zstd_settings.MAX_WINDOW)
        self._reader = decompressor.stream_reader(
            _Source(next_data),  # type: ignore[arg-type]
            read_size=BUFFER_SIZE,
            read_across_frames=True,
        )

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer`; 0 at the end.

        Raises `IntegrityError`, and the errors of `next_data`.
        """
        try:
            return self._reader.readinto(buffer)
        except (MemoryError, zstandard.ZstdError) as error:
            raise zstd_settings.decompression_error(error) from error


class _Source:
    """The part of a file that zstandard's reader uses."""

    def __init__(self, next_data: Callable[[], memoryview]) -> None:
        self._next_data = next_data

    def read(self, _size: int) -> memoryview:
        """Return the bytes there are, not as many as asked for: the reader takes any size."""
        return self._next_data()


if _MISSING:
    try:
        from cacher.archive import zstd_stdlib
    except ImportError as error:
        python = f"{platform.python_implementation()} {platform.python_version()}"
        raise LocalError(
            f"{python} ({sys.platform}, {platform.machine()}) has no zstd: {_MISSING}",
            # A zipapp's importer may know better.
            getattr(_MISSING, "hint", "")
            or "`pip install zstandard`, or take CPython 3.11 to 3.14 on Linux or macOS",
        ) from error
    LIBRARY = zstd_stdlib.LIBRARY
    Compressor = zstd_stdlib.Compressor  # type: ignore[assignment,misc]
    Decompressor = zstd_stdlib.Decompressor  # type: ignore[assignment,misc]
else:
    LIBRARY = f"{'.'.join(map(str, zstandard.ZSTD_VERSION))} of zstandard {zstandard.__version__}"
"""The library in use, for people."""
