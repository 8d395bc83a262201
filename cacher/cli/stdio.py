"""Standard streams that are closed, full or gone.

Loaded by every start. Knows no command. A stdout that cannot be written to is a failure, told
once; a stderr that cannot be changes nothing.
"""

from __future__ import annotations

import os
import sys


def reserve_descriptors() -> None:
    """Keep the numbers 0 to 2 taken, or the next file that is opened would become stdout.

    A stream that was closed is held the wrong way round, so that using it still fails.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if fd else os.O_WRONLY)
    # Python has none for a number that was closed when it started.
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def print_line(text: str) -> None:
    """One line on stdout, now. Raises `OSError`."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_error(text: str) -> None:
    """Text on stderr, for as long as there is somebody to read it."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        pass


def discard_unwritten() -> None:
    """Drop what was not taken: the interpreter would try again, and end with a status of its own.

    Whether that is a failure has been decided by now.
    """
    for fd, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, fd)
            os.close(null)
