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

EXPIRED = """\
-----BEGIN CERTIFICATE-----
MIIBnzCCAUagAwIBAgIUEc5QH/VEt1bK+Xi8gGx424UIRlUwCgYIKoZIzj0EAwIw
IDEeMBwGA1UEAwwVY2FjaGVyIHRlc3QgYXV0aG9yaXR5MB4XDTk5MDEwMTAwMDAw
MFoXDTAxMDEwMTAwMDAwMFowIDEeMBwGA1UEAwwVY2FjaGVyIHRlc3QgYXV0aG9y
aXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEi3P3iYxJDXmFFaYlwEfVWArl
d9vTPrQZeep/0WU55Z43VaJvcLVbAtmdaM9EKATJb4BfHZEZXtOoPCYv3DUFXqNe
MFwwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAoQwHQYDVR0OBBYEFE/G
66N7axfELVUfTbqdwFZqZBXWMBoGA1UdEQQTMBGHBH8AAAGCCWxvY2FsaG9zdDAK
BggqhkjOPQQDAgNHADBEAiALX6ns9NvznU2I7zXMoMxzSHzTm0le+kT9kZXf12PP
lQIgASxMw+DVbvYoEXmph2yw3lwEeFpxYLP+MjNrZyKb4dI=
-----END CERTIFICATE-----
"""
"""The same until 2001."""

EARLY = """\
-----BEGIN CERTIFICATE-----
MIIBozCCAUqgAwIBAgIUavDX78AvWoWvxd4wc7/ZTWHvW4wwCgYIKoZIzj0EAwIw
IDEeMBwGA1UEAwwVY2FjaGVyIHRlc3QgYXV0aG9yaXR5MCIYDzIxMjQwMTAxMDAw
MDAwWhgPMjEyNTAxMDEwMDAwMDBaMCAxHjAcBgNVBAMMFWNhY2hlciB0ZXN0IGF1
dGhvcml0eTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABItz94mMSQ15hRWmJcBH
1VgK5Xfb0z60GXnqf9FlOeWeN1Wib3C1WwLZnWjPRCgEyW+AXx2RGV7TqDwmL9w1
BV6jXjBcMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgKEMB0GA1UdDgQW
BBRPxuuje2sXxC1VH026ncBWamQV1jAaBgNVHREEEzARhwR/AAABgglsb2NhbGhv
c3QwCgYIKoZIzj0EAwIDRwAwRAIgOA9d68eoaTxG+y+1t5Og6j7HFwyVLv9CwiH1
cOdkF2oCIDuTO+a3d9sBt7Ikx8vsd2XpF/I1/kTVr4keasbFEBpd
-----END CERTIFICATE-----
"""
"""The same from 2124."""

PRIVATE_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgM58PqTcI4QQnBIJH
Gu6FKbxVq7lQYmnb8jGS1yZd1PihRANCAASLc/eJjEkNeYUVpiXAR9VYCuV329M+
tBl56n/RZTnlnjdVom9wtVsC2Z1oz0QoBMlvgF8dkRle06g8Ji/cNQVe
-----END PRIVATE KEY-----
"""


def write_certificate(directory: Path, pem: str = CERTIFICATE) -> tuple[Path, Path]:
    """Write both as PEM files; the certificate is the CA bundle for clients as well."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    certificate.write_text(pem)
    key.write_text(PRIVATE_KEY)
    return certificate, key
