"""`tests/run`, with stand-ins for all that it starts but pytest: what its last lines say.

And that a test which hangs is one failure of a run that goes on.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.servers import programs

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow

SOON = 60.0

# As `python -m venv` and pip, but with programs that find nothing to complain of.
PYTHON = f"""\
#!/bin/sh
case "$1 $2" in
"-m venv")
    mkdir -p "$3/bin"
    cp "$0" "$3/bin/python"
    printf '#!/bin/sh\\n' >"$3/bin/ruff"
    chmod +x "$3/bin/ruff"
    cp "$3/bin/ruff" "$3/bin/mypy" ;;
"-m pip") ;;
*) exec {sys.executable} "$@" ;;
esac
"""

HANGS = """\
import threading, time
import pytest
from cacher.cli.main import main

def test_event():
    threading.Event().wait()

def test_main_in_this_process(server):
    main(["exists", "k", *server])

def test_main_with_a_time_limit_of_its_own(server):
    assert main(["exists", "k", "--timeout", "0.1", *server]) == 3

@pytest.fixture
def stuck():
    yield
    threading.Event().wait()

def test_tear_down_after_a_failure(stuck):
    assert False

def test_whose_exception_is_lost():
    try:
        threading.Event().wait()
    except BaseException:
        threading.Event().wait()

@pytest.fixture
def server(monkeypatch):
    import socket
    monkeypatch.setenv("CACHER_S3_KEY_ID", "a")
    monkeypatch.setenv("CACHER_S3_SECRET", "b")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        place = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        yield "--endpoint", place, "--bucket", "bucket"

def test_the_last():
    pass
"""

FAILS = """\
import os, pathlib, time
import pytest
from tests.support.servers import process

def test_fails():
    assert 1 == 2

@pytest.fixture(scope="session")
def server():
    here, env = pathlib.Path(), dict(os.environ)
    with process.running(["sleep", "600"], log=here / "log", env=env, cwd=here) as running:
        yield running.pid
    (here / "server-stopped").touch()

def test_goes_on(server):
    failed = pathlib.Path(os.environ["CACHER_TEST_REPORTS"], "failed")
    while not failed.exists():
        time.sleep(0.01)
    pathlib.Path("pids.new").write_text(f"{os.getppid()} {os.getpid()} {server}")
    os.rename("pids.new", "pids")
    time.sleep(600)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one test of its own, which `tests/run` takes for this project."""
    place = tmp_path / "checkout"
    (place / "tests/support/servers").mkdir(parents=True)
    for name in ("README.md", "LICENSE", "tests/__init__.py", "tests/support/__init__.py"):
        (place / name).touch()
    (place / "cacher").symlink_to(ROOT / "cacher")
    for name in (
        "run",
        "support/programs.txt",
        "support/progress_file.py",
        "support/servers/__init__.py",
        "support/servers/process.py",
        "support/time_limit.py",
    ):
        shutil.copy(ROOT / "tests" / name, place / "tests" / name)
    shutil.copy(ROOT / "pyproject.toml", place)
    plugins = 'pytest_plugins = ("tests.support.progress_file", "tests.support.time_limit")\n'
    (place / "tests/conftest.py").write_text(plugins)
    return place


def started(checkout: Path, *argv: str, path: str = "", **environ: str) -> subprocess.Popen[str]:
    python = checkout.parent / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    settings = {"PYTHON": str(python), "CACHER_TEST_CACHE": str(checkout.parent / "cache")}
    environ = {"PATH": path or os.environ["PATH"], "HOME": str(checkout.parent)} | environ
    return subprocess.Popen(
        ["bash", checkout / "tests/run", "--quick", "-p", "no:cacheprovider", *argv],
        cwd=checkout,
        env=settings | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def said(run: subprocess.Popen[str]) -> list[str]:
    out, _ = run.communicate(timeout=SOON)
    return out.splitlines()


def without_system(tmp_path: Path, *names: str) -> str:
    """A PATH with what the script itself needs, without apt-get and with little else."""
    place = tmp_path / "bin"
    place.mkdir()
    needed = (
        "bash cat chmod cp cut date dirname find flock head mkdir mktemp rm rmdir sed sha256sum"
    )
    for name in [*needed.split(), "sleep", "sort", "touch", *names]:
        found = shutil.which(name)
        assert found, name
        (place / name).symlink_to(found)
    return str(place)


def test_a_failure_is_named_last(checkout: Path) -> None:
    (checkout / "tests/test_it.py").write_text(FAILS)
    run = started(checkout, "-k", "fails")
    lines = said(run)
    assert run.returncode == 1
    first = lines.index("tests/run: these failed:")
    assert lines[first + 1] == "    tests/test_it.py::test_fails"
    reports = Path(lines[first + 2].removeprefix("tests/run: what is known of each: "))
    assert "assert 1 == 2" in reports.read_text()
    assert lines[first + 3 :][0].startswith("tests/run: FAILED after ")
    assert lines[-1].endswith(" s: pytest")


def test_a_step_that_fails_is_named_last(checkout: Path) -> None:
    (checkout / "tests/test_it.py").write_text(FAILS)
    run = started(checkout, "--no-such-flag")
    lines = said(run)
    assert run.returncode == 4
    assert lines[-1].startswith("tests/run: FAILED after ")
    assert lines[-1].endswith(" s: pytest")
    assert "tests/run: these failed:" not in lines


def test_all_that_passed_leaves_no_reports(checkout: Path) -> None:
    (checkout / "tests/test_it.py").write_text("def test(): pass\n")
    run = started(checkout)
    lines = said(run)
    assert lines[-1].startswith("tests/run: all passed, in "), lines
    assert run.returncode == 0
    assert os.listdir(checkout.parent / "cache/reports") == []
    assert not list((checkout.parent / "cache").glob("tmp.*"))


def pids_of(checkout: Path) -> tuple[int, int, int]:
    """The ids of pytest, of its worker in the test which goes on, and of the server there."""
    place = checkout / "pids"
    end = time.monotonic() + SOON
    while not place.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    main, worker, server = map(int, place.read_text().split())
    return main, worker, server


def none_goes_on(pids: tuple[int, ...]) -> bool:
    """Whether these processes end, without a parent that would tell."""
    end = time.monotonic() + SOON
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() >= end:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize(
    ("number", "everybody"),
    [
        pytest.param(signal.SIGINT, False, id="int"),
        pytest.param(signal.SIGINT, True, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, False, id="term"),
        pytest.param(signal.SIGHUP, False, id="hup"),
    ],
)
def test_a_run_that_is_stopped_sums_up_and_stops_servers(
    checkout: Path, number: signal.Signals, everybody: bool
) -> None:
    (checkout / "tests/test_it.py").write_text(FAILS)
    run = started(checkout)
    pids = pids_of(checkout)
    if everybody:
        os.killpg(run.pid, number)
    else:
        run.send_signal(number)
    lines = said(run)
    assert run.returncode == 128 + number
    assert "1 failed" in "".join(lines)  # pytest's own, with the traceback
    assert "    tests/test_it.py::test_fails" in lines
    assert lines[-1].startswith(f"tests/run: STOPPED by {number.name} after ")
    assert lines[-1].endswith(" s: pytest, in tests/test_it.py::test_goes_on")
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert (checkout / "server-stopped").exists()


def test_a_pytest_that_is_killed_is_summed_up(checkout: Path) -> None:
    """As where memory ran out."""
    (checkout / "tests/test_it.py").write_text(FAILS)
    run = started(checkout)
    pids = pids_of(checkout)
    os.kill(pids[0], signal.SIGKILL)
    lines = said(run)
    assert run.returncode == 128 + signal.SIGKILL
    assert "    tests/test_it.py::test_fails" in lines
    assert lines[-1].endswith(" s: pytest, in tests/test_it.py::test_goes_on")
    assert none_goes_on(pids)


def test_a_worker_that_is_killed_is_one_failure(checkout: Path) -> None:
    (checkout / "tests/test_it.py").write_text(FAILS)
    run = started(checkout)
    _main, worker, server = pids_of(checkout)
    os.kill(worker, signal.SIGKILL)
    lines = said(run)
    assert run.returncode == 1
    first = lines.index("tests/run: these failed:")
    names = ["    tests/test_it.py::test_fails", "    tests/test_it.py::test_goes_on"]
    assert lines[first + 1 : first + 3] == names
    assert lines[-1].endswith(" s: pytest")
    assert none_goes_on((worker, server))


def test_what_is_missing_is_named_and_the_run_goes_on(checkout: Path, tmp_path: Path) -> None:
    (checkout / "tests/test_it.py").write_text("def test(): pass\n")
    names = ("fish", "mandoc", "strace", "tidy", "zsh", "curl", "git", "openssl", "tar", "unshare")
    there = [name for name in names if shutil.which(name)]
    run = started(checkout, path=without_system(tmp_path, "setpriv", *there))
    lines = said(run)
    assert run.returncode == 0, lines
    (missing,) = [line for line in lines if "their tests are skipped" in line]
    assert {"bsdtar", "zstd"} <= set(missing.split())
    (provided,) = [line for line in lines if "on Debian this provides them" in line]
    assert provided.endswith(" libarchive-tools zstd") or len(there) < len(names)


def test_a_hang_is_one_failure(checkout: Path) -> None:
    (checkout / "tests/test_it.py").write_text(HANGS)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-n2",
            "--timeout=1",
            "-q",
            "tests",
        ],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("4 failed, 2 passed, 1 error in "), done.stdout
    for name in ("event", "main_in_this_process", "whose_exception_is_lost"):
        assert f"FAILED tests/test_it.py::test_{name} - Failed: took over 1 s" in done.stdout
    assert "ERROR tests/test_it.py::test_tear_down_after_a_failure - Failed: took" in done.stdout


def test_a_program_is_provided_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert programs.PACKAGES["bsdtar"] == "libarchive-tools"
    monkeypatch.setenv("PATH", "")
    with pytest.raises(programs.ProgramNotFound, match="apt-get install libarchive-tools"):
        programs.find("bsdtar")
