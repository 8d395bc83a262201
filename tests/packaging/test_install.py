"""Every line of docs/install.md does what it says, on a machine of its own."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cacher
from tests.fakes.faults import Fault, Respond
from tests.fakes.s3server import FakeS3Server
from tests.packaging.test_readme import blocks
from tests.support.cli_helpers import BucketPlace

ROOT = Path(__file__).parents[2]

BLOCKS = blocks(ROOT / "docs" / "install.md", "sh")

OFFLINE = "http://127.0.0.1:9"
"""Nobody listens there: as good as no network."""


def run(block: str, cwd: Path, **environ: str) -> str:
    """Run a block of the page, which ends well; what it printed."""
    done = sh(block, cwd, **environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sh(block: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a block of the page."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    pip = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    home = cwd / "home"
    home.mkdir(exist_ok=True)
    return subprocess.run(
        ["sh", "-euc", block],
        cwd=cwd,
        env={**kept, **pip, "HOME": str(home), **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def checkout(directory: Path) -> Path:
    """A copy of what is built, since building writes beside it."""
    for name in ("cacher", "docs", "tests", ".builds", ".ci"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, directory / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copyfile(ROOT / name, directory / name)
    return directory


@pytest.fixture
def python(tmp_path: Path) -> dict[str, str]:
    """An environment whose `python3` is ours."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "python3").symlink_to(sys.executable)
    return {"PATH": os.pathsep.join([str(place), os.environ["PATH"]])}


def test_there_is_a_test_for_each_block() -> None:
    assert [re.split(r"\s", block, maxsplit=1)[0] for block in BLOCKS] == [
        "curl",
        "python3",
        "python3",
        "python3",
        "venv/bin/pip",
        "python3",
        "cacher",
        "cacher",
    ]


def test_one_file(pyzs: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    lines = []
    for path in sorted(pyzs.glob("*.pyz")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{digest}  {path.name}\n")
    (site / "checksums.txt").write_text("".join(lines))
    shutil.copyfile(pyzs / "cacher.pyz", site / "cacher.pyz")
    place = tmp_path / "machine"
    place.mkdir()
    said = run(BLOCKS[0], place, SITE=site.as_uri())
    assert said.startswith(f"cacher.pyz: OK\ncacher {cacher.__version__}\nedition: all\n")
    (site / "cacher.pyz").write_bytes(b"#!/bin/sh\n")
    with pytest.raises(AssertionError, match="did NOT match"):
        run(BLOCKS[0], place, SITE=site.as_uri())


@pytest.mark.release
def test_with_pip_and_without_a_network(tmp_path: Path, python: dict[str, str]) -> None:
    place = tmp_path / "checkout"
    place.mkdir()
    checkout(place)
    version = f"cacher {cacher.__version__}\n"
    assert run(BLOCKS[1], place, **python) == version
    assert (place / "venv/share/man/man1/cacher.1").read_bytes() == (
        ROOT / "docs/cacher.1"
    ).read_bytes()
    run(BLOCKS[2], place, **python)
    # `--no-index` asks nobody; should it ask after all, it fails.
    nobody = {"HTTPS_PROXY": OFFLINE, "HTTP_PROXY": OFFLINE, "PIP_INDEX_URL": OFFLINE}
    assert run(BLOCKS[3], place, **python, **nobody) == version
    run(BLOCKS[4], place, **python)
    assert run(BLOCKS[5], place, **python, **nobody) == version


@pytest.mark.slow
def test_a_store_that_is_carried(tmp_path: Path, python: dict[str, str]) -> None:
    program = tmp_path / "bin" / "cacher"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m cacher "$@"\n')
    program.chmod(0o755)
    here, disk = tmp_path / "here", tmp_path / "disk"
    (here / "node_modules" / "a").mkdir(parents=True)
    (here / "node_modules" / "a" / "index.js").write_text("1\n")
    (here / "tool.tar.gz").write_bytes(b"tool")
    # Whatever the environment says of a store: it is not the disk's.
    python["CACHER_PREFIX"] = "ci"
    run(BLOCKS[6], here, DISK=str(disk), **python)
    with FakeS3Server() as server:
        environ = {**python, **BucketPlace(server).environment}
        # No disk, and a store that fails in the middle: neither is a success.
        assert sh(BLOCKS[7], here, DISK=f"{disk}s", **environ).returncode != 0
        server.inject(Fault(Respond(403, "AccessDenied"), operation="PutObject"))
        assert sh(BLOCKS[7], here, DISK=str(disk), **environ).returncode == 4
        assert sorted(server.objects) == []
        run(BLOCKS[7], here, DISK=str(disk), **environ)
        assert sorted(server.objects) == ["ci/deps", "ci/tool.tar.gz"]
    assert (here / "again.tar.gz").read_bytes() == b"tool"
    assert (here / "restored" / "a" / "index.js").read_text() == "1\n"
