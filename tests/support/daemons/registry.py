"""Debian's `docker-registry` on loopback, over http, open to everybody."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import process, programs
from tests.support.servers.base import environment, private_directory

_START_LIMIT = 300.0  # seconds; it needs a tenth of one
_POLL = 0.05  # seconds
_ANSWER_LIMIT = 100.0  # seconds


@dataclass(frozen=True)
class Registry:
    """A running registry."""

    address: str
    """`127.0.0.1:PORT`: the first part of the names of its images."""
    directory: Path
    """Its own, with its data and its log; gone when it is."""
    pid: int

    @property
    def log(self) -> Path:
        """What it has said so far: a line for each request among others."""
        return self.directory / "registry.log"

    def name(self, image: str) -> str:
        """What an engine calls `image`, as `app:1`, of this registry."""
        return f"{self.address}/{image}"

    def tags(self, repository: str) -> set[str]:
        """The tags of a repository; none if it does not exist."""
        status, body = self._get(f"/v2/{repository}/tags/list")
        return set(json.loads(body)["tags"] or ()) if status == 200 else set()

    def answers(self) -> bool:
        """Whether it can be used."""
        try:
            return self._get("/v2/")[0] == 200
        except OSError:
            return False

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.address, timeout=_ANSWER_LIMIT)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@contextmanager
def start() -> Iterator[Registry]:
    """A new, empty registry, until the block is left.

    Raises `ProgramNotFound` and `StartFailed`.
    """
    program = programs.find("docker-registry")
    with private_directory("registry") as directory:
        (port,) = process.free_ports(1)
        address = f"{process.LOOPBACK}:{port}"
        config = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
            "http": {"addr": address},
        }
        (directory / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        command: list[str | Path] = [program, "serve", directory / "config.yml"]
        log, env = directory / "registry.log", environment(directory)
        with process.running(command, log=log, env=env, cwd=directory) as started:
            registry = Registry(address=address, directory=directory, pid=started.pid)
            _wait(registry, started)
            yield registry


def _wait(registry: Registry, started: subprocess.Popen[bytes]) -> None:
    """Return when the registry answers. Raises `StartFailed`."""
    deadline = time.monotonic() + _START_LIMIT
    while not registry.answers():
        if started.poll() is not None:
            raise process.StartFailed(f"registry exited {started.returncode}", registry.log)
        if time.monotonic() > deadline:
            raise process.StartFailed("registry does not answer", registry.log)
        time.sleep(_POLL)
