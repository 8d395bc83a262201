"""The progress of a transfer: a bar on a terminal, a line now and then in a log.

Loaded by the first command that moves something.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Self

from cacher.errors import OutOfThreads
from cacher.fileio import start_thread
from cacher.report import Report, counted, printable, seconds_text, size_text

TERMINAL_INTERVAL = 0.1
LOG_INTERVAL = 10.0
"""Seconds between two looks at the progress: a bar that moves, a line in a log."""

WAITING = 5.0
"""Seconds without a byte after which progress says who is waited for."""

_BAR, _SHORT_BAR = 24, 8
"""Cells of the bar, and of one that is shortened for an estimate."""

_LEAST = 20
"""Columns that stay for the operation and its key, however long the numbers are."""


class Progress:
    """Counts bytes from any thread, and shows them while its `with` block lasts.

    It shows how many of `total` bytes, if known, `doing` has moved, and names `waits_for` when
    nothing moves. Without `counts`, it only shows that this is waited for.
    """

    def __init__(
        self,
        report: Report,
        doing: str,
        total: int | None = None,
        *,
        waits_for: str = "the store",
        counts: bool = True,
    ) -> None:
        self.total = total
        self.count = 0
        self.files: Callable[[], int] | None = None
        """Returns the number of files so far, where these are counted."""
        self.passed: Callable[[], int] | None = None
        """Returns the bytes moved at the other end, where these are known: they count as moving."""
        self._report = report
        self._doing = doing
        self._waits_for = waits_for
        self._counts = counts
        self._lock = Lock()
        self._start = self._moved = report.monotonic()
        self._passed_before = (0, 0)
        self._arrives = total is None
        """Whether a total, learned later, means that all has arrived once it is reached."""
        self._over = Event()
        self._thread: Thread | None = None

    @property
    def seconds(self) -> float:
        """Return the seconds since it began."""
        return self._report.monotonic() - self._start

    def add(self, count: int) -> None:
        """Count bytes that have moved; less than 0, if some must move again."""
        with self._lock:
            self.count += count
            self._moved = self._report.monotonic()

    def __enter__(self) -> Self:
        if not self._report.quiet:
            thread = Thread(target=self._show, daemon=True)
            try:
                start_thread(thread)
            except OutOfThreads:
                pass  # nothing is shown
            else:
                self._thread = thread
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _show(self) -> None:
        terminal = self._report.stderr_is_terminal
        drawn = False
        while not self._over.wait(TERMINAL_INTERVAL if terminal else LOG_INTERVAL):
            if not self._counts and not self._waited(0):
                continue
            if terminal:
                self._report.draw(self._bar(self._report.columns - 1))
                drawn = True
            else:
                numbers, estimate = self._numbers()
                self._report.say(" ".join([self._doing, numbers[0], *estimate]))
        if drawn:
            self._report.draw("")

    def _bar(self, room: int) -> str:
        """Return a line that fits: one that wraps cannot be drawn over, and would fill the screen.

        Without room, the bar shrinks, the estimate goes, the bar goes, then numbers go, and only
        then is the key cut.
        """
        doing = printable(self._doing)
        texts, estimate = self._numbers()
        least = min(len(doing), _LEAST)
        numbers = next((text for text in texts if least + 1 + len(text) <= room), texts[-1])
        tail = [numbers, *estimate]
        cells = room - len(" ".join([doing, *tail])) - len(" []")
        if cells < _SHORT_BAR and estimate:
            tail = [numbers]
            cells = room - len(" ".join([doing, *tail])) - len(" []")
        if self.total and cells > 1:
            cells = min(cells, _BAR)
            tail.insert(0, f"[{'#' * int(self._share * cells):<{cells}}]")
        left = room - sum(len(text) + 1 for text in tail)
        if len(doing) > left:
            doing = f"{doing[: max(left - 1, 0)]}…"
        return " ".join([doing, *tail]).rstrip()[:room]

    @property
    def _share(self) -> float:
        return min(self.count / self.total, 1.0) if self.total else 0.0

    def _numbers(self) -> tuple[list[str], list[str]]:
        """Return texts of how far it is, the longest first; and the estimate, if there is one."""
        count, total = self.count, self.total
        far = f"{self._share:.0%} of {size_text(total)}" if total else size_text(count)
        short = f"{self._share:.0%}" if total else size_text(count)
        files = self.files() if self.files else 0
        with_files = [f"{far}, {counted(files, 'file')}"] if self.files else []
        if waited := self._waited(files):
            waiting = f"waiting for {self._waits_for}, {waited}"
            if not self._counts:
                return [waiting, f"waiting, {waited}"], []
            return [*(f"{text}, {waiting}" for text in (*with_files, far)), waiting, short], []
        rate = count / max(self.seconds, 0.001)
        texts = [f"{text}, {size_text(rate)}/s" for text in (*with_files, far)]
        estimate = []
        if total and rate > 0 and count < total:
            estimate = [f"ETA {seconds_text((total - count) / rate)}"]
        return [*texts, far, short], estimate

    def _waited(self, files: int) -> str:
        """Return for how long nothing has moved; empty if something has, or all is there."""
        now = self._report.monotonic()
        with self._lock:
            passed = (files, self.passed() if self.passed else 0)
            if passed != self._passed_before:
                self._passed_before, self._moved = passed, now
            idle = now - self._moved
        if idle < WAITING or (self._arrives and self.total and self.count >= self.total):
            return ""
        return f"{idle:.0f} s" if idle < 60 else seconds_text(idle)
