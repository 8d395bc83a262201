"""`rclone serve s3`: small and odd. It answers a ranged GET with 200 and the partial body."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import process, programs
from tests.support.servers.base import (
    Credentials,
    Server,
    environment,
    private_directory,
    serving,
)

_NAME = "rclone"


@contextmanager
def start() -> Iterator[Server]:
    """A new server over an empty directory, until the block is left.

    Raises `ProgramNotFound` and `StartFailed`.
    """
    rclone = programs.find("rclone", package=_NAME, provider="tests/run")
    with private_directory(_NAME) as directory:
        owner = Credentials.new()
        (port,) = process.free_ports(1)
        address = f"{process.LOOPBACK}:{port}"
        data = directory / "data"
        data.mkdir()
        command: list[str | Path] = [
            *(rclone, "serve", "s3", data, "--addr", address),
            *("--auth-key", f"{owner.access_key},{owner.secret_key}"),
            *("--vfs-cache-mode", "off", "--config", directory / "rclone.conf"),
        ]
        server = Server(
            name=_NAME,
            endpoint=f"http://{address}",
            region="us-east-1",
            credentials=owner,
            directory=directory,
        )
        with serving(server, command, env=environment(directory)) as started:
            yield started
