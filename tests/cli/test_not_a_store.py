"""An endpoint that is not an S3 store: every command says so at once, and believes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fakes.docker_scenes import FakeDocker
from tests.fakes.faults import Fault, Respond
from tests.fakes.origin import Origin, Reply
from tests.support.cli_helpers import BucketPlace

TITLE = "Welcome to nginx!"

PAGE = f"<!DOCTYPE html><html><head><title>{TITLE}</title></head><body>Hi</body></html>".encode()

HTML = {"Content-Type": "text/html; charset=utf-8"}

ANSWERS = {
    "page": (Respond(200, headers=HTML, body=PAGE), f'HTTP 200 OK, text/html, title "{TITLE}"'),
    "tagged page": (
        Respond(200, headers={**HTML, "ETag": '"67a1b2c3-264"'}, body=PAGE),
        f'HTTP 200 OK, text/html, title "{TITLE}"',
    ),
    "weakly tagged page": (
        Respond(200, headers={**HTML, "ETag": 'W/"1d-abc"'}, body=PAGE),
        f'HTTP 200 OK, text/html, title "{TITLE}"',
    ),
    "auth proxy": (
        Respond(401, headers={**HTML, "WWW-Authenticate": 'Basic realm="x"'}, body=PAGE),
        f'HTTP 401 Unauthorized, text/html, title "{TITLE}"',
    ),
    "firewall": (Respond(403, body=b""), "HTTP 403 Forbidden, empty"),
    "empty": (Respond(200), "HTTP 200 OK, empty"),
    "missing": (
        Respond(404, headers=HTML, body=PAGE),
        f'HTTP 404 Not Found, text/html, title "{TITLE}"',
    ),
    "login": (
        Respond(302, headers={"Location": "https://login.example.org/?token=secret"}),
        "HTTP 302 Found to https://login.example.org",
    ),
}

COMMANDS: list[tuple[str, ...]] = [
    ("exists", "k"),
    ("download", "k", "dest"),
    ("download", "k", "-"),
    ("upload", "k", "f"),
    ("upload", "k", "f", "--force"),
    ("upload", "k", "big", "--force", "--part-size", "5MiB"),
    ("list",),
    ("delete", "k"),
    ("delete", "k", "l"),
    ("delete", "--prefix", "k", "--yes"),
    ("dir", "upload", "k", "d"),
    ("dir", "upload", "k", "d", "--force"),
    ("dir", "download", "k", "new"),
    ("docker", "upload", "k", "app:1"),
    ("docker", "upload", "k", "app:1", "--force"),
    ("docker", "download", "k", "app:1"),
    ("docker", "exists", "k", "app:1"),
    ("init",),
    ("doctor",),
]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What commands take, in the working directory; what is there now."""
    Path("f").write_bytes(b"abc")
    with open("big", "wb") as file:
        file.truncate(6 << 20)
    Path("d").mkdir()
    Path("d/file").write_bytes(b"abc")
    monkeypatch.setenv("XDG_CONFIG_HOME", os.path.abspath("config"))
    return lambda: sorted(os.listdir())


@pytest.mark.parametrize(
    ("argv", "kind"),
    [
        *((argv, "page") for argv in COMMANDS),
        *((argv, kind) for argv in (("exists", "k"), ("doctor",)) for kind in ANSWERS),
        *((("upload", "k", "f", "--force"), kind) for kind in ANSWERS),
    ],
)
def test_every_command_says_so_once(
    cacher: Run,
    bucket: BucketPlace,
    work: Callable[[], list[str]],
    fake_docker: FakeDocker,
    argv: tuple[str, ...],
    kind: str,
) -> None:
    answer, came = ANSWERS[kind]
    fake_docker.add("app:1")
    before = work()
    bucket.server.inject(Fault(answer, times=None))
    ended = cacher(*argv)
    err = ended.failed(3)
    words = f"{bucket.server.endpoint} answered, but not as an S3 store does: {came}"
    assert words in err
    assert "cacher: hint: check --endpoint: it must be the address of the S3 API" in err
    for claim in ("hit ", "miss ", "stored", "exists k", "not exist", "deleted k", "secret", "<"):
        assert claim not in err
    assert b"nginx" not in ended.out.replace(came.encode(), b"")
    # A look-up may look twice, `doctor` at this and that; nothing is tried again.
    requests = [
        (record.method, record.request.raw_path, record.request.raw_query)
        for record in bucket.server.requests
    ]
    # `doctor` looks for the clock first, whose refusal is asked for in words.
    repeated = argv == ("doctor",) and kind in ("auth proxy", "firewall")
    assert len(requests) - repeated == len(set(requests)) <= 3
    assert "cacher doctor" not in err
    assert b"accepts it" not in ended.out
    assert work() == before
    assert bucket.keys() == bucket.leftovers() == []


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_url_goes_on(cacher: Run, bucket: BucketPlace, origin: Origin, kind: str) -> None:
    answer, came = ANSWERS[kind]
    bucket.server.inject(Fault(answer, times=None))
    url = origin.script("/f", Reply(body=b"abc"))
    ended = cacher("download", "k", "dest", "--url", url)
    assert ended.status == 0
    assert Path("dest").read_bytes() == b"abc"
    assert came in ended.warnings[0]
    assert "continuing without the cache" in ended.warnings[0]
    assert bucket.server.count() == (2 if "tagged" in kind else 1)  # for proof
    assert bucket.keys() == []


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ("<Contents><Key>k</Key><Size>x</Size></Contents>", "Size is not a number"),
        ("<IsTruncated>maybe</IsTruncated>", "IsTruncated is neither true nor false"),
    ],
)
@pytest.mark.parametrize("argv", [("list",), ("delete", "--prefix", "k", "--yes")], ids=" ".join)
def test_a_list_that_is_damaged_is_not_an_empty_one(
    cacher: Run, bucket: BucketPlace, argv: tuple[str, ...], inner: str, words: str
) -> None:
    bucket.put("k", b"abc")
    answer = Respond(200, body=f"<ListBucketResult>{inner}</ListBucketResult>".encode())
    fault = bucket.server.inject(Fault(answer, times=None))
    err = cacher(*argv).failed(3)
    assert f"listing: the store failed: its answer is damaged: {words}\n" in err
    assert fault.hits == 1
    assert bucket.keys() == ["k"]


def test_the_same_page_of_a_list_again(cacher: Run, bucket: BucketPlace) -> None:
    inner = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    answer = Respond(200, body=f"<ListBucketResult>{inner}</ListBucketResult>".encode())
    fault = bucket.server.inject(Fault(answer, times=None))
    err = cacher("list").failed(3)
    assert "listing: the store gives the same page again and again\n" in err
    assert "cacher: hint: " in err
    assert fault.hits == 2


def test_an_error_under_200_is_named(cacher: Run, bucket: BucketPlace) -> None:
    Path("f").write_bytes(b"abc")
    answer = Respond(200, body=b"<Error><Code>SomeCode</Code></Error>", headers={"ETag": '"1"'})
    bucket.server.inject(Fault(answer, times=None))
    for argv in (("list",), ("upload", "k", "f", "--force")):
        assert "the store failed: HTTP 200 SomeCode" in cacher(*argv).failed(3)


@pytest.mark.parametrize("code", ["Foo", "NoSuchUpload"])
def test_a_404_about_something_else_is_not_a_miss(
    cacher: Run, bucket: BucketPlace, origin: Origin, code: str
) -> None:
    bucket.server.inject(Fault(Respond(404, code), times=None))
    for argv in (("exists", "k"), ("download", "k", "dest"), ("delete", "k")):
        assert f"HTTP 404 {code}" in cacher(*argv).failed(3)
    url = origin.script("/f", Reply(body=b"abc"))
    ended = cacher("download", "k", "dest", "--url", url)
    assert ended.status == 0
    assert f"HTTP 404 {code}" in ended.warnings[0]


def test_the_login_page_of_a_network(cacher: Run, bucket: BucketPlace) -> None:
    Path("f").write_bytes(b"abc")
    fault = bucket.server.inject(Fault(Respond(511, headers=HTML, body=PAGE), times=None))
    for argv in (("exists", "k"), ("download", "k", "dest"), ("upload", "k", "f", "--force")):
        err = cacher(*argv).failed(3)
        assert "answered, but not as an S3 store does: HTTP 511 " in err
        assert "cacher: hint: this is the login page of the network: log in there" in err
    assert fault.hits <= 4


@pytest.mark.parametrize("argv", [("exists", "k"), ("download", "k", "d"), ("upload", "k", "f")])
def test_a_store_that_refuses_is_still_one(
    cacher: Run, bucket: BucketPlace, argv: tuple[str, ...]
) -> None:
    """Ceph and Swift leave the message empty; what has a store's headers is a store's."""
    Path("f").write_bytes(b"abc")
    for refusal in (
        Respond(403, "AccessDenied", message=""),
        Respond(403, body=b"", headers={"X-Amz-Request-Id": "tx1"}),
    ):
        bucket.server.clear_faults()
        bucket.server.inject(Fault(refusal, times=None))
        assert "the store refused: HTTP 403" in cacher(*argv).failed(4)


@pytest.mark.parametrize(
    ("status", "argv", "hint"),
    [
        (407, ("download", "k", "dest"), "HTTP_PROXY=http://USER:PASSWORD@HOST:PORT"),
        (413, ("upload", "k", "f", "--force"), "(nginx: client_max_body_size): raise it"),
        (
            413,
            ("upload", "k", "big", "--force", "--part-size", "5MiB"),
            "(nginx: client_max_body_size): raise it",
        ),
        (413, ("upload", "k", "big", "--force"), "client_max_body_size); try --part-size 5MiB"),
        (413, ("download", "k", "dest"), "`cacher doctor` shows what works"),
    ],
)
def test_hints_fit_the_request(
    cacher: Run,
    bucket: BucketPlace,
    work: Callable[[], list[str]],
    status: int,
    argv: tuple[str, ...],
    hint: str,
) -> None:
    method = "PUT" if argv[0] == "upload" else None
    bucket.server.inject(Fault(Respond(status, body=b"<html>"), method=method, times=None))
    err = cacher(*argv).failed(3)
    assert hint in err
    assert ("part-size" in err) == ("part-size" in hint)
    assert work()


def test_a_tls_port_is_told(cacher: Run, bucket: BucketPlace) -> None:
    body = b"Client sent an HTTP request to an HTTPS server.\n"
    bucket.server.inject(Fault(Respond(400, body=body), times=None))
    https = bucket.server.endpoint.replace("http:", "https:")
    for argv in (("exists", "k"), ("download", "k", "dest"), ("list",)):
        assert f"cacher: hint: is it {https}?" in cacher(*argv).failed(3)
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("path", "rest"),
    [("/{b}", ""), ("/{b}/", ""), ("/s3/{b}", "/s3"), ("/{b}/cache", ""), ("/s3/{b}/x", "/s3")],
)
def test_a_bucket_in_the_endpoint_is_refused(
    cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch, path: str, rest: str
) -> None:
    server = bucket.server
    monkeypatch.setenv("CACHER_ENDPOINT", server.endpoint + path.format(b=server.bucket))
    for argv in (("exists", "k"), ("download", "k", "dest"), ("list",), ("doctor",)):
        err = cacher(*argv).failed(2)
        assert f"use --endpoint {server.endpoint}{rest} --bucket {server.bucket}\n" in err
    assert server.requests == []
    monkeypatch.setenv("CACHER_BUCKET", "")
    if not rest and path == "/{b}":
        err = cacher("list").failed(2)
        assert f"is it --endpoint {server.endpoint} --bucket {server.bucket}?" in err


def test_a_path_that_is_not_the_bucket_is_fine(
    cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store behind a proxy that serves it below a path: here it is a bucket that is not there."""
    monkeypatch.setenv("CACHER_ENDPOINT", f"{bucket.server.endpoint}/{bucket.server.bucket}2")
    assert "does not exist" in cacher("list").failed(4)


@pytest.mark.parametrize("command", ["download", "download --url"])
def test_one_that_arrives_damaged_is_read_once_more(
    cacher: Run, bucket: BucketPlace, origin: Origin, command: str
) -> None:
    """A gateway may give one version's bytes with another's metadata while it is replaced."""
    bucket.put("k", b"abc")
    stored = bucket.server.objects["k"]
    torn = {"ETag": f'"{stored.etag}"', "X-Amz-Meta-Cacher-Sha256": "0" * 64}
    headers = {**torn, "Content-Range": "bytes 0-2/3"}
    fault = bucket.server.inject(Fault(Respond(206, headers=headers, body=b"old")))
    url = origin.script("/f", Reply(body=b"not this"))
    more = ("--url", url) if "--url" in command else ()
    ended = cacher("download", "k", "dest", *more)
    assert ended.status == 0
    assert (fault.hits, bucket.server.count()) == (1, 2)
    assert Path("dest").read_bytes() == b"abc"


def test_a_directory_that_arrives_damaged_is_read_once_more(
    cacher: Run, bucket: BucketPlace
) -> None:
    Path("d").mkdir()
    Path("d/file").write_bytes(b"abc" * 1000)
    assert cacher("dir", "upload", "k", "d").status == 0
    good = bucket.server.objects["k"]
    bucket.corrupt("k")
    bad = bucket.server.objects["k"]
    cacher("dir", "download", "k", "new").failed(5)
    assert os.listdir() == ["d"]
    bucket.server.corrupt("k", good.body)
    size = len(bad.body)
    told = {"ETag": f'"{bad.etag}"', "Content-Range": f"bytes 0-{size - 1}/{size}"}
    told |= {f"X-Amz-Meta-{name}": value for name, value in bad.metadata.items()}
    bucket.server.inject(Fault(Respond(206, headers=told, body=bad.body), operation="GetObject"))
    assert cacher("dir", "download", "k", "new").status == 0
    assert Path("new/file").read_bytes() == b"abc" * 1000
