"""A SHA-256 that is taken in a thread of its own, while its owner goes on with the same bytes.

On data that does not compress it would else take as long as everything around it.
"""

from __future__ import annotations

import hashlib
import threading
from queue import SimpleQueue
from typing import Self

from cacher.fileio import start_thread

AHEAD = 8
"""How many pieces may wait to be hashed."""

Data = bytes | memoryview


class BackgroundSha256:
    """The digest of all that `update` is given, in order. Only its owner's thread may call it.

    Queues alone join the two: a signal's exception breaks none of their locks.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256(usedforsecurity=False)
        self._pieces: SimpleQueue[Data | None] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()
        self._given = self._taken = 0
        self._is_over = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    def update(self, data: Data) -> int:
        """Take `data`, which must stay as it is until `wait` was called with the number given."""
        self.wait(self._given - AHEAD + 1)
        self._given += 1
        self._pieces.put(data)
        return self._given

    def wait(self, number: int) -> None:
        """Until the piece of that number, and all before it, were taken."""
        while self._taken < number:
            self._done.get()
            self._taken += 1

    def hexdigest(self) -> str:
        """The hex digest of all so far."""
        self.wait(self._given)
        return self._digest.hexdigest()

    def close(self) -> None:
        """End the thread. Safe to call twice."""
        self._is_over = True
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
            if not self._is_over:
                self._digest.update(data)
            self._done.put(None)
