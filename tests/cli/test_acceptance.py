"""The main job, for real: a large file from its origin once, and from the cache ever after."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.stage import MIB, LocalPlace, blob, sha256
from tests.fakes.origin import Origin, Reply
from tests.servers.base import Server

SIZE = 128 * MIB

pytestmark = pytest.mark.timeout(300, method="thread")


@pytest.fixture(scope="module")
def content() -> bytes:
    return blob(SIZE)


@pytest.fixture
def remote(each_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A real server, which the environment names."""
    for name, value in {
        "CACHER_ENDPOINT": each_server.endpoint,
        "CACHER_BUCKET": each_server.bucket,
        "CACHER_PREFIX": f"acceptance-{os.getpid()}",
        "CACHER_S3_KEY_ID": each_server.access_key,
        "CACHER_S3_SECRET": each_server.secret_key,
    }.items():
        monkeypatch.setenv(name, value)
    yield each_server
    uploads = each_server.client().list_multipart_uploads(Bucket=each_server.bucket)
    assert not uploads.get("Uploads")


def miss_then_hit(cacher: Run, content: bytes) -> None:
    with Origin() as origin:
        origin.script("/go.tar.gz", Reply(body=content))
        url = origin.url("/go.tar.gz")
        arguments = ("--url", url, "--sha256", sha256(content))
        first = cacher("download", "go 1.22/go+é.tar.gz", "first", *arguments)
        assert first.status == 0
        assert "miss go 1.22/go+é.tar.gz, fetched" in first.err
        assert "stored" in first.err
        assert len(origin.seen) == 1
        second = cacher("download", "go 1.22/go+é.tar.gz", "second", *arguments)
        assert second.status == 0
        assert second.err.startswith("cacher: hit go 1.22/go+é.tar.gz (128.0 MiB in ")
        assert len(origin.seen) == 1
    assert Path("first").read_bytes() == content
    assert Path("second").read_bytes() == content
    assert cacher("exists", "go 1.22/go+é.tar.gz").status == 0
    assert cacher("delete", "go 1.22/go+é.tar.gz").status == 0
    assert cacher("exists", "go 1.22/go+é.tar.gz").status == 1


def test_on_a_real_server(cacher: Run, remote: Server, content: bytes) -> None:
    miss_then_hit(cacher, content)


def test_on_the_local_store(cacher: Run, local: LocalPlace, content: bytes) -> None:
    miss_then_hit(cacher, content)


class TestBesideAws:
    """The bucket can be shared with the loop that cacher replaces."""

    @pytest.fixture
    def aws(self, remote: Server, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        beside = Path(sys.executable).parent / "aws"
        path = str(beside) if beside.exists() else shutil.which("aws")
        assert path, "pip install awscli"
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", remote.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", remote.secret_key)
        monkeypatch.setenv("AWS_DEFAULT_REGION", remote.region)
        monkeypatch.setenv("AWS_ENDPOINT_URL", remote.endpoint)
        # Garage knows no trailers before 1.1.0, and others none at all: what its users set.
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
        return [path]

    @pytest.mark.parametrize("size", [0, 1000, 20 * MIB], ids=["empty", "small", "parts"])
    def test_each_reads_what_the_other_wrote(
        self, cacher: Run, remote: Server, aws: list[str], size: int
    ) -> None:
        data = blob(size, seed=1)
        Path("f").write_bytes(data)
        url = f"s3://{remote.bucket}/{os.environ['CACHER_PREFIX']}"
        assert cacher("upload", "ours/a b", "f").status == 0
        subprocess.run([*aws, "s3", "cp", "--quiet", f"{url}/ours/a b", "g"], check=True)
        assert Path("g").read_bytes() == data
        subprocess.run([*aws, "s3", "cp", "--quiet", "f", f"{url}/theirs/a b"], check=True)
        assert cacher("download", "theirs/a b", "h").status == 0
        assert Path("h").read_bytes() == data
        listed = cacher("list").out.decode().splitlines()
        assert [line.split("\t")[:2] for line in listed] == [
            ["ours/a b", str(size)],
            ["theirs/a b", str(size)],
        ]
        assert cacher("delete", "ours/a b", "theirs/a b").status == 0
