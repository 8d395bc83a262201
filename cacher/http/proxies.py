"""The proxy for a host, from the conventional environment variables: no socket.

`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, lower case first, read as curl and Go read
them: an entry of `NO_PROXY` is `*`, a domain (which covers its subdomains, with or without a
leading dot), an address or a network (`10.0.0.0/8`), each with an optional port.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}

PROXY_HINT = "check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY"


def login_hint(scheme: str) -> str:
    """Return the next step where the proxy for `http` or `https` wants a login."""
    name = f"{scheme.upper()}_PROXY"
    return f"the proxy needs credentials: {name}=http://USER:PASSWORD@HOST:PORT"


class ProxyAddress(NamedTuple):
    """The address of a proxy, and the `USER:PASSWORD` for it, if any."""

    scheme: str
    name: str
    port: int
    login: str


def parse_proxy_url(proxy: str) -> ProxyAddress:
    """Parse the URL of an HTTP proxy.

    Raises `ValueError` for anything else, with a text that shows nothing of it. A URL with a path
    is refused, too: if a password holds a slash, the host would be a part of the password.
    """
    refused = ValueError("not the URL of an HTTP proxy")
    try:
        url = urlsplit(proxy)
        default = DEFAULT_PORTS[url.scheme]
        port = url.port or default
    except (ValueError, KeyError):  # no number for a port; socks5
        raise refused from None
    if not url.hostname or url.path not in ("", "/") or url.query or url.fragment:
        raise refused
    return ProxyAddress(url.scheme, url.hostname, port, unquote(url.netloc.rpartition("@")[0]))


class Proxies:
    """The proxies that an environment names."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        def value(name: str) -> str:
            return (environ.get(name.lower()) or environ.get(name) or "").strip()

        all_proxy = value("ALL_PROXY")
        self._by_scheme = {
            "http": _with_scheme(value("HTTP_PROXY") or all_proxy),
            "https": _with_scheme(value("HTTPS_PROXY") or all_proxy),
        }
        self._exempt = value("NO_PROXY").replace(",", " ").lower().split()

    def url_for(self, scheme: str, host: str, port: int) -> str:
        """Return the URL of the proxy for a host, or an empty string."""
        proxy = self._by_scheme.get(scheme, "")
        host = host.lower().rstrip(".")
        return "" if any(_matches(entry, host, port) for entry in self._exempt) else proxy


def _with_scheme(proxy: str) -> str:
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, colon, entry_port = entry.rpartition(":")
    if colon and entry_port.isdigit() and (":" not in name or name.endswith("]")):
        if int(entry_port) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    domain = entry.lstrip("*").strip(".")
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        domain = ""  # an address is not a subdomain
        return address in ipaddress.ip_network(entry, strict=False)
    return bool(domain) and (host == domain or host.endswith("." + domain))
