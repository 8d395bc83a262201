"""HTTP over urllib3: connections, time-outs, TLS, proxies. Knows no S3.

Targets are sent as they are given (a signature depends on it), redirects are never followed, and
nothing is retried: the callers do that, who get every failure as a `TransportError`.
"""

from __future__ import annotations

import io
import re
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from http.client import HTTPException, RemoteDisconnected
from typing import Any, NamedTuple, Protocol, Self, TypeVar
from urllib.parse import SplitResult

from cacher.http import urllib3_startup  # noqa: F401 - has what follows load faster

# isort: split

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
)

from cacher.errors import UsageError, os_reason
from cacher.http.exceptions import (
    FailureKind,
    TransportError,
    TunnelRefused,
    innermost_cause,
    translate_exception,
)
from cacher.http.minimum_speed import TimedReader
from cacher.http.proxies import DEFAULT_PORTS, Proxies, parse_proxy_url
from cacher.http.response_parser import MIN_READ, StrictResponse, TunnelResponse
from cacher.http.tcp import open_connection
from cacher.http.tls import (
    certificate_host_names,
    client_context,
    describe_wrong_host,
    tls_complaint,
)
from cacher.time_limits import LIMITS, Limits


class Body(Protocol):
    """A request body that can be sent again: each iteration gives the same bytes."""

    @property
    def size(self) -> int:
        """Bytes in all."""

    def __iter__(self) -> Iterator[memoryview]: ...


class SentRequest(NamedTuple):
    """A request and its answer, or why there is none. Headers as they are, secrets included."""

    method: str
    subject: str
    """What it is about: the key, or the URL without secrets."""
    tries: int
    """Which try it is, from 1."""
    seconds: float
    """From sending until the head of the answer arrived."""
    status: int
    """0 for no answer."""
    failure: str
    request_headers: Mapping[str, str]
    response_headers: Mapping[str, str]


class Host(NamedTuple):
    """Where to connect: `http` or `https`, a name or address (IPv6 without brackets), a port."""

    scheme: str
    name: str
    port: int

    @classmethod
    def of(cls, url: SplitResult) -> Self:
        """Return the host of an http(s) URL."""
        return cls(url.scheme, url.hostname or "", url.port or DEFAULT_PORTS[url.scheme])

    @property
    def header(self) -> str:
        """The `Host` header: without the scheme's default port, with any other."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port == DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.header}"


class Answer:
    """The head of an HTTP answer, and its body to be read."""

    def __init__(self, response: urllib3.BaseHTTPResponse, answer_timeout: float) -> None:
        self._response = response
        self._answer_timeout = answer_timeout
        # urllib3 makes a new buffer for each piece: over TLS, where a piece is 16 KiB, that took
        # more time than all the rest.
        body = getattr(response, "_fp", None)
        self._body = body if isinstance(body, StrictResponse) else None
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    @property
    def reads_in_place(self) -> bool:
        """Whether `readinto` reads from http.client's response, past urllib3."""
        return self._body is not None

    def readinto(self, buffer: memoryview) -> int:
        """Read the next bytes of the body, undecoded, into the front of `buffer`; return how many.

        At least 64 KiB, if `buffer` and the body have so many; 0 at the end, which is proved by
        the length or by the last chunk.
        """
        try:
            if self._body is None:
                # Not `read`, which waits for all of it and loses it when the connection drops.
                piece = self._response.read1(len(buffer), decode_content=False)
                buffer[: len(piece)] = piece
                return len(piece)
            count = self._body.fill(buffer)
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            self.close()
            failure = translate_exception(error)
            if failure.kind is FailureKind.TIMEOUT:
                failure.silent_seconds = self._answer_timeout
            raise failure from innermost_cause(error)
        if self._body.isclosed():
            self._response.release_conn()  # it was read to its end
        return count

    def read(self, amount: int) -> bytes:
        """Read at most `amount` bytes, as `readinto` does; empty at the end."""
        buffer = memoryview(bytearray(amount))
        return bytes(buffer[: self.readinto(buffer)])

    def read_all(self, limit: int) -> bytes:
        """Read the whole body of at most `limit` bytes; the connection can then be reused."""
        body, buffer = bytearray(), memoryview(bytearray(MIN_READ))
        while count := self.readinto(buffer):
            body += buffer[:count]
            if len(body) > limit:
                self.close()
                raise TransportError(FailureKind.BROKEN, f"an answer of over {limit} bytes")
        return bytes(body)

    def close(self) -> None:
        """Close the connection unless the body was read to its end."""
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Transport:
    """Connections to any host, kept alive, through the proxy for that host.

    `ca_files` are added to the system's certificates. `on_request` is called after each request,
    whose time `monotonic` takes. With `speed_limits` an answer that trickles is given up.
    Thread-safe.
    """

    def __init__(
        self,
        *,
        ca_files: tuple[str, ...] = (),
        proxies: Proxies | None = None,
        user_agent: str = "cacher",
        connections: int = 8,
        connect_timeout: float = LIMITS.connect,
        stall_timeout: float = LIMITS.stall,
        speed_limits: Limits | None = None,
        monotonic: Callable[[], float] = lambda: 0.0,
        on_request: Callable[[SentRequest], None] | None = None,
    ) -> None:
        self._ca_files = ca_files
        self._proxies = proxies or Proxies({})
        self._user_agent = user_agent
        self._connections = connections
        self._connect_timeout = connect_timeout
        self._stall_timeout = stall_timeout
        self._monotonic = monotonic
        self._on_request = on_request
        self._managers: dict[str, urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._live: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._state = threading.local()
        answers = StrictResponse
        if speed_limits:
            answers = _timed_response_class(speed_limits, monotonic)
        watched = self._on_connected, stall_timeout, answers
        self._plain = _connection_class(HTTPConnection, *watched)
        self._secure = _connection_class(HTTPSConnection, *watched)

    def send(
        self,
        host: Host,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body | None = None,
        *,
        connect: float | None = None,
        answer_timeout: float | None = None,
        subject: str = "",
        tries: int = 1,
    ) -> Answer:
        """Send one request and return its answer, whatever its status.

        `connect` limits the seconds for a connection, `answer_timeout` those for the answer once
        the request is sent; the transport's own time-outs are the defaults. `subject` and `tries`
        are for `on_request`. Raises `TransportError`, and what iterating `body` raises.
        """
        began = self._monotonic()

        def show(status: int, failure: str, answered: Mapping[str, str]) -> None:
            if self._on_request:
                seconds = self._monotonic() - began
                self._on_request(
                    SentRequest(method, subject, tries, seconds, status, failure, headers, answered)
                )

        sent = {"user-agent": self._user_agent, **headers}
        sent |= {"host": host.header, "accept-encoding": "identity"}
        if body is not None:
            sent["content-length"] = str(body.size)
        self._state.fresh = False
        answer_timeout = answer_timeout or self._stall_timeout
        try:
            pool, is_forwarded = self._pool(host)
            response = pool.urlopen(
                method,
                # A proxy without a tunnel wants the whole address (RFC 9112, section 3.2.2).
                f"{host}{target}" if is_forwarded else target,
                # Its types say bytes; http.client sends any buffer.
                body=iter(body) if body is not None and body.size else None,  # type: ignore[arg-type]
                headers=sent,
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(
                    connect=connect or self._connect_timeout, read=answer_timeout
                ),
            )
        except (HTTPError, OSError, ValueError) as error:
            failure = translate_exception(error, reused=not self._state.fresh)
            if failure.kind is FailureKind.WRONG_HOST:
                failure = self._wrong_host(host)
            elif failure.kind is FailureKind.PLAIN_HTTP and self._proxies.url_for(*host):
                failure = translate_exception(TunnelRefused(HTTPStatus.OK))
            show(0, failure.detail, {})
            raise failure from innermost_cause(error)
        answer = Answer(response, answer_timeout)
        show(answer.status, "", answer.headers)
        return answer

    def interrupt(self) -> None:
        """Wake every thread that waits on a socket; its request fails at once."""
        with self._lock:
            live = list(self._live)
        for sock in live:
            try:
                # Not SSLSocket.shutdown, which pulls the session from under the reader.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                pass  # closed already

    def close(self) -> None:
        """Close every connection."""
        for manager in self._managers.values():
            manager.clear()

    def _on_connected(self, connection: HTTPConnection) -> None:
        """Apply the stall time-out to sending on a new connection, too."""
        self._state.fresh = True
        with self._lock:
            # Not the connection: it lets go of its socket where the answer is to end with it. TLS
            # through a proxy that is itself behind TLS has the socket inside.
            self._live.add(getattr(connection.sock, "socket", connection.sock))
        connection.sock.settimeout(self._stall_timeout)

    def _wrong_host(self, host: Host) -> TransportError:
        """Return the failure for a certificate of another host, with its names if possible."""
        names = []
        if not self._proxies.url_for(host.scheme, host.name, host.port):
            names = certificate_names(host, self._ca_files, self._connect_timeout)
        return TransportError(FailureKind.WRONG_HOST, describe_wrong_host(host.name, names))

    def _pool(self, host: Host) -> tuple[urllib3.HTTPConnectionPool, bool]:
        """Return the pool for a host, and whether it leads to a proxy that forwards requests."""
        proxy = self._proxies.url_for(host.scheme, host.name, host.port)
        pool = self._manager(host.scheme, proxy).connection_from_host(
            host.name, host.port, scheme=host.scheme
        )
        pool.ConnectionCls = self._secure if pool.scheme == "https" else self._plain
        return pool, bool(proxy) and host.scheme == "http"

    def _manager(self, scheme: str, proxy: str) -> urllib3.PoolManager:
        """Return the pools behind one proxy, or none; loads TLS when it is first needed."""
        with self._lock:
            name = f"{scheme} {proxy}"
            if name not in self._managers:
                options: dict[str, Any] = {"maxsize": self._connections, "block": False}
                if scheme == "https" or proxy.startswith("https:"):
                    options["ssl_context"] = _client_context(self._ca_files)
                self._managers[name] = _manager(proxy, options)
            return self._managers[name]


def certificate_names(host: Host, ca_files: tuple[str, ...], timeout: float) -> list[str]:
    """Look up the names of a host's certificate; empty if that fails.

    For messages only: everything but the name is verified.
    """
    context = client_context(ca_files)
    context.check_hostname = False
    try:
        with (
            socket.create_connection((host.name, host.port), timeout) as plain,
            context.wrap_socket(plain, server_hostname=host.name) as secure,
        ):
            return certificate_host_names(secure.getpeercert())
    except OSError:
        return []


def _client_context(ca_files: tuple[str, ...]) -> ssl.SSLContext:
    try:
        return client_context(ca_files)
    except OSError as error:
        # Not the network's fault, so nothing to try again.
        names = " or ".join(ca_files) or "the system's files"
        reason = "not a file of PEM certificates" if tls_complaint(error) else os_reason(error)
        raise UsageError(
            f"cannot use the certificates in {names}: {reason}",
            "--ca-file and SSL_CERT_FILE name files of PEM certificates",
        ) from error


def _manager(proxy: str, options: dict[str, Any]) -> urllib3.PoolManager:
    if not proxy:
        return urllib3.PoolManager(**options)
    try:
        scheme, name, port, login = parse_proxy_url(proxy)
        return urllib3.ProxyManager(
            str(Host(scheme, name, port)),
            proxy_headers=urllib3.make_headers(proxy_basic_auth=login) if login else None,
            proxy_ssl_context=options.get("ssl_context"),
            **options,
        )
    except (HTTPError, ValueError):
        # Without what was raised: it shows the URL, or a part of it, which may be a password.
        reason = "not the URL of an HTTP proxy"
        raise ProxyError(reason, ValueError(reason)) from None


_ConnectionT = TypeVar("_ConnectionT", bound=HTTPConnection)


def _connection_class(
    kind: type[_ConnectionT],
    connected: Callable[[HTTPConnection], None],
    stall_timeout: float,
    answers: type[StrictResponse],
) -> type[_ConnectionT]:
    """Return a connection class that calls `connected` once it is connected."""

    def new_conn(self: _ConnectionT) -> socket.socket:
        try:
            return open_connection(
                self.host, self.port, self.timeout or stall_timeout, self.socket_options or ()
            )
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "no connection") from error
        except OSError as error:
            raise NewConnectionError(self, "no connection") from error

    def connect(self: _ConnectionT) -> None:
        kind.connect(self)
        connected(self)

    def request(self: _ConnectionT, *arguments: Any, **options: Any) -> None:
        if self.sock is not None:
            # Sending would otherwise have the time-out for connecting, which is over.
            self.timeout = stall_timeout
        kind.request(self, *arguments, **options)

    members = {
        "_new_conn": new_conn,
        "_tunnel": _tunnel(kind),
        "connect": connect,
        "request": request,
        "response_class": answers,
    }
    return type(f"Watched{kind.__name__}", (kind,), members)


def _tunnel(kind: Any) -> Callable[[Any], None]:
    """Return a method that asks the proxy for a tunnel, and raises `TunnelRefused`."""

    def tunnel(self: Any) -> None:
        answers: list[TunnelResponse] = []

        def answer(*arguments: Any, **options: Any) -> TunnelResponse:
            answers.append(TunnelResponse(*arguments, **options))
            return answers[-1]

        self.response_class = answer
        try:
            kind._tunnel(self)
        except RemoteDisconnected:
            raise
        except HTTPException:
            raise TunnelRefused(0) from None
        except OSError as error:
            refused = re.match("Tunnel connection failed: ([0-9]{3})", str(error))
            if not refused:
                raise
            raise TunnelRefused(int(refused[1])) from None
        finally:
            del self.response_class  # the class has another, for answers
        if answers[-1].is_page:
            raise TunnelRefused(HTTPStatus.OK)

    return tunnel


def _timed_response_class(limits: Limits, monotonic: Callable[[], float]) -> type[StrictResponse]:
    """Return a class of responses that may not come more slowly than `MIN_SPEED`."""

    class PacedResponse(StrictResponse):
        def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
            super().__init__(sock, *arguments, **options)
            self.fp = io.BufferedReader(TimedReader(self.fp.detach(), sock, limits, monotonic))

    return PacedResponse
