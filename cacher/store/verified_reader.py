"""The reader of every store: raw bytes in, proved bytes out.

Knows digests, counts and `Entry`; must not know where the bytes come from. A store hands over an
`UnverifiedSource`, which may be wrong in any way; the bytes that leave here are those that the
store recorded, or an `IntegrityError` is raised.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Protocol, Self

from cacher.errors import IntegrityError, LocalError, os_reason
from cacher.fileio import BUFFER_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from cacher.store.interface import Entry

SHORT = 12
"""Hex digits of a digest in a message: enough to distinguish two."""


class UnverifiedSource(Protocol):
    """The raw bytes of an entry, not proved."""

    @property
    def size(self) -> int | None:
        """How many bytes the source says it will give; None where it does not know."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer` with the next bytes, in order; return 0 at the end."""

    def tail(self, count: int) -> bytes:
        """Return the last `count` bytes, or all if there are fewer, at any time."""

    def save(self, fd: int, on_written: Callable[[int], None]) -> int:
        """Write all the bytes at their offsets in `fd`, in any order; return how many there were.

        Calls `on_written(end)`, from the calling thread only, whenever the bytes [0, end) are
        complete in the file; `end` never shrinks.
        """

    def cancel(self) -> None:
        """Make a `readinto` that waits in another thread fail soon."""

    def close(self) -> None:
        """Close files and connections. Safe to call twice."""


class VerifiedReader:
    """An open entry. The SHA-256 of its bytes is computed as they flow, and compared at the end.

    It owns `source` and closes it. Count and digest are compared with `entry.size` and, where one
    is recorded, `entry.sha256`.
    """

    def __init__(self, source: UnverifiedSource, entry: Entry) -> None:
        self.entry = entry
        self._source = source
        self._digest = hashlib.sha256(usedforsecurity=False)
        self._count = 0
        self._proved = False

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer`, which must not be empty; return 0 at the proved end.

        Raises `IntegrityError` instead of returning 0 if bytes are missing or their digest is not
        the recorded one, and the errors of the source.
        """
        if self._proved:
            return 0
        self._refuse_other_size()
        count = self._source.readinto(buffer)
        if not count:
            self._prove()
        else:
            if self.entry.sha256:
                self._digest.update(buffer[:count])
            self._add(count)
        return count

    def tail(self, count: int) -> bytes:
        """Return the last `count` bytes, or all if there are fewer; at any time, not proved yet."""
        self._refuse_other_size()
        return self._source.tail(count)

    def save(self, fd: int) -> str:
        """Write the whole entry at offset 0 of the regular file `fd`; return its hex SHA-256.

        Not to be mixed with `readinto`. `fd` must be readable too: the digest is computed from the
        bytes in the file, out of the page cache, while the source goes on fetching in other
        threads. The file is not cut to the entry's size. Raises `IntegrityError`, `LocalError` if
        the file cannot be read back, and the errors of the source.
        """
        self._refuse_other_size()
        window = memoryview(bytearray(BUFFER_SIZE))
        total = self._source.save(fd, lambda end: self._hash_written(fd, end, window))
        self._hash_written(fd, total, window)
        self._prove()
        return self._digest.hexdigest()

    def cancel(self) -> None:
        """Make a `readinto` that waits in another thread fail soon; then only `close` is left.

        To be called again and again until it has failed.
        """
        self._source.cancel()

    def close(self) -> None:
        """Close the source, read to its end or not. Safe to call twice."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _refuse_other_size(self) -> None:
        """Refuse a source of another length before gigabytes have moved."""
        offered, recorded = self._source.size, self.entry.size
        if offered is not None and offered != recorded:
            self._refuse_count(offered)

    def _hash_written(self, fd: int, end: int, window: memoryview) -> None:
        while self._count < end:
            piece = window[: end - self._count]
            try:
                count = os.preadv(fd, [piece], self._count)
            except OSError as error:
                reason = os_reason(error)
                raise LocalError(f"could not read back {self.entry.key}: {reason}") from error
            if not count:
                raise LocalError(f"the file that {self.entry.key} was saved to became shorter")
            self._digest.update(piece[:count])
            self._add(count)

    def _add(self, count: int) -> None:
        self._count += count
        if self._count > self.entry.size:
            self._refuse_count(self._count)

    def _prove(self) -> None:
        entry, found = self.entry, self._digest.hexdigest()
        if self._count != entry.size:
            self._refuse_count(self._count)
        if entry.sha256 and found != entry.sha256.lower():
            raise IntegrityError(
                f"{entry.key} has digest {found[:SHORT]}…, recorded {entry.sha256[:SHORT]}…"
            )
        self._proved = True

    def _refuse_count(self, count: int) -> None:
        key, size = self.entry.key, self.entry.size
        if count < size:
            raise IntegrityError(f"{key} is truncated: {count} of {size} bytes")
        raise IntegrityError(f"{key} is too long: at least {count} bytes, recorded {size}")
