"""zstd, compressed and decompressed. The only importer of zstandard.

Where there is none for this Python, Python 3.14's own does the same: `zstd_stdlib.py`.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Iterator

from cacher.archive.zstd_settings import (
    CHUNK,
    LEVEL,
    LEVELS,
    THREADS,
    WINDOW,
    check_level,
    damage,
    failure,
    job_size,
    shortage,
    threads,
)
from cacher.errors import CacherError, LocalError
from cacher.fileio import BUFFER_SIZE

__all__ = ["LEVEL", "LEVELS", "LIBRARY", "THREADS", "Compressor", "Decompressor", "threads"]

_MISSING: ImportError | None = None
try:
    import zstandard
except ImportError as _error:
    _MISSING = _error


class Compressor:
    """One frame, with a checksum. What it gives depends on the data and the level alone.

    Not on the number of threads: even with one it works as with many, since the
    single-threaded mode would give other bytes.
    """

    def __init__(self, level: int = LEVEL, workers: int | None = None) -> None:
        check_level(level)
        try:
            parameters = zstandard.ZstdCompressionParameters.from_level(
                level,
                threads=workers or threads(),
                job_size=job_size(level),
                write_checksum=True,
                write_content_size=False,
            )
            compressor = zstandard.ZstdCompressor(compression_params=parameters)
            self._chunker = compressor.chunker(chunk_size=CHUNK)
        except (MemoryError, zstandard.ZstdError) as error:
            raise _failed(error) from error

    def compress(self, data: memoryview) -> Iterator[bytes]:
        """Take `data`, which may be reused once all output there is was asked for.

        Raises `LocalError` where there is not enough memory, as `finish` does.
        """
        return _guarded(lambda: self._chunker.compress(data))

    def finish(self) -> Iterator[bytes]:
        """The rest of the frame, which ends here."""
        return _guarded(self._chunker.finish)


def _guarded(ask: Callable[[], Iterable[bytes]]) -> Iterator[bytes]:
    try:
        yield from ask()
    except (MemoryError, zstandard.ZstdError) as error:
        raise _failed(error) from error


def _failed(error: Exception) -> CacherError:
    if isinstance(error, MemoryError):
        return failure("not enough memory")
    return failure(str(error).rpartition("error: ")[2])


class Decompressor:
    """The content of data frames.

    `more` gives the next bytes of the frames, an empty view at their end, which it must have
    proved: zstandard's reader takes a frame that is cut off for the end.
    """

    def __init__(self, more: Callable[[], memoryview]) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW)
        self._reader = decompressor.stream_reader(
            _Source(more),  # type: ignore[arg-type]
            read_size=BUFFER_SIZE,
            read_across_frames=True,
        )

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer`; 0 at the end.

        Raises `IntegrityError`, and what `more` raises.
        """
        try:
            return self._reader.readinto(buffer)
        except zstandard.ZstdError as error:
            raise damage(str(error).removeprefix("zstd decompress error: ")) from error
        except MemoryError as error:
            raise shortage() from error


class _Source:
    """A file, as far as zstandard's reader wants one."""

    def __init__(self, more: Callable[[], memoryview]) -> None:
        self._more = more

    def read(self, _size: int) -> memoryview:
        """Not what was asked for, but what there is: the reader takes any size."""
        return self._more()


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
"""What does the work, for people to read."""
