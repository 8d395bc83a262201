"""The ranges of one version of an object, each read over as many connections as it takes.

Every range is pinned to the ETag of the first answer and counts only as a 206 with exactly the
`Content-Range` that was asked for: anything else could splice two versions of an object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cacher.errors import EntryChanged, StoreError
from cacher.s3.client import Client
from cacher.s3.crew import Crew
from cacher.s3.faults import unanswered
from cacher.s3.heads import LARGEST, ObjectHead, content_range, read_head
from cacher.s3.retry import Attempts
from cacher.s3.transport import Answer
from cacher.s3.troubles import TransportError, Trouble

RANGE = 8 * 1024 * 1024
"""Bytes in one request: an object of at most this size costs one."""

PIECE = 256 * 1024
"""Bytes of the buffer that a thread reads into, again and again."""

Meter = Callable[[int], None]


class Spans:
    """The ranges [start, end) of `size` bytes, `step` in each but the last: by number, from 0.

    Not a list, which would grow with what a store says of a size.
    """

    __slots__ = ("size", "step")

    def __init__(self, size: int, step: int) -> None:
        self.size = size
        self.step = step

    def __len__(self) -> int:
        return -(-self.size // self.step)

    def __getitem__(self, number: int) -> tuple[int, int]:
        start = number * self.step
        if not 0 <= start < self.size:
            raise IndexError(number)
        return start, min(start + self.step, self.size)


class Version(NamedTuple):
    """One version of an object: `head.size` is all of it; `meter` is told of bytes that arrive."""

    client: Client
    key: str
    head: ObjectHead
    ranged: bool
    """Whether the store has ranges at all."""
    meter: Meter

    def unmetered(self) -> Version:
        """The same version, for bytes that come a second time."""
        return self._replace(meter=lambda _count: None)

    def spans(self) -> Spans:
        """The ranges to fetch; just one, if the store has no ranges."""
        return Spans(self.head.size, RANGE if self.ranged else max(self.head.size, 1))

    def ask(
        self, start: int, end: int, pause: Callable[[float], None] | None, attempts: Attempts
    ) -> Answer:
        """An answer whose body begins with byte `start` of this version, and ends at `end`."""
        if start and not self.head.etag:
            raise StoreError(f"reading {self.key}: it broke off, and without ETag cannot go on")
        span = (start, end) if self.ranged else None
        reply = self.client.get(self.key, span, self.head.etag, pause, attempts)
        if reply is None or reply.value is None:
            raise EntryChanged(f"reading {self.key}: it was replaced or deleted meanwhile")
        answer = reply.value
        if self.ranged and content_range(answer) != (start, end - 1, self.head.size):
            answer.close()
            raise StoreError(f"reading {self.key}: the store answered with another range")
        if answer.headers.get("etag", "") != self.head.etag:
            answer.close()
            raise EntryChanged(f"reading {self.key}: it was replaced meanwhile")
        if not self.ranged:
            _skip(answer, start)
        return answer


class Cursor:
    """The bytes [start, end) of a version, in order. `answer` may be open already.

    With a `crew` it belongs to one of its threads, and stops when the job is given up.
    """

    def __init__(
        self,
        version: Version,
        span: tuple[int, int],
        answer: Answer | None = None,
        crew: Crew | None = None,
    ) -> None:
        self._version = version
        self._position, self._end = span
        self._answer = answer
        self._crew = crew
        self._session = version.client.session
        self._attempts = self._session.attempts()

    def readinto(self, buffer: memoryview) -> int:
        """Read more bytes into the front of `buffer`; how many, 0 at the end of the range."""
        self._attempts.resume()
        while self._position < self._end:
            self._check()
            try:
                count = self._some(buffer[: self._end - self._position])
            except TransportError as error:
                self.close()
                self._wait_after(error)
                continue
            self._check()  # whoever gave the job up may have let go of where the bytes go
            self._position += count
            self._attempts.progress(count)
            self._version.meter(count)
            return count
        return 0

    def _wait_after(self, error: TransportError) -> None:
        """Wait for the next try. Raises `StoreError` if there is none."""
        limits = self._session.limits
        within = error.within(limits, limits.silent)
        wait = self._attempts.delay(within, dropped=error.dropped)
        if wait is None:
            doing, host = f"reading {self._version.key}", str(self._session.endpoint.host)
            raise unanswered(error, doing, host, self._attempts) from error
        if wait:
            self._pause(wait)

    def close(self) -> None:
        """Give the connection up, unless the range was read to its end."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _some(self, buffer: memoryview) -> int:
        if self._answer is None:
            self._answer = self._version.ask(self._position, self._end, self._pause, self._attempts)
        count = self._answer.readinto(buffer)
        if not count:
            raise TransportError(Trouble.BROKEN, "the answer ended early")
        return count

    def _check(self) -> None:
        if self._crew:
            self._crew.check()

    def _pause(self, seconds: float) -> None:
        (self._crew or self._session).pause(seconds)


def first_answer(client: Client, key: str, meter: Meter) -> tuple[Version, Answer] | None:
    """What is under `key` now, and an answer that begins with its first byte; None for nothing."""
    reply = client.get(key, (0, RANGE))
    if reply is None:
        return None
    if (answer := reply.value) is not None:
        told = content_range(answer)
        # Without an ETag the next range could be another object's.
        enough = told and (answer.headers.get("etag") or told[2] <= RANGE)
        if told and enough and told[0] == 0 and told[1] == min(RANGE, told[2]) - 1:
            head = read_head(answer.headers)._replace(size=told[2])
            return _version(client, key, head, answer, meter, ranged=True), answer
        if answer.status == 200 and "content-range" not in answer.headers:
            return _whole(client, key, answer, meter)
        # A part under the status of a whole (rclone does so): its ranges are not to be trusted.
        answer.close()
    # An empty object has no first range (416), either.
    reply = client.get(key)
    if reply is None:
        return None
    if reply.value is None:
        raise StoreError(f"reading {key}: the store answered {reply.status}")
    return _whole(client, key, reply.value, meter)


def _whole(client: Client, key: str, answer: Answer, meter: Meter) -> tuple[Version, Answer]:
    head = read_head(answer.headers)
    return _version(client, key, head, answer, meter, ranged=False), answer


def _version(
    client: Client, key: str, head: ObjectHead, answer: Answer, meter: Meter, *, ranged: bool
) -> Version:
    """What the answer begins, if it can be. Closes the answer if it cannot."""
    if 0 <= head.size <= LARGEST:
        return Version(client, key, head, ranged, meter)
    answer.close()
    if head.size < 0:
        raise StoreError(f"reading {key}: the store does not tell its size")
    raise StoreError(f"reading {key}: the store says that it has {head.size} bytes, which none has")


def _skip(answer: Answer, count: int) -> None:
    buffer = memoryview(bytearray(min(count, PIECE)))
    while count:
        skipped = answer.readinto(buffer[:count])
        if not skipped:
            raise TransportError(Trouble.BROKEN, "the answer ended early")
        count -= skipped
