"""A machine with no more threads, files or memory: that is told, not a bug, and nothing is left."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Spawn
from tests.support.cli_helpers import MIB, BucketPlace, LocalPlace, Place, blob, sha256

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


def limit(name: str, value: int) -> Callable[[], None]:
    """What a child does to have that limit."""
    number = getattr(resource, f"RLIMIT_{name}")
    return lambda: resource.setrlimit(number, (value, value))


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
            assert "hint: --jobs 1 needs fewer threads; see `ulimit -u`" in ended.err
            assert ended.out == b""
        assert os.listdir() == []
        assert cacher("download", "k", "f", "--jobs=1").status == 0

    def test_a_download_with_one(self, cacher: Run, bucket: BucketPlace, allow: Allow) -> None:
        bucket.put("k", blob(BIG))
        for dest in ("f", "-"):
            allow(1, "cacher.s3.thread_pool")
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
        assert "hint: see `ulimit -u`" in ended.err  # no other --jobs would help
        assert bucket.keys() == bucket.leftovers() == []

    @pytest.mark.parametrize("known", [True, False])
    def test_an_upload_with_enough(
        self, cacher: Run, bucket: BucketPlace, allow: Allow, known: bool
    ) -> None:
        allow(2, "cacher.s3.thread_pool")
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

    def test_a_directory(self, cacher: Run, local: LocalPlace, allow: Allow) -> None:
        Path("tree").mkdir()
        Path("tree/f").write_bytes(blob(MIB))
        allow(0)
        ended = cacher("dir", "upload", "k", "tree")
        assert "cannot start a thread: the limit of this machine is reached" in ended.failed(7)
        assert "hint: see `ulimit -u` and the cgroup's pids.max\n" in ended.err
        assert local.keys() == local.leftovers() == []

    def test_doctor_goes_on(self, cacher: Run, bucket: BucketPlace, allow: Allow) -> None:
        allow(0)
        ended = cacher("doctor")
        assert "checks failed; the first: cannot start a thread" in ended.failed(7)
        assert "hint: see `ulimit -u` and the cgroup's pids.max\n" in ended.err
        assert "fail  multipart" in ended.text
        assert "ok    delete" in ended.text
        assert bucket.keys() == bucket.leftovers() == []


class TestFiles:
    """A process may open few files, and files may not become large."""

    def test_a_deep_tree(self, spawn: Spawn, place: Place) -> None:
        """However deep it is, few directories are open at once."""
        directory = Path("tree", *"abcdefghijklmnopqrstuvwxyz")
        directory.mkdir(parents=True)
        (directory / "f").touch()
        for verb, dir_ in (("upload", "tree"), ("download", "restored")):
            process = spawn("dir", verb, "k", dir_, preexec_fn=limit("NOFILE", 20))
            _, err = process.communicate()
            assert process.returncode == 0, err
        assert Path("restored", *directory.parts[1:], "f").exists()
        assert place.leftovers() == []

    @pytest.mark.parametrize("files", [12, 14, 16])
    def test_too_few_for_a_deep_tree(
        self, cacher: Run, spawn: Spawn, local: LocalPlace, files: int
    ) -> None:
        directory = Path("tree", *"abcdefghijklmnopqrstuvwxyz")
        directory.mkdir(parents=True)
        (directory / "f").touch()
        assert cacher("dir", "upload", "k", "tree").status == 0
        process = spawn("dir", "download", "k", "restored", preexec_fn=limit("NOFILE", files))
        _, err = process.communicate()
        assert process.returncode in (0, 7), err
        if process.returncode:
            assert b"raise `ulimit -n`" in err
            assert [name for name in os.listdir() if name not in ("tree", "store")] == []

    @pytest.mark.slow
    @pytest.mark.parametrize("files", [5, 7, 10])
    @pytest.mark.parametrize(
        "argv",
        [
            ("list",),
            ("doctor",),
            ("upload", "l", "f"),
            ("download", "k", "g"),
            ("dir", "upload", "d", "tree"),
            ("dir", "download", "t", "restored"),
            ("key", "k", "--hash-from", "f"),
        ],
        ids=" ".join,
    )
    def test_a_command(
        self, cacher: Run, spawn: Spawn, local: LocalPlace, argv: tuple[str, ...], files: int
    ) -> None:
        """Whatever it does, it is no bug, and leaves nothing."""
        Path("tree").mkdir()
        assert cacher("dir", "upload", "t", "tree").status == 0
        local.put("k", b"abc")
        Path("f").write_bytes(b"abc")
        before = local.keys()
        process = spawn(*argv, preexec_fn=limit("NOFILE", files))
        _, err = process.communicate()
        assert process.returncode in (0, 7), err
        assert b"Traceback" not in err
        if process.returncode:
            assert b"cacher: error: " in err
            assert local.keys() == before
            assert not Path("g").exists()
            assert not Path("restored").exists()
        assert local.leftovers() == []

    def test_a_large_file(self, spawn: Spawn, place: Place) -> None:
        place.put("k", blob(2 * MIB))
        process = spawn("download", "k", "f", preexec_fn=limit("FSIZE", MIB))
        _, err = process.communicate()
        assert process.returncode == 7
        assert b": file too large\n" in err
        assert b"cacher: hint: " in err
        assert os.listdir() == []

    @pytest.mark.parametrize("argv", [("upload", "k"), ("dir", "upload", "k")], ids=" ".join)
    def test_a_large_entry(self, spawn: Spawn, local: LocalPlace, argv: tuple[str, ...]) -> None:
        Path("tree").mkdir()
        Path("tree/f").write_bytes(blob(2 * MIB))
        source = "tree" if argv[0] == "dir" else "tree/f"
        process = spawn(*argv, source, preexec_fn=limit("FSIZE", MIB))
        _, err = process.communicate()
        assert process.returncode == 7
        error, hint = err.decode().splitlines()
        assert error == f"cacher: error: could not store k in {local.root}: file too large"
        assert "hint: files may not become that large here: see `ulimit -f`" in hint
        assert local.keys() == local.leftovers() == []

    def test_a_large_stream(self, spawn: Spawn, local: LocalPlace) -> None:
        process = spawn("upload", "k", "-", stdin=subprocess.PIPE, preexec_fn=limit("FSIZE", MIB))
        _, err = process.communicate(blob(BIG))
        assert process.returncode == 7
        assert b"error: writing a temporary file: file too large\n" in err
        assert b"hint: files may not become that large here: see `ulimit -f`" in err
        assert local.keys() == local.leftovers() == []


class TestMemory:
    def test_of_a_command(self, cacher: Run, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        def exhaust(*_: object, **_more: object) -> None:
            raise MemoryError

        place.put("k", b"abc")
        monkeypatch.setattr("cacher.store.verified_reader.VerifiedReader.save", exhaust)
        ended = cacher("download", "k", "f", "--json")
        assert "cacher: error: out of memory" in ended.failed(7)
        assert ended.json["error"]["kind"] == "local"
        assert os.listdir() == []
        monkeypatch.setattr("cacher.keys.template.resolve_template", exhaust)
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
