"""What every test of the command line gets: a way to run it, stores, an origin, and a last look.

`cacher` runs in this process, on the real stdin, stdout and stderr; `spawn` starts it in a process
of its own, for signals and terminals. After each test nothing may be left behind anywhere.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cacher.cli.main import main
from cacher.time_limits import LIMITS, Limits
from tests.fakes.origin import Origin
from tests.fakes.s3server import FakeS3Server
from tests.support.cli_helpers import BucketPlace, Ended, LocalPlace, Place, temporary_names
from tests.support.configs import config_below, unnamed_servers
from tests.support.doctor_helpers import Serve, servers

ROOT = Path(__file__).parents[2]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)

STALL_TIMEOUT = 0.3
"""Seconds without a byte after which these tests' clients give a connection up: 15 in earnest."""


@pytest.fixture(autouse=True)
def _stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A working directory, a directory for temporary files, and nothing left in either."""
    work, temporary = tmp_path / "work", tmp_path / "tmp"
    work.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    # Back-off is a random share of a time, so with a share of nothing nobody waits.
    monkeypatch.setattr(random, "random", lambda: 0.0)
    yield
    assert temporary_names(tmp_path) == []
    assert os.listdir(temporary) == []


@pytest.fixture
def server() -> Iterator[FakeS3Server]:
    """The S3 server; no test may leave an upload open in it, nor offend it."""
    with FakeS3Server() as server:
        yield server
        assert not server.uploads
        assert server.violations == []


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LocalPlace:
    """A store in a directory, which the environment names."""
    place = LocalPlace(tmp_path / "store")
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    return place


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, server: FakeS3Server) -> BucketPlace:
    """A store on the S3 server, which the environment names."""
    place = BucketPlace(server)
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    return place


@pytest.fixture(params=["local", "bucket"])
def place(request: pytest.FixtureRequest) -> Place:
    """Each kind of store: the test runs on both."""
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start a store of any manners, which the environment names."""
    with servers(monkeypatch) as start:
        yield start


@pytest.fixture
def unnamed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start a store of which the environment names the credentials alone."""
    with unnamed_servers(monkeypatch) as start:
        yield start


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where the config file is looked for."""
    return config_below(tmp_path)


@pytest.fixture
def origin() -> Iterator[Origin]:
    """Where files come from."""
    with Origin() as origin:
        yield origin


@pytest.fixture
def impatient() -> None:
    """Silence is noticed after a moment."""


@pytest.fixture
def usual(request: pytest.FixtureRequest) -> Limits:
    """The limits of a command that is given no others."""
    hasty = LIMITS._replace(stall=STALL_TIMEOUT, silent=10 * STALL_TIMEOUT)
    return hasty if "impatient" in request.fixturenames else LIMITS


Run = Callable[..., Ended]
"""`cacher("download", key, dest)`; `stdin` is what it can read, `limits` how long it waits."""

Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def cacher(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path, usual: Limits
) -> Iterator[Run]:
    """Run the command in this process."""
    fed = open(tmp_path / "stdin", "w+b", buffering=0)  # noqa: SIM115 - once, as whoever it is now

    def run(*argv: str | os.PathLike[str], stdin: bytes = b"", limits: Limits = usual) -> Ended:
        capfdbinary.readouterr()
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        fed.truncate(0)
        os.pwrite(fed.fileno(), stdin, 0)
        fed.seek(0)
        old = os.dup(0)
        os.dup2(fed.fileno(), 0)
        try:
            status = main([os.fspath(arg) for arg in argv], limits)
        finally:
            os.dup2(old, 0)
            os.close(old)
            for number, handler in handlers.items():
                signal.signal(number, handler)
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Ended(status, out, err.decode())

    with fed:
        yield run


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start the command in a process of its own; whatever still runs is killed in the end."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*argv: str | os.PathLike[str], **options: object) -> subprocess.Popen[bytes]:
        settings: dict[str, object] = {"stdin": subprocess.DEVNULL}
        settings |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        environ.pop("PYTHONUNBUFFERED", None)  # as users have it
        command = [sys.executable, "-m", "cacher", *(os.fspath(arg) for arg in argv)]
        process = subprocess.Popen(command, env=environ, **settings)  # type: ignore[call-overload]
        running.append(process)
        return process  # type: ignore[no-any-return]

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
