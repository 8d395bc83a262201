"""What package managers and git leave, stored and restored: nothing differs from what tar does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support.cli_helpers import LocalPlace
from tests.support.kept import kept
from tests.support.servers import programs
from tests.support.tree_snapshots import snapshot
from tests.support.zstd_streams import unzstd

MANY = 20_000

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

NPM = {
    "next": "14.2.33",
    "webpack": "5.90.0",
    "typescript": "5.4.5",
    "eslint": "8.57.0",
    "jest": "29.7.0",
    "@babel/preset-env": "7.24.0",
    "rxjs": "7.8.1",
    "date-fns": "2.30.0",
    "aws-sdk": "2.1600.0",
}
"""Packages with over 20,000 files between them."""

WHEELS = ("zstandard", "mypy", "PyYAML", "cryptography")
"""Packages with compiled modules."""


def npm() -> Path:
    """A node_modules of over 20,000 files."""
    return kept("npm-1", _npm) / "node_modules"


def virtualenv() -> Path:
    """A virtual environment with compiled packages."""
    return kept(f"venv-1-{sys.version_info.major}.{sys.version_info.minor}", _virtualenv)


def repository(root: Path) -> Path:
    """A git repository with loose and packed objects, branches and a worktree of its own."""

    def git(*argv: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *argv],
            cwd=root,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(root)},
        )

    programs.require("git")
    root.mkdir()
    git("init", "-q", "-b", "main")
    for number in range(30):
        (root / f"file-{number}").write_text(f"{number}\n" * 1000)
        git("add", ".")
        git("commit", "-q", "-m", f"commit {number}")
        if number == 20:
            git("gc", "-q")
    git("branch", "other")
    git("worktree", "add", "-q", "tree", "other")
    return root


def _npm(directory: Path) -> None:
    program = programs.require("npm")
    install = [str(program), "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    packages = [f"{name}@{version}" for name, version in NPM.items()]
    subprocess.run(
        [*install, "--legacy-peer-deps", "--loglevel=error", *packages],
        cwd=directory,
        check=True,
        env={**os.environ, "npm_config_cache": str(directory / ".npm")},
        timeout=900,
    )


def _virtualenv(directory: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True, timeout=600)
    pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "-q"]
    subprocess.run([*pip, *WHEELS], check=True, timeout=600)


@pytest.fixture(params=[pytest.param("npm", marks=pytest.mark.release), "virtualenv", "repository"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Each kind of tree."""
    make: dict[str, Callable[[], Path]] = {
        "npm": npm,
        "virtualenv": virtualenv,
        "repository": lambda: repository(tmp_path / "repository"),
    }
    path = make[request.param]()
    if request.param == "npm":
        assert sum(len(files) for _, _, files in os.walk(path)) >= MANY
    return path


def test_it_comes_back_as_it_was(cacher: Run, local: LocalPlace, tree: Path) -> None:
    """Modes, times in nanoseconds, link targets, groups of hard links, contents."""
    before = snapshot(tree)
    assert cacher("dir", "upload", "k", tree).status == 0
    ended = cacher("dir", "download", "k", "ours", "--json")
    assert ended.status == 0
    assert ended.json["members"] == len(before)
    assert snapshot(Path("ours")) == before

    Path("theirs").mkdir()
    subprocess.run(["tar", "c", "--format=pax", "-C", tree, "-f", "a.tar", "."], check=True)
    subprocess.run(["tar", "xp", "-C", "theirs", "-f", "a.tar"], check=True)
    assert snapshot(Path("theirs")) == before

    archive = unzstd(local.get("k") or b"")
    listed = subprocess.run(["tar", "t"], input=archive, stdout=subprocess.PIPE, check=True)
    assert listed.stdout.count(b"\n") == len(before)


def test_over_what_is_there(cacher: Run, local: LocalPlace, tmp_path: Path) -> None:
    """As the next job finds it."""
    tree = repository(tmp_path / "repository")
    assert cacher("dir", "upload", "k", tree).status == 0
    assert cacher("dir", "download", "k", "d").status == 0
    for path in list(Path("d").rglob("*"))[::50]:
        if path.is_file() and not path.is_symlink():
            path.unlink()
    Path("d/more").write_text("stays")
    before = snapshot(tree)
    assert cacher("dir", "download", "k", "d").status == 0
    merged = snapshot(Path("d"))
    assert merged.pop("more").content == b"stays"
    assert merged == before
    assert cacher("dir", "download", "k", "d", "--clean").status == 0
    assert snapshot(Path("d")) == before
