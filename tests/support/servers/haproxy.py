"""Debian's haproxy in front of a server: TLS with one thread, as most stores are behind one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from tests.support.servers import process, programs, tls
from tests.support.servers.base import Server, environment, private_directory, serving

_NAME = "haproxy"

_CONFIG = """\
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend tls
    bind {address} ssl crt {certificate}
    default_backend store
backend store
    server store {store}
"""


@contextmanager
def front(server: Server) -> Iterator[Server]:
    """The same server behind TLS, its certificate signed by a new authority.

    Raises `ProgramNotFound` and `StartFailed`.
    """
    haproxy = programs.find(_NAME, provider="apt-get install haproxy")
    with private_directory(_NAME) as directory:
        issued = tls.issue(directory)
        both = directory / "both.pem"
        both.write_bytes(issued.certificate.read_bytes() + issued.key.read_bytes())
        address = f"{process.LOOPBACK}:{process.free_ports(1)[0]}"
        config = directory / "haproxy.cfg"
        config.write_text(
            _CONFIG.format(
                address=address, certificate=both, store=urlsplit(server.endpoint).netloc
            )
        )
        behind = replace(
            server,
            name=f"{server.name} behind TLS",
            endpoint=f"https://{address}",
            directory=directory,
            ca_file=issued.ca_file,
        )
        with serving(behind, [haproxy, "-db", "-f", config], env=environment(directory)) as started:
            yield started
