"""Standard streams that are closed, full or gone.

Loaded by every start. Knows no command.
"""

from __future__ import annotations

import os
import sys


def reserve_descriptors() -> None:
    """Keep the numbers 0 to 2 taken, or the next file that is opened would become stdout.

    A stream that was closed is opened the wrong way round, so that using it still fails.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if fd else os.O_WRONLY)
    # Python has no object for a descriptor that was closed when it started.
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def discard_unwritten() -> None:
    """Drop output that could not be written: at its exit, the interpreter would try again.

    It would end with an exit status of its own; whether this is a failure is decided by now.
    """
    for fd, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, fd)
            os.close(null)
