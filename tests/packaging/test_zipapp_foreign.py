"""The zipapp on arm64, on systems that have Python and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support import arm64, systems
from tests.support.servers import programs

pytestmark = [
    pytest.mark.release,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts, and qemu"),
]

PROC = "mount -t proc proc proc"

ROUND_TRIP = """\
ends 0 python3 cacher.pyz upload f tree/file
ends 0 python3 cacher.pyz download f again
cmp again tree/file
ends 0 python3 cacher.pyz exists f
ends 1 python3 cacher.pyz exists absent
ends 0 python3 cacher.pyz dir upload d tree
ends 0 python3 cacher.pyz dir download d restored
cmp restored/file tree/file
ends 0 python3 -c 'import os; print("machine:", os.uname().machine)'
ends 0 python3 cacher.pyz version
"""

WITHOUT_ZSTD = """\
ends 0 python3 cacher.pyz upload f tree/file
ends 0 python3 cacher.pyz exists f
ends 0 python3 cacher.pyz version
ends 7 python3 cacher.pyz dir upload d tree
"""

LEFT = {"cacher.pyz", "tree", "again", "restored", "store"}


@pytest.fixture(scope="module", params=systems.SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def root(suite: str) -> Path:
    try:
        return arm64.bare(suite)
    except programs.ProgramNotFound as missing:
        programs.unavailable(missing)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "work"
    (directory / "tree").mkdir(parents=True)
    (directory / "tree" / "file").write_bytes(os.urandom(100_000) + bytes(3_000_000))
    yield directory
    shutil.rmtree(directory)


def run(
    root: Path, work: Path, command: str, mounts: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    told = {"PATH": os.defpath, "CACHER_ENDPOINT": f"file://{systems.WORK}/store"}
    return arm64.run(root, command, work=work, environ=told, mounts=mounts)


def facts(stdout: str) -> dict[str, str]:
    """What `version` and the lines like its own tell."""
    return dict(line.split(": ", 1) for line in stdout.splitlines() if ": " in line)


@pytest.mark.parametrize("edition", ["cacher.pyz", "cacher-linux-arm64.pyz"])
def test_an_edition_for_arm64(suite: str, root: Path, work: Path, pyzs: Path, edition: str) -> None:
    shutil.copy(pyzs / edition, work / "cacher.pyz")
    done = run(root, work, ROUND_TRIP, [PROC])
    assert done.returncode == 0, done.stderr
    told = facts(done.stdout)
    assert told["machine"] == arm64.MACHINE
    assert tuple(map(int, told["python"].split(".")))[:2] >= systems.SUITES[suite]
    assert told["zstd"].endswith("loaded from memory")
    assert {path.name for path in work.iterdir()} == LEFT


def test_a_temporary_file(root: Path, work: Path, pyzs: Path) -> None:
    """Without /proc, memory has no name to load from."""
    shutil.copy(pyzs / "cacher-linux-arm64.pyz", work / "cacher.pyz")
    done = run(root, work, ROUND_TRIP, [])
    assert done.returncode == 0, done.stderr
    assert facts(done.stdout)["zstd"].endswith("loaded from a temporary file")
    assert {path.name for path in work.iterdir()} == LEFT


def test_the_edition_for_another_processor(suite: str, root: Path, work: Path, pyzs: Path) -> None:
    """Python 3.14 has a zstd of its own; others say which file to take."""
    shutil.copy(pyzs / "cacher-linux-amd64.pyz", work / "cacher.pyz")
    if systems.SUITES[suite] >= (3, 14):
        done = run(root, work, ROUND_TRIP, [PROC])
        assert done.returncode == 0, done.stderr
        assert facts(done.stdout)["zstd"].endswith("of this Python")
        return
    done = run(root, work, WITHOUT_ZSTD, [PROC])
    assert done.returncode == 0, done.stderr
    missing = "the linux-amd64 edition has no zstandard for it"
    assert facts(done.stdout)["zstd"].endswith(missing)
    *_, error, hint = done.stderr.splitlines()
    assert error.startswith("cacher: error: CPython 3.")
    assert f"(linux, {arm64.MACHINE})" in error
    assert error.endswith(missing)
    assert hint.startswith("cacher: hint: cacher.pyz is for every machine")
    assert {path.name for path in (work / "store").iterdir()} == {".cacher", "f"}
