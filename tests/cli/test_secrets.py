"""Credentials: which source is used, and that no secret is ever shown, whatever goes wrong."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.cli.conftest import Run
from tests.fakes.certificates import write_certificate
from tests.fakes.faults import CutAnswer, CutDocument, Fault, Reset, Respond
from tests.fakes.origin import Origin, Reply, redirect
from tests.fakes.profile import AccessKey
from tests.fakes.s3server import FakeS3Server
from tests.support.cli_helpers import MIB, BucketPlace, blob
from tests.support.secret_urls import TEMPLATES, is_secret, passwords, pieces

SECRET = "MARKED-s3cret-0123456789abcdef"
TOKEN = "MARKED-token-0123456789abcdef"
LOGIN = "me:MARKED-password"
QUERY = "X-Amz-Signature=MARKED-signature"
MARK = "MARKED"
KEYS = AccessKey("GKaccessed", SECRET), AccessKey("GKother", "an0ther-secret")

VARIABLES = {
    "cacher": ("CACHER_S3_KEY_ID", "CACHER_S3_SECRET"),
    "aws": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketPlace]:
    """A store that knows the marked secret; no credentials are set yet."""
    with FakeS3Server(keys=KEYS) as server:
        place = BucketPlace(server)
        for name in ("CACHER_ENDPOINT", "CACHER_REGION", "CACHER_BUCKET"):
            monkeypatch.setenv(name, place.environment[name])
        place.put("k", b"abc")
        yield place
        assert not server.uploads


def set_pair(monkeypatch: pytest.MonkeyPatch, source: str, secret: str) -> None:
    for name, value in zip(VARIABLES[source], ("GKaccessed", secret), strict=True):
        monkeypatch.setenv(name, value)


def write_pair(secret: str, where: str = ".") -> list[str]:
    """Files of credentials, and the flags that name them."""
    files = Path(where, "key-id"), Path(where, "secret")
    for path, value in zip(files, ("GKaccessed", secret), strict=True):
        path.write_text(f"{value}\n")
        path.chmod(0o600)
    return ["--key-file", str(files[0]), "--secret-file", str(files[1])]


class TestSources:
    def test_cachers_variables_over_files_over_awss(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_pair(monkeypatch, "aws", "wrong")
        cacher("exists", "k").failed(4)
        assert cacher("exists", "k", *write_pair(SECRET)).status == 0
        set_pair(monkeypatch, "cacher", SECRET)
        assert cacher("exists", "k", *write_pair("wrong")).status == 0

    @pytest.mark.parametrize("source", ["cacher", "aws"])
    def test_a_session_token_goes_with_its_pair(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch, source: str
    ) -> None:
        monkeypatch.setenv("CACHER_S3_SESSION_TOKEN", f"{TOKEN}-cacher")
        monkeypatch.setenv("AWS_SESSION_TOKEN", f"{TOKEN}-aws")
        set_pair(monkeypatch, source, SECRET)
        assert cacher("exists", "k").status == 0
        sent = bucket.server.requests[-1].headers["x-amz-security-token"]
        assert sent == f"{TOKEN}-{source}"

    @pytest.mark.parametrize("name", [name for pair in VARIABLES.values() for name in pair])
    def test_half_a_pair(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv(name, SECRET)
        err = cacher("exists", "k").failed(2)
        assert f"{name} is set" in err
        assert "half a pair of credentials" in err
        assert MARK not in err
        assert bucket.server.requests == []

    def test_files_that_are_not_there_or_empty(self, cacher: Run, bucket: BucketPlace) -> None:
        flags = write_pair("")
        assert "is empty" in cacher("exists", "k", *flags).failed(2)
        os.unlink("secret")
        assert "the file that --secret-file names" in cacher("exists", "k", *flags).failed(2)

    def test_a_wrong_secret(self, cacher: Run, bucket: BucketPlace) -> None:
        err = cacher("exists", "k", *write_pair("MARKED-wrong")).failed(4)
        assert "the store refused" in err
        assert "cacher: hint: " in err
        assert MARK not in err

    @pytest.mark.parametrize("flag", ["--key-file", "--secret-file"])
    @pytest.mark.parametrize("name", [SECRET, f"{SECRET}/{SECRET}", SECRET * 20])
    def test_a_secret_in_place_of_the_name_of_its_file(
        self, cacher: Run, bucket: BucketPlace, flag: str, name: str
    ) -> None:
        flags = dict(zip(("--key-file", "--secret-file"), ("f", "f"), strict=True)) | {flag: name}
        Path("f").write_text("x")
        argv = [part for pair in flags.items() for part in pair]
        for more in ([], ["--debug"], ["--debug", "--json"], ["-v"]):
            ended = cacher("exists", "k", *argv, *more)
            assert ended.status == 2
            assert f"cannot read the file that {flag} names" in ended.err + ended.text
            assert MARK not in ended.err + ended.text


def settle_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no name but this machine's have an address."""
    resolve = socket.getaddrinfo

    def without_network(host: str, *more: Any, **settings: Any) -> Any:
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *more, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", without_network)


class TestPasswordsInUrls:
    """Wherever a URL is given: no eight bytes of its password are shown, encoded or not."""

    @pytest.fixture(params=["url", "endpoint", "doctor", "proxy", "doctor-proxy", "location"])
    def way(
        self,
        request: pytest.FixtureRequest,
        cacher: Run,
        bucket: BucketPlace,
        origin: Origin,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Callable[[str, str], Any]:
        """Run with a URL in one place; how it ended."""
        settle_names(monkeypatch)
        set_pair(monkeypatch, "cacher", SECRET)

        def run(url: str, flag: str) -> Any:
            if request.param == "url":
                return cacher("download", "none", "g", "--url", url, flag)
            if request.param == "endpoint":
                return cacher("exists", "k", "--endpoint", url, flag)
            if request.param == "doctor":
                return cacher("doctor", "--endpoint", url, flag)
            if request.param == "location":
                # A header holds no more than Latin-1, and is encoded like the rest of a URL.
                moved = origin.script("/f", redirect(url.encode().decode("latin-1")))
                return cacher("download", "none", "g", "--url", moved, flag)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("http_proxy", url)
                argv = ("exists", "k") if request.param == "proxy" else ("doctor",)
                return cacher(*argv, flag)

        return run

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        st.sampled_from(TEMPLATES), passwords(), st.sampled_from(["-v", "--debug", "--json", "-q"])
    )
    @example("http://user:{}@host/f", "Passw0rd#x", "--debug")
    @example("http://user:{}@host/f", "Passw0rd?x", "--debug")
    @example("http://user:{}@host/f", "12/Secretx", "--debug")
    @example("http://user:{}@host/f", "p@ssword1234/x", "--debug")
    @example("http://user:{}@host/f", f"@{'a' * 70}/", "--debug")
    @example("http://h:{}/f", "Passw0rd", "--debug")
    @example("http://user:{}@host/f", "Pass w0rd 12", "--debug")
    @example("user:{}@host/f", "Passw0rd", "--debug")
    @example("//user:{}@host/f", "Passw0rd", "--debug")
    def test_wherever_it_stands(
        self, way: Callable[[str, str], Any], template: str, password: str, flag: str
    ) -> None:
        assume(is_secret(template, password))
        ended = way(template.format(password), flag)
        told = ended.err + ended.text
        assert ended.status not in (0, 70), told
        assert not [piece for piece in pieces(password) if piece in told], told


class TestNeverShown:
    @pytest.fixture(autouse=True)
    def _marked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        set_pair(monkeypatch, "cacher", SECRET)
        set_pair(monkeypatch, "aws", SECRET)
        monkeypatch.setenv("CACHER_S3_SESSION_TOKEN", TOKEN)
        monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
        Path("f").write_bytes(blob(MIB))
        settle_names(monkeypatch)

    def shown(self, cacher: Run, *argv: str | Path) -> int:
        """Run with everything that tells more; its status, once nothing was given away."""
        for more in (["--debug"], ["--debug", "--json"]):
            ended = cacher(*argv, *more)
            told = ended.err + ended.text
            assert MARK not in told
            assert "AWS4-HMAC" not in told
            assert "Signature=" not in told
            assert ended.status != 70 or "provoked" in told
        return ended.status

    def test_when_all_is_well(self, cacher: Run, bucket: BucketPlace) -> None:
        for argv in (("exists", "k"), ("list",), ("download", "k", "g"), ("upload", "u", "f")):
            assert self.shown(cacher, *argv) == 0

    @pytest.mark.parametrize(
        "action",
        [
            Respond(403, "AccessDenied"),
            Respond(400, "InvalidRequest"),
            Respond(500, "InternalError"),
            Respond(301, "PermanentRedirect", headers={"Location": "http://127.0.0.1:1/"}),
            Respond(200, body=b"<html>a portal</html>"),
            Respond(404, body=b"not S3"),
            Reset("before-body"),
            Reset("executed"),
            CutAnswer(10),
            CutDocument(10),
        ],
        ids=str,
    )
    def test_when_the_store_fails(
        self, cacher: Run, bucket: BucketPlace, action: Respond | Reset | CutAnswer | CutDocument
    ) -> None:
        bucket.server.inject(Fault(action, times=None))
        for argv in (
            ("exists", "k"),
            ("list",),
            ("download", "k", "g"),
            ("upload", "u", "f", "--force"),
            ("delete", "k", "l"),
        ):
            self.shown(cacher, *argv)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("CACHER_ENDPOINT", "http://127.0.0.1:1"),
            ("CACHER_ENDPOINT", f"http://{LOGIN}@127.0.0.1:1"),
            ("CACHER_ENDPOINT", f"{LOGIN}@127.0.0.1:1"),
            ("CACHER_ENDPOINT", "http://nobody.invalid"),
            ("CACHER_REGION", "elsewhere"),
            ("CACHER_BUCKET", "elsewhere"),
            ("CACHER_S3_SECRET", ""),
            ("CACHER_S3_SECRET", f"{SECRET}\n"),
            ("CACHER_S3_SECRET", f'"{SECRET}"'),
            ("CACHER_S3_SECRET", f"{SECRET}\n{SECRET}"),
            ("CACHER_S3_SECRET", f"{SECRET}ü"),
            ("CACHER_S3_SESSION_TOKEN", f"{TOKEN}\n\n"),
            ("CACHER_S3_KEY_ID", "GKnobody"),
            ("http_proxy", f"http://{LOGIN}@127.0.0.1:1"),
            ("http_proxy", f"http://{LOGIN}@nobody.invalid:1"),
            ("CACHER_ENDPOINT", "http://a..b"),
            ("CACHER_SECRET_FILE", SECRET),
            ("CACHER_ENDPOINT", f"http://127.0.0.1:1/?{MARK}"),
        ],
    )
    def test_when_a_setting_is_wrong(
        self,
        cacher: Run,
        bucket: BucketPlace,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        value: str,
    ) -> None:
        monkeypatch.setenv(name, value)
        for argv in (("exists", "k"), ("download", "k", "g"), ("list", "-v"), ("doctor",)):
            self.shown(cacher, *argv)

    @pytest.mark.parametrize(
        "url",
        [
            f"http://{LOGIN}@127.0.0.1:1/f?{QUERY}",
            f"http://{LOGIN}@nobody.invalid/f?{QUERY}#{QUERY}",
            f"http://{LOGIN}@127.0.0.1:99999/f?{QUERY}",
            f"http://{LOGIN}@a..b/f?{QUERY}",
            f"http://{LOGIN}@{'a' * 64}.b/f?{QUERY}",
            f"http://{LOGIN}@h h/f?{QUERY}",
            f"http://{LOGIN}@h/f?{QUERY}\r\nx: y",
            f"http://{LOGIN}@[::1/f?{QUERY}",
            f"ftp://{LOGIN}@h/f?{QUERY}",
            f"{LOGIN}@h/f?{QUERY}",
            f"http://me:MARKED\u2100@h/f?{QUERY}",
            f"https://{LOGIN}@127.0.0.1:1/f?{QUERY}",
        ],
    )
    def test_when_a_url_is_bad(self, cacher: Run, bucket: BucketPlace, url: str) -> None:
        assert self.shown(cacher, "download", "none", "g", "--url", url) in (2, 6)
        assert self.shown(cacher, "download", "none", "g", "--url", url, "--url", url) in (2, 6)

    def test_when_the_origin_fails(self, cacher: Run, bucket: BucketPlace, origin: Origin) -> None:
        where = f"/f?{QUERY}"
        for reply in (
            Reply(404),
            Reply(401),
            Reply(500),
            Reply(body=b"abc", cut=0),
            Reply(body=b"abc", login="somebody:else"),
            Reply(206, b"abc"),
            redirect(origin.url(where, login=LOGIN)),
            redirect(f"http://{LOGIN}@127.0.0.1:1/g?{QUERY}"),
            redirect(f"file://{LOGIN}@h/?{QUERY}"),
        ):
            origin.script("/f", reply)
            url = origin.url(where, login=LOGIN)
            assert self.shown(cacher, "download", "none", "g", "--url", url) == 6

    def test_when_the_origin_delivers(
        self, cacher: Run, bucket: BucketPlace, origin: Origin
    ) -> None:
        origin.script("/f", Reply(body=b"abc", login=LOGIN))
        url = origin.url(f"/f?{QUERY}", login=LOGIN)
        assert self.shown(cacher, "download", "new", "g", "--url", url, "--no-store") == 0
        zeros = ("--sha256", "0" * 64)
        assert self.shown(cacher, "download", "new", "g", "--url", url, *zeros) == 5

    def test_when_a_certificate_is_not_trusted(
        self, cacher: Run, bucket: BucketPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FakeS3Server(keys=KEYS, tls=write_certificate(tmp_path)) as server:
            monkeypatch.setenv("CACHER_ENDPOINT", server.endpoint)
            assert self.shown(cacher, "exists", "k") == 3

    def test_when_cacher_itself_is_wrong(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("provoked")

        monkeypatch.setattr("cacher.s3.session.sign", fail)
        assert self.shown(cacher, "exists", "k") == 70
