"""Certificates that are not accepted: the same words from stores, doctor and origins."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cli.conftest import Run
from tests.fakes.certificates import CERTIFICATE, EARLY, EXPIRED, write_certificate
from tests.fakes.origin import Origin, Reply
from tests.support.cli_helpers import LocalPlace
from tests.support.doctor_helpers import Serve

NAME = "store.test"
CLOCK = "set this machine's clock"


class Case(NamedTuple):
    """A certificate, the name that is asked for, and what is said of it."""

    pem: str
    name: str
    says: str
    of_stores: str
    of_origins: str
    trusted: bool = True


CASES = {
    "expired": Case(
        EXPIRED,
        "127.0.0.1",
        "the certificate has expired",
        f"renew the store's certificate, or {CLOCK}",
        CLOCK,
    ),
    "early": Case(EARLY, "127.0.0.1", "the certificate is not valid yet", CLOCK, CLOCK),
    "name": Case(
        CERTIFICATE,
        NAME,
        f"the certificate is for 127.0.0.1, localhost, not for {NAME}",
        "check the host name in --endpoint",
        "check the host name in the URL",
    ),
    "authority": Case(
        CERTIFICATE,
        "127.0.0.1",
        "the certificate is not accepted: self-signed certificate",
        "--ca-file FILE adds",
        "--ca-file FILE adds",
        trusted=False,
    ),
}


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def here(host: str, *more: Any, **settings: Any) -> Any:
        return resolve("127.0.0.1" if host == NAME else host, *more, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", here)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def pair(case: Case, tmp_path: Path) -> tuple[Path, Path]:
    return write_certificate(tmp_path, case.pem)


@pytest.fixture
def trust(case: Case, pair: tuple[Path, Path]) -> list[str]:
    return ["--ca-file", str(pair[0])] if case.trusted else []


def test_of_a_store(
    cacher: Run,
    monkeypatch: pytest.MonkeyPatch,
    serve: Serve,
    case: Case,
    pair: tuple[Path, Path],
    trust: list[str],
) -> None:
    server = serve(tls=pair).server
    monkeypatch.setenv("CACHER_ENDPOINT", f"https://{case.name}:{server.port}")
    for command in (("exists", "k"), ("download", "k", "f"), ("list",), ("doctor",)):
        err = cacher(*command, *trust).failed(3)
        assert case.says in err
        assert f"cacher: hint: {case.of_stores}" in err
        assert "later run" not in err
    assert server.requests == []
    assert os.listdir() == []


def test_of_an_origin(
    cacher: Run, local: LocalPlace, case: Case, pair: tuple[Path, Path], trust: list[str]
) -> None:
    with Origin(pair) as origin:
        origin.script("/f", Reply(body=b"abc"))
        url = origin.url("/f", host=case.name)
        err = cacher("download", "k", "f", "--url", url, *trust).failed(6)
        assert f"fetching {url}: {case.says}" in err
        assert f"cacher: hint: {case.of_origins}" in err
        assert origin.seen == []
    assert local.keys() == os.listdir() == []


@pytest.mark.parametrize("command", [("exists", "k"), ("doctor",), ("download", "k", "f")])
def test_a_log_of_keys_that_cannot_be_written(
    cacher: Run,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: tuple[str, ...],
) -> None:
    pair = write_certificate(tmp_path)
    serve(tls=pair)
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "none" / "keys.log"))
    err = cacher(*command, "--ca-file", str(pair[0])).failed(2)
    assert "SSLKEYLOGFILE names a file that cannot be written: no such file or directory" in err
    assert "cacher: hint: unset SSLKEYLOGFILE" in err
