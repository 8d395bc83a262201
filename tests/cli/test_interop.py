"""A bucket shared with `aws s3 cp`, and the run that cacher is for, with a file of size.

An entry is a plain object: whatever one tool writes the other reads, byte for byte.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run, Spawn
from tests.fakes.origin import Origin, Reply
from tests.support.cli_helpers import MIB, RECORD, LocalPlace, blob, sha256
from tests.support.configs import aws_environment, new_bucket
from tests.support.servers.base import Server

ENTRIES = pytest.mark.parametrize(
    ("key", "size"),
    [
        ("small", 3),
        ("several/parts", 17 * MIB + 1),  # cacher's begin at 16 MiB, aws's at 8
        ("odd/a b+c~ü(1)%41=&;.tar.gz", 1000),
    ],
    ids=["small", "multipart", "odd"],
)

BIG = 128 * MIB

PATIENCE = 500.0
"""Seconds for one run on a busy machine."""

Aws = Callable[..., str]
"""`aws("s3", "cp", source, target)`; what it printed."""


@pytest.fixture
def server(each_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server with a new bucket, which the environment names."""
    return new_bucket(monkeypatch, each_server)


@pytest.fixture
def aws(server: Server) -> Aws:
    """The command of the shell loop that cacher replaces, as people run it against Garage."""
    environ = aws_environment(server)
    program = shutil.which("aws", path=environ["PATH"])
    assert program

    def run(*argv: str) -> str:
        ended = subprocess.run(
            [program, *argv], env=environ, capture_output=True, text=True, timeout=PATIENCE
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


class TestAws:
    @ENTRIES
    def test_it_reads_what_cacher_stored(
        self, cacher: Run, aws: Aws, server: Server, key: str, size: int
    ) -> None:
        Path("f").write_bytes(blob(size))
        assert cacher("upload", "--prefix", "team", "--", key, "f").status == 0
        aws("s3", "cp", f"s3://{server.bucket}/team/{key}", "g")
        assert Path("g").read_bytes() == blob(size)
        told = aws("s3api", "head-object", "--bucket", server.bucket, "--key", f"team/{key}")
        head = json.loads(told)
        assert head["ContentLength"] == size
        assert head["Metadata"][RECORD] == sha256(blob(size))

    @ENTRIES
    def test_cacher_reads_what_it_stored(
        self, cacher: Run, aws: Aws, server: Server, key: str, size: int
    ) -> None:
        Path("f").write_bytes(blob(size))
        aws("s3", "cp", "f", f"s3://{server.bucket}/{key}")
        assert cacher("exists", "--json", "--", key).json["sha256"] is None  # nothing to verify
        ended = cacher("download", "--", key, "g")
        assert (ended.status, ended.warnings) == (0, [])
        assert Path("g").read_bytes() == blob(size)
        digest = ("--sha256", sha256(blob(size)))
        assert cacher("download", *digest, "--", key, "-").out == blob(size)
        assert cacher("download", "--sha256", "0" * 64, "--", key, "g").status == 5

    def test_each_sees_and_deletes_the_others(self, cacher: Run, aws: Aws, server: Server) -> None:
        Path("f").write_bytes(b"abc")
        aws("s3", "cp", "f", f"s3://{server.bucket}/team/theirs")
        assert cacher("upload", "team/ours", "f").status == 0
        listed = [line.split("\t")[:2] for line in cacher("list").text.splitlines()]
        assert sorted(listed) == [["team/ours", "3"], ["team/theirs", "3"]]
        lines = aws("s3", "ls", f"s3://{server.bucket}/team/").splitlines()
        assert sorted(line.split()[2:] for line in lines) == [["3", "ours"], ["3", "theirs"]]
        assert cacher("delete", "team/theirs").status == 0
        aws("s3", "rm", f"s3://{server.bucket}/team/ours")
        assert cacher("list").text == ""


@pytest.fixture(scope="module")
def body() -> bytes:
    return os.urandom(BIG)


class TestAMissAndThenAHit:
    """The acceptance run: `cacher download KEY DEST --url URL`, twice, in processes of its own."""

    def download(self, spawn: Spawn, url: str) -> dict[str, Any]:
        """What one run tells."""
        process = spawn("download", "tools/go.tar.gz", "dest", "--url", url, "--json")
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        told: dict[str, Any] = json.loads(out)
        assert told["warnings"] == []
        return told

    def twice(self, spawn: Spawn, origin: Origin, body: bytes) -> None:
        url = origin.script("/go.tar.gz", Reply(body=body))
        for outcome in ("fetched", "hit"):
            told = self.download(spawn, url)
            assert told["outcome"] == outcome
            assert told["size"] == BIG
            assert told["sha256"] == sha256(body)
            assert Path("dest").read_bytes() == body
            os.unlink("dest")  # files of size pile up
            # The first run has asked for it, once and whole; the second one not at all.
            assert [(seen.method, seen.header("range")) for seen in origin.seen] == [("GET", "")]

    def test_on_a_real_server(
        self, spawn: Spawn, origin: Origin, server: Server, body: bytes
    ) -> None:
        self.twice(spawn, origin, body)
        stored = {"Bucket": server.bucket, "Key": "tools/go.tar.gz"}
        head = server.client().head_object(**stored)
        assert (head["ContentLength"], head["Metadata"][RECORD]) == (BIG, sha256(body))
        assert "Uploads" not in server.client().list_multipart_uploads(Bucket=server.bucket)
        server.client().delete_object(**stored)

    def test_on_the_local_store(
        self, spawn: Spawn, origin: Origin, local: LocalPlace, body: bytes
    ) -> None:
        self.twice(spawn, origin, body)
        assert local.keys() == ["tools/go.tar.gz"]
        assert local.leftovers() == []
        os.unlink(local.root / "tools/go.tar.gz")
