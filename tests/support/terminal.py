"""A terminal for a process to write to and read from, with a person's hands at the other end."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Callable
from typing import Self

PATIENCE = 200.0  # seconds


class Terminal:
    """`slave` is what the process gets as stdin, stdout or stderr. Used as a context manager."""

    def __enter__(self) -> Self:
        self._master, self.slave = pty.openpty()
        self._text = b""
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._master)
        os.close(self.slave)

    def resize(self, columns: int) -> None:
        """Make it so wide."""
        termios.tcsetwinsize(self._master, (24, columns))

    def write(self, text: str) -> None:
        """Type."""
        os.write(self._master, text.encode())

    def read_until(self, end: str) -> str:
        """All that was shown, once this text has been."""
        self._read(lambda: end.encode() in self._text)
        return self._text.decode()

    def read_to_end(self, process: subprocess.Popen[bytes]) -> str:
        """All that was shown until the process ended."""
        self._read(lambda: process.poll() is not None)
        while select.select([self._master], [], [], 0)[0]:
            self._text += os.read(self._master, 65536)
        return self._text.decode().replace("\r\n", "\n")

    def _read(self, enough: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while not enough():
            assert time.monotonic() < until, self._text
            if select.select([self._master], [], [], 0.02)[0]:
                self._text += os.read(self._master, 65536)
