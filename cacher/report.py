"""All output: lines for people on stderr, lines and JSON for machines on stdout.

Knows no command and no store. Escapes every character that is not printable, since messages may
hold keys, file names and words of a server.
"""

from __future__ import annotations

import errno
import os
import sys
from _thread import allocate_lock

from cacher.errors import CacherError, LocalError, escaped, os_reason

TYPE_CHECKING = False  # every start loads this module: typing, threading and json would cost more
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import IO, Any

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

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
