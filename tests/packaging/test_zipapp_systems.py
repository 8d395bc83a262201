"""The zipapp on systems that have Python and nothing else, and that allow little."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging import loopback
from tests.support import systems
from tests.support.daemons.docker import Daemon
from tests.support.doctor_helpers import CHECKS
from tests.support.servers import programs

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
./cacher.pyz exists absent && exit 9 || test $? = 1
./cacher.pyz dir upload d tree
./cacher.pyz dir download d restored
cmp restored/file tree/file
./cacher.pyz version
"""

S3_ROUND_TRIP = f"""\
ls /sys/class/net >interfaces
ends 0 ./cacher.pyz init --endpoint {loopback.ENDPOINT} --bucket {loopback.BUCKET} --part-size 5MiB
ends 0 ./cacher.pyz doctor >doctor
ends 1 ./cacher.pyz exists a/big
ends 1 ./cacher.pyz download a/big absent
ends 1 ./cacher.pyz dir download a/tree absent
ends 0 ./cacher.pyz upload a/big big
ends 0 ./cacher.pyz exists a/big
ends 0 ./cacher.pyz download a/big again
ends 0 ./cacher.pyz dir upload a/tree tree
ends 0 ./cacher.pyz dir download a/tree restored
export CACHER_S3_SECRET=wrong
ends 4 ./cacher.pyz exists a/big
ends 4 ./cacher.pyz download a/big absent
ends 4 ./cacher.pyz upload new big
ends 4 ./cacher.pyz dir upload new tree
ends 4 ./cacher.pyz delete a/big
export CACHER_S3_SECRET=$MINIO_ROOT_PASSWORD
ends 0 ./cacher.pyz list >listed
ends 0 ./cacher.pyz delete a/big
ends 1 ./cacher.pyz exists a/big
ends 0 ./cacher.pyz list >left
ends 0 ./cacher.pyz version >told
kill $server; wait $server
ends 3 ./cacher.pyz exists a/tree
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


@pytest.fixture(scope="module")
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


def test_a_working_directory_that_is_gone(root: Path, work: Path) -> None:
    """Without /proc, so that a place for a file is looked for."""
    script = "mkdir gone; cd gone; rmdir ../gone; python3 /mnt/cacher.pyz dir upload d /mnt/tree"
    done = run(root, work, script, [])
    assert done.returncode == 0, done.stderr
    assert {path.name for path in work.iterdir()} == {"cacher.pyz", "tree", "store"}


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


@pytest.fixture(scope="module")
def image(docker_daemon: Daemon, suite: str, root: Path) -> Iterator[str]:
    """An image made FROM such a tree, and of nothing else."""
    tag = f"cacher-test/bare-{suite}:1"
    tar = subprocess.run(
        ["tar", "--create", "--numeric-owner", "--directory", root, "."],
        capture_output=True,
        check=True,
    ).stdout
    docker_daemon.run("import", "-", tag, input=tar)
    yield tag
    docker_daemon.run("image", "rm", tag)


def test_a_container_without_a_network(docker_daemon: Daemon, image: str, work: Path) -> None:
    """Where the store is a directory."""
    done = docker_daemon.run(
        *("run", "--rm", "--network", "none", "--read-only", "--volume", f"{work}:/mnt"),
        *("--workdir", "/mnt", "--env", "CACHER_ENDPOINT=file:///mnt/store", image),
        *("sh", "-ec", ROUND_TRIP),
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"loaded from memory" in done.stdout


@pytest.fixture
def gateway() -> Path:
    """The program of an S3 server."""
    try:
        return loopback.juicefs()
    except programs.ProgramNotFound as missing:
        programs.unavailable(missing)


@pytest.mark.server
def test_a_container_with_a_store_on_loopback(
    docker_daemon: Daemon, image: str, gateway: Path, suite: str, work: Path
) -> None:
    """Where it is an S3 server in the same container."""
    tree = work / "tree"
    (tree / "sub" / "empty").mkdir(parents=True)
    (tree / "sub" / "program").write_bytes(b"#!/bin/sh\n")
    (tree / "sub" / "program").chmod(0o755)
    (tree / "link").symlink_to("sub/program")
    (work / "big").write_bytes(os.urandom(12_000_000))
    done = loopback.run(docker_daemon, image, gateway, work, S3_ROUND_TRIP)
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert "Traceback" not in said
    assert (work / "again").read_bytes() == (work / "big").read_bytes()
    assert contents(work / "restored") == contents(tree)
    assert {*columns(work / "listed", 0, 1)} == {"a/big", "a/tree"}
    assert columns(work / "listed", 0, 1)["a/big"] == "12000000"
    assert {*columns(work / "left", 0, 1)} == {"a/tree"}
    checks = columns(work / "doctor", 1, 0)
    assert {name for name, state in checks.items() if state != "ok"} == {"tls"}  # it is http
    assert {*CHECKS} <= {*checks}
    told = dict(line.split(": ", 1) for line in (work / "told").read_text().splitlines()[1:])
    assert tuple(map(int, told["python"].split(".")))[:2] >= systems.SUITES[suite]
    assert told["zstd"].endswith("loaded from memory")
    left = {path.name for path in work.iterdir()}
    made = {"again", "restored", "listed", "left", "doctor", "told", "interfaces", loopback.LOG}
    assert left == {"cacher.pyz", "tree", "big"} | made
    assert (work / "interfaces").read_text() == "lo\n"


def contents(tree: Path) -> dict[str, tuple[int, str | bytes]]:
    """The mode of each path in it, and its bytes or where it leads."""
    found: dict[str, tuple[int, str | bytes]] = {}
    for path in tree.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            content: str | bytes = os.readlink(path)
        else:
            content = path.read_bytes() if stat.S_ISREG(mode) else b""
        found[str(path.relative_to(tree))] = mode, content
    return found


def columns(path: Path, key: int, value: int) -> dict[str, str]:
    """One column of what cacher has printed, and another by it."""
    rows = [line.split() for line in path.read_text().splitlines()]
    return {row[key]: row[value] for row in rows}
