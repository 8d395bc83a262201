"""A thread that fills a few buffers, over and over, while another empties them."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Self

from cacher.fileio import start_thread
from cacher.time_limits import LIMITS

BUFFER = 1024 * 1024
"""Bytes in a buffer. Of 512, so that a tar header never lies across two."""

COUNT = 8

_AGAIN = 0.1
"""Seconds after which a thread that has not ended is cancelled again."""

_TIMES = math.ceil(LIMITS.undo / _AGAIN)
"""How often, before it is left behind: what it waits for is out of reach, as a name server is."""

_EMPTY = memoryview(b"")


class ReadAhead:
    """Runs `fill` ahead in a thread of its own. `fill(buffer)` fills all of it, or less at the end.

    `cancel` must make a `fill` that waits for something end soon; it is called until it has.
    Only the owner's thread may call the methods. `clock` gives seconds. Of what was handed out,
    `keep` buffers stay good besides the last.
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
        self._given: deque[memoryview] = deque()
        self._is_over = False
        self.filling = 0.0
        """Seconds in `fill`."""
        self.waiting = 0.0
        """Seconds that the owner had to wait for a full buffer."""
        self._thread = threading.Thread(target=self._work, daemon=True)

    def next(self) -> memoryview:
        """What the next buffer holds, while an earlier one is given back; empty at the end.

        Raises what `fill` raised.
        """
        if self._is_over:
            return _EMPTY
        if len(self._given) > self._keep:
            self._free.put(self._given.popleft())
        start = self._clock()
        filled = self._full.get()
        self.waiting += self._clock() - start
        if isinstance(filled, BaseException):
            self._is_over = True
            raise filled
        buffer, content = filled
        self._given.append(buffer)
        self._is_over = not content
        return content

    def close(self) -> None:
        """Stop the thread, wherever it is, and return once it has ended, or after a few seconds."""
        self._free.put(None)
        for _ in range(_TIMES):
            if not self._thread.is_alive():
                return
            if not self._is_over:
                self._cancel()
            self._thread.join(_AGAIN)

    def __enter__(self) -> Self:
        for _ in range(COUNT):
            self._free.put(memoryview(bytearray(BUFFER)))
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
