"""Signals at the moments that matter: all is undone, soon, and the status tells which it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Spawn
from tests.fakes.faults import Fault, Respond, Stall, Trickle
from tests.fakes.origin import Origin, Reply
from tests.fakes.s3server import FakeS3Server
from tests.support.cli_helpers import (
    MIB,
    BucketPlace,
    LocalPlace,
    Place,
    blob,
    sha256,
    temporary_names,
)

pytestmark = pytest.mark.slow

LONG = 300.0
"""Seconds that nobody waits for: whatever takes as long has not ended by the signal."""

SOON = 100.0

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])


def until(true: Callable[[], object]) -> None:
    """Wait for something to happen in another process."""
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def stop(process: subprocess.Popen[bytes], number: int) -> str:
    """Send the signal; what the process still said, once it has ended by it, and soon."""
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=SOON)
    assert time.monotonic() - began < SOON
    assert process.returncode == 128 + number
    assert err.decode() == f"cacher: stopped by {signal.Signals(number).name}\n"
    return out.decode()


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHER_PART_SIZE", "5MiB")
    Path("f").write_bytes(blob(18 * MIB))


class TestUpload:
    @pytest.mark.parametrize(
        ("operation", "nth"),
        [("HeadObject", 1), ("UploadPart", 1), ("UploadPart", 3)],
    )
    def test_of_a_big_file(
        self, spawn: Spawn, bucket: BucketPlace, operation: str, nth: int
    ) -> None:
        hang = bucket.server.inject(Fault(Stall(LONG), operation=operation, nth=nth))
        process = spawn("upload", "k", "f")
        until(lambda: hang.hits)
        stop(process, signal.SIGTERM)
        assert bucket.keys() == bucket.leftovers() == []

    def test_while_the_id_of_the_upload_is_on_its_way(
        self, spawn: Spawn, bucket: BucketPlace
    ) -> None:
        # Without the id nobody could abort what the store has begun.
        slow = bucket.server.inject(Fault(Stall(1.0), operation="CreateMultipartUpload"))
        process = spawn("upload", "k", "f")
        until(lambda: slow.hits and bucket.leftovers())
        stop(process, signal.SIGTERM)
        assert bucket.keys() == bucket.leftovers() == []

    @pytest.mark.parametrize(
        ("operation", "size"), [("CompleteMultipartUpload", 18 * MIB), ("PutObject", 3)]
    )
    def test_too_late_it_is_there_and_whole(
        self, spawn: Spawn, bucket: BucketPlace, operation: str, size: int
    ) -> None:
        # The store has done as it was told; only its answer has not come.
        Path("f").write_bytes(blob(size))
        hang = bucket.server.inject(Fault(Stall(LONG), operation=operation))
        process = spawn("upload", "k", "f")
        until(lambda: hang.hits and bucket.keys())
        stop(process, signal.SIGTERM)
        assert bucket.get("k") == blob(size)
        assert bucket.digest("k") == sha256(blob(size))
        assert bucket.leftovers() == []

    def test_the_older_entry_stays(self, spawn: Spawn, bucket: BucketPlace) -> None:
        bucket.put("k", b"old")
        hang = bucket.server.inject(Fault(Stall(LONG), operation="UploadPart", nth=2))
        process = spawn("upload", "k", "f", "--force")
        until(lambda: hang.hits)
        stop(process, signal.SIGTERM)
        assert bucket.get("k") == b"old"
        assert bucket.leftovers() == []

    @SIGNALS
    @pytest.mark.parametrize("told", [True, False])
    def test_while_it_waits_for_stdin(
        self, spawn: Spawn, bucket: BucketPlace, number: int, told: bool
    ) -> None:
        digest = ("--sha256", sha256(blob(18 * MIB))) if told else ()
        process = spawn("upload", "k", "-", *digest, stdin=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(blob(12 * MIB))
        process.stdin.flush()
        # Unless the digest is told, the stream must end before anything of it is sent.
        until(lambda: bool(bucket.leftovers()) or not told)
        stop(process, number)
        assert bucket.keys() == bucket.leftovers() == []

    def test_while_it_waits_before_it_tries_again(self, spawn: Spawn, bucket: BucketPlace) -> None:
        busy = Respond(503, "SlowDown", headers={"Retry-After": "20"})
        fault = bucket.server.inject(Fault(busy, operation="UploadPart", times=None))
        process = spawn("upload", "k", "f")
        until(lambda: fault.hits)
        stop(process, signal.SIGTERM)
        assert bucket.keys() == bucket.leftovers() == []


@pytest.fixture
def old() -> Iterator[Path]:
    """A DEST that is there already, and must be left alone."""
    path = Path("dest")
    path.write_bytes(b"old")
    yield path
    assert path.read_bytes() == b"old"
    assert sorted(os.listdir()) == ["dest", "f"]


class TestDownload:
    @pytest.mark.parametrize("action", [Stall(LONG), Stall(LONG, after=MIB), Trickle(MIB)], ids=str)
    @pytest.mark.parametrize("nth", [1, 2])
    def test_of_a_big_entry(
        self, spawn: Spawn, bucket: BucketPlace, old: Path, action: Stall | Trickle, nth: int
    ) -> None:
        bucket.put("k", blob(18 * MIB))
        hang = bucket.server.inject(Fault(action, operation="GetObject", nth=nth))
        process = spawn("download", "k", old)
        until(lambda: hang.hits)
        stop(process, signal.SIGTERM)
        assert temporary_names(Path()) == []

    @pytest.mark.parametrize("dest", ["new/g", "-"])
    def test_from_an_origin(self, spawn: Spawn, place: Place, origin: Origin, dest: str) -> None:
        url = origin.script("/f", Reply(body=blob(MIB), stall=LONG, stall_after=1000))
        process = spawn("download", "k", dest, "--url", url)
        origin.wait_for()
        assert stop(process, signal.SIGTERM) == ""
        assert os.listdir() == ["f"]
        assert place.keys() == place.leftovers() == []

    def test_while_the_origins_file_is_stored(
        self, spawn: Spawn, bucket: BucketPlace, origin: Origin
    ) -> None:
        url = origin.script("/f", Reply(body=blob(18 * MIB)))
        hang = bucket.server.inject(Fault(Stall(LONG), operation="UploadPart", nth=2))
        process = spawn("download", "k", "g", "--url", url)
        until(lambda: hang.hits)
        stop(process, signal.SIGTERM)
        assert Path("g").read_bytes() == blob(18 * MIB)  # it was delivered before
        assert bucket.keys() == bucket.leftovers() == []

    @SIGNALS
    def test_while_nobody_reads_stdout(self, spawn: Spawn, local: LocalPlace, number: int) -> None:
        local.put("k", blob(MIB))
        process = spawn("download", "k", "-")
        assert process.stdout is not None
        assert process.stdout.read(1)
        process.send_signal(number)
        assert process.wait(SOON) == 128 + number


class TestManners:
    def test_json_tells_it(self, spawn: Spawn, bucket: BucketPlace) -> None:
        hang = bucket.server.inject(Fault(Stall(LONG), operation="HeadObject"))
        process = spawn("exists", "k", "--json")
        until(lambda: hang.hits)
        told = json.loads(stop(process, signal.SIGTERM))
        assert (told["command"], told["outcome"], told["status"]) == ("exists", "stopped", 143)
        assert told["error"]["kind"] == "signal"

    def test_a_terminal_that_closes(self, spawn: Spawn, bucket: BucketPlace) -> None:
        hang = bucket.server.inject(Fault(Stall(LONG), operation="UploadPart"))
        process = spawn("upload", "k", "f")
        until(lambda: hang.hits)
        stop(process, signal.SIGHUP)
        assert bucket.keys() == bucket.leftovers() == []

    def test_cleaning_up_is_not_interrupted(self, spawn: Spawn, bucket: BucketPlace) -> None:
        hang = bucket.server.inject(Fault(Stall(LONG), operation="UploadPart", nth=2))
        slow = bucket.server.inject(Fault(Stall(0.5), operation="AbortMultipartUpload"))
        process = spawn("upload", "k", "f")
        until(lambda: hang.hits)
        process.send_signal(signal.SIGINT)
        until(lambda: slow.hits)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SOON)
        assert process.returncode == 130
        assert bucket.leftovers() == []

    def test_several_at_once_are_one(self, spawn: Spawn, bucket: BucketPlace) -> None:
        """As a CI service sends them, which ends a job by group and by process."""
        hang = bucket.server.inject(Fault(Stall(LONG), operation="UploadPart", nth=2))
        process = spawn("upload", "k", "f")
        until(lambda: hang.hits)
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process.send_signal(number)
            time.sleep(0.01)
        _, err = process.communicate(timeout=SOON)
        assert process.returncode == 128 + signal.SIGTERM
        assert err == b"cacher: stopped by SIGTERM\n"
        assert bucket.keys() == bucket.leftovers() == []

    @SIGNALS
    def test_another_one_later_ends_it_at_once(
        self, spawn: Spawn, bucket: BucketPlace, number: int
    ) -> None:
        hang = bucket.server.inject(Fault(Stall(LONG), operation="UploadPart", nth=2))
        slow = bucket.server.inject(Fault(Stall(LONG), "AbortMultipartUpload", times=None))
        process = spawn("upload", "k", "f")
        until(lambda: hang.hits)
        process.send_signal(signal.SIGTERM)
        until(lambda: slow.hits)
        time.sleep(1.3)
        assert process.poll() is None
        # On a busy machine its own second may not be over yet.
        while process.poll() is None:
            process.send_signal(number)
            time.sleep(0.05)
        out, err = process.communicate(timeout=SOON)
        assert (process.returncode, out, err) == (-number, b"", b"")

    def test_a_store_that_is_gone_does_not_hold_it_up(
        self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FakeS3Server() as server:
            for name, value in BucketPlace(server).environment.items():
                monkeypatch.setenv(name, value)
            hang = server.inject(Fault(Stall(LONG), operation="UploadPart", nth=2))
            process = spawn("upload", "k", "f")
            until(lambda: hang.hits)
        stop(process, signal.SIGINT)  # there is nobody left to abort the upload

    def test_a_background_job_goes_on(self, spawn: Spawn, local: LocalPlace) -> None:
        def ignore() -> None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for `cacher ... &`

        process = spawn("upload", "k", "-", stdin=subprocess.PIPE, preexec_fn=ignore)
        assert process.stdin is not None
        process.stdin.write(b"abc")
        process.stdin.flush()
        until(lambda: os.listdir(os.environ["TMPDIR"]) or _is_reading(process))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SOON)
        assert process.returncode == 0
        assert local.get("k") == b"abc"


def _is_reading(process: subprocess.Popen[bytes]) -> bool:
    """Whether all that was written to the process's stdin has been taken."""
    import fcntl
    import termios

    assert process.stdin is not None
    left = fcntl.ioctl(process.stdin, termios.FIONREAD, b"\0" * 4)
    return not int.from_bytes(left, "little")
