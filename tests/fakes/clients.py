"""Clients that are not ours, to prove the double with: botocore whole, and its signer alone.

Nothing here is used by the server. `send` speaks plain HTTP, so that a test can spoil a request
that was signed well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from xml.etree import ElementTree

import botocore.session  # type: ignore[import-untyped]
from botocore.auth import S3SigV4Auth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.credentials import Credentials  # type: ignore[import-untyped]
from botocore.handlers import add_expect_header  # type: ignore[import-untyped]

from tests.fakes.profile import AccessKey
from tests.fakes.s3server import FakeS3Server

TIMEOUT = 100  # seconds; nothing here takes one


def botocore_client(server: FakeS3Server, region: str = "", verify: str | None = None) -> Any:
    """A botocore S3 client that asks once: path-style, no checksums of its own accord, no `Expect`.

    `verify` is a file with the certificate of a private authority.
    """
    config = Config(
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": 1},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=TIMEOUT,
        read_timeout=TIMEOUT,
    )
    client = botocore.session.Session().create_client(
        "s3",
        region_name=region or server.region,
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        verify=verify,
        config=config,
    )
    client.meta.events.unregister("before-call.s3", add_expect_header)
    return client


@dataclass(frozen=True)
class Reply:
    """What came back, with lower-case header names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def refusal(self) -> tuple[int, str]:
        """The status, and the code in the error document."""
        return self.status, self.text("Code")

    def text(self, name: str) -> str:
        """The text of the first element of that name in the body, else empty."""
        for element in ElementTree.fromstring(self.body).iter():
            if element.tag.rpartition("}")[2] == name:
                return element.text or ""
        return ""


@dataclass
class Sender:
    """Signed requests over one plain connection, with a key and a region to get wrong."""

    server: FakeS3Server
    key: AccessKey | None = None
    region: str = ""
    connection: HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = HTTPConnection("127.0.0.1", self.server.port, timeout=TIMEOUT)

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.close()

    def sign(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str]
    ) -> dict[str, str]:
        """All headers of a request, signed by botocore."""
        key = self.key or self.server.keys[0]
        length = {"Content-Length": str(len(body))} if method in ("PUT", "POST") else {}
        host = {"Host": f"127.0.0.1:{self.server.port}"}
        url = self.server.endpoint + target
        request = AWSRequest(method, url, headers={**host, **headers}, data=body)
        signer = S3SigV4Auth(
            Credentials(key.id, key.secret), "s3", self.region or self.server.region
        )
        signer.add_auth(request)
        return {**dict(request.headers.items()), **length}

    def send(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        spoil: Mapping[str, str | None] | None = None,
        sent: bytes | None = None,
    ) -> Reply:
        """Send and read the reply. Headers in `spoil` are set, or dropped (None), after signing;
        `sent` is the body in place of the one that was signed."""
        signed = self.sign(method, target, body, headers or {})
        for name, value in (spoil or {}).items():
            signed = {n: v for n, v in signed.items() if n.lower() != name.lower()}
            if value is not None:
                signed[name] = value
        self.connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in signed.items():
            self.connection.putheader(name, value)
        self.connection.endheaders(body if sent is None else sent)
        response = self.connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, fields, response.read())


def start_upload(sender: Sender, key: str = "k") -> str:
    """Open a multipart upload (the key is percent-encoded); the target that names it."""
    target = f"/{sender.server.bucket}/{key}"
    return f"{target}?uploadId=" + sender.send("POST", f"{target}?uploads=").text("UploadId")


def send_part(sender: Sender, upload: str, number: int, body: bytes) -> str:
    """Upload a part, which must succeed; its ETag, quoted."""
    reply = sender.send("PUT", f"{upload}&partNumber={number}", body)
    assert reply.status == 200, reply
    return reply.headers["etag"]


def complete(sender: Sender, upload: str, *parts: tuple[int, str]) -> Reply:
    """Complete an upload of these numbers and ETags."""
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in parts
    )
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>"
    return sender.send("POST", upload, body.encode())
