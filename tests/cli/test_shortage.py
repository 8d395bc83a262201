"""A machine that has no more threads or memory: told as such, not as a bug, and nothing is left."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.stage import MIB, BucketPlace, Place, blob, sha256

BIG = 20 * MIB
"""Bytes of several parts and ranges."""

Allow = Callable[..., None]


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Allow:
    """Let only so many more threads start that the program asks for; the tests' own may."""
    start = threading.Thread.start

    def only(count: int, asker: str = "cacher") -> None:
        left = count

        def limited(thread: threading.Thread) -> None:
            nonlocal left
            module = getattr(thread, "_target").__module__  # noqa: B009 - Python's own
            if module == asker or module.startswith(f"{asker}."):
                if not left:
                    raise RuntimeError("can't start new thread")
                left -= 1
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", limited)

    return only


class TestThreads:
    def test_small_entries_need_none(self, cacher: Run, place: Place, allow: Allow) -> None:
        Path("f").write_bytes(b"abc")
        allow(0)
        assert cacher("upload", "k", "f").status == 0
        assert cacher("download", "k", "g").status == 0
        assert Path("g").read_bytes() == b"abc"

    def test_a_download_without_any(self, cacher: Run, bucket: BucketPlace, allow: Allow) -> None:
        bucket.put("k", blob(BIG))
        allow(0)
        for dest in ("f", "-"):
            ended = cacher("download", "k", dest)
            assert "cannot start a thread: the limit of this machine is reached" in ended.failed(7)
            assert ended.out == b""
        assert os.listdir() == []

    def test_a_download_with_one(self, cacher: Run, bucket: BucketPlace, allow: Allow) -> None:
        bucket.put("k", blob(BIG))
        for dest in ("f", "-"):
            allow(1, "cacher.s3.crew")
            assert cacher("download", "k", dest).status == 0
        assert Path("f").read_bytes() == blob(BIG)

    @pytest.mark.parametrize("threads", [0, 1])
    @pytest.mark.parametrize("known", [True, False])
    def test_an_upload_with_too_few(
        self, cacher: Run, bucket: BucketPlace, allow: Allow, threads: int, known: bool
    ) -> None:
        """One begins it, another one sends."""
        allow(threads)
        digest = ("--sha256", sha256(blob(BIG))) if known else ()
        ended = cacher("upload", "k", "-", "--part-size=5MiB", *digest, "-q", stdin=blob(BIG))
        assert "cannot start a thread: the limit of this machine is reached" in ended.failed(7)
        assert bucket.keys() == bucket.leftovers() == []

    @pytest.mark.parametrize("known", [True, False])
    def test_an_upload_with_enough(
        self, cacher: Run, bucket: BucketPlace, allow: Allow, known: bool
    ) -> None:
        allow(2, "cacher.s3.crew")
        digest = ("--sha256", sha256(blob(BIG))) if known else ()
        ended = cacher("upload", "k", "-", "--part-size=5MiB", *digest, stdin=blob(BIG))
        assert ended.status == 0
        assert bucket.get("k") == blob(BIG)

    def test_nothing_is_ahead_without_a_thread(
        self, cacher: Run, bucket: BucketPlace, allow: Allow
    ) -> None:
        Path("f").write_bytes(blob(BIG))
        allow(0, "cacher.s3.upload")
        assert cacher("upload", "k", "f", "--part-size=5MiB").status == 0
        assert bucket.get("k") == blob(BIG)


class TestMemory:
    def test_of_a_command(self, cacher: Run, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        def exhaust(*_: object, **_more: object) -> None:
            raise MemoryError

        place.put("k", b"abc")
        monkeypatch.setattr("cacher.store.checked.CheckedReader.save", exhaust)
        ended = cacher("download", "k", "f", "--json")
        assert "cacher: error: out of memory" in ended.failed(7)
        assert ended.json["error"]["kind"] == "local"
        assert os.listdir() == []
        monkeypatch.setattr("cacher.keys.resolve", exhaust)
        assert "cacher: error: out of memory" in cacher("key", "k").failed(7)

    def test_of_a_thread(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def exhaust(*_: object, **_more: object) -> None:
            raise MemoryError

        Path("f").write_bytes(blob(BIG))
        monkeypatch.setattr("cacher.s3.client.Client.put_part", exhaust)
        ended = cacher("upload", "k", "f", "--part-size=5MiB")
        assert "cacher: error: out of memory" in ended.failed(7)
        assert bucket.keys() == bucket.leftovers() == []
