"""A server's process: its ports, its log, its end. Knows nothing of S3."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

LOOPBACK = "127.0.0.1"

# Below the ports that Linux (32768) and others (49152) give to outgoing connections, so that no
# client takes one between our choice and the server's start. Each worker of pytest-xdist has its
# share, so that no other's server does.
_PORTS = range(
    20000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")),
    32000,
    int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
)

# Seconds from SIGTERM to SIGKILL. Garage waits for idle clients to go; the data is thrown away.
_GRACE = 2.0


class StartFailed(Exception):
    """A server did not come up; the message ends with the last lines of its log."""

    def __init__(self, reason: str, log: Path) -> None:
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        super().__init__("\n".join([reason, *lines[-30:]]))


def free_ports(count: int) -> list[int]:
    """`count` distinct ports on loopback that nobody listens on."""
    with ExitStack() as held:
        ports: list[int] = []
        for port in random.sample(_PORTS, len(_PORTS)):
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == count:
                return ports
    raise RuntimeError("no free ports")


@contextmanager
def running(
    command: Sequence[str | Path], *, log: Path, env: Mapping[str, str], cwd: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` with exactly `env`, its output going to `log`, until the block is left."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*_tied_to_parent(), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,  # Ctrl-C reaches pytest alone, which then stops us in order
        )
    try:
        yield process
    finally:
        stop(process)


def _tied_to_parent() -> list[str]:
    """Makes the kernel end the server with a test run that was itself killed (Linux only)."""
    if sys.platform != "linux":
        return []
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def stop(process: subprocess.Popen[bytes], *, grace: float = _GRACE) -> None:
    """End `process`, by its id: SIGTERM, and SIGKILL after `grace` seconds if it lives on."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)  # a test may have left it stopped
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run_once(command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path) -> str:
    """Run a short command to its end; its stdout. Raises `RuntimeError` with its stderr."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=dict(env),
        cwd=cwd,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} exited {done.returncode}: {done.stderr.strip()}")
    return done.stdout
