"""How tests lead to a store: by the config file, by flags, or by the environment."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.cli_helpers import BucketPlace
from tests.support.doctor_helpers import Serve, servers
from tests.support.servers import programs
from tests.support.servers.base import Server


def config_below(tmp_path: Path) -> Path:
    """Where a test's config file belongs."""
    return tmp_path / "home/.config/cacher/config.toml"


def read(config: Path) -> dict[str, object]:
    """What is in the config file, which is private and alone."""
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert os.listdir(config.parent) == [config.name]
    return tomllib.loads(config.read_text())


def flags_of(place: BucketPlace) -> tuple[str, ...]:
    """The flags that lead to a store."""
    return ("--endpoint", place.server.endpoint, "--bucket", place.server.bucket)


def name_server(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """Let the environment name a real server's bucket and credentials."""
    for name, value in (
        ("CACHER_ENDPOINT", server.endpoint),
        ("CACHER_REGION", server.region),
        ("CACHER_BUCKET", server.bucket),
        ("CACHER_S3_KEY_ID", server.access_key),
        ("CACHER_S3_SECRET", server.secret_key),
    ):
        monkeypatch.setenv(name, value)


def new_bucket(monkeypatch: pytest.MonkeyPatch, server: Server) -> Server:
    """The server with a new bucket, which the environment names."""
    server = replace(server, bucket=server.new_bucket())
    name_server(monkeypatch, server)
    return server


def aws_environment(server: Server) -> dict[str, str]:
    """What lets `aws`, which must be there, use a server's bucket as people set it for Garage."""
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", "")))
    if shutil.which("aws", path=path) is None:
        programs.unavailable(
            programs.ProgramNotFound("aws was not found; to provide it: pip install awscli")
        )
    return {
        **os.environ,
        "PATH": path,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_DEFAULT_REGION": server.region,
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        # Its checksum trailers are newer than some of the servers.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }


@contextmanager
def unnamed_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Stores of which the environment names nothing but the credentials."""
    with servers(monkeypatch) as start:

        def serve(*args: object, **options: object) -> BucketPlace:
            place = start(*args, **options)
            for name in ("CACHER_ENDPOINT", "CACHER_REGION", "CACHER_BUCKET"):
                monkeypatch.delenv(name)
            return place

        yield serve
