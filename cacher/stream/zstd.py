"""zstd, compressed and decompressed. The only importer of zstandard."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import zstandard

from cacher.errors import IntegrityError, UsageError

LEVEL = 3
"""zstd's own default."""

LEVELS = range(1, 20)
"""Of `zstd` without --ultra: the higher ones need more memory to be decompressed."""

THREADS = 8
"""At most so many: each takes some 20 MiB, and eight outrun any disk."""

JOB = 4 * 1024 * 1024
"""Bytes that a thread compresses at a time. zstd's own choice is 8 MiB, which takes 7 % longer on a
npm tree, and 67 MiB in place of 40; this one makes it 0.5 % larger."""

CHUNK = 256 * 1024
"""Bytes of output at a time. Threads that end together would else give 12 MiB at once."""

SLOW = 10
"""From this level on the window is larger, and so zstd's choice of a job is kept."""

WINDOW = 1 << 27
"""Bytes: what `zstd -d` accepts at its defaults (128 MiB)."""

_READ = 256 * 1024


def threads() -> int:
    """How many threads this machine gives us, within reason."""
    if sys.platform == "linux":
        available = len(os.sched_getaffinity(0))
    else:
        available = os.cpu_count() or 1
    return min(available, THREADS)


class Compressor:
    """One frame, with a checksum. What it gives depends on the data and the level alone.

    Not on the number of threads: even with one it works as with many, since the
    single-threaded mode would give other bytes.
    """

    def __init__(self, level: int = LEVEL, workers: int | None = None) -> None:
        if level not in LEVELS:
            raise UsageError(f"--level {level}: not from {LEVELS[0]} to {LEVELS[-1]}")
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level,
            threads=workers or threads(),
            job_size=JOB if level < SLOW else 0,
            write_checksum=True,
            write_content_size=False,
        )
        compressor = zstandard.ZstdCompressor(compression_params=parameters)
        self._chunker = compressor.chunker(chunk_size=CHUNK)

    def compress(self, data: memoryview) -> Iterator[bytes]:
        """Take `data`, which may be reused once all output there is was asked for."""
        return iter(self._chunker.compress(data))

    def finish(self) -> Iterator[bytes]:
        """The rest of the frame, which ends here."""
        return iter(self._chunker.finish())  # type: ignore[no-untyped-call]


class Decompressor:
    """The content of data frames.

    `more` gives the next bytes of the frames, an empty view at their end, which it must have
    proved: zstandard's reader takes a frame that is cut off for the end.
    """

    def __init__(self, more: Callable[[], memoryview]) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW)
        self._reader = decompressor.stream_reader(
            _Source(more),  # type: ignore[arg-type]
            read_size=_READ,
            read_across_frames=True,
        )

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer`; 0 at the end.

        Raises `IntegrityError`, and what `more` raises.
        """
        try:
            return self._reader.readinto(buffer)
        except zstandard.ZstdError as error:
            reason = str(error).removeprefix("zstd decompress error: ").lower()
            if "requires too much memory" in reason:
                raise IntegrityError(
                    "its zstd window is larger than 128 MiB",
                    "compress it without --long=28 or more",
                ) from error
            raise IntegrityError(f"the zstd stream is damaged: {reason}") from error
        except MemoryError as error:
            raise IntegrityError("its zstd window takes more memory than there is") from error


class _Source:
    """A file, as far as zstandard's reader wants one."""

    def __init__(self, more: Callable[[], memoryview]) -> None:
        self._more = more

    def read(self, _size: int) -> memoryview:
        """Not what was asked for, but what there is: the reader takes any size."""
        return self._more()
