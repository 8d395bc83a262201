"""How we compress and what we decompress, whichever library does it, and what damage is called."""

from __future__ import annotations

import os
import sys

from cacher.errors import CacherError, IntegrityError, LocalError, UsageError

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

WINDOW_LOG = 27

WINDOW = 1 << WINDOW_LOG
"""Bytes: what `zstd -d` accepts at its defaults (128 MiB)."""


def threads() -> int:
    """How many threads this machine gives us, within reason."""
    if sys.platform == "linux":
        available = len(os.sched_getaffinity(0))
    else:
        available = os.cpu_count() or 1
    return min(available, THREADS)


def check_level(level: int) -> None:
    """Raises `UsageError`."""
    if level not in LEVELS:
        raise UsageError(f"--level {level}: not from {LEVELS[0]} to {LEVELS[-1]}")


def job_size(level: int) -> int:
    """Bytes; 0 is zstd's choice."""
    return JOB if level < SLOW else 0


def damage(complaint: str) -> CacherError:
    """What a library's complaint about a stream means."""
    reason = complaint.lower()
    if "requires too much memory" in reason:
        return IntegrityError(
            "its zstd window is larger than 128 MiB",
            "compress it without --long=28 or more",
        )
    return IntegrityError(f"the zstd stream is damaged: {reason}")


def failure(complaint: str) -> CacherError:
    """What it means that a library cannot compress: the data cannot be the reason."""
    reason = complaint.lower()
    if "not enough memory" in reason or "allocation" in reason:
        # zstd says the same where it cannot start its threads.
        return LocalError(
            "compressing: not enough memory, or no more threads",
            "see `ulimit -u` and the cgroup's pids.max; a lower --level needs less memory",
        )
    return LocalError(f"compressing: {reason}")


def shortage() -> CacherError:
    """There is no memory for what a stream asks for."""
    return IntegrityError("its zstd window takes more memory than there is")
