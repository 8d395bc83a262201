"""Garage, the store this program is made for: one node, on SQLite.

Keys and their rights are Garage's own matter, settled with its command line ("Quick start" and
"garage key", "garage bucket allow" of its reference manual), not through S3.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.servers import process, programs
from tests.support.servers.base import (
    Credentials,
    Right,
    Server,
    environment,
    private_directory,
    serving,
)

_NAME = "garage"
_REGION = "garage"


@dataclass(frozen=True, slots=True)
class _CommandLine:
    """The `garage` command, speaking to the running node."""

    garage: Path
    directory: Path

    def __call__(self, *arguments: str) -> str:
        command: list[str | Path] = [self.garage, "-c", self.directory / "garage.toml", *arguments]
        return process.run_once(command, env=environment(self.directory), cwd=self.directory)

    def create_bucket(self, owner: Credentials, bucket: str) -> None:
        """A bucket known by its name to every key (CreateBucket names it for its own key only)."""
        self("bucket", "create", bucket)
        rights = ("--read", "--write", "--owner")
        self("bucket", "allow", *rights, bucket, "--key", owner.access_key)

    def grant(self, bucket: str, right: Right) -> Credentials:
        """A new key that may only read `bucket`, or only write to it."""
        new = Credentials.new()
        self("key", "import", "--yes", "-n", f"{right}-only", new.access_key, new.secret_key)
        self("bucket", "allow", f"--{right}", bucket, "--key", new.access_key)
        return new


@contextmanager
def start() -> Iterator[Server]:
    """A new Garage, empty, until the block is left.

    As is usual there, the key may not create buckets. Raises `ProgramNotFound` and `StartFailed`.
    """
    garage = programs.find("garage", package=_NAME, provider="tests/run --all")
    with private_directory(_NAME) as directory:
        owner = Credentials.new()
        s3_port, rpc_port, admin_port = process.free_ports(3)
        (directory / "garage.toml").write_text(_config(directory, s3_port, rpc_port, admin_port))
        env = environment(
            directory,
            {
                "GARAGE_DEFAULT_ACCESS_KEY": owner.access_key,
                "GARAGE_DEFAULT_SECRET_KEY": owner.secret_key,
                "RUST_LOG": "garage=info",
            },
        )
        command_line = _CommandLine(garage, directory)
        command: list[str | Path] = [garage, "-c", directory / "garage.toml", "server"]
        command += ["--single-node", "--default-access-key"]
        server = Server(
            name=_NAME,
            endpoint=f"http://{process.LOOPBACK}:{s3_port}",
            region=_REGION,
            credentials=owner,
            directory=directory,
            create_bucket=partial(command_line.create_bucket, owner),
            grant=command_line.grant,
        )
        with serving(server, command, env=env) as started:
            yield started


def _config(directory: Path, s3_port: int, rpc_port: int, admin_port: int) -> str:
    return f"""\
metadata_dir = "{directory / "meta"}"
data_dir = "{directory / "data"}"
db_engine = "sqlite"
metadata_fsync = false
data_fsync = false
replication_factor = 1
rpc_bind_addr = "{process.LOOPBACK}:{rpc_port}"
rpc_public_addr = "{process.LOOPBACK}:{rpc_port}"
rpc_secret = "{secrets.token_hex(32)}"

[s3_api]
s3_region = "{_REGION}"
api_bind_addr = "{process.LOOPBACK}:{s3_port}"

[admin]
api_bind_addr = "{process.LOOPBACK}:{admin_port}"
"""
