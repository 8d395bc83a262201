"""JuiceFS's gateway: MinIO's own S3 front end of 2021, so an old S3, strict about signatures."""

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

_NAME = "juicefs"


@contextmanager
def start() -> Iterator[Server]:
    """A new gateway over an empty volume, until the block is left.

    Raises `ProgramNotFound` and `StartFailed`.
    """
    juicefs = programs.find("juicefs", package=_NAME, provider="tests/run")
    with private_directory(_NAME) as directory:
        owner = Credentials.new()
        port, metrics = process.free_ports(2)
        address = f"{process.LOOPBACK}:{port}"
        meta = f"badger://{directory / 'meta'}"
        env = environment(
            directory,
            {"MINIO_ROOT_USER": owner.access_key, "MINIO_ROOT_PASSWORD": owner.secret_key},
        )
        volume = ["--storage", "file", "--bucket", f"{directory / 'data'}/", "--trash-days", "0"]
        process.run_once([juicefs, "format", *volume, meta, "tests"], env=env, cwd=directory)
        command: list[str | Path] = [
            *(juicefs, "--no-agent", "gateway", meta, address),
            *("--multi-buckets", "--object-tag"),
            *("--keep-etag", "--object-meta"),  # else neither ETags nor metadata are kept
            *("--no-usage-report", "--no-banner", "--backup-meta", "0"),
            *("--cache-dir", directory / "cache", "--cache-size", "0"),
            *("--metrics", f"{process.LOOPBACK}:{metrics}"),
        ]
        server = Server(
            name=_NAME,
            endpoint=f"http://{address}",
            region="us-east-1",
            credentials=owner,
            directory=directory,
        )
        with serving(server, command, env=env) as started:
            yield started
