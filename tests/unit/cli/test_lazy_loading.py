"""What starting the program loads, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.module_imports import ROOT

DEAR = ["dataclasses", "ssl", "tarfile", "typing", "urllib3", "zstandard"]
"""Modules that no command without a transfer may load."""

SCRIPT = """\
import json, sys
sys.path.insert(0, sys.argv[1])
from cacher.cli.main import main
status = main(sys.argv[3:])
with open(sys.argv[2], "w") as file:
    json.dump([status, sorted(sys.modules)], file)
"""


def start(directory: Path, *argv: str, site: bool = False) -> tuple[int, set[str]]:
    """Return the exit status of a run in a process of its own, and the modules it has loaded.

    Without `site` by default: on some machines it loads much before the program begins.
    """
    answer = directory / "answer.json"
    flags = ["-I"] if site else ["-I", "-S"]
    environ = {"HOME": str(directory), "PATH": os.defpath}
    result = subprocess.run(
        [sys.executable, *flags, "-c", SCRIPT, str(ROOT.parent), str(answer), *argv],
        env=environ,
        cwd=directory,
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    status, loaded = json.loads(answer.read_text())
    return status, set(loaded)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("--help", 0),
        ("help dir upload", 0),
        ("help options", 0),
        ("download --help", 0),
        ("delete --help", 0),
        ("version", 0),
        ("--version", 0),
        ("key deps-{os}-{arch}-{date}-{week}", 0),
        ("key deps --hash-from hashed.txt", 0),
        ("key deps-{hash} --hash-from *.txt", 0),
        ("key deps-{hsah}", 2),
        ("key a//b", 2),
        ("key deps --hash-from absent", 7),
        ("", 2),
        ("download", 2),
        ("download k f --frobnicate", 2),
        ("no-such-command", 2),
        ("--jobs", 2),
        ("list --sort colour", 2),
    ],
)
def test_a_start_without_a_transfer_is_cheap(tmp_path: Path, command: str, status: int) -> None:
    (tmp_path / "hashed.txt").write_text("hashed")
    found, loaded = start(tmp_path, *command.split())
    assert found == status
    assert not loaded.intersection(DEAR)
    assert "argparse" in loaded


def test_a_local_store_does_not_wait_for_http(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    store = f"--endpoint=file://{tmp_path}/store"
    for argv, expected in (
        (["upload", "k", "file"], 0),
        (["exists", "k"], 0),
        (["download", "k", "again"], 0),
        (["download", "absent", "again"], 1),
        (["list"], 0),
        (["delete", "k"], 0),
    ):
        status, loaded = start(tmp_path, store, *argv, site=True)
        assert status == expected
        assert not loaded & {"ssl", "tarfile", "urllib3", "zstandard"}, argv


def test_what_is_dear_can_be_seen(tmp_path: Path) -> None:
    """A store on a bucket loads HTTP, so the tests above can fail."""
    status, loaded = start(
        tmp_path, "--endpoint=http://127.0.0.1:9", "--bucket=cache", "exists", "k", site=True
    )
    assert status == 2  # no credentials
    assert {"ssl", "typing", "urllib3"} <= loaded
    # urllib3 loads these for HTTP/2, in a tenth of the time of a start.
    assert not loaded & {"dataclasses", "importlib.metadata", "inspect", "zipfile"}


def test_what_stands_for_http2_has_the_modules_of_it(tmp_path: Path) -> None:
    """Another urllib3 may want more of it."""
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(ROOT.parent)!r})
        import cacher.http.transport
        from urllib3.http2 import probe
        assert probe is sys.modules["urllib3.connection"].http2_probe
        assert "importlib.metadata" not in sys.modules
        print(probe.acquire_and_get("host", 443))
    """
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr
