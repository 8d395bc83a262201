"""A running S3 server as tests see it, and the wait until it really serves.

Knows botocore, an S3 client that shares no code with ours, and nothing of the package.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import botocore.session  # type: ignore[import-untyped, unused-ignore]
from botocore.config import Config  # type: ignore[import-untyped, unused-ignore]
from botocore.exceptions import (  # type: ignore[import-untyped, unused-ignore]
    BotoCoreError,
    ClientError,
)

from tests.support.servers.process import StartFailed, running

BUCKET = "cacher-tests"

_START_LIMIT = 300.0  # seconds; each server needs 1 at most on two idle cores
_POLL = 0.05  # seconds

Right = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key id and its secret, in the one form that Garage takes."""

    access_key: str
    secret_key: str = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        """Credentials no server has seen."""
        return cls("GK" + secrets.token_hex(12), secrets.token_hex(32))


def _no_grants(_bucket: str, _right: Right) -> Credentials:
    raise NotImplementedError("this server knows no limited credentials")


@dataclass(frozen=True)
class Server:
    """A running server: where it is, who may use it, and one bucket that exists."""

    name: str
    endpoint: str
    region: str
    credentials: Credentials
    directory: Path
    """Its own, with its data and its log; gone when it is."""
    bucket: str = BUCKET
    ca_file: Path | None = None
    """The private authority that signed an https endpoint's certificate."""
    create_bucket: Callable[[str], None] | None = field(default=None, repr=False)
    """How a bucket is made; None: through S3."""
    grant: Callable[[str, Right], Credentials] = field(default=_no_grants, repr=False)
    pid: int = 0
    """Its process; 0 before the start."""

    @property
    def log(self) -> Path:
        """What it has said so far, on stdout and stderr."""
        return self.directory / "server.log"

    @property
    def access_key(self) -> str:
        return self.credentials.access_key

    @property
    def secret_key(self) -> str:
        return self.credentials.secret_key

    def client(self) -> Any:
        """A botocore S3 client, the same one each time. It may be used by several threads."""
        return _client(self.endpoint, self.region, self.credentials, self.ca_file)

    def new_bucket(self) -> str:
        """The name of a bucket made for the caller, empty."""
        bucket = f"t-{secrets.token_hex(8)}"
        self.make_bucket(bucket)
        return bucket

    def make_bucket(self, bucket: str) -> None:
        """Make the bucket of this name."""
        if self.create_bucket:
            self.create_bucket(bucket)
        else:
            self.client().create_bucket(Bucket=bucket)

    def limited(self, right: Right) -> Server:
        """The same server and bucket seen with credentials that may only read, or only write.

        Raises `NotImplementedError` for a server that has no such thing (JuiceFS, rclone).
        """
        return replace(self, credentials=self.grant(self.bucket, right))


@cache  # making one takes 0.1 s
def _client(endpoint: str, region: str, credentials: Credentials, ca_file: Path | None) -> Any:
    """Path style, no retries, and blind to the user's configuration."""
    session = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        # The checksum trailers botocore adds by itself are newer than some servers.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"total_max_attempts": 1},
        connect_timeout=50,
        read_timeout=300,
        proxies={},
    )
    return session.create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        verify=str(ca_file) if ca_file else None,
        config=config,
    )


_TEMPORARY = tempfile.gettempdir()
"""Read at import: later each test has its own, whose paths are too long for a socket."""


@contextmanager
def private_directory(name: str) -> Iterator[Path]:
    """A new directory for a server's data, removed with all that is in it."""
    with tempfile.TemporaryDirectory(
        prefix=f"cacher-{name}-", dir=_TEMPORARY, ignore_cleanup_errors=True
    ) as directory:
        yield Path(directory)


def environment(directory: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a server gets to see of the environment: nothing of the user's."""
    return {
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "PATH": os.environ.get("PATH", os.defpath),
        "GOMEMLIMIT": "1GiB",
        **(extra or {}),
    }


@contextmanager
def serving(
    server: Server, command: Sequence[str | Path], *, env: Mapping[str, str]
) -> Iterator[Server]:
    """`server`, started with `command` in its directory, until the block is left.

    Raises `StartFailed`.
    """
    with running(command, log=server.log, env=env, cwd=server.directory) as process:
        started = replace(server, pid=process.pid)
        _wait(started, process)
        yield started


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    """Return when `server` has stored an object in its bucket, which is made if need be.

    Not when the port answers: SeaweedFS listens before it has a volume to write to. Raises
    `StartFailed`.
    """
    deadline = time.monotonic() + _START_LIMIT
    while True:
        try:
            _store_one(server)
        except (BotoCoreError, ClientError) as error:
            last = error
        else:
            return
        if process.poll() is not None:
            raise StartFailed(f"{server.name} exited {process.returncode}", server.log) from last
        if time.monotonic() > deadline:
            raise StartFailed(f"{server.name} is not serving: {last}", server.log) from last
        time.sleep(_POLL)


def _store_one(server: Server) -> None:
    client, here = server.client(), {"Bucket": server.bucket, "Key": "ready"}
    try:
        client.put_object(**here, Body=b"ready")
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
        server.make_bucket(server.bucket)
        client.put_object(**here, Body=b"ready")
    client.delete_object(**here)
