"""The checks on the way to a store: certificates, proxy, DNS, TCP and TLS. Sends no request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cacher.commands.context import Context
from cacher.commands.doctor.checklist import Checklist, Skipped
from cacher.errors import StoreError, UsageError, os_reason
from cacher.http import probes
from cacher.http.exceptions import TransportError
from cacher.http.proxies import PROXY_HINT, Proxies, parse_proxy_url
from cacher.http.tls import client_context
from cacher.http.transport import Host
from cacher.s3.error_mapping import failure_hint
from cacher.store.open_store import endpoint_of


def examine_network(context: Context, checklist: Checklist) -> bool:
    """Check DNS, TCP and TLS, until one fails; return whether requests can be sent."""
    host = endpoint_of(context.settings).host
    if context.settings.ca_file and not checklist.run("certificates", _certificates, context, host):
        return False
    proxy = Proxies(context.environ).url_for(host.scheme, host.name, host.port)
    hops: list[Host] = []
    if proxy and not checklist.run("proxy", _proxy, proxy, hops):
        return False
    reached, hint = (hops[0], PROXY_HINT) if proxy else (host, "")
    if not checklist.run("dns", _dns, reached, hint):
        return False
    if not checklist.run("tcp", _tcp, reached, hint):
        return False

    def tls() -> str:
        if host.scheme == "http":
            raise Skipped("the endpoint is http://, so nothing is encrypted")
        if proxy:
            raise Skipped("through the proxy; see the requests below")
        ca_file = context.settings.ca_file
        with _reported_as(f"no TLS with {host.header}"):
            return probes.handshake(host, (ca_file,) if ca_file else ())

    checklist.run("tls", tls)
    return not checklist.failed("tls")


@contextmanager
def _reported_as(problem: str, hint: str = "") -> Iterator[None]:
    """Raise a `TransportError` as a `StoreError` that begins with `problem`."""
    try:
        yield
    except TransportError as error:
        text = f"{problem}: {error.detail}"
        raise StoreError(text, hint or failure_hint(error.kind)) from error


def _dns(host: Host, hint: str) -> str:
    with _reported_as(f"{host.name} has no address", hint):
        return f"{host.name} is {', '.join(probes.resolve(host))}"


def _tcp(host: Host, hint: str) -> str:
    with _reported_as(f"no connection to {host.header}", hint):
        probes.connect(host)
    return f"{host.header} accepts connections"


def _certificates(context: Context, host: Host) -> str:
    _ = context.transport  # raises `UsageError` for a file that is not there
    if host.scheme == "https":
        try:
            client_context((context.settings.ca_file,))
        except OSError as error:
            raise UsageError(
                f"cannot use the certificates: {os_reason(error)}",
                "--ca-file FILE takes certificates in PEM",
            ) from error
    return f"{context.settings.ca_file} besides the system's"


def _proxy(proxy: str, hops: list[Host]) -> str:
    """Check the proxy's address. No other part of its URL is shown: it may hold a password."""
    try:
        found = parse_proxy_url(proxy)
    except ValueError as error:
        raise StoreError(str(error), PROXY_HINT) from error
    hops.append(Host(found.scheme, found.name, found.port))
    return str(hops[0])
