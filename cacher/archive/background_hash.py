"""A SHA-256 that is computed in a thread of its own, while its owner works with the same bytes.

For data that does not compress it would otherwise take as long as all other work.
"""

from __future__ import annotations

import hashlib
import threading
from queue import SimpleQueue
from typing import Self

from cacher.fileio import start_thread

MAX_WAITING = 8
"""Pieces that may wait to be hashed."""


class BackgroundSha256:
    """The digest of all data given to `update`, in order. Only its owner's thread may call it.

    The threads share queues alone: a signal's exception breaks none of their locks.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256(usedforsecurity=False)
        self._pieces: SimpleQueue[bytes | memoryview | None] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()
        self._queued = self._hashed = 0
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    def update(self, data: bytes | memoryview) -> int:
        """Hash `data`, which must not change until `wait` has returned for the number returned."""
        self.wait(self._queued - MAX_WAITING + 1)
        self._queued += 1
        self._pieces.put(data)
        return self._queued

    def wait(self, number: int) -> None:
        """Wait until the piece of that number, and all before it, have been hashed."""
        while self._hashed < number:
            self._done.get()
            self._hashed += 1

    def hexdigest(self) -> str:
        """Return the hex digest of all data so far."""
        self.wait(self._queued)
        return self._digest.hexdigest()

    def close(self) -> None:
        """End the thread. Safe to call twice."""
        self._is_closed = True
        self._pieces.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        start_thread(self._thread)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _work(self) -> None:
        while (data := self._pieces.get()) is not None:
            if not self._is_closed:
                self._digest.update(data)
            self._done.put(None)
