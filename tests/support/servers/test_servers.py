"""Each server does what our tests build on, seen through botocore, which shares no code with us."""

from __future__ import annotations

import os
import ssl
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import replace

import pytest
from botocore.exceptions import (  # type: ignore[import-untyped, unused-ignore]
    ClientError,
    SSLError,
)

from tests.support.servers import garage, juicefs, programs, seaweedfs
from tests.support.servers.base import Credentials, Server

MINIMUM_PART = 5 * 1024 * 1024  # bytes; S3's limit for every part but the last


@pytest.fixture(params=["seaweedfs", "seaweedfs_tls", "juicefs", "garage", "rclone"])
def server(request: pytest.FixtureRequest) -> Server:
    got = request.getfixturevalue(request.param)
    assert isinstance(got, Server)
    return got


def refusal(error: pytest.ExceptionInfo[ClientError]) -> int:
    return int(error.value.response["ResponseMetadata"]["HTTPStatusCode"])


def test_an_object_is_stored_listed_and_deleted(server: Server) -> None:
    client, bucket = server.client(), server.new_bucket()
    metadata = {"cacher-sha256": "ab" * 32}
    client.put_object(Bucket=bucket, Key="a/b", Body=b"hello", Metadata=metadata)

    head = client.head_object(Bucket=bucket, Key="a/b")
    assert head["ContentLength"] == 5
    assert {name.lower(): value for name, value in head["Metadata"].items()} == metadata
    assert client.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"hello"
    page = client.list_objects_v2(Bucket=bucket)
    assert [(entry["Key"], entry["Size"]) for entry in page["Contents"]] == [("a/b", 5)]

    client.delete_object(Bucket=bucket, Key="a/b")
    with pytest.raises(ClientError) as gone:
        client.head_object(Bucket=bucket, Key="a/b")
    assert refusal(gone) == 404


def test_two_parts_become_one_object(server: Server) -> None:
    client, bucket = server.client(), server.new_bucket()
    upload = {"Bucket": bucket, "Key": "big"}
    upload["UploadId"] = client.create_multipart_upload(**upload)["UploadId"]
    bodies = [b"a" * MINIMUM_PART, b"b"]
    parts = [
        {"PartNumber": n, "ETag": client.upload_part(**upload, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate(bodies, 1)
    ]
    client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert client.get_object(Bucket=bucket, Key="big")["Body"].read() == b"".join(bodies)


def test_a_wrong_secret_is_refused(server: Server) -> None:
    forged = Credentials(server.access_key, Credentials.new().secret_key)
    with pytest.raises(ClientError) as refused:
        replace(server, credentials=forged).client().list_objects_v2(Bucket=server.bucket)
    assert refusal(refused) == 403
    # Garage says AccessDenied (S3-wise: SignatureDoesNotMatch) to a signature it cannot confirm.
    assert refused.value.response["Error"]["Code"] in {"SignatureDoesNotMatch", "AccessDenied"}


def test_an_unsigned_request_is_refused(server: Server) -> None:
    context = ssl.create_default_context(cafile=server.ca_file) if server.ca_file else None
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server.endpoint}/{server.bucket}?list-type=2", context=context)
    assert refused.value.code == (400 if server.name == "rclone" else 403)


@pytest.mark.parametrize("name", ["seaweedfs", "garage"])
def test_limited_credentials_are_limited(name: str, request: pytest.FixtureRequest) -> None:
    owner: Server = request.getfixturevalue(name)
    server = replace(owner, bucket=owner.new_bucket())
    here = {"Bucket": server.bucket, "Key": "k"}
    reader, writer = server.limited("read").client(), server.limited("write").client()

    writer.put_object(**here, Body=b"v")
    assert reader.get_object(**here)["Body"].read() == b"v"
    with pytest.raises(ClientError) as refused:
        writer.get_object(**here)
    assert refusal(refused) == 403
    with pytest.raises(ClientError) as refused:
        reader.put_object(**here, Body=b"other")
    assert refusal(refused) == 403
    assert server.client().get_object(**here)["Body"].read() == b"v"


def test_buckets_are_apart(each_server: Server) -> None:
    client, one, other = each_server.client(), each_server.new_bucket(), each_server.new_bucket()
    client.put_object(Bucket=one, Key="k", Body=b"v")
    assert client.list_objects_v2(Bucket=one)["KeyCount"] == 1
    assert client.list_objects_v2(Bucket=other)["KeyCount"] == 0


def test_the_certificate_is_good_only_to_those_who_know_its_authority(
    seaweedfs_tls: Server,
) -> None:
    assert seaweedfs_tls.endpoint.startswith("https://")
    with pytest.raises(SSLError):
        replace(seaweedfs_tls, ca_file=None).client().list_buckets()


START = {"seaweedfs": seaweedfs.start, "juicefs": juicefs.start, "garage": garage.start}


@pytest.mark.parametrize("name", START)
def test_a_server_and_its_files_end_with_the_block(name: str) -> None:
    with ExitStack() as block:
        try:
            server = block.enter_context(START[name]())
        except programs.ProgramNotFound as missing:
            programs.unavailable(missing)
        os.kill(server.pid, 0)
        assert server.log.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)
    assert not server.directory.exists()
