"""Who is trusted: the system's authorities and those that are added. Handshakes in memory."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cacher.errors import UsageError
from cacher.http import tls
from cacher.http.exceptions import FailureKind, TransportError
from cacher.http.tls import certificate_host_names, client_context, describe_wrong_host
from cacher.http.transport import Host, Transport
from tests.fakes.certificates import CERTIFICATE, EARLY, EXPIRED, write_certificate
from tests.fakes.s3server import FakeS3Server
from tests.support.tcp_servers import LONG, get, listening

HASHED = "6bbd0f9f.0"
"""What OpenSSL looks for CERTIFICATE under in a directory (`openssl x509 -hash`)."""

STRANGER = """\
-----BEGIN CERTIFICATE-----
MIIBmDCCAT+gAwIBAgIUF1YcCDeIiKAAEfspoXNU6TonzCkwCgYIKoZIzj0EAwIw
ITEfMB0GA1UEAwwWYW5vdGhlciB0ZXN0IGF1dGhvcml0eTAgFw0yNjExMjQwNzEy
MTJaGA8yMTI2MTAzMTA3MTIxMlowITEfMB0GA1UEAwwWYW5vdGhlciB0ZXN0IGF1
dGhvcml0eTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABDY7Rrvd5cctrMBC54QR
qUiRXdZI9ESphA1XInctz8l/xFP8REkrdbueGeSiSMpUMx8SqeiJkcMeEPUudZTx
/XKjUzBRMB0GA1UdDgQWBBSycOYQrqmQPdxxkoksQeRSpGouPzAfBgNVHSMEGDAW
gBSycOYQrqmQPdxxkoksQeRSpGouPzAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49
BAMCA0cAMEQCID2K9kNTg8hzUrULMHk5Y3XpGm+/EWneuyVCHvev3P7wAiAv6QhG
9lDOYwiG/Ff5eBtF2fFNJvpP123brR7psLMBSw==
-----END CERTIFICATE-----
"""
"""Another authority, which has signed nothing here."""


@pytest.fixture
def server(tmp_path: Path) -> ssl.SSLContext:
    """A server for localhost, its certificate signed by the tests' authority."""
    (tmp_path / "server").mkdir()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write_certificate(tmp_path / "server"))
    return context


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own: where OpenSSL looks by itself (`cert.pem`, `certs`), all empty.

    The variables make the real machine's authorities unknown, as they do for OpenSSL.
    """
    place = tmp_path / "system"
    place.mkdir()
    (place / "stranger.pem").write_text(STRANGER)
    (place / "none").mkdir()
    file, directory = str(place / "stranger.pem"), str(place / "none")
    monkeypatch.setenv("SSL_CERT_FILE", file)
    monkeypatch.setenv("SSL_CERT_DIR", directory)
    paths = ssl.DefaultVerifyPaths(
        file,
        directory,
        "SSL_CERT_FILE",
        str(place / "cert.pem"),
        "SSL_CERT_DIR",
        str(place / "certs"),
    )
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.setattr(tls, "_OTHER_BUNDLES", (str(place / "absent"), str(place / "bundle.pem")))
    return place


def accepts(client: ssl.SSLContext, server: ssl.SSLContext, name: str = "localhost") -> bool:
    """Whether a client accepts a server's certificate; no socket is involved."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for end in (ours, theirs):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError:
                return False
    return ours.getpeercert() is not None


def test_an_authority_that_nobody_added_is_refused(system: Path, server: ssl.SSLContext) -> None:
    assert not accepts(client_context(()), server)


def test_authorities_that_are_added(system: Path, server: ssl.SSLContext) -> None:
    ours = system / "ours.pem"
    ours.write_text(CERTIFICATE)
    assert accepts(client_context((str(ours),)), server)
    assert accepts(client_context((str(system / "stranger.pem"), str(ours))), server)


@pytest.mark.parametrize("name", ["store.test", "127.0.0.2"])
def test_the_name_must_be_the_certificates(system: Path, server: ssl.SSLContext, name: str) -> None:
    ours = system / "ours.pem"
    ours.write_text(CERTIFICATE)
    assert accepts(client_context((str(ours),)), server, "127.0.0.1")
    assert not accepts(client_context((str(ours),)), server, name)


@pytest.mark.parametrize("also", ["ca_file", "variables"])
def test_what_is_added_does_not_remove_the_systems_file(
    system: Path, server: ssl.SSLContext, also: str
) -> None:
    """SSL_CERT_FILE replaces it for OpenSSL itself; here nothing is lost by adding."""
    (system / "cert.pem").write_text(CERTIFICATE)
    files = (str(system / "stranger.pem"),) if also == "ca_file" else ()
    assert accepts(client_context(files), server)


def test_what_is_added_does_not_remove_the_systems_directory(
    system: Path, server: ssl.SSLContext
) -> None:
    (system / "certs").mkdir()
    (system / "certs" / HASHED).write_text(CERTIFICATE)
    assert accepts(client_context(()), server)


def test_variables_name_authorities(
    system: Path, server: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = system / "ours.pem"
    ours.write_text(CERTIFICATE)
    monkeypatch.setenv("SSL_CERT_FILE", str(ours))
    assert accepts(client_context(()), server)


@pytest.mark.parametrize("content", [None, "bundle.pem"])
def test_a_system_whose_authorities_are_elsewhere(
    system: Path, server: ssl.SSLContext, content: str | None
) -> None:
    """As on Fedora, for a Python that was built on Debian: a directory, but no hashed names."""
    (system / "bundle.pem").write_text(CERTIFICATE)
    if content:
        (system / "certs").mkdir()
        (system / "certs" / content).write_text(CERTIFICATE)
    assert accepts(client_context(()), server)


def test_elsewhere_is_only_for_want_of_anything_better(
    system: Path, server: ssl.SSLContext
) -> None:
    (system / "bundle.pem").write_text(CERTIFICATE)
    (system / "cert.pem").write_text(STRANGER)
    assert not accepts(client_context(()), server)


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\x30\x82"])
def test_files_that_cannot_be_used(system: Path, content: bytes | None) -> None:
    file = system / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(OSError, match=r"."):
        client_context((str(file),))


# --- over sockets --------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FakeS3Server]:
    with FakeS3Server(tls=write_certificate(tmp_path)) as server:
        yield server


def test_a_private_authority(store: FakeS3Server, tmp_path: Path) -> None:
    transport = Transport(ca_files=(str(tmp_path / "certificate.pem"),))
    for _ in range(2):
        with transport.send(Host("https", "127.0.0.1", store.port), "GET", "/", {}) as answer:
            assert answer.status == 403  # nothing was signed
            answer.read_all(1 << 16)
    assert {record.connection for record in store.requests} == {1}


def test_an_unknown_authority_is_hopeless(store: FakeS3Server) -> None:
    with pytest.raises(TransportError) as caught:
        get(Transport(), Host("https", "127.0.0.1", store.port))
    assert caught.value.kind is FailureKind.TLS
    assert caught.value.is_final
    assert "the certificate is not accepted: self-signed certificate" in caught.value.detail
    assert not store.requests


def test_another_name_is_hopeless(
    store: FakeS3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", store.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: here)
    transport = Transport(ca_files=(str(tmp_path / "certificate.pem"),))
    with pytest.raises(TransportError) as caught:
        get(transport, Host("https", "store.test", store.port))
    assert (caught.value.kind, caught.value.is_final) == (FailureKind.WRONG_HOST, True)
    assert caught.value.detail == "the certificate is for 127.0.0.1, localhost, not for store.test"


@pytest.mark.parametrize(
    ("pem", "kind", "detail"),
    [
        (EXPIRED, FailureKind.EXPIRED, "the certificate has expired"),
        (EARLY, FailureKind.NOT_YET_VALID, "the certificate is not valid yet"),
    ],
)
def test_a_certificate_out_of_its_time_is_hopeless(
    tmp_path: Path, pem: str, kind: FailureKind, detail: str
) -> None:
    pair = write_certificate(tmp_path, pem)
    with FakeS3Server(tls=pair) as store, pytest.raises(TransportError) as caught:
        transport = Transport(ca_files=(str(pair[0]),))
        get(transport, Host("https", "127.0.0.1", store.port))
    assert (caught.value.kind, caught.value.is_final) == (kind, True)
    assert caught.value.detail == detail


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "the certificate is not for h"),
        (["a"], "the certificate is for a, not for h"),
        (list("abcde"), "the certificate is for a, b, c, d, e, not for h"),
        (list("abcdefg"), "the certificate is for a, b, c, d, e and 2 more, not for h"),
    ],
)
def test_the_names_of_a_certificate(names: list[str], expected: str) -> None:
    assert describe_wrong_host("h", names) == expected


def test_names_that_cannot_be_are_not_shown() -> None:
    entries = (("DNS", "a.test"), ("DNS", "*.b.test"), ("DNS", "\x1b[2J"), ("email", "me@c.test"))
    assert certificate_host_names({"subjectAltName": (*entries, ("IP Address", "::1"))}) == [
        "a.test",
        "*.b.test",
        "::1",
    ]
    assert certificate_host_names(None) == certificate_host_names({}) == []


@pytest.mark.parametrize("name", ["none/keys.log", "."])
def test_a_log_of_keys_that_cannot_be_written_does_not_blame_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / name))
    with pytest.raises(UsageError) as caught:
        get(Transport(), Host("https", "127.0.0.1", 1))
    assert "SSLKEYLOGFILE names a file that cannot be written: " in caught.value.message
    assert "SSLKEYLOGFILE" in caught.value.hint
    assert "certificate" not in str(caught.value) + caught.value.hint


def test_a_server_without_tls_is_hopeless() -> None:
    def plain(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with listening(plain) as host, pytest.raises(TransportError) as caught:
        get(Transport(), Host("https", host.name, host.port))
    assert caught.value.kind is FailureKind.PLAIN_HTTP
    assert caught.value.is_final
    assert caught.value.detail == "it does not speak TLS"


def test_a_handshake_that_gets_no_answer() -> None:
    def silent(sock: socket.socket) -> None:
        while sock.recv(4096):
            pass

    with listening(silent) as host, pytest.raises(TransportError) as caught:
        transport = Transport(connect_timeout=0.2, stall_timeout=LONG)
        get(transport, Host("https", host.name, host.port))
    assert caught.value.kind is FailureKind.TIMEOUT


def test_interrupting_wakes_whoever_waits_under_tls(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    asked = threading.Event()

    def hang(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as secured:
            secured.recv(4096)
            asked.set()
            secured.recv(4096)

    transport = Transport(ca_files=(str(certificate),), stall_timeout=LONG)
    failures: list[TransportError] = []

    def work(host: Host) -> None:
        try:
            get(transport, host)
        except TransportError as error:
            failures.append(error)

    with listening(hang) as host:
        target = Host("https", host.name, host.port)
        thread = threading.Thread(target=work, args=(target,), daemon=True)
        thread.start()
        assert asked.wait(LONG)
        transport.interrupt()
        thread.join(LONG / 2)
        assert not thread.is_alive()
    assert [error.kind for error in failures] == [FailureKind.BROKEN]


def test_a_system_without_authorities_is_told_of(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian without ca-certificates: nobody's certificate is accepted there."""
    assert tls.certificate_hint().startswith("--ca-file FILE adds")
    monkeypatch.setenv("SSL_CERT_FILE", str(system / "absent.pem"))
    paths = ssl.DefaultVerifyPaths("", str(system / "none"), "", "/absent", "", "/absent")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.setattr(tls, "_OTHER_BUNDLES", (str(system / "absent.pem"),))
    assert "install ca-certificates" in tls.certificate_hint()
    (system / "none" / HASHED).write_text(CERTIFICATE)
    assert tls.certificate_hint().startswith("--ca-file FILE adds")
