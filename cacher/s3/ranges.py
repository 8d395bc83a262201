"""The ranges of one version of an object, each read to its end even if connections break.

Every range is pinned to the ETag of the first answer and accepted only as a 206 with exactly the
requested `Content-Range`: anything else could splice two versions of an object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cacher.errors import EntryChanged, StoreError
from cacher.fileio import BUFFER_SIZE, OnProgress
from cacher.http.exceptions import FailureKind, TransportError, status_text
from cacher.http.retry import Attempts
from cacher.http.transport import Answer
from cacher.s3.client import Client
from cacher.s3.error_mapping import unknown_size_error
from cacher.s3.object_head import (
    MAX_OBJECT,
    ObjectHead,
    content_range,
    is_whole,
    read_head,
    whole_size,
)
from cacher.s3.thread_pool import ThreadPool

RANGE = 8 * 1024 * 1024
"""Bytes in one request: an object of at most this size costs one."""

_PARTS_HINT = (
    "something between here and the store answers with other parts than are asked for: a cache?"
)


def range_at(starts: range, number: int) -> tuple[int, int]:
    """Return a range [start, end), by where ranges of equal size start in [0, `starts.stop`)."""
    start = starts[number]
    return start, min(start + starts.step, starts.stop)


class PinnedObject(NamedTuple):
    """One version of an object, of `head.size` bytes. `on_progress` gets the bytes that arrive."""

    client: Client
    key: str
    head: ObjectHead
    ranged: bool
    """Whether the store supports ranges."""

    in_parts: bool
    """Whether it is read in several ranges, which must share a strong ETag."""

    on_progress: OnProgress

    def starts(self) -> range:
        """Return where the ranges to fetch start: one, if they could not be pinned."""
        return range(0, self.head.size, RANGE if self.in_parts else max(self.head.size, 1))

    def open_range(
        self, start: int, end: int, pause: Callable[[float], None] | None, attempts: Attempts
    ) -> Answer:
        """Return an answer whose body is the bytes [start, end) of this version.

        Without a strong ETag, a range is never joined to another answer.
        """
        is_whole = (start, end) == (0, self.head.size)
        ranged = self.ranged and (self.in_parts or not is_whole)
        span = (start, end) if ranged else None
        reply = self.client.get(self.key, span, self.head.validator, pause, attempts)
        if reply is None or reply.value is None:
            raise EntryChanged(f"reading {self.key}: it was replaced or deleted meanwhile")
        answer = reply.value
        if answer.headers.get("etag", "") != self.head.etag:
            answer.close()
            raise EntryChanged(f"reading {self.key}: it was replaced meanwhile")
        if ranged and content_range(answer) != (start, end - 1, self.head.size):
            answer.close()
            raise StoreError(
                f"reading {self.key}: the store answered with another range", _PARTS_HINT
            )
        if not ranged and whole_size(answer) not in (-1, self.head.size):
            answer.close()
            raise EntryChanged(f"reading {self.key}: it was replaced meanwhile")
        if not ranged:
            _require_whole(answer, self.key)
            _skip(answer, start)
        return answer


class RangeReader:
    """Reads the bytes [start, end) of a version, in order. `answer` may be open already.

    With a `pool` it belongs to one of the pool's threads, and stops when the pool is stopped.
    """

    def __init__(
        self,
        pinned: PinnedObject,
        span: tuple[int, int],
        answer: Answer | None = None,
        pool: ThreadPool | None = None,
    ) -> None:
        self._pinned = pinned
        self._start, self._end = span
        self._position = self._start
        self._answer = answer
        self._pool = pool
        self._session = pinned.client.session
        self._attempts = self._session.attempts()

    def readinto(self, buffer: memoryview) -> int:
        """Read more bytes into the front of `buffer`; return how many, 0 at the end."""
        self._attempts.resume()
        while self._position < self._end:
            self._check()
            try:
                count = self._read_some(buffer[: self._end - self._position])
            except TransportError as error:
                self.close()
                self._require_resumable(error)
                self._wait_after(error)
                continue
            self._check()  # after a stop the owner may have closed what the bytes are for
            self._position += count
            self._attempts.progress(count)
            self._pinned.on_progress(count)
            return count
        return 0

    def _wait_after(self, error: TransportError) -> None:
        """Wait for the next try. Raises `StoreError` if there is no other."""
        limits = self._session.limits
        wait = error.delay(self._attempts, limits, limits.silent)
        if wait is None:
            doing = f"reading {self._pinned.key}"
            raise self._session.unanswered_error(error, doing, self._attempts) from error
        if wait:
            self._pause(wait)

    def close(self) -> None:
        """Close the connection, unless the range was read to its end."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _require_resumable(self, error: TransportError) -> None:
        """Raise `EntryChanged` if the rest could be from another version."""
        if self._position > self._start and not self._pinned.head.validator:
            raise EntryChanged(
                f"reading {self._pinned.key}: {error.detail}, and without a strong ETag it cannot "
                "be resumed",
                "a later run may succeed",
            ) from error

    def _read_some(self, buffer: memoryview) -> int:
        if self._answer is None:
            self._answer = self._pinned.open_range(
                self._position, self._end, self._pause, self._attempts
            )
        count = self._answer.readinto(buffer)
        if not count:
            raise TransportError(FailureKind.BROKEN, "the answer ended early")
        return count

    def _check(self) -> None:
        if self._pool:
            self._pool.check()

    def _pause(self, seconds: float) -> None:
        (self._pool or self._session.clocks).pause(seconds)


def open_first(
    client: Client, key: str, on_progress: OnProgress
) -> tuple[PinnedObject, Answer] | None:
    """Return the object under `key` and an answer from its first byte; None if there is none."""
    reply = client.get(key, (0, RANGE))
    if reply is None:
        return None
    has_ranges, size = False, 0 if reply.status == 416 else -1
    if (answer := reply.value) is not None:
        part = content_range(answer)
        has_ranges = part is not None and part[0] == 0 and part[1] == min(RANGE, part[2]) - 1
        if part and has_ranges:
            size = part[2]
            head = read_head(answer.headers)._replace(size=size)
            # Without a strong ETag the next range could be from another object.
            if head.validator or size <= RANGE:
                in_parts = bool(head.validator)
                return _pin(client, key, head, answer, on_progress, ranged=True, in_parts=in_parts)
        if answer.status == 200 and "content-range" not in answer.headers:
            return _pin(client, key, read_head(answer.headers), answer, on_progress)
        # A part with the status of a whole (rclone sends that): do not trust its ranges.
        answer.close()
    reply = client.get(key)
    if reply is None:
        return None
    if reply.value is None:
        raise StoreError(
            f"reading {key}: the store answered {status_text(reply.status)}",
            "that belongs to a request for a part, and all was asked for: is there a proxy or a "
            "cache before the store?",
        )
    return _pin_whole(client, key, reply.value, on_progress, ranged=has_ranges, size=size)


def _pin_whole(
    client: Client, key: str, answer: Answer, on_progress: OnProgress, *, ranged: bool, size: int
) -> tuple[PinnedObject, Answer]:
    """Pin an answer that must be the whole object; it had `size` bytes before, if known."""
    _require_whole(answer, key)
    head = read_head(answer.headers)
    if (reported := whole_size(answer)) >= 0:
        size = reported
    if head.size < 0 <= size:
        if size == 0 and not client.is_at_end(answer, f"reading {key}"):
            answer.close()
            raise EntryChanged(f"reading {key}: it was replaced meanwhile")
        head = head._replace(size=size)
    return _pin(client, key, head, answer, on_progress, ranged=ranged)


def _pin(
    client: Client,
    key: str,
    head: ObjectHead,
    answer: Answer,
    on_progress: OnProgress,
    *,
    ranged: bool = False,
    in_parts: bool = False,
) -> tuple[PinnedObject, Answer]:
    """Return the object and its answer. Closes the answer and raises if the size is bad."""
    if 0 <= head.size <= MAX_OBJECT:
        return PinnedObject(client, key, head, ranged, in_parts, on_progress), answer
    answer.close()
    if head.size < 0:
        raise unknown_size_error(f"reading {key}", str(client.session.endpoint.host))
    raise StoreError(
        f"reading {key}: the store says that it has {head.size} bytes, more than any object has"
    )


def _require_whole(answer: Answer, key: str) -> None:
    """Close an answer that is only a part, and raise `StoreError`."""
    if not is_whole(answer):
        answer.close()
        raise StoreError(
            f"reading {key}: the store answered with a part, though all of it was asked for",
            _PARTS_HINT,
        )


def _skip(answer: Answer, count: int) -> None:
    buffer = memoryview(bytearray(min(count, BUFFER_SIZE)))
    while count:
        skipped = answer.readinto(buffer[:count])
        if not skipped:
            raise TransportError(FailureKind.BROKEN, "the answer ended early")
        count -= skipped
