"""A thread that fills a few buffers, again and again, while another uses their content."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Self

from cacher.fileio import start_thread, stop_threads
from cacher.time_limits import LIMITS

READ_AHEAD_SIZE = 1024 * 1024
"""Bytes in a buffer: a multiple of 512, so that no tar header lies across two."""

READ_AHEAD_COUNT = 8

_EMPTY = memoryview(b"")


class ReadAhead:
    """Buffers that `fill` fills in a thread of its own.

    `fill(buffer)` fills all of it, or less at the end, and returns the number of bytes. `cancel`
    must make a `fill` that waits end soon; it is called until it has. `clock` gives seconds. Only
    the owner's thread may call the methods. `keep` views before the last one stay valid.
    """

    def __init__(
        self,
        fill: Callable[[memoryview], int],
        cancel: Callable[[], None],
        clock: Callable[[], float],
        *,
        keep: int = 0,
    ) -> None:
        self._keep = keep
        self._fill = fill
        self._cancel = cancel
        self._clock = clock
        self._free: SimpleQueue[memoryview | None] = SimpleQueue()
        self._full: SimpleQueue[tuple[memoryview, memoryview] | BaseException] = SimpleQueue()
        self._in_use: deque[memoryview] = deque()
        self._is_over = False
        self.filling = 0.0
        """Seconds in `fill`."""
        self.waiting = 0.0
        """Seconds that the owner waited for a full buffer."""
        self._thread = threading.Thread(target=self._work, daemon=True)

    def next(self) -> memoryview:
        """Return the content of the next buffer, empty at the end; an earlier one is reused.

        Raises the errors of `fill`.
        """
        if self._is_over:
            return _EMPTY
        if len(self._in_use) > self._keep:
            self._free.put(self._in_use.popleft())
        start = self._clock()
        filled = self._full.get()
        self.waiting += self._clock() - start
        if isinstance(filled, BaseException):
            self._is_over = True
            raise filled
        buffer, content = filled
        self._in_use.append(buffer)
        self._is_over = not content
        return content

    def close(self) -> None:
        """Stop the thread and wait for its end, at most a few seconds."""
        self._free.put(None)
        stop_threads([self._thread], self._cancel_fill, LIMITS.undo)

    def _cancel_fill(self) -> None:
        if not self._is_over:
            self._cancel()

    def __enter__(self) -> Self:
        for _ in range(READ_AHEAD_COUNT):
            self._free.put(memoryview(bytearray(READ_AHEAD_SIZE)))
        start_thread(self._thread)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _work(self) -> None:
        try:
            while (buffer := self._free.get()) is not None:
                start = self._clock()
                count = self._fill(buffer)
                self.filling += self._clock() - start
                self._full.put((buffer, buffer[:count]))
                if not count:
                    return
        except BaseException as error:
            self._full.put(error)
