"""Read an object in order, or write it to a file, its ranges fetched in parallel."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import closing
from typing import Self

from cacher.errors import LocalError, os_reason
from cacher.fileio import BUFFER_SIZE, OnProgress, ignore_progress, read_full, write_all_at
from cacher.http.transport import Answer
from cacher.s3.client import Client
from cacher.s3.ranges import PinnedObject, RangeReader, open_first, range_at
from cacher.s3.thread_pool import ThreadPool


class Download:
    """An open object, with up to `jobs` of its ranges in flight."""

    def __init__(self, pinned: PinnedObject, answer: Answer, jobs: int) -> None:
        self.head = pinned.head
        self.size = pinned.head.size
        self._pinned = pinned
        self._first: Answer | None = answer
        self._starts = pinned.starts()
        self._jobs = min(jobs, len(self._starts))
        self._pool = ThreadPool(self._interrupt)
        self._stream: _Serial | _Parallel | None = None

    @classmethod
    def open(
        cls, client: Client, key: str, *, on_progress: OnProgress, jobs: int = 4
    ) -> Self | None:
        """Request the first range; return None if there is no such object.

        `on_progress` gets the bytes that arrive.
        """
        opened = open_first(client, key, on_progress)
        return cls(*opened, jobs) if opened else None

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer` with the next bytes; 0 at the end."""
        if self._stream is None:
            ranges = self._starts, self._range_reader, self._pool
            self._stream = _Parallel(*ranges, self._jobs) if self._jobs > 1 else _Serial(*ranges)
        return self._stream.readinto(buffer)

    def tail(self, count: int) -> bytes:
        """Return the last `count` bytes, or all if there are fewer, by a separate request."""
        start = max(self.size - count, 0)
        if start == self.size:
            return b""
        data = bytearray(self.size - start)
        pinned = self._pinned._replace(on_progress=ignore_progress)  # they are read a second time
        with closing(RangeReader(pinned, (start, self.size))) as reader:
            read_full(reader.readinto, memoryview(data))
        return bytes(data)

    def save(self, fd: int, on_written: Callable[[int], None]) -> int:
        """Write the object at offset 0 of the regular file `fd`; return its size.

        `on_written(end)` is called in this thread when all bytes before `end` are written.
        """
        if self._jobs < 2:
            buffer = memoryview(bytearray(BUFFER_SIZE))
            for number in range(len(self._starts)):
                self._write_range(fd, number, buffer, None, on_written)
            return self.size
        todo = iter(range(len(self._starts)))
        done: set[int] = set()
        """Ranges that were written while an earlier one is missing."""
        with self._pool as pool:

            def work() -> None:
                buffer = memoryview(bytearray(BUFFER_SIZE))
                while True:
                    with pool.changed:
                        number = next(todo, -1)
                    if number < 0:
                        return
                    self._write_range(fd, number, buffer, pool)
                    with pool.changed:
                        done.add(number)
                        pool.changed.notify_all()

            pool.start(self._jobs, work)
            for number in range(len(self._starts)):
                pool.wait_for(lambda number=number: number in done)  # type: ignore[misc]
                done.discard(number)
                on_written(range_at(self._starts, number)[1])
        return self.size

    def cancel(self) -> None:
        """Make a `readinto` that waits in another thread fail soon, and all later ones.

        Call it again until that has failed: it may have been about to wait on another socket.
        """
        if self._stream is not None:
            self._pool.stop()
            self._interrupt()

    def close(self) -> None:
        """Stop all requests."""
        if self._stream is not None:
            self._stream.close()
        if self._first is not None:
            self._first.close()
            self._first = None

    def _range_reader(self, number: int, pool: ThreadPool | None) -> RangeReader:
        """Return a reader of range `number`; the answer for the first is open already."""
        answer = None
        if number == 0:
            answer, self._first = self._first, None
        return RangeReader(self._pinned, range_at(self._starts, number), answer, pool)

    def _interrupt(self) -> None:
        self._pinned.client.session.transport.interrupt()

    def _write_range(
        self,
        fd: int,
        number: int,
        buffer: memoryview,
        pool: ThreadPool | None,
        on_written: Callable[[int], None] = lambda _end: None,
    ) -> None:
        position = self._starts[number]
        with closing(self._range_reader(number, pool)) as reader:
            while count := reader.readinto(buffer):
                try:
                    write_all_at(fd, buffer[:count], position)
                except OSError as error:
                    raise LocalError(f"cannot write the download: {os_reason(error)}") from error
                position += count
                on_written(position)


_Opener = Callable[[int, ThreadPool | None], RangeReader]


class _Serial:
    """Ranges one after the other."""

    def __init__(self, starts: range, opener: _Opener, pool: ThreadPool) -> None:
        self._pool = pool
        self._left = range(len(starts))
        self._open_range = opener
        self._open: RangeReader | None = None

    def readinto(self, buffer: memoryview) -> int:
        while self._open is not None or self._left:
            if self._open is None:
                number, self._left = self._left[0], self._left[1:]
                self._open = self._open_range(number, self._pool)
            if count := self._open.readinto(buffer):
                return count
            self.close()
        return 0

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


class _Parallel:
    """Ranges fetched in parallel and returned in order, through reused buffers."""

    def __init__(self, starts: range, opener: _Opener, pool: ThreadPool, jobs: int) -> None:
        self._starts = starts
        self._open_range = opener
        self._pool = pool
        self._left = range(len(starts))
        # One buffer more than threads, so that one can be emptied while all the others fill.
        self._free = deque(bytearray(starts.step) for _ in range(jobs + 1))
        self._filled: dict[int, bytearray] = {}
        self._current = self._offset = 0
        pool.start(jobs, self._work)

    def readinto(self, buffer: memoryview) -> int:
        if self._current == len(self._starts):
            return 0
        start, end = range_at(self._starts, self._current)
        self._pool.wait_for(lambda: self._current in self._filled)
        source = memoryview(self._filled[self._current])
        count = min(len(buffer), end - start - self._offset)
        buffer[:count] = source[self._offset : self._offset + count]
        self._offset += count
        if self._offset == end - start:
            with self._pool.changed:
                self._free.append(self._filled.pop(self._current))
                self._current, self._offset = self._current + 1, 0
                self._pool.changed.notify_all()
        return count

    def close(self) -> None:
        self._pool.stop()

    def _work(self) -> None:
        while True:
            with self._pool.changed:
                # Take number and buffer together, so that the next range in order always has a
                # buffer and the reader never waits for one that cannot come.
                self._pool.wait_in_thread(lambda: bool(self._free) or not self._left)
                if not self._left:
                    return
                number, self._left = self._left[0], self._left[1:]
                buffer = self._free.popleft()
            with closing(self._open_range(number, self._pool)) as reader:
                read_full(reader.readinto, memoryview(buffer))
            with self._pool.changed:
                self._filled[number] = buffer
                self._pool.changed.notify_all()
