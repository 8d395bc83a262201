"""The certificates that servers are verified with: the system's, and those that are added."""

from __future__ import annotations

import os
import ssl

_OTHER_BUNDLES = (
    # Where systems keep their certificates when OpenSSL was built to look elsewhere.
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS, BSDs
)


def client_context(ca_files: tuple[str, ...]) -> ssl.SSLContext:
    """A verifying context: the system's certificates and those in `ca_files` (PEM).

    Raises `OSError` (`ssl.SSLError` among them) for a file that cannot be used.
    """
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if paths.cafile != paths.openssl_cafile and os.path.isfile(paths.openssl_cafile):
        # OpenSSL lets SSL_CERT_FILE replace the system's file; here it is added to it.
        context.load_verify_locations(paths.openssl_cafile)
    if not context.cert_store_stats()["x509_ca"] and not _has_files(paths.capath):
        for bundle in filter(os.path.isfile, _OTHER_BUNDLES):
            context.load_verify_locations(bundle)
            break
    for file in ca_files:
        context.load_verify_locations(file)
    return context


def _has_files(directory: str | None) -> bool:
    """Whether OpenSSL can look certificates up in a directory, one file for each."""
    return directory is not None and os.path.isdir(directory) and bool(os.listdir(directory))
