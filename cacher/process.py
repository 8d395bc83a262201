"""A program that runs beside us, and its pipes. The only starter of processes.

Knows pipes, exit statuses and how a program is stopped; must not know what program it is. What a
program says on a pipe that nobody reads is read all the same, and its end is kept: a full pipe
would stop it, and what it said last tells why it failed.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Self

from cacher.errors import LocalError, os_reason
from cacher.fileio import start_thread

KEPT = 1024 * 1024
"""Bytes of what a program says that are kept, from its end: what it tells of a hundred images."""

PIPE = 1024 * 1024
"""Bytes in a pipe, where the system lets us choose: Linux's 64 KiB make two programs wait for each
other. It is also the most that Linux grants by default (fs.pipe-max-size)."""

GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL. podman uses them to clean up; docker's client of version 28
does not end by a signal as long as it moves an image, and has nothing to clean up."""

_LAST_WORDS = 1.0
"""Seconds to read what is left of a program's words. Whatever it started may hold its pipes."""

_USELESS = 64 * 1024 * 1024
"""Bytes that are read of a program that gives something useless, to see whether it ends."""


class InputClosed(Exception):
    """The program reads no more of what it is given."""


class Child:
    """A program, from its start to its end; to be used in a `with` block, which stops it.

    It has a process group of its own: Ctrl-C on a terminal reaches us alone, and we stop it. With
    `feeds` its stdin is ours to write, else it is empty; with `gives` its stdout is ours to read,
    else that is kept like stderr. Raises `LocalError` if it cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        *,
        feeds: bool = False,
        gives: bool = False,
    ) -> None:
        self._argv = list(argv)
        self._environ = environ
        self._feeds = feeds
        self._gives = gives
        self._process: subprocess.Popen[bytes] | None = None
        self._kept = {name: bytearray() for name in ("stdout", "stderr")}
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - no shell; names cannot be options
                self._argv,
                bufsize=0,
                stdin=subprocess.PIPE if self._feeds else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(self._environ),
                process_group=0,
            )
        except OSError as error:
            reason = os_reason(error)
            raise LocalError(f"cannot run {self._argv[0]}: {reason}") from error
        try:
            self._begin(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _begin(self, process: subprocess.Popen[bytes]) -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
                with suppress(OSError):  # more than this user may have
                    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            if pipe is None or (self._gives and name == "stdout"):
                continue
            thread = threading.Thread(target=_keep, args=(pipe, self._kept[name]), daemon=True)
            start_thread(thread)
            self._threads.append(thread)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None  # noqa: S101 - the `with` block has begun
        return self._process

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` from its stdout, wholly unless the end comes first; 0 at the end."""
        pipe, filled = self._running.stdout, 0
        assert pipe is not None  # noqa: S101 - it was made by `gives`
        while filled < len(buffer) and (count := os.readv(pipe.fileno(), [buffer[filled:]])):
            filled += count
        return filled

    def ends(self) -> bool:
        """Whether the end of its stdout comes soon; what it still gives is thrown away."""
        pipe = self._running.stdout
        assert pipe is not None  # noqa: S101 - it was made by `gives`
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            left = _USELESS
            while left > 0 and selector.select(_LAST_WORDS):
                count = len(os.read(pipe.fileno(), PIPE))
                if not count:
                    return True
                left -= count
        return False

    def write(self, data: memoryview) -> None:
        """Give it all of `data`. Raises `InputClosed`."""
        pipe = self._running.stdin
        assert pipe is not None  # noqa: S101 - it was made by `feeds`
        try:
            while data:
                data = data[os.write(pipe.fileno(), data) :]
        except BrokenPipeError as error:
            raise InputClosed from error

    def end_input(self) -> None:
        """Let it know that it was given all there is."""
        _close(self._running.stdin)

    def wait(self, seconds: float | None = None) -> int | None:
        """Its exit status once it has ended, -N for signal N; None if that takes too long."""
        try:
            status = self._running.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        for thread in self._threads:
            thread.join(_LAST_WORDS)
        return status

    @property
    def output(self) -> bytes:
        """What it said on stdout: the last of it, once it has ended."""
        return bytes(self._kept["stdout"])

    @property
    def complaint(self) -> str:
        """What it said on stderr: the last of it, once it has ended."""
        return bytes(self._kept["stderr"]).decode(errors="replace").strip()

    def stop(self) -> None:
        """Make it end, if it has not: it is stopped before its input ends, so that it is not done.

        With all that it started and that is still in its process group.
        """
        process = self._process
        if process is None:
            return
        try:
            if process.poll() is None:
                _signal(process.pid, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
                # What it started may have stayed, deaf to that, and would take our end for its
                # input's. Its group is still there then.
                _signal(process.pid, signal.SIGKILL)
        finally:
            if process.poll() is None:
                _signal(process.pid, signal.SIGKILL)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
            # One that runs as somebody else, as by sudo, cannot be killed: its pipes end then.
            _close(process.stdin)
            if self._gives:
                _close(process.stdout)
            if process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
            # Of one that stays nobody waits for the words: the upload that it was for is aborted
            # after this, and that must not come too late.
            if process.poll() is not None:
                for thread in self._threads:
                    thread.join(_LAST_WORDS)


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _keep(pipe: IO[bytes], kept: bytearray) -> None:
    """Read a pipe to its end, and keep the last of it."""
    with pipe:
        while piece := os.read(pipe.fileno(), 64 * 1024):
            kept += piece
            if len(kept) > 2 * KEPT:
                del kept[:-KEPT]


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with suppress(OSError):
            pipe.close()
