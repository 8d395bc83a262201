"""`init` where something is wrong: nothing is written, and an older config file is as it was."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Spawn
from tests.cli.test_hanging import SCALED, SLACK
from tests.cli.test_signals import LONG, SIGNALS, stop, until
from tests.fakes.faults import Fault, Respond, Stall
from tests.support.cli_helpers import BucketPlace, LocalPlace, Unprivileged
from tests.support.configs import flags_of, read
from tests.support.doctor_helpers import Serve

SECRET = "MARKED-s3cret-0123456789abcdef"

OLD = 'endpoint = "file:///old"\njobs = "2"\n'


@pytest.fixture
def old(config: Path) -> Iterator[Path]:
    """An older config file, which must be left alone."""
    config.parent.mkdir(parents=True)
    config.write_text(OLD)
    yield config
    assert config.read_text() == OLD
    assert os.listdir(config.parent) == ["config.toml"]


class TestFailure:
    def test_wrong_credentials(
        self, cacher: Run, old: Path, unnamed: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = unnamed()
        monkeypatch.setenv("CACHER_S3_SECRET", "wrong")
        ended = cacher("init", *flags_of(place))
        err = ended.failed(4)
        assert "Invalid signature" in err
        assert "nothing was written" in err
        assert "--no-check writes the config without the check" in err

    def test_a_store_that_is_not_there(self, cacher: Run, old: Path, unnamed: Serve) -> None:
        place = unnamed()
        ended = cacher("init", *flags_of(place), "--endpoint", "http://127.0.0.1:1", "--json")
        assert "connection refused" in ended.failed(3)
        assert ended.json["error"]["kind"] == "store"
        assert ended.json["status"] == 3

    def test_a_store_that_fails(self, cacher: Run, old: Path, bucket: BucketPlace) -> None:
        bucket.server.inject(Fault(Respond(500), operation="PutObject", times=None))
        flags = flags_of(bucket)
        assert "the store failed" in cacher("init", *flags).failed(3)
        assert bucket.keys() == []

    @pytest.mark.parametrize("also", [None, "DeleteObject"])
    def test_a_store_that_takes_nothing(
        self, cacher: Run, old: Path, bucket: BucketPlace, also: str | None
    ) -> None:
        """What may have been written is deleted, if the store answers to that."""
        for operation in filter(None, ("PutObject", also)):
            bucket.server.inject(Fault(Stall(LONG), operation=operation, times=None))
        limits = SCALED._replace(write=LONG)
        began = time.monotonic()
        err = cacher("init", "--endpoint", bucket.server.endpoint, limits=limits).failed(3)
        assert time.monotonic() - began < limits.stall + limits.undo + SLACK
        assert "nothing was written" in err
        assert bucket.server.count(operation="DeleteObject") == 1
        assert bucket.keys() == []

    def test_no_check(self, cacher: Run, config: Path, unnamed: Serve) -> None:
        place = unnamed()
        ended = cacher("init", *flags_of(place), "--bucket", "nowhere", "--no-check")
        assert ended.status == 0
        assert ended.err == f"cacher: wrote {config}, unchecked\n"
        assert read(config) == {"endpoint": place.server.endpoint, "bucket": "nowhere"}
        assert place.server.requests == []

    @pytest.mark.parametrize("more", [[], ["--no-check"]])
    def test_a_bad_value(self, cacher: Run, old: Path, more: list[str]) -> None:
        assert "--jobs" in cacher("init", "--jobs", "0", *more).failed(2)
        login = cacher("init", "--endpoint", f"http://me:{SECRET}@h", *more).failed(2)
        assert SECRET not in login

    def test_an_older_file_that_is_no_config(self, cacher: Run, config: Path) -> None:
        config.parent.mkdir(parents=True)
        config.write_text("endpont = 1\n")
        assert "unknown key 'endpont' (line 1)" in cacher("init").failed(2)
        assert config.read_text() == "endpont = 1\n"

    def test_a_store_that_cannot_be_created(self, cacher: Run, old: Path) -> None:
        endpoint = (old / "store").as_uri()  # below a file
        err = cacher("init", "--endpoint", endpoint).failed(2)
        assert "nothing was written" in err

    @pytest.mark.parametrize("flag", ["--key-file", "--secret-file", "--ca-file"])
    def test_a_secret_in_place_of_its_file(
        self, cacher: Run, old: Path, unnamed: Serve, flag: str
    ) -> None:
        err = cacher("init", *flags_of(unnamed()), flag, SECRET).failed(2)
        assert f"{flag} names no file" in err
        assert SECRET not in err


class TestWriting:
    def test_it_appears_whole(
        self, cacher: Run, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[str, int, bool]] = []
        publish = os.replace

        def watch(source: str, target: str) -> None:
            if target == str(config):
                status = os.stat(source)
                text = Path(source).read_text()
                seen.append((text, stat.S_IMODE(status.st_mode), config.exists()))
            publish(source, target)

        monkeypatch.setattr(os, "replace", watch)
        assert cacher("init").status == 0
        assert seen == [(config.read_text(), 0o600, False)]

    def test_a_directory_that_may_not_be_written(
        self, cacher: Run, local: LocalPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cacher("init", "--no-check")  # everything is loaded while it may be read
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:
            os.chmod(directory, 0o555)
            with Unprivileged():
                ended = cacher("init", "--no-check", "--config", f"{directory}/config.toml")
            assert os.listdir(directory) == []
        assert "permission denied" in ended.failed(7)
        assert "--config names another file" in ended.err

    def test_a_file_where_the_directory_should_be(self, cacher: Run) -> None:
        Path("f").write_bytes(b"abc")
        ended = cacher("init", "--config", "f/config.toml", "--json")
        assert "cannot write f/config.toml" in ended.failed(7)
        assert ended.json["error"]["kind"] == "local"
        assert os.listdir() == ["f"]

    @SIGNALS
    def test_signals(self, spawn: Spawn, old: Path, bucket: BucketPlace, number: int) -> None:
        hang = bucket.server.inject(Fault(Stall(LONG), operation="PutObject"))
        process = spawn("init", *flags_of(bucket))
        until(lambda: hang.hits and bucket.keys())
        stop(process, number)
        assert bucket.keys() == []
