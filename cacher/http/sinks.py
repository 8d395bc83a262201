"""Destinations of fetched bytes: a file, which can be truncated, or a pipe, which cannot.

Must not know where the bytes come from.
"""

from __future__ import annotations

import hashlib
import os
from typing import Protocol

from cacher.errors import LocalError, SourceError, os_reason
from cacher.fileio import write_all, write_all_at


class Sink(Protocol):
    """Receives bytes with their position."""

    def begin(self) -> None:
        """Start over: the next bytes begin at position 0."""

    def write(self, data: memoryview, position: int) -> None:
        """Take all of `data`, which continues what came last, or begins at 0."""

    def end(self, size: int) -> None:
        """Finish: all `size` bytes have come."""


class FileSink:
    """A file that is empty at first. Raises `LocalError`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def begin(self) -> None:
        """Truncate the file."""
        os.ftruncate(self._fd, 0)

    def write(self, data: memoryview, position: int) -> None:
        """Write at `position`."""
        try:
            write_all_at(self._fd, data, position)
        except OSError as error:
            reason = os_reason(error)
            raise LocalError(f"cannot write the fetched file: {reason}") from error

    def end(self, size: int) -> None:
        """Do nothing: `begin` has truncated the file."""


class PipeSink:
    """A pipe. After a restart, the bytes that were written already must come again.

    `about` names the source. Raises `SourceError` if it was replaced, and `BrokenPipeError`.
    """

    def __init__(self, fd: int, about: str) -> None:
        self._fd = fd
        self._about = about
        self._written = 0
        self._digest = hashlib.sha256(usedforsecurity=False)
        self._again = hashlib.sha256(usedforsecurity=False)

    def begin(self) -> None:
        """Compare the next bytes with those that were written."""
        self._again = hashlib.sha256(usedforsecurity=False)

    def write(self, data: memoryview, position: int) -> None:
        """Write the bytes that have not been written before."""
        if position < self._written:
            known = data[: self._written - position]
            self._again.update(known)
            data, position = data[len(known) :], position + len(known)
            if position < self._written:
                return
            if self._again.digest() != self._digest.digest():
                raise self._replaced()
        self._digest.update(data)
        self._written += len(data)
        write_all(self._fd, data)

    def end(self, size: int) -> None:
        """Raise `SourceError` if fewer bytes came than were written."""
        if size < self._written:
            raise self._replaced()

    def _replaced(self) -> SourceError:
        return SourceError(f"fetching {self._about}: it was replaced meanwhile")
