"""Request bodies that can be sent again: parts in memory, and slices of a file.

They are sent in small pieces, because a socket's time-out covers a whole `sendall`: with pieces it
limits silence, not the size of a part.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator

from cacher.errors import LocalError, os_reason
from cacher.fileio import OnProgress, ignore_progress

SEND_SIZE = 128 * 1024
"""Bytes in one send."""


def _unchecked() -> None:
    pass


class SignedBody:
    """A body with a known size and digest, which can be iterated any number of times.

    `on_progress` gets the bytes sent, below zero before they are sent again; `check` may raise to
    stop the sending.
    """

    def __init__(
        self,
        size: int,
        on_progress: OnProgress = ignore_progress,
        check: Callable[[], None] = _unchecked,
    ) -> None:
        self.size = size
        self._on_progress = on_progress
        self._check = check
        self._sent = self._furthest = 0
        self._sha256 = ""
        self.on_first_sent: OnProgress = ignore_progress
        """Called with the number of bytes sent for the first time."""
        self.times_sent = 0
        """How often it was sent, wholly or in part."""

    @property
    def sha256(self) -> str:
        """The hex SHA-256 of all bytes, which is signed."""
        if not self._sha256:
            self._sha256 = self._digest()
        return self._sha256

    def refresh(self) -> None:
        """Read the source again, after the store refused the digest."""
        self._sha256 = ""

    @property
    def is_sent(self) -> bool:
        """Whether the last attempt sent all of it."""
        return self._sent == self.size

    def watch(self, on_progress: OnProgress, check: Callable[[], None]) -> None:
        """Call `on_progress` and `check` from now on."""
        self._on_progress, self._check = on_progress, check

    def __iter__(self) -> Iterator[memoryview]:
        self._on_progress(-self._sent)
        self._sent = 0
        self.times_sent += 1
        for piece in self._pieces():
            self._check()
            yield piece
            self._sent += len(piece)
            self._on_progress(len(piece))
            if self._sent > self._furthest:
                self.on_first_sent(self._sent - self._furthest)
                self._furthest = self._sent

    def _pieces(self) -> Iterator[memoryview]:
        raise NotImplementedError

    def _digest(self) -> str:
        digest = hashlib.sha256(usedforsecurity=False)
        for piece in self._pieces():
            digest.update(piece)
        return digest.hexdigest()


class MemoryBody(SignedBody):
    """Bytes in memory, which must not change while the body is in use."""

    def __init__(
        self,
        data: bytes | bytearray | memoryview,
        on_progress: OnProgress = ignore_progress,
        check: Callable[[], None] = _unchecked,
    ) -> None:
        self._data = memoryview(data)
        super().__init__(len(self._data), on_progress, check)

    def _pieces(self) -> Iterator[memoryview]:
        for start in range(0, self.size, SEND_SIZE):
            yield self._data[start : start + SEND_SIZE]


class FileBody(SignedBody):
    """The bytes [start, start + size) of a regular file, not kept in memory."""

    def __init__(
        self,
        fd: int,
        start: int,
        size: int,
        on_progress: OnProgress = ignore_progress,
        check: Callable[[], None] = _unchecked,
    ) -> None:
        super().__init__(size, on_progress, check)
        self._fd = fd
        self._start = start

    def refresh(self) -> None:
        """Raise `LocalError` if the bytes are not those that were signed."""
        before, self._sha256 = self._sha256, ""
        if before and self.sha256 != before:
            raise LocalError("the file changed while it was read")

    def load(self) -> bytearray:
        """Return a copy of all bytes."""
        data = bytearray(self.size)
        position = 0
        for piece in self._pieces():
            data[position : position + len(piece)] = piece
            position += len(piece)
        return data

    def _pieces(self) -> Iterator[memoryview]:
        """Yield views of one buffer, each valid until the next."""
        buffer = memoryview(bytearray(min(SEND_SIZE, self.size)))
        position, end = self._start, self._start + self.size
        while position < end:
            try:
                count = os.preadv(self._fd, [buffer[: end - position]], position)
            except OSError as error:
                reason = os_reason(error)
                raise LocalError(f"cannot read the file: {reason}") from error
            if not count:
                raise LocalError("the file became shorter while it was read")
            yield buffer[:count]
            position += count
