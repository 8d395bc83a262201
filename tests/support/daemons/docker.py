"""A docker daemon of the tests' own: its socket, its data, its containerd, no network of its own.

It pulls and pushes in the machine's network, which is enough for a registry on loopback.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.support.daemons import commands, namespace
from tests.support.servers import process, programs
from tests.support.servers.base import environment, private_directory

PROVIDER = f"apt-get install {programs.PACKAGES['dockerd']}"

PATH = os.environ.get("PATH", os.defpath)
"""Where docker's client is looked for. Read at import: later a test may have a double on `PATH`."""

_CGROUPS = Path("/sys/fs/cgroup")

_START_LIMIT = 300.0  # seconds; it needs 1 on two idle cores
_GRACE = 20.0  # seconds from SIGTERM to SIGKILL; dockerd itself gives its containers 15
_POLL = 0.05  # seconds

# $1 is the data root, $2 the size of a tmpfs to put there or nothing; the rest is the command.
# /run is hidden since dockerd and containerd keep things there that no option moves, and look
# there for systemd; /etc/docker for the machine's settings.
_PREPARE = """\
set -e
data=$1 size=$2; shift 2
mount -t tmpfs -o mode=755 run /run
[ ! -d /etc/docker ] || mount -t tmpfs -o mode=755 etc-docker /etc/docker
[ -z "$size" ] || mount -t tmpfs -o mode=710,size="$size" data "$data"
exec "$@"
"""


@dataclass(frozen=True)
class Daemon:
    """A running docker daemon."""

    host: str
    """What `DOCKER_HOST` has to be: `unix:///...sock`."""
    root: Path
    """Its own directory, with its data and its log; gone when it is."""
    program: Path
    """The docker client that `run` runs. `dataclasses.replace` it with another of `clients()`."""
    pid: int

    @property
    def log(self) -> Path:
        """What it has said so far."""
        return self.root / "dockerd.log"

    @property
    def data(self) -> Path:
        """Its `--data-root` as it sees it itself, with what is mounted there."""
        return Path(f"/proc/{self.pid}/root{self.root}/data")

    @property
    def env(self) -> Mapping[str, str]:
        """What a docker client has to see of an environment."""
        # BuildKit would want a plugin of the client's, and builds nothing that tests need.
        return environment(self.root, {"DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "0"})

    def run(
        self,
        *argv: str | Path,
        input: bytes = b"",  # noqa: A002 - as subprocess.run has it
        check: bool = True,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the docker client with these arguments, to its end.

        Raises `RuntimeError` with its stderr if `check` and it fails.
        """
        return commands.run(self.program, *argv, env=self.env, input_=input, check=check)

    def image_id(self, image: str) -> str | None:
        """The id, `sha256:...`, of the image of that name; None if there is none."""
        done = self.run("image", "inspect", "--format", "{{.Id}}", image, check=False)
        return done.stdout.decode().strip() if done.returncode == 0 else None

    def images(self) -> dict[str, str]:
        """The id of every tagged image by its tag, and of every other by its id."""
        form = "{{.Repository}}:{{.Tag}} {{.ID}}"
        said = self.run("image", "ls", "--no-trunc", "--format", form).stdout.decode()
        pairs = [line.split() for line in said.splitlines()]
        return {name if tag.endswith(":<none>") else tag: name for tag, name in pairs}


class StartDaemon(Protocol):
    """`start`, or the fixture `start_daemon`, which is `start` for a test."""

    def __call__(self, *, size: int | None = None) -> AbstractContextManager[Daemon]: ...


@contextmanager
def start(*, size: int | None = None) -> Iterator[Daemon]:
    """A new daemon without images, until the block is left.

    With `size` its data lies on a file system of that many bytes, in memory. Raises
    `ProgramNotFound` and `StartFailed`.
    """
    program = next(iter(clients()), None)
    if program is None:
        raise programs.ProgramNotFound(f"docker was not found; to provide it: {PROVIDER}")
    dockerd = _dockerd()
    unshare = namespace.enter()
    with private_directory("docker") as root:
        data = root / "data"
        data.mkdir()
        (root / "daemon.json").write_text("{}")
        host = f"unix://{root}/docker.sock"
        command: list[str | Path] = [
            *unshare,
            *("sh", "-c", _PREPARE, "sh", data, str(size or "")),
            *(dockerd, "--host", host, "--config-file", root / "daemon.json"),
            *("--data-root", data, "--exec-root", root / "exec", "--pidfile", root / "docker.pid"),
            *("--storage-driver", namespace.storage_driver(root, overlay="overlay2")),
            *("--bridge=none", "--iptables=false", "--insecure-registry", "127.0.0.0/8"),
            *("--cgroup-parent", f"/{root.name}"),
        ]
        log = root / "dockerd.log"
        with process.running(command, log=log, env=environment(root), cwd=root) as started:
            daemon = Daemon(host=host, root=root, program=program, pid=started.pid)
            with _serving(daemon, started):
                yield daemon


def clients() -> list[Path]:
    """Every docker client on `PATH`, each once, the first first."""
    places = [Path(place) / "docker" for place in PATH.split(os.pathsep) if place]
    there = [place.resolve() for place in places if os.access(place, os.X_OK)]
    return list(dict.fromkeys(there))


def _dockerd() -> Path:
    debian = Path("/usr/sbin/dockerd")  # not on every user's PATH
    return debian if debian.exists() else programs.find("dockerd")


@contextmanager
def _serving(daemon: Daemon, started: subprocess.Popen[bytes]) -> Iterator[None]:
    """Wait until it serves; with the block end it, and then what it started and did not end."""
    space = None
    try:
        _wait(daemon, started)
        space = namespace.of(started.pid)
        yield
    finally:
        space = space or namespace.of(started.pid)
        process.stop(started, grace=_GRACE)
        if space:
            namespace.end(space)
        _remove_cgroups(daemon.root.name)


def _remove_cgroups(name: str) -> None:
    """Those of its containers, of which nothing runs any more: of each controller, or of all."""
    for place in [*_CGROUPS.glob(name), *_CGROUPS.glob(f"*/{name}")]:
        for group in sorted((path for path in place.rglob("*") if path.is_dir()), reverse=True):
            group.rmdir()
        place.rmdir()


def _wait(daemon: Daemon, started: subprocess.Popen[bytes]) -> None:
    """Return when the daemon answers. Raises `StartFailed`."""
    deadline = time.monotonic() + _START_LIMIT
    while daemon.run("version", check=False).returncode != 0:
        if started.poll() is not None:
            raise process.StartFailed(f"dockerd exited {started.returncode}", daemon.log)
        if time.monotonic() > deadline:
            raise process.StartFailed("dockerd does not answer", daemon.log)
        time.sleep(_POLL)
