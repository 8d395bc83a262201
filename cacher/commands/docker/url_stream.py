"""The bytes of a URL as a stream: a thread fetches them, and a pipe passes them on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Self

from cacher.commands.context import Context
from cacher.fileio import start_thread, stop_threads
from cacher.http import fetch
from cacher.http.redact_url import redacted
from cacher.http.sinks import PipeSink
from cacher.time_limits import LIMITS


class _Cancelled(Exception):
    """The stream was closed."""


class UrlStream:
    """The bytes at `url`; to be used in a `with` block, which ends the thread.

    `on_progress` gets the number of bytes that have arrived, `on_size` the size. With `sha256` the
    end is reached only after the digest was compared.
    """

    def __init__(
        self,
        context: Context,
        url: str,
        sha256: str,
        *,
        on_progress: Callable[[int], None],
        on_size: Callable[[int], None],
    ) -> None:
        self._context = context
        self._url = url
        self._sha256 = sha256
        self._on_progress = on_progress
        self._on_size = on_size
        self._transport = context.transport
        self._is_cancelled = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._reading, self._writing = os.pipe()
        try:
            start_thread(self._thread)
        except BaseException:
            os.close(self._reading)
            os.close(self._writing)
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._reading)  # whoever waits to write more fails
        stop_threads([self._thread], self.cancel, LIMITS.undo)

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer`; return 0 at the proved end.

        Raises `SourceError` and `IntegrityError` instead if fetching failed.
        """
        count = os.readv(self._reading, [buffer])
        if not count:
            self._thread.join()
            if self._error is not None:
                raise self._error
        return count

    def cancel(self) -> None:
        """Make the thread end soon; to be called again and again until it has."""
        self._is_cancelled.set()
        self._transport.interrupt()

    def _work(self) -> None:
        try:
            fetch.Fetch(
                self._url,
                PipeSink(self._writing, redacted(self._url)),
                self._transport,
                self._context.clocks._replace(pause=self._pause),
                self._context.limits,
                sha256=self._sha256,
                on_progress=self._on_progress,
                on_size=self._on_size,
            ).run()
        except BaseException as error:
            self._error = error
        finally:
            os.close(self._writing)

    def _pause(self, seconds: float) -> None:
        if self._is_cancelled.wait(seconds):
            raise _Cancelled
