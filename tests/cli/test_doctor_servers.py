"""`doctor` on real servers: each passes, nothing is left, and halves of permissions are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import pytest

from tests.cli.conftest import Run
from tests.support.configs import name_server
from tests.support.doctor_helpers import CHECKS, Chart
from tests.support.servers.base import Server

CONDITIONAL = {"garage": "ignored", "juicefs": "ignored", "seaweedfs": "enforced"}
"""What becomes of `If-None-Match: *` in a PUT."""

Point = Callable[[Server], Server]
"""Let the environment name a new bucket of a server; the same server, with that bucket."""


@pytest.fixture
def point(monkeypatch: pytest.MonkeyPatch) -> Iterator[Point]:
    used: list[Server] = []

    def to(server: Server) -> Server:
        server = replace(server, bucket=server.new_bucket())
        used.append(server)
        name_server(monkeypatch, server)
        return server

    yield to
    for server in used:
        client = server.client()
        assert "Contents" not in client.list_objects_v2(Bucket=server.bucket)
        assert "Uploads" not in client.list_multipart_uploads(Bucket=server.bucket)


def test_all_is_well(cacher: Run, each_server: Server, point: Point) -> None:
    server = point(each_server)
    ended = cacher("doctor")
    assert (ended.status, ended.err) == (0, "cacher: everything works\n")
    chart = Chart(ended)
    assert [line.name for line in chart.lines][-len(CHECKS) :] == list(CHECKS)
    assert chart.names("fail", "warn") == []
    assert chart.names("skip") == ["tls"]
    assert chart["region"].text == server.region
    assert chart["conditional"].text.startswith(CONDITIONAL[server.name])


def test_over_tls(cacher: Run, seaweedfs_tls: Server, point: Point) -> None:
    server = point(seaweedfs_tls)
    assert server.ca_file is not None
    ended = cacher("doctor")
    assert "the certificate is not accepted" in ended.failed(3)
    assert Chart(ended).names("fail") == ["tls"]
    ended = cacher("doctor", "--ca-file", server.ca_file)
    assert ended.status == 0
    assert Chart(ended)["tls"].text.startswith("TLSv1.")


def test_a_wrong_secret(
    cacher: Run, each_server: Server, point: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    point(each_server)
    monkeypatch.setenv("CACHER_S3_SECRET", "wrong")
    ended = cacher("doctor")
    assert "cacher: hint: check the secret key" in ended.failed(4)
    assert Chart(ended).names("fail") == ["bucket", "list", "write"]


def test_a_bucket_that_is_not_there(cacher: Run, each_server: Server, point: Point) -> None:
    point(each_server)
    ended = cacher("doctor", "--bucket", "never-made")
    assert "the bucket 'never-made' does not exist" in ended.failed(4)
    assert Chart(ended).names("fail") == ["bucket"]


def test_another_region(cacher: Run, garage: Server, point: Point) -> None:
    point(garage)
    ended = cacher("doctor", "--region", "elsewhere")
    assert "cacher: hint: set --region garage" in ended.failed(4)
    assert Chart(ended).names("fail") == ["region"]


@pytest.mark.parametrize("name", ["garage", "seaweedfs"])
class TestPermissions:
    @pytest.fixture
    def server(self, request: pytest.FixtureRequest, name: str, point: Point) -> Server:
        found = request.getfixturevalue(name)
        assert isinstance(found, Server)
        return point(found)

    @pytest.mark.parametrize(
        ("may", "lacks", "fails", "so"),
        [
            ("read", "write", ["write"], "stored"),
            ("write", "read", ["bucket", "list", "read", "range"], "found"),
        ],
    )
    def test_a_key_that_may_do_half(
        self,
        cacher: Run,
        server: Server,
        monkeypatch: pytest.MonkeyPatch,
        may: Literal["read", "write"],
        lacks: str,
        fails: list[str],
        so: str,
    ) -> None:
        name_server(monkeypatch, server.limited(may))
        ended = cacher("doctor")
        assert f"garage bucket allow --{lacks} {server.bucket}" in ended.failed(4)
        chart = Chart(ended)
        assert chart.names("fail") == fails
        assert chart["permissions"].text.startswith(f"this key may only {may}")
        undone = {chart[name].state for name in ("multipart", "abort", "delete")}
        assert undone == {"ok" if may == "write" else "skip"}
        assert cacher("init").warnings == [f"this key may only {may}: nothing will be {so} with it"]
