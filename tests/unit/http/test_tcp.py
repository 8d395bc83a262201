"""Connecting takes no longer than it may, whatever the name server and the addresses do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cacher.http.tcp import open_connection

LONG = 300.0


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def named(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses."""
    ask = socket.getaddrinfo

    def answer(name: str, port: int, *_: object, flags: int = 0, **__: object) -> list[Any]:
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "not an address")
        return [found for each in addresses for found in ask(each, port, 0, socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def test_an_address_asks_nobody(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    def start(_thread: threading.Thread) -> None:
        raise AssertionError("no thread is needed")

    monkeypatch.setattr(threading.Thread, "start", start)
    with open_connection("127.0.0.1", port, LONG) as sock:
        assert sock.getpeername() == ("127.0.0.1", port)


def test_options_and_time_out(port: int) -> None:
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    with open_connection("localhost", port, LONG, options) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.gettimeout() in (LONG, LONG / 2)


def test_the_next_address_where_one_refuses(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    named(monkeypatch, "127.0.0.2", "127.0.0.1")
    with open_connection("store.test", port, LONG) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"


def test_all_addresses_have_one_time_together(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[float] = []

    def connect(sock: socket.socket, _place: object) -> None:
        allowed.append(sock.gettimeout() or 0.0)
        raise TimeoutError

    named(monkeypatch, *(f"127.0.0.{number}" for number in range(1, 9)))
    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(TimeoutError):
        open_connection("store.test", 80, 5.0)
    assert len(allowed) == 8
    assert sum(allowed) == pytest.approx(5.0)


def test_a_name_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hang(*_: object, flags: int = 0, **__: object) -> None:
        if not flags:
            over.wait(LONG)
        raise socket.gaierror(socket.EAI_NONAME, "not an address")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    began = time.monotonic()
    with pytest.raises(socket.gaierror, match="no answer from the name server"):
        open_connection("store.test", 80, 0.2)
    assert time.monotonic() - began < LONG / 2
    over.set()


@pytest.mark.parametrize("name", ["x" * 64 + ".test", "a..b"])
def test_a_name_that_cannot_be_one(name: str) -> None:
    with pytest.raises(socket.gaierror, match="not a host name"):
        open_connection(name, 80, LONG)


def test_without_a_thread_to_spare(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    named(monkeypatch, "127.0.0.1")
    monkeypatch.setattr(threading.Thread, "start", start)
    open_connection("store.test", port, LONG).close()
