"""The settings and the errors of zstd, whichever library is used."""

from __future__ import annotations

import os
import sys

from cacher.errors import CacherError, IntegrityError, LocalError, UsageError

LEVEL = 3
"""zstd's own default."""

LEVELS = range(1, 20)
"""Those of `zstd` without --ultra: higher ones need more memory to be decompressed."""

MAX_THREADS = 8
"""Each takes some 20 MiB, and eight are faster than any disk."""

JOB_SIZE = 4 * 1024 * 1024
"""Bytes that a thread compresses at a time. zstd's own choice is 8 MiB, which takes 7 % longer on a
npm tree, and 67 MiB in place of 40; this one makes it 0.5 % larger."""

OUTPUT_SIZE = 256 * 1024
"""Bytes of output at a time. Threads that end together would otherwise give 12 MiB at once."""

SLOW_LEVEL = 10
"""From this level on the window is larger, so zstd chooses the size of a job."""

MAX_WINDOW_LOG = 27

MAX_WINDOW = 1 << MAX_WINDOW_LOG
"""Bytes: the limit of `zstd -d` at its defaults (128 MiB)."""


def default_threads() -> int:
    """Return how many threads compress: as many as the machine has, at most `MAX_THREADS`."""
    if sys.platform == "linux":
        available = len(os.sched_getaffinity(0))
    else:
        available = os.cpu_count() or 1
    return min(available, MAX_THREADS)


def check_level(level: int) -> None:
    """Raise `UsageError` unless `level` is one of `LEVELS`."""
    if level not in LEVELS:
        raise UsageError(f"--level {level}: not from {LEVELS[0]} to {LEVELS[-1]}")


def job_size(level: int) -> int:
    """Return the bytes of a job; 0 lets zstd choose."""
    return JOB_SIZE if level < SLOW_LEVEL else 0


def decompression_error(error: Exception) -> CacherError:
    """Return the error for a library's error about a stream, or `MemoryError`."""
    if isinstance(error, MemoryError):
        return IntegrityError("its zstd window takes more memory than there is")
    reason = _reason(error)
    if "requires too much memory" in reason:
        return IntegrityError(
            "its zstd window is larger than 128 MiB",
            "compress it without --long=28 or more",
        )
    return IntegrityError(f"the zstd stream is damaged: {reason}")


def compression_error(error: Exception) -> CacherError:
    """Return the error for a library that cannot compress: the data is never the reason."""
    reason = _reason(error)
    if isinstance(error, MemoryError) or "not enough memory" in reason or "allocation" in reason:
        # zstd says the same where it cannot start its threads.
        return LocalError(
            "compressing: not enough memory, or no more threads",
            "see `ulimit -u` and the cgroup's pids.max; a lower --level needs less memory",
        )
    return LocalError(f"compressing: {reason}")


def _reason(error: Exception) -> str:
    """Return zstd's own words, which follow those of a library."""
    return str(error).rpartition(": ")[2].lower()
