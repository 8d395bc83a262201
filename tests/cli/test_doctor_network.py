"""`doctor` on the way to a store: names, ports, certificates and proxies."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fakes.certificates import write_certificate
from tests.fakes.origin import Origin
from tests.support.cli_helpers import BucketPlace, Ended
from tests.support.doctor_helpers import Chart, Serve

MARK = "MARKED"


def only_to(ended: Ended, name: str, status: int = 3) -> str:
    """Assert that it ended at this check, before anything was asked of the store."""
    err = ended.failed(status)
    assert Chart(ended).names("fail") == [name]
    assert Chart(ended).lines[-1].name == name
    return err


class TestNetwork:
    def test_a_name_that_nobody_has(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unknown(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        with monkeypatch.context() as offline:
            offline.setattr(socket, "getaddrinfo", unknown)
            ended = cacher("doctor", "--endpoint", "http://nobody.invalid")
        err = only_to(ended, "dns")
        assert "nobody.invalid has no address: name or service not known" in err
        assert "cacher: hint: check the host name in --endpoint" in err

    @pytest.mark.parametrize("name", ["a..b", f"{'a' * 64}.b"])
    def test_a_name_that_is_none(self, cacher: Run, bucket: BucketPlace, name: str) -> None:
        ended = cacher("doctor", "--endpoint", f"http://{name}")
        assert "not the name of a host" in only_to(ended, "config", 2)

    def test_a_port_where_nobody_listens(self, cacher: Run, bucket: BucketPlace) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        ended = cacher("doctor", "--endpoint", f"http://127.0.0.1:{port}")
        err = only_to(ended, "tcp")
        assert f"no connection to 127.0.0.1:{port}: connection refused" in err
        assert "cacher: hint: check --endpoint" in err

    def test_a_certificate_of_a_private_authority(
        self, cacher: Run, serve: Serve, tmp_path: Path
    ) -> None:
        pair = write_certificate(tmp_path)
        server = serve(tls=pair).server
        err = only_to(cacher("doctor"), "tls")
        assert "the certificate is not accepted: self-signed certificate" in err
        assert "cacher: hint: --ca-file FILE adds" in err
        assert server.requests == []
        ended = cacher("doctor", "--ca-file", pair[0])
        assert ended.status == 0
        chart = Chart(ended)
        assert chart.names("fail", "warn", "skip") == []
        assert chart["tls"].text.startswith("TLSv1.")
        assert "certificate until Oct 31 05:54:28 2126 GMT" in chart["tls"].text

    def test_tls_where_there_is_none(self, cacher: Run, bucket: BucketPlace) -> None:
        plain = bucket.server.endpoint.replace("http:", "https:")
        ended = cacher("doctor", "--endpoint", plain)
        assert "cacher: hint: is it an http:// endpoint?" in only_to(ended, "tls")
        bucket.server.forget()  # a handshake is no request

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_certificates_that_are_not_there(
        self, cacher: Run, bucket: BucketPlace, scheme: str
    ) -> None:
        ended = cacher("doctor", "--endpoint", f"{scheme}://127.0.0.1:1", "--ca-file", "none")
        assert "--ca-file: no such file: none" in only_to(ended, "certificates", 2)

    def test_certificates_that_are_none(self, cacher: Run, bucket: BucketPlace) -> None:
        Path("f").write_text("no PEM\n")
        ended = cacher("doctor", "--endpoint", "https://127.0.0.1:1", "--ca-file", "f")
        err = only_to(ended, "certificates", 2)
        assert "cacher: hint: --ca-file FILE takes certificates in PEM" in err

    def test_through_a_proxy(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Origin(forwards=True) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url(login=f"me:{MARK}"))
            ended = cacher("doctor")
            assert ended.status == 0
            chart = Chart(ended)
            assert chart["proxy"].text == proxy.url()
            assert chart["tcp"].text == f"127.0.0.1:{proxy.port} accepts connections"
            assert chart.names("fail", "warn") == []
            assert len(proxy.seen) == len(bucket.server.requests)
        assert MARK not in ended.text + ended.err

    @pytest.mark.parametrize(
        ("proxy", "check", "says"),
        [
            (f"socks5://me:{MARK}@127.0.0.1:1", "proxy", "not the URL of an HTTP proxy"),
            (f"http://me:{MARK}@127.0.0.1:none", "proxy", "not the URL of an HTTP proxy"),
            (f"http://me:{MARK}@127.0.0.1:1", "tcp", "no connection to 127.0.0.1:1"),
            (f"http://me:{MARK}@a..b:1", "dns", "a..b has no address"),
        ],
    )
    def test_a_proxy_that_is_wrong(
        self,
        cacher: Run,
        bucket: BucketPlace,
        monkeypatch: pytest.MonkeyPatch,
        proxy: str,
        check: str,
        says: str,
    ) -> None:
        monkeypatch.setenv("http_proxy", proxy)
        ended = cacher("doctor")
        err = only_to(ended, check)
        assert says in err
        assert "cacher: hint: check HTTPS_PROXY" in err
        assert MARK not in ended.text + err
