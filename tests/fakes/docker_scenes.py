"""The double of docker, as a test sees it: what it has, how it fails, and what it was asked.

fake_docker.add("app:1", size=1_000_000)
fake_docker.on("save", after=5000, status=1, stderr="disk on fire")
...
(call,) = fake_docker.calls("save")
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import signal as signals
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.fakes import docker_archive, docker_state
from tests.fakes.docker_state import Fault

Command = Literal["version", "info", "inspect", "save", "load", "tag", "pull", "rm"]
Version = Literal["20.10.24", "28.2.2"]

SIZE = 300 * 1024
"""Bytes in an image's layer, unless a test wants another size."""

_PROGRAM = Path(__file__).with_name("docker")


@dataclass(frozen=True, slots=True)
class Flow:
    """What went through a stream, as far as the double saw it."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call of docker."""

    argv: tuple[str, ...]
    """Without `docker` itself."""
    command: str
    pid: int
    environment: frozenset[str]
    """The names of the variables it was given."""
    status: int | None
    """Its exit status; minus N if it killed itself by signal N; None if it never came to its end:
    it hangs, or was killed."""
    stdin: Flow
    stdout: Flow

    def alive(self) -> bool:
        """Whether its process still runs (or waits to be waited for)."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True


class FakeDocker:
    """An executable `docker` in a directory of its own, its scene and its journal."""

    def __init__(self, directory: Path, *, version: Version = "20.10.24") -> None:
        self.directory = directory
        self.program = directory / "bin" / "docker"
        self._path = str(directory / "scene.json")
        self.program.parent.mkdir(parents=True)
        # Run by our own interpreter, whatever `python3` is on PATH, without its site: a third
        # of the time.
        words = [sys.executable, "-IS", str(_PROGRAM)]
        self.program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        self.program.chmod(0o755)
        docker_state.write(self._path, docker_state.empty(version))

    @property
    def env(self) -> Mapping[str, str]:
        """What makes a plain `docker` be this one: `PATH` and `FAKE_DOCKER`."""
        rest = [os.environ.get("PATH", os.defpath)]
        if rest[0].split(os.pathsep)[0] != str(self.program.parent):
            rest.insert(0, str(self.program.parent))
        return {"PATH": os.pathsep.join(rest), "FAKE_DOCKER": self._path}

    def add(self, *names: str, size: int = SIZE, seed: str = "") -> str:
        """Put an image in the engine, under these names or none; its id. Random without `seed`."""
        return self._new("local", names, size, seed)

    def offer(self, *names: str, size: int = SIZE, seed: str = "") -> str:
        """Put an image in the registry that `pull` asks; its id."""
        return self._new("remote", names, size, seed)

    def forget(self) -> None:
        """Remove all images from the engine, as on another machine."""
        with docker_state.changing(self._path) as scene:
            scene["local"] = []

    def become(self, version: Version) -> None:
        """Have the manners of that version: its messages, and what signals do to it."""
        with docker_state.changing(self._path) as scene:
            scene["version"] = version

    def reachable(self, answer: bool = True) -> None:
        """Whether there is a daemon."""
        with docker_state.changing(self._path) as scene:
            scene["reachable"] = answer

    def on(
        self,
        command: Command,
        *,
        call: int | None = None,
        after: int | None = None,
        status: int = 0,
        signal: int = 0,
        hang: bool = False,
        stderr: str = "",
        flood: int = 0,
        registers: Literal["all", "nothing", "other"] = "all",
        linger: float = 0.0,
        deaf: bool = False,
    ) -> None:
        """What is to happen to `command`, each time or at its `call`th (from 1). The latest counts.

        `save` and `load` do their work until `after` bytes went through stdout or stdin, or to
        the end; the others do nothing. Then there is `stderr`, and the command hangs (`hang`;
        `deaf`: whatever signal asks it not to), dies of `signal` or exits with `status`, stdin and
        stdout having been closed `linger` seconds before. A `load` that comes to its end and
        exits 0 keeps all images, `nothing`, or `other` images by the same names. `flood` bytes go
        to stderr first, whatever comes then.
        """
        fault = Fault(
            command=command,
            call=call,
            after=after,
            status=status,
            signal=int(signal),
            hang=hang,
            stderr=stderr,
            flood=flood,
            registers=registers,
            linger=linger,
            deaf=deaf,
        )
        assert not (after is not None and command not in ("save", "load")), "nothing is streamed"
        assert registers == "all" or command == "load", "only load registers images"
        assert signal == 0 or signals.Signals(signal)
        with docker_state.changing(self._path) as scene:
            scene["faults"].append(fault)

    def well(self) -> None:
        """Let nothing fail any more."""
        with docker_state.changing(self._path) as scene:
            scene["faults"], scene["reachable"] = [], True

    def run(
        self,
        *argv: str,
        input: bytes = b"",  # noqa: A002 - as subprocess.run has it
        check: bool = True,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run it with these arguments, to its end. Raises `CalledProcessError` if `check`."""
        return subprocess.run(
            [self.program, *argv],
            input=input,
            capture_output=True,
            env={**os.environ, **self.env},
            timeout=600,
            check=check,
        )

    @property
    def images(self) -> dict[str, str]:
        """The ids of the engine's images by their names, and by their ids if they have none."""
        images = docker_state.read(self._path)["local"]
        return {name: one["id"] for one in images for name in one["names"] or [one["id"]]}

    def calls(self, command: Command | None = None) -> list[Call]:
        """What it was asked so far, or of that what was `command`, in order of the beginnings."""
        journal = Path(docker_state.journal(self._path))
        lines = journal.read_text().splitlines() if journal.exists() else []
        latest: dict[int, dict[str, Any]] = {}
        for record in map(json.loads, lines):
            latest[record["number"]] = record
        calls = [_call(record) for _number, record in sorted(latest.items())]
        return [call for call in calls if command in (None, call.command)]

    def _new(
        self, place: Literal["local", "remote"], names: tuple[str, ...], size: int, seed: str
    ) -> str:
        shown = [docker_state.shown(name) for name in names]
        image = docker_archive.image(shown, seed or secrets.token_hex(8), size)
        with docker_state.changing(self._path) as scene:
            docker_state.register(scene[place], image)
        return image["id"]


def _call(record: dict[str, Any]) -> Call:
    return Call(
        argv=tuple(record["argv"]),
        command=record["command"],
        pid=record["pid"],
        environment=frozenset(record["environment"]),
        status=record["status"],
        stdin=Flow(**record["stdin"]),
        stdout=Flow(**record["stdout"]),
    )
