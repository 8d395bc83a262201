"""Child processes and their pipes. The only importer of subprocess.

Knows pipes, exit statuses and how a program is stopped; must not know which program it is. Output
that nobody wants is read all the same, and the last of it is kept: a full pipe would stop the
program, and its last words say why it failed.
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
from cacher.fileio import read_full, start_thread, write_all

KEPT_OUTPUT = 1024 * 1024
"""Bytes kept of a program's output, from its end: enough to describe a hundred images."""

PIPE_SIZE = 1024 * 1024
"""Bytes in a pipe, where a program can choose: with the 64 KiB of Linux two programs wait for each
other. Linux grants no more than this by default (fs.pipe-max-size)."""

STOP_GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL. podman cleans up in this time; docker's client of version
28 ignores signals as long as it moves an image, and has nothing to clean up."""

DRAIN_TIME = 1.0
"""Seconds to read the rest of a program's output. Programs that it started may hold its pipes."""

_DISCARD_LIMIT = 64 * 1024 * 1024
"""Bytes of useless output that are read to see whether the program ends."""


class InputClosed(Exception):
    """The program has closed its stdin."""


class Child:
    """A child process; use it in a `with` block, which starts and stops it.

    It has a process group of its own: Ctrl-C on a terminal does not reach it, `stop` does. With
    `pipe_stdin` the owner writes its stdin, else that is empty; with `pipe_stdout` the owner reads
    its stdout, else the last of it is kept, as of stderr. Entering raises `LocalError` if it cannot
    be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        *,
        pipe_stdin: bool = False,
        pipe_stdout: bool = False,
    ) -> None:
        self._argv = list(argv)
        self._environ = environ
        self._pipe_stdin = pipe_stdin
        self._pipe_stdout = pipe_stdout
        self._process: subprocess.Popen[bytes] | None = None
        self._kept = {name: bytearray() for name in ("stdout", "stderr")}
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - no shell; names cannot be options
                self._argv,
                bufsize=0,
                stdin=subprocess.PIPE if self._pipe_stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(self._environ),
                process_group=0,
            )
        except OSError as error:
            reason = os_reason(error)
            raise LocalError(f"cannot run {self._argv[0]}: {reason}") from error
        try:
            self._start_readers(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _start_readers(self, process: subprocess.Popen[bytes]) -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
                with suppress(OSError):  # above the user's limit
                    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            if pipe is None or (self._pipe_stdout and name == "stdout"):
                continue
            thread = threading.Thread(target=_keep, args=(pipe, self._kept[name]), daemon=True)
            start_thread(thread)
            self._threads.append(thread)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None  # noqa: S101 - the `with` block has begun
        return self._process

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` from its stdout, unless the end comes first; 0 at the end."""
        pipe = self._running.stdout
        assert pipe is not None  # noqa: S101 - it was made by `pipe_stdout`
        fd = pipe.fileno()
        return read_full(lambda rest: os.readv(fd, [rest]), buffer)

    def discard_output(self) -> bool:
        """Read and discard the rest of its stdout; return whether its end came soon."""
        pipe = self._running.stdout
        assert pipe is not None  # noqa: S101 - it was made by `pipe_stdout`
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            left = _DISCARD_LIMIT
            while left > 0 and selector.select(DRAIN_TIME):
                count = len(os.read(pipe.fileno(), PIPE_SIZE))
                if not count:
                    return True
                left -= count
        return False

    def write(self, data: memoryview) -> None:
        """Write all of `data` to its stdin. Raises `InputClosed`."""
        pipe = self._running.stdin
        assert pipe is not None  # noqa: S101 - it was made by `pipe_stdin`
        try:
            write_all(pipe.fileno(), data)
        except BrokenPipeError as error:
            raise InputClosed from error

    def end_input(self) -> None:
        """Close its stdin."""
        _close(self._running.stdin)

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for its end; return the exit status, -N for signal N, None after `seconds`."""
        try:
            status = self._running.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        for thread in self._threads:
            thread.join(DRAIN_TIME)
        return status

    @property
    def output(self) -> bytes:
        """The last of its stdout, once it has ended."""
        return bytes(self._kept["stdout"])

    @property
    def error_output(self) -> str:
        """The last of its stderr, once it has ended."""
        return bytes(self._kept["stderr"]).decode(errors="replace").strip()

    def stop(self) -> None:
        """Stop it, if it still runs, with all programs in its process group.

        Its input ends after that, so that it does not take the end for success.
        """
        process = self._process
        if process is None:
            return
        try:
            if process.poll() is None:
                _signal(process.pid, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_GRACE)
                # A program that it started may ignore SIGTERM, and would take the closed pipe for
                # the end of its input. The group still exists then.
                _signal(process.pid, signal.SIGKILL)
        finally:
            if process.poll() is None:
                _signal(process.pid, signal.SIGKILL)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_GRACE)
            # One that runs as another user, as by sudo, cannot be killed, but its pipes end.
            _close(process.stdin)
            if self._pipe_stdout:
                _close(process.stdout)
            if process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_GRACE)
            # Do not wait for the output of one that still runs: the upload that it was for is
            # aborted after this, and that must not come too late.
            if process.poll() is not None:
                for thread in self._threads:
                    thread.join(DRAIN_TIME)


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _keep(pipe: IO[bytes], kept: bytearray) -> None:
    """Read a pipe to its end, and keep the last bytes."""
    with pipe:
        while piece := os.read(pipe.fileno(), 64 * 1024):
            kept += piece
            if len(kept) > 2 * KEPT_OUTPUT:
                del kept[:-KEPT_OUTPUT]


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with suppress(OSError):
            pipe.close()
