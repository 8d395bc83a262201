"""How long a command waits for what hangs: each row of the manual's table."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cacher.errors import StoreError
from cacher.http.transport import Transport
from cacher.s3.signing import Keys
from cacher.time_limits import LIMITS, Limits
from tests.cli.conftest import ROOT, Run
from tests.fakes.faults import Fault, Stall
from tests.support.cli_helpers import BucketPlace, blob
from tests.support.hanging_servers import BIG, ROWS, Row
from tests.support.stores import endpoint_of, open_store

FACTOR = 1 / 40

SCALED = LIMITS.scaled(FACTOR)._replace(write=1.5, commit=1.5, undo=0.5)
"""Two that would take long even so."""

FOREVER = 600.0

SLACK = 5.0
"""Seconds that a busy machine may add, and fewer than what went wrong took at this scale."""


STARTING = 30.0
"""Seconds that ten processes at once may take to start on a busy machine of two cores."""


@pytest.fixture(autouse=True)
def _files() -> None:
    Path("small").write_bytes(b"abc")
    Path("big").write_bytes(blob(BIG))
    Path("tree").mkdir()
    Path("tree/file").write_bytes(b"abc")


def command(row: Row, environ: dict[str, str], limits: Limits) -> list[str]:
    """The row's arguments."""
    meant = {"ORIGIN": environ.pop("ORIGIN", ""), "TIMEOUT": f"{limits.connect:g}"}
    return [meant.get(arg, arg) for arg in row.argv]


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_with_the_limits_scaled_down(
    row: Row, cacher: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with row.stage(FACTOR) as found:
        environ = dict(found)
        argv = command(row, environ, SCALED)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        began = time.monotonic()
        ended = cacher(*argv, limits=SCALED)
        seconds = time.monotonic() - began
    assert ended.status == row.status, ended.err
    assert re.search(row.said, ended.err), ended.err
    assert "Traceback" not in ended.err
    assert seconds < row.within(SCALED) + SLACK


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.argv == ("exists", "k")], ids=lambda row: row.name
)
def test_a_session_by_itself(row: Row) -> None:
    transport = Transport(
        connect_timeout=SCALED.connect,
        stall_timeout=SCALED.stall,
        speed_limits=SCALED,
        monotonic=time.monotonic,
    )
    with row.stage(FACTOR) as environ:
        endpoint = endpoint_of(environ["CACHER_ENDPOINT"], environ["CACHER_BUCKET"])
        keys = Keys(environ["CACHER_S3_KEY_ID"], environ["CACHER_S3_SECRET"])
        store = open_store(endpoint, keys, transport=transport, limits=SCALED)
        began = time.monotonic()
        with pytest.raises(StoreError, match=row.said):
            store.head("k")
        assert time.monotonic() - began < row.within(SCALED) + SLACK
        store.close()


@pytest.mark.slow
def test_a_signal_while_nothing_answers_any_more(cacher: Run, bucket: BucketPlace) -> None:
    """Undoing has its own time from the signal on, here less than that of a part."""
    for operation in ("UploadPart", "AbortMultipartUpload"):
        bucket.server.inject(Fault(Stall(60.0), operation=operation, times=None))
    began: list[float] = []

    def stop() -> None:
        while not bucket.server.count(operation="UploadPart"):
            time.sleep(0.01)
        began.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Thread(target=stop, daemon=True)
    stopping.start()
    limits = SCALED._replace(write=60.0)
    ended = cacher("--part-size", "5MiB", "upload", "k", "big", limits=limits)
    assert time.monotonic() - began[0] < limits.undo + SLACK
    assert ended.status == 128 + signal.SIGTERM
    stopping.join()


def test_the_manual_says_so() -> None:
    """The limits as they are, in the words of the table."""
    manual = (ROOT / "docs/manual.md").read_text()
    for seconds, row in (
        (LIMITS.refused, "the connection is refused, or the host's name has no address"),
        (LIMITS.unreachable, "nothing answers the connection request"),
        (LIMITS.silent, "no byte comes"),
        (2 * LIMITS.slow, "an answer trickles: less than 1 KiB/s over 30 s"),
        (LIMITS.write, "a PUT or a part is sent, and not answered"),
        (LIMITS.silent, "the deletion of several entries is sent, and not answered"),
        (LIMITS.commit + LIMITS.silent, "the completion of an upload is not answered"),
        (LIMITS.silent, "storing what a fallback has delivered makes no progress"),
        (LIMITS.undo, "after a signal, `--timeout` or a failure: what was begun is undone"),
    ):
        assert f"| {row} | {seconds:g} s" in manual


@pytest.mark.release
def test_with_the_limits_as_they_are(tmp_path: Path) -> None:
    """All rows at once, each in a process of its own: six minutes."""

    def play(row: Row) -> str:
        with row.stage(1.0) as found:
            given = dict(found)
            argv = command(row, given, LIMITS)
            environ = {**os.environ, **given, "PYTHONPATH": str(ROOT)}
            began = time.monotonic()
            ended = subprocess.run(
                [sys.executable, "-m", "cacher", *argv],
                env=environ,
                capture_output=True,
                text=True,
                timeout=FOREVER,
                cwd=tmp_path / "work" if not row.argv[1:] else _place(tmp_path, row),
            )
            seconds = time.monotonic() - began
        fine = ended.returncode == row.status and re.search(row.said, ended.stderr)
        fits = seconds < row.within(LIMITS) + STARTING
        line = f"{row.name}: {seconds:.1f} s of {row.within(LIMITS):g} s"
        print(line)
        return "" if fine and fits else f"{line}, exit {ended.returncode}: {ended.stderr}"

    long = [row for row in ROWS if row.within(LIMITS) > 100]
    short = [row for row in ROWS if row not in long]
    # Few at a time of those, or what is measured is how many can be started at once.
    with ThreadPoolExecutor(len(long)) as one, ThreadPoolExecutor(4) as other:
        played = one.map(play, long), other.map(play, short)
        wrong = [each for rows in played for each in rows if each]
    assert wrong == []


def _place(tmp_path: Path, row: Row) -> Path:
    """A directory of the row's own, with the same files."""
    place = tmp_path / re.sub(r"\W", "-", row.name)
    place.mkdir()
    for name in ("small", "big", "tree"):
        (place / name).symlink_to(tmp_path / "work" / name)
    return place
