"""`-v` shows each request and where the settings came from, `--debug` headers, neither a secret."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fakes.faults import Fault, Respond
from tests.fakes.origin import Origin, Reply, redirect
from tests.fakes.s3server import FakeS3Server
from tests.support.cli_helpers import BucketPlace, LocalPlace, blob

FILE = blob(300_000)

PROXY_LOGIN = base64.b64encode(b"user:Pr0xyPassw0rd").decode()

SECRETS = (
    *("Passw0rdOfTheOrigin", "QuerySecret", "SignedQuery", "CookieOfTheStore"),
    *("Pr0xyPassw0rd", PROXY_LOGIN),
)


@pytest.fixture(autouse=True)
def _files() -> None:
    Path("f").write_bytes(b"abc")
    Path("tree").mkdir()
    Path("tree/file").write_bytes(b"abc")


def test_each_request_is_a_line(cacher: Run, bucket: BucketPlace) -> None:
    bucket.put("k", FILE)
    bucket.server.inject(Fault(Respond(503, "SlowDown"), operation="GetObject"))
    ended = cacher("download", "k", "g", "-v")
    assert ended.status == 0
    first, second = re.findall(r"^cacher: (GET .*)$", ended.err, re.MULTILINE)
    assert re.fullmatch(r"GET k: HTTP 503 after \d+\.\d{3} s", first)
    assert re.fullmatch(r"GET k: HTTP 206 after \d+\.\d{3} s \(try 2\)", second)
    assert "x-amz" not in ended.err


def test_why_there_is_no_answer(
    cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHER_ENDPOINT", "http://127.0.0.1:1")
    err = cacher("exists", "k", "-v").failed(3)
    for number in range(2, 7):
        assert re.search(rf"HEAD k: connection refused after .* s \(try {number}\)", err)


def test_the_store_and_where_each_setting_came_from(
    cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('prefix = "ci"\n')
    monkeypatch.delenv("CACHER_REGION")
    err = cacher("--config", config, "--bucket", "cache", "exists", "k", "-v").err
    assert (
        f"cacher: store: endpoint {bucket.server.endpoint} (from CACHER_ENDPOINT), "
        f"bucket cache (from --bucket), prefix ci (from prefix in {config})\n" in err
    )
    assert "cacher: credentials from CACHER_S3_KEY_ID and CACHER_S3_SECRET\n" in err


def test_a_local_store(cacher: Run, local: LocalPlace) -> None:
    err = cacher("exists", "k", "-v").err
    assert f"cacher: store: endpoint {local.root.as_uri()} (from CACHER_ENDPOINT)\n" in err


def test_the_region_that_was_learned(
    cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHER_REGION", "elsewhere")
    err = cacher("exists", "k", "-v").err
    assert f"region {bucket.server.region} (from the store, instead of elsewhere)" in err


def test_headers_both_ways(cacher: Run, bucket: BucketPlace) -> None:
    bucket.put("k", FILE)
    err = cacher("download", "k", "g", "--debug").err
    assert "cacher:   > range: bytes=0-8388607\n" in err
    assert "cacher:   > authorization: …\n" in err
    assert re.search(r'^cacher:   < etag: "[0-9a-f]{32}"$', err, re.MULTILINE)


COMMANDS = [
    ("exists", "k"),
    ("download", "k", "g"),
    ("upload", "k", "f"),
    ("upload", "k", "f", "--force"),
    ("download", "none", "g", "--url", "ORIGIN"),
    ("list",),
    ("delete", "k"),
    ("delete", "k", "none"),
    ("dir", "upload", "d", "tree"),
    ("dir", "download", "d", "out"),
    ("docker", "exists", "k", "app:1"),
    ("init",),
    ("doctor",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("proxied", "refused"), [(False, True), (True, False)])
def test_no_secret_is_shown(
    cacher: Run,
    server: FakeS3Server,
    origin: Origin,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    refused: bool,
    proxied: bool,
) -> None:
    place = BucketPlace(server)
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    token = "SessionTokenOfTheStore"
    monkeypatch.setenv("CACHER_S3_SESSION_TOKEN", token)
    place.put("k", FILE)
    if refused:
        cookie = {"Set-Cookie": "s=CookieOfTheStore", "Location": "/x?X-Amz-Signature=SignedQuery"}
        server.inject(Fault(Respond(403, "AccessDenied", headers=cookie), times=None))
    origin.script("/f", redirect("/real?X-Amz-Signature=SignedQuery"))
    origin.script("/real", Reply(body=FILE))
    url = origin.url("/f?x=QuerySecret", login="user:Passw0rdOfTheOrigin")
    argv = [url if arg == "ORIGIN" else arg for arg in command]
    with Origin(forwards=True) as proxy:
        if proxied:
            for name in ("no_proxy", "NO_PROXY"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv("http_proxy", proxy.url(login="user:Pr0xyPassw0rd"))
        ended = cacher(*argv, "--debug", "-v", "--json")
    logins = {request.headers.get("proxy-authorization") for request in proxy.seen}
    assert logins == ({f"Basic {PROXY_LOGIN}"} if proxied else set())
    shown = ended.err + ended.text
    assert re.search(r"^cacher:   [<>] ", shown, re.MULTILINE)
    signatures = [
        match[1]
        for record in server.requests
        if (match := re.search("Signature=([0-9a-f]+)", record.headers.get("authorization", "")))
    ]
    assert signatures
    for secret in (*SECRETS, token, place.environment["CACHER_S3_SECRET"], *signatures):
        assert secret not in shown


@pytest.mark.parametrize("command", [("exists", "k"), ("upload", "k", "none")], ids=" ".join)
def test_quiet_wins(cacher: Run, bucket: BucketPlace, command: tuple[str, ...]) -> None:
    quiet = cacher(*command, "-q").err
    for more in (["-v"], ["--debug"], ["-v", "--debug"]):
        assert cacher(*command, "-q", *more).err == quiet
