"""Processes of servers: started apart, stopped for certain, and open about a failed start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.servers import process, programs
from tests.support.servers.base import Credentials, Server, serving

STUBBORN = """\
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""


def started(script: str, directory: Path) -> subprocess.Popen[bytes]:
    """A Python process that runs `script`, after it has said its first line."""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=directory)
    assert child.stdout is not None
    assert child.stdout.readline()
    child.stdout.close()
    return child


def test_a_deaf_process_is_killed(tmp_path: Path) -> None:
    child = started(STUBBORN, tmp_path)
    process.stop(child, grace=0.2)
    assert child.returncode == -signal.SIGKILL


def test_a_stopped_process_still_heeds_sigterm(tmp_path: Path) -> None:
    child = started("import time; print('up', flush=True); time.sleep(600)", tmp_path)
    child.send_signal(signal.SIGSTOP)
    process.stop(child)
    assert child.returncode == -signal.SIGTERM


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends orphans for us")
def test_a_server_does_not_outlive_a_killed_test_run(tmp_path: Path) -> None:
    programs.require("setpriv")
    script = (
        "import os, pathlib, time\n"
        "from tests.support.servers import process\n"
        "here = pathlib.Path()\n"
        "with process.running(['sleep', '600'], log=here / 'log', env={'PATH': os.environ['PATH']},"
        " cwd=here) as server:\n"
        "    print(server.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    root = Path(__file__).parents[3]
    run = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert run.stdout is not None
    with run.stdout:
        pid = int(run.stdout.readline())
    while Path(f"/proc/{pid}/comm").read_text() != "sleep\n":  # not yet tied
        time.sleep(0.01)
    run.kill()
    run.wait()
    assert ended(pid)


def ended(pid: int) -> bool:
    """Whether the orphan `pid` is gone, or a zombie, within five seconds."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_failed_start_shows_the_end_of_the_log(tmp_path: Path) -> None:
    (port,) = process.free_ports(1)
    server = Server(
        name="broken",
        endpoint=f"http://{process.LOOPBACK}:{port}",
        region="us-east-1",
        credentials=Credentials.new(),
        directory=tmp_path,
    )
    command = [sys.executable, "-c", "import sys; sys.exit('no such flag')"]
    with (
        pytest.raises(process.StartFailed, match=r"broken exited 1\nno such flag"),
        serving(server, command, env={}),
    ):
        pytest.fail("it serves")


def test_free_ports_are_distinct() -> None:
    assert len(set(process.free_ports(200))) == 200


def test_a_secret_is_not_shown() -> None:
    credentials = Credentials.new()
    assert credentials.secret_key not in repr(credentials)


def test_programs_come_from_the_cache_of_tests_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(programs.ProgramNotFound, match="to provide it: tests/run"):
        programs.find("weed", package="seaweedfs", provider="tests/run")
    kept = tmp_path / "seaweedfs-4.48" / "bin" / "weed"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert programs.find("weed", package="seaweedfs", provider="tests/run") == kept


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_a_missing_program_fails_only_ci(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="to provide it: a-command"):
        programs.require("no-such-program", provider="a-command")
