"""A private certificate authority and one certificate for loopback, made by the openssl command.

Two certificates, as a company has them, and with the extensions that Python 3.13 and newer insist
on (`ssl.VERIFY_X509_STRICT`, RFC 5280 section 4.2.1): a self-signed server certificate would pass
where a real chain fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.support.servers import process, programs

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")

_CONFIG = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = cacher tests
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = IP:127.0.0.1, DNS:localhost
"""


class Issued(NamedTuple):
    """PEM files: the server's certificate and key, and the authority to trust."""

    certificate: Path
    key: Path
    ca_file: Path


def issue(directory: Path) -> Issued:
    """Make an authority and a certificate for 127.0.0.1 in `directory`, good for two days.

    Raises `ProgramNotFound`.
    """
    openssl = programs.find("openssl")
    config = directory / "openssl.cnf"
    config.write_text(_CONFIG)
    ca_file, ca_key = directory / "ca.pem", directory / "ca.key"
    certificate, key = directory / "server.pem", directory / "server.key"
    request: list[str | Path] = [openssl, "req", "-x509", "-config", config, *_NEW_KEY]
    authority = ["-extensions", "authority", "-subj", "/CN=cacher test authority"]
    server: list[str | Path] = ["-extensions", "server", "-CA", ca_file, "-CAkey", ca_key]
    process.run_once(
        [*request, *authority, "-keyout", ca_key, "-out", ca_file], env={}, cwd=directory
    )
    process.run_once(
        [*request, *server, "-keyout", key, "-out", certificate], env={}, cwd=directory
    )
    return Issued(certificate, key, ca_file)
