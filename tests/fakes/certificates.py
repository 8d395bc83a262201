"""A private authority for tests: one self-signed certificate for 127.0.0.1 and localhost.

The key protects nothing: it is published here so that a TLS server can be started without any
program. Made once with openssl (ECDSA P-256, valid for a hundred years).
"""

from __future__ import annotations

from pathlib import Path

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBwzCCAWmgAwIBAgIUSQooxkTHBq2XmHgjirGrBVfOfWgwCgYIKoZIzj0EAwIw
IDEeMBwGA1UEAwwVY2FjaGVyIHRlc3QgYXV0aG9yaXR5MCAXDTI2MTEyNDA1NTQy
OFoYDzIxMjYxMDMxMDU1NDI4WjAgMR4wHAYDVQQDDBVjYWNoZXIgdGVzdCBhdXRo
b3JpdHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASLc/eJjEkNeYUVpiXAR9VY
CuV329M+tBl56n/RZTnlnjdVom9wtVsC2Z1oz0QoBMlvgF8dkRle06g8Ji/cNQVe
o38wfTAdBgNVHQ4EFgQUT8bro3trF8QtVR9Nup3AVmpkFdYwHwYDVR0jBBgwFoAU
T8bro3trF8QtVR9Nup3AVmpkFdYwGgYDVR0RBBMwEYcEfwAAAYIJbG9jYWxob3N0
MA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgKEMAoGCCqGSM49BAMCA0gA
MEUCIAstt8+J4M6F2d44rlJiC2NYEkhkpGXtn1w4ARK7doGKAiEAxVXw/1/3U8yX
qmoPTfROLoDqD69O0kOb5p52lTZ1QAE=
-----END CERTIFICATE-----
"""

PRIVATE_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgM58PqTcI4QQnBIJH
Gu6FKbxVq7lQYmnb8jGS1yZd1PihRANCAASLc/eJjEkNeYUVpiXAR9VYCuV329M+
tBl56n/RZTnlnjdVom9wtVsC2Z1oz0QoBMlvgF8dkRle06g8Ji/cNQVe
-----END PRIVATE KEY-----
"""


def write_certificate(directory: Path) -> tuple[Path, Path]:
    """Write both as PEM files; the certificate is the CA bundle for clients as well."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    certificate.write_text(CERTIFICATE)
    key.write_text(PRIVATE_KEY)
    return certificate, key
