"""Running a zipapp: every Python that it may meet, and what it does with a file and a directory."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cacher
from tests.packaging import zipapps

LINUX = "linux" in sys.platform

ISOLATED = ("-I",)


def parsed(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


NEW = [name for name in zipapps.interpreters() if parsed(name) >= (3, 11)]
NEW += [name for name in zipapps.locked() if name not in NEW]
"""Those of this machine, and those that a release is compiled by."""

OLD = {name: path for name, path in zipapps.interpreters().items() if parsed(name) < (3, 11)}


def interpreter(version: str) -> Path:
    return zipapps.interpreters().get(version) or zipapps.pinned()[version]


def run(
    command: Sequence[str | Path], directory: Path, **environ: str
) -> subprocess.CompletedProcess[str]:
    """In an environment of nothing but a store."""
    return subprocess.run(
        command,
        cwd=directory,
        env={"PATH": os.defpath, "CACHER_ENDPOINT": f"file://{directory}/store", **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def round_trip(command: Sequence[str | Path], directory: Path, **environ: str) -> None:
    """A file and a directory, there and back."""
    tree = directory / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(os.urandom(100_000) + bytes(3_000_000))
    for argv, status in (
        ("upload f tree/file", 0),
        ("download f again", 0),
        ("exists absent", 1),
        ("dir upload d tree --level 9", 0),
        ("dir download d restored", 0),
    ):
        done = run([*command, *argv.split()], directory, **environ)
        assert done.returncode == status, done.stderr
    assert (directory / "again").read_bytes() == (tree / "file").read_bytes()
    assert (directory / "restored" / "file").read_bytes() == (tree / "file").read_bytes()


def version_lines(command: Sequence[str | Path], directory: Path, **environ: str) -> dict[str, str]:
    done = run([*command, "version"], directory, **environ)
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first == f"cacher {cacher.__version__}"
    return dict(line.split(": ", 1) for line in lines)


def without_bytecode(path: Path, copy: Path) -> None:
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            if not name.startswith("bytecode/"):
                new.writestr(name, old.read(name))
