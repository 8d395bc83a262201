"""The steps of a connection, one at a time, for a diagnosis: addresses, TCP, TLS.

Sends no request and knows no store. Each function raises `TransportError`.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from cacher.errors import os_reason
from cacher.http.exceptions import FailureKind, TransportError, translate_exception
from cacher.http.tls import client_context, describe_wrong_host
from cacher.http.transport import Host, certificate_names
from cacher.time_limits import LIMITS


def resolve(host: Host) -> list[str]:
    """Return the addresses of a host name (DNS)."""
    try:
        found = socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label is empty, or over 63 bytes
        raise TransportError(FailureKind.NAME, "not a host name") from error
    except OSError as error:
        raise TransportError(FailureKind.NAME, os_reason(error)) from error
    return sorted({str(address[0]) for *_, address in found})


def connect(host: Host) -> None:
    """Open and close a TCP connection."""
    try:
        socket.create_connection((host.name, host.port), LIMITS.connect).close()
    except OSError as error:
        raise TransportError(FailureKind.CONNECT, os_reason(error)) from error


def handshake(host: Host, ca_files: tuple[str, ...]) -> str:
    """Make a TLS handshake; return the protocol and the certificate's last day.

    Raises `OSError` for a file of `ca_files` that cannot be used.
    """
    context = client_context(ca_files)
    try:
        with (
            socket.create_connection((host.name, host.port), LIMITS.connect) as plain,
            context.wrap_socket(plain, server_hostname=host.name) as secure,
        ):
            certificate: Mapping[str, object] = secure.getpeercert() or {}
            return f"{secure.version()}, certificate until {certificate.get('notAfter', '?')}"
    except OSError as error:
        failure = translate_exception(error)
        if failure.kind is FailureKind.WRONG_HOST:
            names = certificate_names(host, ca_files, LIMITS.connect)
            failure = TransportError(failure.kind, describe_wrong_host(host.name, names))
        elif failure.kind is FailureKind.BROKEN:
            failure = TransportError(FailureKind.PLAIN_HTTP, failure.detail)
        raise failure from error
