"""The digest in a thread of its own is the digest."""

from __future__ import annotations

import hashlib
import threading

import pytest

from cacher.archive.background_hash import MAX_WAITING, BackgroundSha256
from cacher.errors import OutOfThreads
from tests.support.cli_helpers import blob


@pytest.mark.parametrize("count", [0, 1, MAX_WAITING, MAX_WAITING + 1, 100])
def test_it_is_that_of_all_pieces(count: int) -> None:
    pieces = [blob(10_000 + number, number) for number in range(count)]
    with BackgroundSha256() as digest:
        for piece in pieces:
            digest.update(piece)
        assert digest.hexdigest() == hashlib.sha256(b"".join(pieces)).hexdigest()


def test_it_can_be_looked_at_on_the_way() -> None:
    with BackgroundSha256() as digest:
        digest.update(b"a")
        assert digest.hexdigest() == hashlib.sha256(b"a").hexdigest()
        digest.update(b"b")
        assert digest.hexdigest() == hashlib.sha256(b"ab").hexdigest()


def test_a_buffer_is_free_once_it_was_waited_for() -> None:
    buffer = bytearray(1_000_000)
    expected = hashlib.sha256()
    with BackgroundSha256() as digest:
        for number in range(50):
            buffer[:] = bytes([number]) * len(buffer)
            expected.update(buffer)
            digest.wait(digest.update(memoryview(buffer)))
        assert digest.hexdigest() == expected.hexdigest()


def test_no_thread_is_left_wherever_it_ends() -> None:
    before = threading.active_count()
    with pytest.raises(KeyError), BackgroundSha256() as digest:
        for _ in range(MAX_WAITING):
            digest.update(bytes(10_000_000))
        raise KeyError
    digest.close()
    assert threading.active_count() == before


def test_where_no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(OutOfThreads), BackgroundSha256():
        pass
