"""`upload`: a file or a stream becomes an entry, once; what fails leaves nothing."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Spawn
from tests.fakes.faults import Fault, Respond, Stall
from tests.support.cli_helpers import (
    MIB,
    BucketPlace,
    LocalPlace,
    Place,
    Unprivileged,
    blob,
    sha256,
)

PART = 5 * MIB
SIZES = [0, 1, PART, PART + 1, 3 * PART + 7]
STREAMS = [0, 1, PART + 1, 18 * MIB]
"""Bytes: the last is more than is kept in memory."""


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHER_PART_SIZE", "5MiB")


class TestFile:
    @pytest.mark.parametrize("size", SIZES)
    def test_it_is_stored_with_its_digest(self, cacher: Run, place: Place, size: int) -> None:
        Path("f").write_bytes(blob(size))
        ended = cacher("upload", "deps/k", "f")
        assert ended.status == 0
        assert ended.out == b""
        assert ended.err.startswith("cacher: stored deps/k (")
        assert place.get("deps/k") == blob(size)
        assert place.digest("deps/k") == sha256(blob(size))
        assert place.keys() == ["deps/k"]
        assert place.leftovers() == []

    def test_the_right_digest(self, cacher: Run, place: Place) -> None:
        Path("f").write_bytes(b"abc")
        assert cacher("upload", "k", "f", "--sha256", sha256(b"abc")).status == 0
        assert place.get("k") == b"abc"

    @pytest.mark.parametrize("size", [3, 2 * PART])
    def test_another_digest(self, cacher: Run, place: Place, size: int) -> None:
        Path("f").write_bytes(blob(size))
        err = cacher("upload", "k", "f", "--sha256", "0" * 64).failed(5)
        assert f"f has SHA-256 {sha256(blob(size))}, expected {'0' * 64}" in err
        assert place.keys() == place.leftovers() == []

    @pytest.mark.parametrize("digest", ["abc", "g" * 64, "0" * 63, "0" * 65])
    def test_no_digest(self, cacher: Run, place: Place, digest: str) -> None:
        Path("f").write_bytes(b"abc")
        assert "not 64 hex digits" in cacher("upload", "k", "f", "--sha256", digest).failed(2)
        assert place.keys() == []

    def test_through_a_link(self, cacher: Run, place: Place) -> None:
        Path("f").write_bytes(b"abc")
        Path("link").symlink_to("f")
        assert cacher("upload", "k", "link").status == 0
        assert place.get("k") == b"abc"

    def test_a_file_of_proc_that_calls_itself_empty(self, cacher: Run, place: Place) -> None:
        assert cacher("upload", "k", "/proc/version").status == 0
        assert place.get("k") == Path("/proc/version").read_bytes() != b""

    @pytest.mark.parametrize("file", ["none", "f/g", "loop", "/proc/self/mem"])
    def test_a_file_that_cannot_be_read(self, cacher: Run, place: Place, file: str) -> None:
        Path("f").write_bytes(b"abc")
        Path("loop").symlink_to("loop")
        assert "cannot read " in cacher("upload", "k", file).failed(7)
        assert place.keys() == place.leftovers() == []

    def test_a_file_that_may_not_be_read(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("f").write_bytes(b"abc")
        cacher("upload", "other", "f")  # everything is loaded while it may be read
        monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere")  # nobody may look into ours
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:
            os.chmod(directory, 0o755)
            Path(directory, "f").touch(mode=0)
            with Unprivileged():
                ended = cacher("upload", "k", f"{directory}/f")
        assert "permission denied" in ended.failed(7)
        assert "hint: user " in ended.err
        assert " needs read access to it\n" in ended.err
        assert bucket.keys() == ["other"]

    def test_a_file_that_is_not_there(self, cacher: Run, place: Place) -> None:
        error = cacher("upload", "k", "none").failed(7)
        assert "error: cannot read none: no such file or directory\n" in error
        here = f"the working directory is {os.getcwd()}"
        assert f"hint: run the step that creates it first; {here}\n" in error
        Path("link").symlink_to("none")
        error = cacher("upload", "k", "link").failed(7)
        assert "error: cannot read link: it is a link to none, which does not exist\n" in error

    def test_a_directory(self, cacher: Run, place: Place) -> None:
        os.mkdir("d")
        err = cacher("upload", "k", "d").failed(2)
        assert "error: d is a directory\n" in err
        assert "hint: `cacher dir upload KEY DIR` stores a directory\n" in err
        assert place.keys() == []


class TestExisting:
    @pytest.mark.parametrize("recorded", [None, ""])
    def test_it_is_not_uploaded_again(
        self, cacher: Run, place: Place, recorded: str | None
    ) -> None:
        place.put("k", b"abc", recorded)
        Path("f").write_bytes(b"abc")
        ended = cacher("upload", "k", "f")
        assert ended.status == 0
        assert ended.err == "cacher: exists k, not uploaded again\n"

    def test_nothing_is_sent(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.put("k", b"abc")
        Path("f").write_bytes(b"abc")
        cacher("upload", "k", "f")
        assert {record.method for record in bucket.server.requests} == {"HEAD"}

    @pytest.mark.parametrize(
        ("there", "differs"), [(b"abcd", "4 bytes instead of 3"), (b"xyz", "another SHA-256")]
    )
    def test_another_file(self, cacher: Run, place: Place, there: bytes, differs: str) -> None:
        place.put("k", there)
        Path("f").write_bytes(b"abc")
        ended = cacher("upload", "k", "f")
        assert ended.status == 0
        says = f"k is stored already, with {differs}; another file needs another KEY"
        assert ended.warnings == [says]
        assert place.get("k") == there

    @pytest.mark.parametrize("size", [3, 2 * PART + 1])
    def test_force(self, cacher: Run, place: Place, size: int) -> None:
        place.put("k", blob(4 * MIB, 1))
        Path("f").write_bytes(blob(size))
        assert cacher("upload", "k", "f", "--force").status == 0
        assert place.get("k") == blob(size)
        assert place.digest("k") == sha256(blob(size))

    def test_force_that_fails_leaves_the_old_one(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.put("k", b"old")
        Path("f").write_bytes(blob(3 * PART))
        denied = Fault(Respond(403, "AccessDenied"), operation="UploadPart", nth=2)
        bucket.server.inject(denied)
        cacher("upload", "k", "f", "--force").failed(4)
        assert bucket.get("k") == b"old"
        assert bucket.leftovers() == []

    @pytest.mark.parametrize("size", [3, 3 * PART])
    def test_stdin_is_read_to_its_end(self, spawn: Spawn, place: Place, size: int) -> None:
        # Or the program that writes it would die of a broken pipe, and the build with it.
        place.put("k", blob(size))
        process = spawn("upload", "k", "-", stdin=-1)
        _, err = process.communicate(blob(size))
        assert process.returncode == 0
        assert b"warning" not in err
        process = spawn("upload", "k", "-", stdin=-1)
        _, err = process.communicate(blob(size, 1))
        assert process.returncode == 0
        assert b"with another SHA-256" in err
        assert place.get("k") == blob(size)


class TestStdin:
    @pytest.mark.parametrize("size", STREAMS)
    @pytest.mark.parametrize("told", [False, True])
    def test_a_pipe(self, cacher: Run, place: Place, size: int, told: bool) -> None:
        digest = ("--sha256", sha256(blob(size))) if told else ()
        with piped(blob(size)) as path:
            assert cacher("upload", "k", path, *digest).status == 0
        assert place.get("k") == blob(size)
        assert place.digest("k") == sha256(blob(size))
        assert place.leftovers() == []

    def test_what_is_left_of_it(self, spawn: Spawn, local: LocalPlace) -> None:
        Path("f").write_bytes(b"a header and a body")
        with open("f", "rb", buffering=0) as file:
            file.read(13)
            process = spawn("upload", "k", "-", stdin=file)
            process.communicate()
        assert process.returncode == 0
        assert local.get("k") == b"a body"

    @pytest.mark.parametrize("size", [3, 3 * PART])
    def test_another_digest(self, cacher: Run, place: Place, size: int) -> None:
        with piped(blob(size)) as path:
            err = cacher("upload", "k", path, "--sha256", "0" * 64).failed(5)
        assert "nothing was stored" in err
        assert place.keys() == place.leftovers() == []


class TestCosts:
    """A new small entry costs a look and a PUT, and without the look only that."""

    @pytest.mark.parametrize("how", ["file", "stdin"])
    def test_requests(self, cacher: Run, bucket: BucketPlace, how: str) -> None:
        Path("f").write_bytes(b"abc")
        argv = ["k", "f" if how == "file" else "-"]
        assert cacher("upload", *argv, stdin=b"abc").status == 0
        assert operations(bucket) == ["HeadObject", "PutObject"]
        bucket.server.forget()
        assert cacher("upload", *argv, "--force", stdin=b"abc").status == 0
        assert operations(bucket) == ["PutObject"]

    @pytest.mark.parametrize("size", [3, 3 * PART])
    @pytest.mark.parametrize("flags", [(), ("--force",)])
    def test_a_bucket_that_is_not_there(
        self, cacher: Run, bucket: BucketPlace, size: int, flags: tuple[str, ...]
    ) -> None:
        Path("f").write_bytes(blob(size))
        ended = cacher("upload", "k", "f", "--bucket", "nowhere", *flags)
        assert "the bucket 'nowhere' does not exist" in ended.failed(4)
        assert bucket.keys() == bucket.leftovers() == []


def operations(bucket: BucketPlace) -> list[str]:
    """What the store was asked, in order."""
    return [record.operation for record in bucket.server.requests]


class TestChanges:
    def test_a_file_that_grows_while_it_is_sent(self, cacher: Run, bucket: BucketPlace) -> None:
        file = Path("f")
        file.write_bytes(blob(3 * PART))
        pause = bucket.server.inject(Fault(Stall(0.5), operation="UploadPart"))
        growing = threading.Thread(target=_grow, args=(file, pause))
        growing.start()
        err = cacher("upload", "k", file).failed(7)
        growing.join()
        assert "f changed while it was read; nothing was stored" in err
        assert bucket.keys() == bucket.leftovers() == []


def _grow(file: Path, pause: Fault) -> None:
    while not pause.hits:
        threading.Event().wait(0.005)
    with open(file, "ab") as appending:
        appending.write(b"more")


class piped:
    """A name under which `data` can be read, once and in order."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __enter__(self) -> str:
        self._reading, self._writing = os.pipe()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()
        return f"/dev/fd/{self._reading}"

    def __exit__(self, *exc: object) -> None:
        os.close(self._reading)
        self._thread.join()

    def _write(self) -> None:
        with open(self._writing, "wb") as file:
            file.write(self._data)
