"""Streams that stand for a terminal or a log, and a report that writes to them."""

from __future__ import annotations

import io
import threading

from cacher.report import Report

LONG_TIMEOUT = 300.0
"""Seconds that nothing here may take."""


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and tells when something was drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = threading.Semaphore(0)

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.drawn.release()


class Log(Terminal):
    def isatty(self) -> bool:
        return False


class ReportBench:
    """A report, its streams, and a clock that is set by hand."""

    def __init__(self, stderr: Terminal | None = None, **options: bool) -> None:
        self.stdout = io.StringIO()
        self.stderr = stderr or Log()
        self.now = 100.0
        self.report = Report(
            stdout=self.stdout, stderr=self.stderr, monotonic=lambda: self.now, **options
        )

    @property
    def shown(self) -> str:
        return self.stderr.getvalue()
