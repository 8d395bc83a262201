"""Directories on real servers, end to end, and shared there with the shell pipelines of old."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support.cli_helpers import MIB, blob
from tests.support.configs import aws_environment, new_bucket
from tests.support.servers import programs
from tests.support.servers.base import Server
from tests.support.tree_snapshots import Tree, snapshot
from tests.support.trees import FULL, build

FILES = 200

BIG = 26 * MIB
"""Bytes of noise, which stay as many when compressed: more than one part."""

PATIENCE = 500.0
"""Seconds for one pipeline on a busy machine."""

Shell = Callable[[str], None]
"""`shell("tar c . | zstd | aws s3 cp - $S3/key")`: all of it must succeed."""


@pytest.fixture
def server(each_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server with a new bucket, which the environment names."""
    return new_bucket(monkeypatch, each_server)


@pytest.fixture
def shell(server: Server) -> Shell:
    """The lines that cacher replaces, as people run them; $S3 is the bucket."""
    programs.require("zstd")
    environ = {**aws_environment(server), "S3": f"s3://{server.bucket}"}

    def run(line: str) -> None:
        ended = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            env=environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert ended.returncode == 0, ended.stderr

    return run


@pytest.fixture
def tree() -> Tree:
    """What the directory `tree` has: one file of size, many small ones, and all oddities."""
    Path("tree").mkdir()
    build(Path("tree"), FULL)
    Path("tree/big").write_bytes(blob(BIG))
    for number in range(FILES):
        path = Path(f"tree/many/{number % 7}/{number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(blob(number * 37, number % 5))
    return snapshot(Path("tree"))


def keys(server: Server) -> list[str]:
    """What is in the bucket, in which no upload may be open."""
    client = server.client()
    assert "Uploads" not in client.list_multipart_uploads(Bucket=server.bucket)
    listed = client.list_objects_v2(Bucket=server.bucket)
    return [entry["Key"] for entry in listed.get("Contents", [])]


def test_the_life_of_an_entry(cacher: Run, server: Server, tree: Tree) -> None:
    stored = cacher("dir", "upload", "deps/k", "tree", "--json")
    assert (stored.status, stored.json["outcome"]) == (0, "stored"), stored.err
    assert stored.json["members"] == len(tree)
    client, name = server.client(), {"Bucket": server.bucket, "Key": "deps/k"}
    head = client.head_object(**name)
    assert head["ContentLength"] == stored.json["size"] > BIG
    assert "-" in head["ETag"]  # of a multipart upload, with the number of its parts behind
    hit = cacher("dir", "download", "deps/k", "again", "--json")
    assert (hit.status, hit.json["members"]) == (0, len(tree)), hit.err
    assert snapshot(Path("again")) == tree

    # It is there: nothing is sent, whatever the tree is by now.
    Path("tree/many/0/0").write_bytes(b"changed")
    Path("tree/big").unlink()
    assert cacher("dir", "upload", "deps/k", "tree", "--json").json["outcome"] == "exists"
    assert client.head_object(**name)["ETag"] == head["ETag"]
    assert cacher("dir", "download", "deps/k", "again", "--clean").status == 0
    assert snapshot(Path("again")) == tree

    assert cacher("dir", "upload", "deps/k", "tree", "--force").status == 0
    assert client.head_object(**name)["ContentLength"] < BIG
    assert cacher("dir", "download", "deps/k", "again", "--clean").status == 0
    assert snapshot(Path("again")) == snapshot(Path("tree")) != tree

    assert keys(server) == ["deps/k"]
    assert cacher("delete", "deps/k").status == 0
    assert keys(server) == []
    missed = cacher("dir", "download", "deps/k", "again", "--clean")
    assert (missed.status, missed.err) == (1, "cacher: miss deps/k\n")
    assert snapshot(Path("again")) == snapshot(Path("tree"))
    assert sorted(os.listdir()) == ["again", "tree"]


def test_the_shell_restores_what_cacher_stored(
    cacher: Run, server: Server, shell: Shell, tree: Tree
) -> None:
    assert cacher("dir", "upload", "--prefix", "team", "k", "tree").status == 0
    Path("theirs").mkdir()
    shell("aws s3 cp $S3/team/k - | zstd -dc | tar xp -C theirs")
    assert snapshot(Path("theirs")) == tree


def test_cacher_restores_what_the_shell_stored(
    cacher: Run, server: Server, shell: Shell, tree: Tree
) -> None:
    shell("tar c -C tree . | zstd -q | aws s3 cp - $S3/k")
    hit = cacher("dir", "download", "k", "ours", "--json")
    assert (hit.status, hit.warnings, hit.json["members"]) == (0, [], len(tree))
    Path("theirs").mkdir()
    shell("tar c -C tree . | tar xp -C theirs")  # it keeps no more than seconds
    assert snapshot(Path("ours")) == snapshot(Path("theirs"))
    assert snapshot(Path("ours")).keys() == tree.keys()


def test_a_pipeline_that_stopped_midway(
    cacher: Run, server: Server, shell: Shell, tree: Tree
) -> None:
    """The upload succeeds without pipefail; nothing of what it left is restored."""
    shell("tar c -C tree . | head -c 20000000 | zstd -q | aws s3 cp - $S3/k || true")
    assert keys(server) == ["k"]
    Path("ours").mkdir()
    Path("ours/kept").touch()
    before = snapshot(Path("ours"))
    assert "the archive is cut off" in cacher("dir", "download", "k", "ours").failed(5)
    assert snapshot(Path("ours")) == before
    assert sorted(os.listdir()) == ["ours", "tree"]
