"""SeaweedFS: the broadest modern S3 among the servers here (checksums, conditional PUT, TLS)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import process, programs, tls
from tests.support.servers.base import (
    Credentials,
    Server,
    environment,
    private_directory,
    serving,
)

_NAME = "seaweedfs"

# Every daemon of the all-in-one process listens, also those nobody uses, and a gRPC port left out
# is the other one plus 10000.
_PORT_FLAGS = (
    "-admin.port",
    "-admin.port.grpc",
    "-filer.port",
    "-filer.port.grpc",
    "-master.port",
    "-master.port.grpc",
    "-s3.port.grpc",
    "-volume.port",
    "-volume.port.grpc",
)


@contextmanager
def start(*, https: bool = False) -> Iterator[Server]:
    """A new SeaweedFS, empty, until the block is left; with `https`, under a private authority.

    Raises `ProgramNotFound` and `StartFailed`.
    """
    weed = programs.find("weed", package=_NAME, provider="tests/run")
    with private_directory(_NAME) as directory:
        owner, reader, writer = Credentials.new(), Credentials.new(), Credentials.new()
        (directory / "s3.json").write_text(_identities(owner, reader, writer))
        port, https_port, *ports = process.free_ports(2 + len(_PORT_FLAGS))
        issued = tls.issue(directory) if https else None
        server = Server(
            name=_NAME,
            endpoint=f"{'https' if https else 'http'}://{process.LOOPBACK}"
            f":{https_port if https else port}",
            region="us-east-1",
            credentials=owner,
            directory=directory,
            ca_file=issued.ca_file if issued else None,
            grant=lambda _bucket, right: reader if right == "read" else writer,
        )
        command: list[str | Path] = [
            *(weed, "-logtostderr=true", "mini"),
            *_options(directory),
            f"-s3.port={port}",
            *(f"{flag}={number}" for flag, number in zip(_PORT_FLAGS, ports, strict=True)),
            *(_https_options(issued, https_port) if issued else ()),
        ]
        # A bucket gets volumes of its own, seven at a time unless told otherwise.
        env = environment(directory, {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"})
        try:
            with serving(server, command, env=env) as started:
                yield started
        finally:
            _remove_sockets(ports)


def _options(directory: Path) -> list[str]:
    data = directory / "data"
    data.mkdir()
    return [
        f"-dir={data}",
        f"-ip={process.LOOPBACK}",
        f"-ip.bind={process.LOOPBACK}",
        "-master.telemetry=false",
        "-master.raftBootstrap=true",  # no election: seconds
        "-master.volumeSizeLimitMB=1024",
        "-volume.max=5000",
        "-volume.preStopSeconds=0",  # nobody waits for a drain: 10 seconds
        "-admin.ui=false",
        "-webdav=false",
        f"-filer.localSocket={directory / 'filer.sock'}",
        f"-s3.localSocket={directory / 's3.sock'}",
        f"-s3.config={directory / 's3.json'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.iam=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-s3.autoCreateBucket=false",
        "-s3.domainName=localhost",
    ]


def _https_options(issued: tls.Issued, port: int) -> list[str]:
    return [
        f"-s3.port.https={port}",
        f"-s3.cert.file={issued.certificate}",
        f"-s3.key.file={issued.key}",
    ]


def _remove_sockets(ports: Iterable[int]) -> None:
    """Sweep up what SeaweedFS leaves in /tmp, whatever TMPDIR says, named after its gRPC ports."""
    for port in ports:
        for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            left.unlink(missing_ok=True)


def _identities(owner: Credentials, reader: Credentials, writer: Credentials) -> str:
    """SeaweedFS's own list of who may do what, to any bucket."""
    actions = {
        "owner": (owner, ["Admin", "Read", "Write", "List", "Tagging"]),
        "reader": (reader, ["Read", "List"]),
        "writer": (writer, ["Write"]),
    }
    return json.dumps(
        {
            "identities": [
                {
                    "name": name,
                    "credentials": [{"accessKey": who.access_key, "secretKey": who.secret_key}],
                    "actions": allowed,
                }
                for name, (who, allowed) in actions.items()
            ]
        }
    )
