"""The zipapp on systems that have Python and nothing else, and that allow little."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import systems
from tests.daemons.docker import Daemon
from tests.servers import programs

pytestmark = [
    pytest.mark.release,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="chroot and mounts"),
]

PROC = "mount -t proc proc ./proc"

NULL = "mount -t tmpfs -o mode=755 dev ./dev && touch ./dev/null ./dev/urandom && \
mount --bind /dev/null ./dev/null && mount --bind /dev/urandom ./dev/urandom"

READ_ONLY = "mount -o remount,bind,ro ."

NOEXEC_TMP = "mount -t tmpfs -o noexec,mode=1777 tmp ./tmp"

NOEXEC = [
    # Wherever something can be written, nothing can be run.
    f"mount -o remount,bind,noexec .{systems.WORK}",
    NOEXEC_TMP,
    READ_ONLY,
]

ROUND_TRIP = """\
python3 cacher.pyz upload f tree/file
python3 cacher.pyz download f again
cmp again tree/file
./cacher.pyz exists f
! ./cacher.pyz exists absent
./cacher.pyz dir upload d tree
./cacher.pyz dir download d restored
cmp restored/file tree/file
./cacher.pyz version
"""

WAYS = {
    "as it is": ([PROC], "root", "loaded from memory"),
    "without /proc": ([], "root", "loaded from a temporary file"),
    "read-only": ([PROC, READ_ONLY], "root", "loaded from memory"),
    "nobody": ([PROC], "nobody", "loaded from memory"),
    "noexec /tmp": ([NOEXEC_TMP], "root", "loaded from a temporary file"),
    "noexec /tmp, read-only, nobody": (
        [NOEXEC_TMP, READ_ONLY],
        "nobody",
        "loaded from a temporary file",
    ),
}


@pytest.fixture(scope="module", params=systems.SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(suite: str) -> Path:
    try:
        return systems.bare(suite)
    except programs.ProgramNotFound as missing:
        programs.unavailable(missing)


@pytest.fixture
def work(pyzs: Path, tmp_path: Path) -> Iterator[Path]:
    """A directory that anybody may write to, with the zipapp and a tree."""
    directory = tmp_path / "work"
    (directory / "tree").mkdir(parents=True)
    (directory / "tree" / "file").write_bytes(os.urandom(100_000) + bytes(3_000_000))
    shutil.copy(pyzs / "cacher.pyz", directory)
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


def run(
    root: Path, work: Path, command: str, mounts: list[str], user: str = "root", **environ: str
) -> subprocess.CompletedProcess[str]:
    told = {"PATH": os.defpath, "CACHER_ENDPOINT": f"file://{systems.WORK}/store", **environ}
    return systems.run(root, command, work=work, environ=told, mounts=[NULL, *mounts], user=user)


@pytest.mark.parametrize("way", WAYS)
def test_a_bare_system(suite: str, root: Path, work: Path, way: str) -> None:
    mounts, user, loaded = WAYS[way]
    done = run(root, work, ROUND_TRIP, mounts, user)
    assert done.returncode == 0, done.stderr
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines()[1:])
    python = tuple(map(int, told["python"].split(".")))
    assert python[:2] >= systems.SUITES[suite]
    assert told["zstd"].endswith(loaded)
    left = {path.name for path in work.iterdir()}
    assert left == {"cacher.pyz", "tree", "again", "restored", "store"}


def test_where_nothing_can_be_loaded(suite: str, root: Path, work: Path) -> None:
    """Python 3.14 has a zstd of its own; others say what was tried."""
    done = run(root, work, ROUND_TRIP.replace("./cacher", "python3 cacher"), NOEXEC)
    if systems.SUITES[suite] >= (3, 14):
        assert done.returncode == 0, done.stderr
        assert "of this Python" in done.stdout
        return
    assert done.returncode == 7
    *_, error, hint = done.stderr.splitlines()
    assert error.startswith("cacher: error: CPython 3.")
    assert "no place to load its zstandard from" in error
    for place in ("/tmp", "/var/tmp", systems.WORK):
        assert f"{place}: " in error
    assert hint.startswith("cacher: hint: ")
    # A file needs no zstd; the directory was not stored.
    assert not (work / "restored").exists()
    assert {path.name for path in work.iterdir()} == {"cacher.pyz", "tree", "again", "store"}


def test_a_container_without_a_network(
    docker_daemon: Daemon, suite: str, root: Path, work: Path
) -> None:
    """Made FROM such a tree, with nothing but loopback."""
    tag = f"cacher-test/bare-{suite}:1"
    tar = subprocess.run(
        ["tar", "--create", "--numeric-owner", "--directory", root, "."],
        capture_output=True,
        check=True,
    ).stdout
    docker_daemon.run("import", "-", tag, input=tar)
    try:
        done = docker_daemon.run(
            *("run", "--rm", "--network", "none", "--read-only", "--volume", f"{work}:/mnt"),
            *("--workdir", "/mnt", "--env", "CACHER_ENDPOINT=file:///mnt/store", tag),
            *("sh", "-ec", ROUND_TRIP),
            check=False,
        )
    finally:
        docker_daemon.run("image", "rm", tag)
    assert done.returncode == 0, done.stderr.decode()
    assert b"loaded from memory" in done.stdout
