"""What docs/security.md says of keys holds on the store that it says it of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.origin import Origin, Reply
from tests.packaging.test_readme import blocks
from tests.support.servers import programs
from tests.support.servers.base import Server

ROOT = Path(__file__).parents[2]

(COMMANDS,) = blocks(ROOT / "docs/security.md", "sh")

BUCKET = "ci-cache"


@pytest.fixture
def keys(garage: Server, tmp_path: Path) -> dict[str, dict[str, str]]:
    """The page's commands, on a running Garage; the settings of each key, by its name."""
    place = tmp_path / "bin"
    place.mkdir()
    real = programs.find("garage", package="garage", provider="tests/run --all")
    (place / "garage").write_text(
        f'#!/bin/sh\nexec {real} -c {garage.directory}/garage.toml "$@"\n'
    )
    (place / "garage").chmod(0o755)
    path = f"{place}:{os.environ['PATH']}"

    def run(command: str) -> str:
        done = subprocess.run(
            ["sh", "-ec", command], env={"PATH": path}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(COMMANDS)
    found = {}
    for name in ("ci", "ci-readers"):
        told = run(f"garage key info --show-secret {name}")
        found[name] = {
            "CACHER_ENDPOINT": garage.endpoint,
            "CACHER_BUCKET": BUCKET,
            "CACHER_S3_KEY_ID": re.findall(r"Key ID: +(\S+)", told)[0],
            "CACHER_S3_SECRET": re.findall(r"Secret key: +(\S+)", told)[0],
        }
    return found


def test_a_reader_reads_and_does_not_write(keys: dict[str, dict[str, str]], tmp_path: Path) -> None:
    def cacher(key: str, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cacher", *argv],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **keys[key]},
            capture_output=True,
            text=True,
        )

    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("1\n")
    assert cacher("ci", "dir", "upload", "tree", "tree").returncode == 0
    assert cacher("ci", "upload", "file", "tree/file").returncode == 0
    for argv in ("dir download tree again", "download file -", "exists file", "list"):
        assert cacher("ci-readers", *argv.split()).returncode == 0, argv
    for argv in (
        "upload new tree/file",
        "upload file tree/file --force",
        "dir upload new tree",
        "delete file",
    ):
        done = cacher("ci-readers", *argv.split())
        assert done.returncode == 4, (argv, done.stderr)
    with Origin() as origin:
        url = origin.script("/f", Reply(body=b"from upstream"))
        done = cacher("ci-readers", "download", "new", "new", "--url", url)
    assert done.returncode == 0
    assert "cacher: warning: " in done.stderr
    assert (tmp_path / "new").read_bytes() == b"from upstream"
    listed = cacher("ci", "list").stdout
    assert [line.partition("\t")[0] for line in listed.splitlines()] == ["file", "tree"]
