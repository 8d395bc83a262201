"""Where fetched bytes go: a file, which can be emptied, or a pipe, which cannot.

Knows descriptors; must not know where the bytes come from.
"""

from __future__ import annotations

import hashlib
import os
from typing import Protocol

from cacher.errors import LocalError, SourceError, os_reason
from cacher.fileio import write_all, write_all_at


class Sink(Protocol):
    """Takes bytes by their position."""

    def begin(self) -> None:
        """What comes is the whole from its first byte, whatever was written before."""
        ...

    def write(self, data: memoryview, position: int) -> None:
        """Take all of `data`, which follows what came last, or the beginning."""
        ...

    def end(self, size: int) -> None:
        """The whole has `size` bytes, all of which came."""
        ...


class FileSink:
    """An empty file. Raises `LocalError`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def begin(self) -> None:
        """Empty it again."""
        os.ftruncate(self._fd, 0)

    def write(self, data: memoryview, position: int) -> None:
        """Write at `position`."""
        try:
            write_all_at(self._fd, data, position)
        except OSError as error:
            reason = os_reason(error)
            raise LocalError(f"cannot write the fetched file: {reason}") from error

    def end(self, size: int) -> None:
        """Nothing to do: `begin` has emptied the file."""


class PipeSink:
    """A pipe. Where a fetch begins again, the bytes that have gone already must be the same.

    `about` names the source. Raises `SourceError` if it was replaced, and `BrokenPipeError`.
    """

    def __init__(self, fd: int, about: str) -> None:
        self._fd = fd
        self._about = about
        self._written = 0
        self._digest = hashlib.sha256(usedforsecurity=False)
        self._again = hashlib.sha256(usedforsecurity=False)

    def begin(self) -> None:
        """Compare what comes, as far as it was written."""
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
        """Less than was written already is another file."""
        if size < self._written:
            raise self._replaced()

    def _replaced(self) -> SourceError:
        return SourceError(f"fetching {self._about}: it was replaced meanwhile")
