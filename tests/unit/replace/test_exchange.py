"""Two names that swap what they name: by the function, by the number, and where neither is."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cacher.replace import exchange as module
from cacher.replace.exchange import exchange

linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's numbers: run on Linux")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/a").write_bytes(b"a")
    (tmp_path / "two").write_bytes(b"2")
    (tmp_path / "link").symlink_to("one")
    fd = os.open(tmp_path, os.O_RDONLY)
    yield tmp_path, fd
    os.close(fd)


class Library:
    """A C library without the function, or without anything."""

    def __init__(self, *, syscall: bool) -> None:
        if syscall:
            self.syscall = ctypes.CDLL(None, use_errno=True).syscall


@pytest.fixture(params=["function", pytest.param("number", marks=linux)])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "number":
        library = Library(syscall=True)
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: library)


@pytest.mark.usefixtures("way")
class TestExchange:
    def test_they_swap(self, here: tuple[Path, int]) -> None:
        path, fd = here
        exchange(b"one", fd, b"two", fd)
        assert (path / "one").read_bytes() == b"2"
        assert (path / "two/a").read_bytes() == b"a"
        assert sorted(os.listdir(path)) == ["link", "one", "two"]

    def test_in_two_directories(self, here: tuple[Path, int]) -> None:
        path, fd = here
        below = os.open(path / "one", os.O_RDONLY)
        exchange(b"a", below, b"two", fd)
        os.close(below)
        assert (path / "one/a").read_bytes() == b"2"
        assert (path / "two").read_bytes() == b"a"

    def test_links_are_not_followed(self, here: tuple[Path, int]) -> None:
        path, fd = here
        exchange(b"link", fd, b"two", fd)
        assert os.readlink(path / "two") == "one"
        assert (path / "link").read_bytes() == b"2"
        assert (path / "one/a").read_bytes() == b"a"

    def test_what_fails_says_why(self, here: tuple[Path, int]) -> None:
        path, fd = here
        with pytest.raises(FileNotFoundError):
            exchange(b"one", fd, b"absent", fd)
        assert (path / "one/a").read_bytes() == b"a"


@pytest.mark.parametrize("lacking", ["function and call", "machine", "system", "loader"])
def test_where_it_cannot_be(
    here: tuple[Path, int], monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    path, fd = here
    library = Library(syscall=lacking != "function and call")

    def load(*_: object, **__: object) -> Library:
        if lacking == "loader":
            raise OSError("no such library")
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    if lacking == "machine":
        monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="vax"))
    if lacking == "system":
        fake = SimpleNamespace(platform="freebsd14", maxsize=sys.maxsize)
        monkeypatch.setattr(module, "sys", fake)
    with pytest.raises(OSError, match="not implemented") as caught:
        exchange(b"one", fd, b"two", fd)
    assert caught.value.errno == errno.ENOSYS
    assert (path / "two").read_bytes() == b"2"


def test_the_numbers_are_those_of_64_bits(
    here: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 32-bit program would call something else by them."""
    _, fd = here
    library = Library(syscall=True)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: library)
    monkeypatch.setattr(module, "sys", SimpleNamespace(platform="linux", maxsize=2**31 - 1))
    with pytest.raises(OSError, match="not implemented"):
        exchange(b"one", fd, b"two", fd)


def test_darwin_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []

    def swap(*arguments: object) -> int:
        calls.append(arguments)
        return 0

    monkeypatch.setattr(module, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(renameatx_np=swap))
    exchange(b"a", 3, b"b", 4)
    assert calls == [(3, b"a", 4, b"b", 2)]
