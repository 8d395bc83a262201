"""TLS: the certificates to verify servers with, and the meaning of OpenSSL's errors."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from cacher.errors import UsageError, os_reason

_OTHER_BUNDLES = (
    # Where systems keep their certificates when OpenSSL was built to look elsewhere.
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS, BSDs
)

_NOT_TLS = frozenset(["WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"])
"""OpenSSL's reasons, which depend on its version, for an answer in plain HTTP."""


_OUTDATED = frozenset(
    ["TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE"]
)
"""And where the other side has only versions that this machine's policy forbids: below TLS 1.2."""

_MOST_NAMES = 5
"""Names of a certificate that go into a message: some have hundreds."""


NOT_YET_VALID, EXPIRED, WRONG_NAME, WRONG_ADDRESS = 9, 10, 62, 64
"""OpenSSL's numbers (X509_V_ERR_*). All others are about who signed a certificate, and for what."""

_FLAWS = {
    NOT_YET_VALID: "the certificate is not valid yet",
    EXPIRED: "the certificate has expired",
    WRONG_NAME: "the certificate is for another host name",
    WRONG_ADDRESS: "the certificate is for another host name",
}


def client_context(ca_files: tuple[str, ...]) -> ssl.SSLContext:
    """Return a verifying context: the system's certificates and those in `ca_files` (PEM).

    Raises `OSError` (`ssl.SSLError` among them) for a file that cannot be used, and `UsageError`
    for one that SSLKEYLOGFILE names.
    """
    try:
        context = ssl.create_default_context()
    except OSError as error:  # it opens no other file
        raise UsageError(
            f"SSLKEYLOGFILE names a file that cannot be written: {os_reason(error)}",
            "unset SSLKEYLOGFILE, or let it name a file that can be written",
        ) from error
    paths = ssl.get_default_verify_paths()
    # OpenSSL lets SSL_CERT_FILE and SSL_CERT_DIR replace the system's; here they are added.
    has_file, has_directory = os.path.isfile(paths.openssl_cafile), _is_hashed(paths.openssl_capath)
    if has_file and paths.cafile != paths.openssl_cafile:
        context.load_verify_locations(paths.openssl_cafile)
    if has_directory and paths.capath != paths.openssl_capath:
        context.load_verify_locations(capath=paths.openssl_capath)
    if not has_file and not has_directory:
        for bundle in filter(os.path.isfile, _OTHER_BUNDLES):
            context.load_verify_locations(bundle)
            break
    for file in ca_files:
        context.load_verify_locations(file)
    return context


def certificate_hint() -> str:
    """Return the next step if a certificate is not accepted, or TLS fails otherwise."""
    if _has_authorities():
        return "--ca-file FILE adds the certificate of a private authority"
    return "this system has no certificate authorities: install ca-certificates, or use --ca-file"


def _has_authorities() -> bool:
    paths = ssl.get_default_verify_paths()
    directories = filter(None, (paths.capath, paths.openssl_capath))
    files = filter(None, (paths.cafile, paths.openssl_cafile, *_OTHER_BUNDLES))
    return any(map(os.path.isfile, files)) or any(map(_is_hashed, directories))


def describe_certificate_flaw(error: BaseException) -> str:
    """Describe what is wrong with the server's certificate; empty for another error."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return ""
    untrusted = f"the certificate is not accepted: {error.verify_message}"
    return _FLAWS.get(error.verify_code, untrusted)


def describe_wrong_host(wanted: str, names: Sequence[str]) -> str:
    """Describe a certificate that is for `names`, not for `wanted`."""
    if not names:
        return f"the certificate is not for {wanted}"
    more = len(names) - _MOST_NAMES
    shown = ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return f"the certificate is for {shown}, not for {wanted}"


def certificate_host_names(certificate: Mapping[str, Any] | None) -> list[str]:
    """Return the host names and addresses of a verified certificate (`getpeercert`)."""
    entries = (certificate or {}).get("subjectAltName", ())
    names = (name for kind, name in entries if kind in ("DNS", "IP Address"))
    return [name for name in names if re.fullmatch(r"[\w.*:-]+", name, re.ASCII)]


def is_not_tls(error: BaseException) -> bool:
    """Return whether the server speaks plain HTTP."""
    return isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS


def is_outdated(error: BaseException) -> bool:
    """Whether the other side speaks only versions of TLS that this machine does not accept."""
    return isinstance(error, ssl.SSLError) and error.reason in _OUTDATED


def tls_complaint(error: BaseException) -> str:
    """Say why TLS failed, without OpenSSL's numbers and lines; empty for any other error."""
    if isinstance(error, ssl.SSLEOFError):
        return "the connection was closed in the middle of TLS"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"TLS failed: {error.reason.replace('_', ' ').lower()}"
    return ""


def _is_hashed(directory: str) -> bool:
    """Return whether a directory has certificates by hash, under names such as `002c0b4f.0`.

    Fedora's directory has only one bundle.
    """
    return os.path.isdir(directory) and any(
        re.fullmatch(r"[0-9a-f]{8}\.\d+", name) for name in os.listdir(directory)
    )
