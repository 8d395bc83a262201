"""A shell at a terminal, and what becomes of the lines that are typed there."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

_LIMIT = 200.0  # seconds until a line must have been read


class Shell:
    """Types lines, ended by a tab; `cacher` in them is a function that writes down its arguments.

    `setup` is what it reads first, with the variable TOLD, the file for the arguments.
    """

    def __init__(self, command: list[str | Path], setup: str, directory: Path) -> None:
        self._told = directory.parent / "told"
        self._told.touch()
        self._seen = 0
        ours, theirs = pty.openpty()
        environ = {**os.environ, "TERM": "dumb", "TOLD": str(self._told), "PS1": "> "}
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=directory,
            env=environ,
            start_new_session=True,
        )
        os.close(theirs)
        self._terminal = ours
        self.shown = b""
        self._reader = Thread(target=self._read)
        self._reader.start()
        self._type(f"{setup}\n")

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: nobody is there any more
            while data := os.read(self._terminal, 4096):
                self.shown += data

    def _type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def complete(self, line: str) -> list[str]:
        """The arguments that `cacher` gets, once `line` was completed."""
        self._type(f"cacher {line}\t\r")
        end = time.monotonic() + _LIMIT
        while True:
            calls = self._told.read_text().split("END\n")[:-1]
            if len(calls) > self._seen:
                self._seen += 1
                return calls[-1].splitlines()
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(self.shown.decode(errors="replace"))
            time.sleep(0.005)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._terminal)


@contextlib.contextmanager
def shell(command: list[str | Path], setup: str, directory: Path) -> Iterator[Shell]:
    """A `Shell`, for as long as it is needed."""
    started = Shell(command, setup, directory)
    try:
        yield started
    finally:
        started.close()
