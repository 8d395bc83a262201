"""A TCP connection to one of a host's addresses, with a time-out that also covers the name server.

`getaddrinfo` has no time-out and ignores signals: if the name server is silent it blocks for 10 s
or more. So it runs in a thread, which is abandoned after the time-out.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any

from cacher.errors import OutOfThreads
from cacher.fileio import start_thread

SocketAddress = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
SocketOption = tuple[int, int, int | bytes]


def open_connection(
    name: str, port: int, seconds: float, options: Sequence[SocketOption] = ()
) -> socket.socket:
    """Return a TCP connection with the time-out `seconds`, made within that time.

    The name server may take as long again. Raises `socket.gaierror` if the name has no address,
    else the `OSError` of the last address.
    """
    addresses = _resolve(name, port, seconds)
    for number, address in enumerate(addresses, 1):
        is_last = number == len(addresses)
        # Half of what is left for each, so that one dead address leaves time for the others.
        seconds_here = seconds if is_last else seconds / 2
        seconds -= 0 if is_last else seconds_here
        try:
            return _connect(address, seconds_here, options)
        except OSError:
            if is_last:
                raise
    raise socket.gaierror(socket.EAI_NONAME, "the host name has no address")


def _connect(
    address: SocketAddress, seconds: float, options: Sequence[SocketOption]
) -> socket.socket:
    family, kind, protocol, _, sockaddr = address
    sock = socket.socket(family, kind, protocol)
    try:
        for option in options:
            sock.setsockopt(*option)
        sock.settimeout(seconds)
        sock.connect(sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


def _resolve(name: str, port: int, seconds: float) -> list[SocketAddress]:
    """Return the addresses of a host. Raises `socket.gaierror`, also after `seconds`."""
    try:
        return _getaddrinfo(
            name, port, socket.AI_NUMERICHOST
        )  # an address already: nobody is asked
    except socket.gaierror:
        pass
    found: SimpleQueue[list[SocketAddress] | socket.gaierror] = SimpleQueue()

    def ask() -> None:
        try:
            found.put(_getaddrinfo(name, port))
        except socket.gaierror as error:
            found.put(error)

    try:
        start_thread(threading.Thread(target=ask, daemon=True))
    except OutOfThreads:
        ask()  # no thread to spare
    try:
        answer = found.get(timeout=seconds)
    except Empty:
        raise socket.gaierror(socket.EAI_AGAIN, "no answer from the name server") from None
    if isinstance(answer, socket.gaierror):
        raise answer
    return answer


def _getaddrinfo(name: str, port: int, flags: int = 0) -> list[SocketAddress]:
    try:
        return [*socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags)]
    except UnicodeError as error:  # a label is empty, or over 63 bytes
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
