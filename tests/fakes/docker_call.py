"""One call of the double of docker: its streams, which a fault may cut, and its end.

`docker_cli` knows the commands, this knows how they fail.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from types import FrameType
from typing import Any

from tests.fakes import docker_state
from tests.fakes.docker_state import Fault, Scene

_PATIENCE = 600.0
"""Seconds that a call hangs: longer than any test, but no test leaves one forever."""

_POLL = 0.02  # seconds

_FORCED = 3
"""The signal that docker 28 heeds in any case: "got 3 SIGTERM/SIGINTs, forcefully exiting"."""

CANCELLED = 143
"""docker 28's status when it could heed SIGTERM or SIGINT."""

_STREAMS = ("save", "load")


class Refused(Exception):
    """The command fails, with this status, what stdout gets and what stderr gets."""

    def __init__(self, status: int, stderr: str, stdout: str = "") -> None:
        super().__init__(stderr)
        self.status, self.stderr, self.stdout = status, stderr, stdout


class Cut(Exception):
    """As many bytes went through as the fault lets."""


class Flow:
    """A stream, counted."""

    def __init__(self, file: int, limit: int | None) -> None:
        self.file = file
        self.count = 0
        self._limit = limit
        self._digest = hashlib.sha256()

    def told(self) -> dict[str, Any]:
        """For the journal."""
        return {"bytes": self.count, "sha256": self._digest.hexdigest()}

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end. Raises `Cut`."""
        if self._limit is not None:
            size = min(size, self._limit - self.count)
            if size == 0:
                raise Cut
        data = os.read(self.file, size)
        self._saw(data)
        return data

    def write(self, data: bytes) -> None:
        """All of it. Raises `Cut` once that cannot be."""
        view = memoryview(data)
        if self._limit is not None:
            view = view[: self._limit - self.count]
        written = 0
        while written < len(view):
            more = os.write(self.file, view[written:])
            self._saw(view[written : written + more])
            written += more
        if len(view) < len(data):
            raise Cut

    def _saw(self, data: bytes | memoryview) -> None:
        self.count += len(data)
        self._digest.update(data)


class Call:
    """This process' call."""

    def __init__(self, path: str, command: str, argv: list[str]) -> None:
        with docker_state.changing(path) as scene:
            counts = scene["counts"]
            for what in (command, "all"):
                counts[what] = counts.get(what, 0) + 1
        self.path = path
        self.scene: Scene = scene
        self.command = command
        self.modern = not scene["version"].startswith("20.")
        self.fault = _fault(scene, command, counts[command])
        after = self.fault["after"] if self.fault else None
        self.stdin = Flow(0, after if command == "load" else None)
        self.stdout = Flow(1, after if command == "save" else None)
        self._argv, self._number, self._signals = argv, counts["all"], 0
        self._heed()
        self.note(None)

    def note(self, status: int | None) -> None:
        """Write down how far this came."""
        record = {
            "number": self._number,
            "pid": os.getpid(),
            "argv": self._argv,
            "command": self.command,
            "environment": sorted(os.environ),
            "status": status,
            "stdin": self.stdin.told(),
            "stdout": self.stdout.told(),
        }
        docker_state.note(self.path, record)

    def say(self, text: str) -> None:
        """A line on stderr."""
        _write(2, f"{text}\n".encode())

    def flood(self) -> None:
        """As much on stderr as the fault says."""
        left = self.fault["flood"] if self.fault else 0
        while left > 0:
            line = b"level=warning msg=" + b"x" * 1000 + b"\n"
            _write(2, line[-min(left, len(line)) :])
            left -= len(line)

    def strikes(self) -> bool:
        """Whether the fault is one that ends the command in another way than its own."""
        fault = self.fault
        return fault is not None and (
            fault["hang"] or bool(fault["signal"]) or fault["status"] != 0 or fault["linger"] > 0
        )

    def end(self, status: int) -> int:
        """The exit status, written down: `status`, unless the fault has another or none."""
        fault = self.fault
        if fault is None:
            return self._ended(status)
        if fault["stderr"]:
            self.say(fault["stderr"])
        if fault["hang"]:
            self.note(None)
            return self._hang()
        if fault["signal"]:
            self.note(-fault["signal"])
            signal.signal(fault["signal"], signal.SIG_DFL) if fault["signal"] != 9 else None
            os.kill(os.getpid(), fault["signal"])
        self.note(None)
        if fault["linger"]:
            os.close(0)
            os.close(1)
            time.sleep(fault["linger"])
        return self._ended(fault["status"] or status)

    def cancelled(self) -> bool:
        """Whether docker 28 was asked to stop; it heeds that when its streams let it."""
        return self._signals > 0

    def _ended(self, status: int) -> int:
        self.note(status)
        return status

    def _hang(self) -> int:
        parent, deadline = os.getppid(), time.monotonic() + _PATIENCE
        while os.getppid() == parent and time.monotonic() < deadline:
            time.sleep(_POLL)
        return 1

    def _heed(self) -> None:
        """Do with signals what the version does.

        20.10 dies of them. 28 goes on with what it copies, and with the rest gives up the request.
        Both die of SIGPIPE, which Python would make an error.
        """
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if self.fault and self.fault["deaf"]:
                signal.signal(number, signal.SIG_IGN)
            elif self.modern and number != signal.SIGHUP:
                signal.signal(number, self._on_signal)
            else:
                signal.signal(number, signal.SIG_DFL)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self.command not in _STREAMS:
            self.say("error during connect: ")
            os._exit(1)
        if self._signals == _FORCED:
            self.say("\ngot 3 SIGTERM/SIGINTs, forcefully exiting")
            os._exit(1)


def _fault(scene: Scene, command: str, call: int) -> Fault | None:
    for fault in reversed(scene["faults"]):
        if fault["command"] == command and fault["call"] in (None, call):
            return fault
    return None


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def refuse(what: str) -> Refused:
    """What this double does not know, it does not take for right."""
    return Refused(64, f"fake docker: does not know {what}")
