"""All output: lines and progress for people on stderr, lines and JSON for machines on stdout.

Knows no command and no store. Escapes every character that is not printable, since messages may
hold keys, file names and words of a server.
"""

from __future__ import annotations

import errno
import os
import sys
from _thread import allocate_lock

from cacher.errors import CacherError, LocalError, OutOfThreads, escaped, os_reason
from cacher.fileio import start_thread

TYPE_CHECKING = False  # every start loads this module: typing, threading and json would cost more
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from threading import Thread
    from typing import IO, Any, Self

TERMINAL_INTERVAL = 0.1
LOG_INTERVAL = 10.0
"""Seconds between two looks at the progress: a bar that moves, a line in a log."""

WAITING = 5.0
"""Seconds without a byte after which progress says who is waited for."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_BAR, _SHORT_BAR = 24, 8
"""Cells of the bar, and of one that is shortened for an estimate."""

_LEAST = 20
"""Columns that stay for the operation and its key, however long the numbers are."""

_COLUMNS = 80


class Report:
    """Writes all output of one run. `monotonic` gives seconds."""

    def __init__(
        self,
        *,
        stdout: IO[str],
        stderr: IO[str],
        monotonic: Callable[[], float],
        as_json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        colored: bool = False,
    ) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose and not quiet
        self.monotonic = monotonic
        self.warnings: list[str] = []
        self.hints: list[str | None] = []
        self.fields: dict[str, Any] = {}
        """Fields of the JSON object that do not depend on the command."""
        self._stdout = stdout
        self._stderr = stderr
        self._colored = colored
        self._lock = allocate_lock()
        self._bar_is_drawn = False

    @property
    def stdout_is_terminal(self) -> bool:
        """Return whether people read stdout."""
        return self._stdout.isatty()

    def say(self, text: str) -> None:
        """Write a line for people, such as the result, unless `quiet`."""
        if not self.quiet:
            self._write_line(text)

    def note(self, text: str) -> None:
        """Write a detail, if `verbose`."""
        if self.verbose:
            self._write_line(text)

    def warn(self, text: str, hint: str = "") -> None:
        """Write a problem that does not make the command fail, and the next step to take."""
        self.warnings.append(printable(text))
        self.hints.append(printable(hint) or None)
        self._write_line(text, self._paint("33", "warning: "))
        if hint:
            self._write_line(hint, self._paint("36", "hint: "))

    def shared_fields(self) -> dict[str, Any]:
        """Return the fields that the JSON object of every command has: warnings, hints, others."""
        hints = {"hints": self.hints} if any(self.hints) else {}
        return {"warnings": self.warnings, **hints, **self.fields}

    def error(self, error: CacherError) -> None:
        """Write why the command failed, and the next step to take."""
        self._write_line(error.message, self._paint("31", "error: "))
        if error.hint:
            self._write_line(error.hint, self._paint("36", "hint: "))

    def text(self, text: str) -> None:
        """Write lines to stderr as they are: a page of help, a traceback."""
        with self._lock:
            self._write_stderr(text)

    def line(self, text: str) -> None:
        """Write one line to stdout, with every unprintable character escaped.

        Raises `LocalError`, or `BrokenPipeError` if the reader of stdout is gone, as do all methods
        that write to stdout.
        """
        self.raw(printable(text))

    def raw(self, text: str) -> None:
        """Write text and a newline to stdout, as they are."""
        _to_stdout(self._stdout.write, text + "\n")

    def json(self, value: Mapping[str, Any]) -> None:
        """Write one JSON object as a line of stdout."""
        import json

        # Pure ASCII, so that lone surrogates of odd file names survive every encoding.
        self.raw(json.dumps(value))

    def flush(self) -> None:
        """Flush stdout, so that a failure to write is known before the exit status is."""
        _to_stdout(self._stdout.flush)

    def progress(
        self, doing: str, total: int | None = None, *, waits_for: str = "the store"
    ) -> Progress:
        """Return a meter that shows how many of `total` bytes, if known, `doing` has moved.

        `waits_for` is who is named when nothing moves.
        """
        return Progress(self, doing, total, waits_for, shown=not self.quiet)

    def wait(self, doing: str) -> Progress:
        """Return a meter without bytes, which shows only that the store is waited for."""
        return Progress(self, f"{doing},", None, "the store", shown=not self.quiet, counts=False)

    def draw(self, text: str) -> None:
        """Draw the progress bar over the one before; remove it if `text` is empty."""
        with self._lock:
            self._write_stderr(f"\r\x1b[K{printable(text)}" if text else "\r\x1b[K")
            self._bar_is_drawn = bool(text)

    @property
    def columns(self) -> int:
        """Return the width of the terminal on stderr."""
        try:
            return os.get_terminal_size(self._stderr.fileno()).columns or _COLUMNS
        except (OSError, ValueError):
            return _COLUMNS

    @property
    def stderr_is_terminal(self) -> bool:
        """Return whether stderr is a terminal, on which a bar can be drawn over and over."""
        return self._stderr.isatty()

    def _paint(self, color: str, text: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._colored else text

    def _write_line(self, text: str, label: str = "") -> None:
        with self._lock:
            clear = "\r\x1b[K" if self._bar_is_drawn else ""
            self._bar_is_drawn = False
            self._write_stderr(f"{clear}cacher: {label}{printable(text)}\n")

    def _write_stderr(self, text: str) -> None:
        try:
            self._stderr.write(text)
            self._stderr.flush()
        except OSError:
            pass  # nobody reads it, which changes nothing of what is done


def _to_stdout(operation: Callable[..., object], *text: str) -> None:
    """Write or flush; raise `LocalError` where stdout cannot be written."""
    try:
        operation(*text)
    except BrokenPipeError:
        raise  # whoever read it has seen enough
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise LocalError(
            f"writing stdout: {os_reason(error)}",
            "free some space where stdout is written to" if is_full else "",
        ) from error


class Progress:
    """Counts bytes from any thread, and shows them while its `with` block lasts."""

    def __init__(
        self,
        report: Report,
        doing: str,
        total: int | None,
        waits_for: str,
        *,
        shown: bool,
        counts: bool = True,
    ) -> None:
        from threading import Event

        self.total = total
        self.count = 0
        self.files: Callable[[], int] | None = None
        """Returns the number of files so far, where these are counted."""
        self.passed: Callable[[], int] | None = None
        """Returns the bytes moved at the other end, where these are known: they count as moving."""
        self._report = report
        self._doing = doing
        self._waits_for = waits_for
        self._shown = shown
        self._counts = counts
        self._lock = allocate_lock()
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
        if self._shown:
            from threading import Thread

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


def size_text(count: float) -> str:
    """Return bytes as people read them: `68.4 MiB`."""
    unit = 0
    while round(count, 1) >= 1024 and unit < len(_UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:.1f} {_UNITS[unit]}" if unit else f"{count:.0f} B"


def seconds_text(seconds: float) -> str:
    """Return a duration as people read it: `0.9 s`, `3:07`, `1:00:00`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def transfer_text(count: int, seconds: float) -> str:
    """Return `68.4 MiB in 0.9 s, 76.0 MiB/s`."""
    rate = size_text(count / max(seconds, 0.001))
    return f"{size_text(count)} in {seconds_text(seconds)}, {rate}/s"


def counted(count: int, one: str, many: str = "") -> str:
    """Return `1 file`, `5,051 files`; `many` is the plural if that is not `one` with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def packed_text(files: str, unpacked: int, packed: int, seconds: float) -> str:
    """Return `2 files, 476.8 MiB -> 238.8 MiB in 3.5 s, 68.3 MiB/s`: the rate of packed bytes."""
    return f"{files}, {size_text(unpacked)} -> {transfer_text(packed, seconds)}"


def unpacked_text(files: str, packed: int, unpacked: int, seconds: float) -> str:
    """Return `2 files, 238.8 MiB -> 476.8 MiB in 3.5 s, 68.3 MiB/s`: the rate of packed bytes."""
    rate = size_text(packed / max(seconds, 0.001))
    sizes = f"{size_text(packed)} -> {size_text(unpacked)}"
    return f"{files}, {sizes} in {seconds_text(seconds)}, {rate}/s"


def printable(text: str) -> str:
    """Return the text with every character escaped that could control a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else escaped(c) for c in text)


def colors_wanted(environ: Mapping[str, str]) -> bool:
    """Return whether stderr is a terminal that shows colours, and NO_COLOR is not set."""
    return (
        not environ.get("NO_COLOR")
        and environ.get("TERM", "dumb") != "dumb"
        and sys.stderr.isatty()
    )
