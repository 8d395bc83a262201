"""Every exit status is reached, and what it stands for is told; `--timeout` ends whatever lasts."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Spawn
from tests.fakes.faults import Fault, Respond, Stall
from tests.fakes.origin import Origin, Reply
from tests.fakes.profile import AWS, DEFAULT_KEY, AccessKey, Profile
from tests.support.cli_helpers import MIB, BucketPlace, LocalPlace, Place, blob, sha256
from tests.support.doctor_helpers import Serve

ALL = [("exists", "k"), ("download", "k", "dest"), ("upload", "k", "f"), ("list",), ("delete", "k")]


@pytest.fixture
def files() -> Iterator[None]:
    """A file to upload and an older DEST, which are there afterwards as they were."""
    Path("f").write_bytes(b"abc")
    Path("dest").write_bytes(b"old")
    yield
    assert Path("dest").read_bytes() == b"old"
    assert sorted(os.listdir()) == ["dest", "f"]


def _without_words(err: str) -> str:
    """Without what the store said, which it does not in answer to a HEAD."""
    return err.replace("injected by the test (", "")


class TestTable:
    def test_0_done(self, cacher: Run, place: Place) -> None:
        Path("f").write_bytes(b"abc")
        for argv in (("upload", "k", "f"), ("exists", "k"), ("download", "k", "g"), ("list",)):
            assert cacher(*argv).status == 0
        assert cacher("delete", "k").status == 0

    def test_1_miss(self, cacher: Run, place: Place, files: None) -> None:
        for argv in (("exists", "k"), ("download", "k", "dest"), ("download", "k", "-")):
            ended = cacher(*argv)
            assert (ended.status, ended.err) == (1, "cacher: miss k\n")
        assert place.keys() == place.leftovers() == []

    def test_2_usage(self, cacher: Run, place: Place, files: None) -> None:
        for argv in (
            ("download", "k"),
            ("download", "/k", "dest"),
            ("download", "k", "dest", "--sha256", "x"),
            ("upload", "k", "f", "--jobs", "none"),
        ):
            cacher(*argv).failed(2)
        assert place.keys() == place.leftovers() == []

    @pytest.mark.parametrize("answer", [Respond(500, "InternalError"), Respond(503, "SlowDown")])
    def test_3_the_store_failed(
        self, cacher: Run, bucket: BucketPlace, files: None, answer: Respond
    ) -> None:
        bucket.server.inject(Fault(answer, times=None))
        for argv in ALL:
            assert f"the store failed: HTTP {answer.status}" in _without_words(
                cacher(*argv).failed(3)
            )
        assert bucket.keys() == bucket.leftovers() == []

    def test_3_the_store_is_not_there(
        self, cacher: Run, bucket: BucketPlace, files: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CACHER_ENDPOINT", "http://127.0.0.1:1")
        for argv in (("exists", "k"), ("download", "k", "dest"), ("upload", "k", "f"), ("list",)):
            err = cacher(*argv).failed(3)
            assert "http://127.0.0.1:1: connection refused" in err
            assert "hint: check --endpoint" in err

    @pytest.mark.parametrize(
        ("key", "says"),
        [
            (AccessKey(DEFAULT_KEY.id, "another"), "the store refused"),
            (AccessKey("another", "another"), "the store refused"),
            (replace(DEFAULT_KEY, write=False, read=False), "lacks the permission"),
        ],
    )
    def test_4_the_store_refused(
        self,
        cacher: Run,
        files: None,
        serve: Serve,
        monkeypatch: pytest.MonkeyPatch,
        key: AccessKey,
        says: str,
    ) -> None:
        serve(keys=[key])
        monkeypatch.setenv("CACHER_S3_KEY_ID", DEFAULT_KEY.id)
        monkeypatch.setenv("CACHER_S3_SECRET", DEFAULT_KEY.secret)
        for argv in ALL:
            assert says in cacher(*argv).failed(4)

    def test_4_a_key_that_may_only_read(self, cacher: Run, serve: Serve, files: None) -> None:
        serve(keys=[replace(DEFAULT_KEY, write=False)])
        assert cacher("exists", "k").status == 1
        assert "lacks the permission" in cacher("upload", "k", "f").failed(4)

    def test_4_no_space_in_the_bucket(self, cacher: Run, serve: Serve, files: None) -> None:
        serve(Profile(quota_bytes=2))
        err = cacher("upload", "k", "f").failed(4)
        assert "the store is full" in err
        assert "cacher delete --prefix" in err

    def test_4_a_clock_that_cannot_be_put_right(
        self, cacher: Run, bucket: BucketPlace, files: None
    ) -> None:
        skewed = Respond(403, "RequestTimeTooSkewed", headers={"Date": "nonsense"})
        bucket.server.inject(Fault(skewed, times=None))
        assert "this machine's clock" in cacher("download", "k", "dest").failed(4)

    def test_0_a_clock_and_a_region_that_are_wrong(
        self, cacher: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("f").write_bytes(b"abc")
        serve(replace(AWS, clock_offset=7200, region="eu-south-9"))
        monkeypatch.delenv("CACHER_REGION")
        for argv in (("upload", "k", "f"), ("exists", "k"), ("delete", "k")):
            assert cacher(*argv).status == 0

    def test_5_damaged(self, cacher: Run, place: Place, files: None) -> None:
        place.put("k", b"abc")
        place.corrupt("k")
        cacher("download", "k", "dest").failed(5)
        cacher("upload", "new", "f", "--sha256", "0" * 64).failed(5)
        assert place.keys() == ["k"]
        assert place.leftovers() == []

    def test_6_the_origin_failed(
        self, cacher: Run, place: Place, origin: Origin, files: None
    ) -> None:
        cacher("download", "k", "dest", "--url", origin.url("/none")).failed(6)
        assert place.keys() == place.leftovers() == []

    def test_7_this_machine(self, cacher: Run, place: Place, files: None) -> None:
        place.put("k", b"abc")
        cacher("upload", "new", "none").failed(7)
        cacher("download", "k", "f/g").failed(7)
        assert place.keys() == ["k"]

    def test_70_a_bug(
        self, cacher: Run, place: Place, files: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def confuse(*_: object) -> None:
            raise AssertionError("never")

        place.put("k", b"abc")
        monkeypatch.setattr("cacher.store.verified_reader.VerifiedReader.save", confuse)
        err = cacher("download", "k", "dest").failed(70)
        assert "a bug in cacher: AssertionError: never" in err
        assert "please report it" in err
        monkeypatch.setattr("cacher.keys.template.resolve_template", confuse)
        cacher("key", "k").failed(70)


class TestTimeout:
    @pytest.mark.parametrize("operation", ["HeadObject", "PutObject", "UploadPart"])
    def test_of_an_upload(self, cacher: Run, bucket: BucketPlace, operation: str) -> None:
        Path("f").write_bytes(blob(6 * MIB if operation == "UploadPart" else 3))
        bucket.server.inject(Fault(Stall(300), operation=operation))
        began = time.monotonic()
        err = cacher("upload", "k", "f", "--part-size=5MiB", "--timeout", "0.3").failed(3)
        assert time.monotonic() - began < 100
        assert "upload: not done after 0.3 s (--timeout)" in err
        assert bucket.leftovers() == []
        if operation != "PutObject":  # whose answer alone did not come
            assert bucket.keys() == []

    def test_of_a_download(self, cacher: Run, bucket: BucketPlace, files: None) -> None:
        bucket.put("k", blob(MIB))
        bucket.server.inject(Fault(Stall(30, after=1000), operation="GetObject"))
        cacher("download", "k", "dest", "--timeout", "0.3").failed(3)

    def test_of_an_origin(self, cacher: Run, place: Place, origin: Origin, files: None) -> None:
        url = origin.script("/f", Reply(body=blob(MIB), stall=30, stall_after=1000))
        err = cacher("download", "k", "dest", "--url", url, "--timeout", "0.3").failed(6)
        assert f"fetching {url}: not done after 0.3 s (--timeout)" in err
        assert place.keys() == place.leftovers() == []

    def test_of_storing_what_is_delivered_already(
        self, cacher: Run, bucket: BucketPlace, origin: Origin
    ) -> None:
        bucket.server.inject(Fault(Stall(30), operation="UploadPart"))
        url = origin.script("/f", Reply(body=blob(6 * MIB)))
        argv = ("download", "k", "f", "--url", url, "--part-size=5MiB", "--timeout", "1")
        ended = cacher(*argv)
        assert ended.status == 0
        assert ended.warnings == ["not stored for next time: not done after 1 s (--timeout)"]
        assert Path("f").read_bytes() == blob(6 * MIB)
        assert bucket.keys() == bucket.leftovers() == []

    def test_from_the_environment(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CACHER_TIMEOUT", "0.2")
        bucket.server.inject(Fault(Stall(30), operation="HeadObject"))
        cacher("exists", "k").failed(3)

    def test_it_does_not_ring_later(self, cacher: Run, local: LocalPlace) -> None:
        assert cacher("exists", "k", "--timeout", "0.2").status == 1
        time.sleep(0.3)


def at_most(size: int) -> None:
    """Let a process write no file of more bytes: a full disk, for those who have none."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


class TestNoSpace:
    @pytest.fixture
    def full(self, tmp_path: Path) -> Iterator[Path]:
        """A file system of a megabyte."""
        directory = tmp_path / "full"
        directory.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("only root can mount a tmpfs; the other tests here need none")
        yield directory
        subprocess.run(["umount", directory], check=True)

    def test_for_dest(self, cacher: Run, place: Place, full: Path) -> None:
        place.put("k", blob(2 * MIB))
        (full / "dest").write_bytes(b"old")
        err = cacher("download", "k", full / "dest").failed(7)
        assert "no space for" in err
        assert "cacher: hint: free some space" in err
        assert (full / "dest").read_bytes() == b"old"
        assert os.listdir(full) == ["dest"]

    @pytest.mark.parametrize("framing", ["length", "chunked"])
    def test_for_what_is_fetched(
        self, cacher: Run, place: Place, origin: Origin, full: Path, framing: str
    ) -> None:
        reply = Reply(body=blob(2 * MIB), framing=framing)  # type: ignore[arg-type]
        url = origin.script("/f", reply)
        assert "no space" in cacher("download", "k", full / "new/dest", "--url", url).failed(7)
        assert os.listdir(full) == []
        assert place.keys() == place.leftovers() == []

    def test_in_the_local_store(self, cacher: Run, full: Path) -> None:
        Path("f").write_bytes(blob(2 * MIB))
        place = LocalPlace(full / "store")
        place.put("old", b"old")
        endpoint = place.environment["CACHER_ENDPOINT"]
        assert "no space left" in cacher("upload", "k", "f", "--endpoint", endpoint).failed(7)
        assert place.keys() == ["old"]
        assert place.leftovers() == []

    def test_in_the_local_store_for_what_is_fetched(
        self, cacher: Run, origin: Origin, full: Path
    ) -> None:
        place = LocalPlace(full / "store")
        url = origin.script("/f", Reply(body=blob(2 * MIB)))
        endpoint = place.environment["CACHER_ENDPOINT"]
        ended = cacher("download", "k", "f", "--url", url, "--endpoint", endpoint)
        assert ended.status == 0
        assert "not stored for next time: no space left" in ended.warnings[0]
        assert Path("f").read_bytes() == blob(2 * MIB)
        assert place.keys() == place.leftovers() == []

    def test_a_stream_of_known_digest_needs_none(self, spawn: Spawn, bucket: BucketPlace) -> None:
        digest = sha256(blob(2 * MIB))
        argv = ("upload", "k", "-", "--sha256", digest)
        process = spawn(*argv, stdin=-1, preexec_fn=lambda: at_most(0))
        process.communicate(blob(2 * MIB))
        assert process.returncode == 0
        assert bucket.get("k") == blob(2 * MIB)
