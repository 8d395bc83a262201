"""Real trees, as package managers and git make them: made once, kept in the tests' cache.

Each is read only by the tests. Made beside its place first, so that one that is there is whole.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.servers import programs

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


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The tree of that name in the cache, made if it is not there."""
    place = programs.CACHE / "trees" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with open(place.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            begun = place.with_suffix(".begun")
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir()
            make(begun)
            begun.rename(place)
    return place
