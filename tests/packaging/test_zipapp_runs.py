"""The zipapp: every Python of this machine, as any program, and with its own packages."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

import cacher
from tests.packaging import zipapps
from tests.packaging.zipapp_runs import (
    ISOLATED,
    LINUX,
    NEW,
    OLD,
    interpreter,
    parsed,
    round_trip,
    run,
    version_lines,
    without_bytecode,
)


@pytest.mark.parametrize("python", NEW)
def test_every_new_python(pyzs: Path, tmp_path: Path, python: str) -> None:
    command: list[str | Path] = [interpreter(python), *ISOLATED, pyzs / "cacher.pyz"]
    round_trip(command, tmp_path)
    told = version_lines(command, tmp_path)
    assert told["edition"] == "all"
    assert told["python"] == python
    assert told["compiled"] == ", ".join(f"Python {version}" for version in zipapps.locked())
    assert f"urllib3 2.8.0, zstandard {zstandard.__version__}" in told["bundled"]
    assert told["zstd"].startswith("1.5.7 of zstandard 0.25.0, loaded from ")
    if LINUX and parsed(python) < (3, 15) and "installed" not in told["zstd"]:
        # Not every Python is built with all that Linux has.
        ask = "import os; print(hasattr(os, 'memfd_create'))"
        able = subprocess.check_output([command[0], "-c", ask], text=True) == "True\n"
        where = "from memory" if able else "from a temporary file"
        assert told["zstd"].endswith(f"loaded {where}")


@pytest.mark.parametrize("python", OLD)
def test_every_old_python_says_so(pyzs: Path, tmp_path: Path, python: str) -> None:
    done = run([OLD[python], pyzs / "cacher.pyz", "exists", "k"], tmp_path)
    assert done.returncode == 7
    assert done.stdout == ""
    error, hint = done.stderr.splitlines()
    named = ".".join(python.split(".")[:2])
    assert error == f"cacher: error: this is Python {named}, and cacher needs 3.11 or newer"
    assert hint.startswith("cacher: hint: run it with another one")
    assert not (tmp_path / "store").exists()


def test_old_pythons_can_read_the_beginning() -> None:
    """Where this machine has none: nothing in it is newer than Python 2.7's print."""
    text = (zipapps.SCRIPT.parent / "bootstrap" / "__main__.py").read_text()
    ast.parse(text, feature_version=(3, 4))


def test_it_is_a_program(pyzs: Path, tmp_path: Path) -> None:
    """`./cacher.pyz`, a link to it, and a copy named `cacher` on PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    shutil.copy(pyzs / "cacher.pyz", programs / "cacher")
    (programs / "linked").symlink_to(pyzs / "cacher.pyz")
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.defpath])
    for command in (str(pyzs / "cacher.pyz"), "cacher", "linked"):
        done = run(["sh", "-c", f"{command} exists absent"], tmp_path, PATH=path)
        assert (done.returncode, done.stderr) == (1, "cacher: miss absent\n")
        done = run(["sh", "-c", f"{command} exists"], tmp_path, PATH=path)
        assert done.returncode == 2
        assert "`cacher exists --help`" in done.stderr
        told = run(["sh", "-c", f"{command} --version"], tmp_path, PATH=path)
        assert told.stdout == f"cacher {cacher.__version__}\n"


@pytest.mark.parametrize("name", sorted(zipapps.LIMITS))
def test_each_edition_says_which_it_is(pyzs: Path, tmp_path: Path, name: str) -> None:
    told = version_lines([sys.executable, *ISOLATED, pyzs / name], tmp_path)
    edition = name.removeprefix("cacher-").removesuffix(".pyz").replace("cacher", "all")
    assert told["edition"] == edition


def test_its_own_packages_come_first(pyzs: Path, tmp_path: Path) -> None:
    """Whatever is called like them on PYTHONPATH."""
    for name in ("cacher", "urllib3"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not ours')")
    command: list[str | Path] = [sys.executable, "-s", pyzs / "cacher.pyz"]
    round_trip(command, tmp_path, PYTHONPATH=str(tmp_path))
    unreachable = {"CACHER_ENDPOINT": "http://127.0.0.1:9", "CACHER_BUCKET": "bucket"}
    unreachable |= {"CACHER_S3_KEY_ID": "k", "CACHER_S3_SECRET": "s"}
    done = run([*command, "exists", "k"], tmp_path, PYTHONPATH=str(tmp_path), **unreachable)
    assert done.returncode == 3, done.stderr


def test_its_own_packages_come_even_after_others(pyzs: Path, tmp_path: Path) -> None:
    """Instrumentation loads what it watches before the program starts."""
    for name in ("cacher", "urllib3", "zstandard"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("__version__ = '0.1'\n")
    (tmp_path / "sitecustomize.py").write_text("import cacher, urllib3, zstandard\n")
    command: list[str | Path] = [sys.executable, "-s", pyzs / "cacher.pyz"]
    told = version_lines(command, tmp_path, PYTHONPATH=str(tmp_path))
    assert told["zstd"].startswith("1.5.7 of zstandard 0.25.0")
    round_trip(command, tmp_path, PYTHONPATH=str(tmp_path))
    unreachable = {"CACHER_ENDPOINT": "http://127.0.0.1:9", "CACHER_BUCKET": "bucket"}
    unreachable |= {"CACHER_S3_KEY_ID": "k", "CACHER_S3_SECRET": "s"}
    done = run([*command, "exists", "k"], tmp_path, PYTHONPATH=str(tmp_path), **unreachable)
    assert done.returncode == 3, done.stderr


def test_a_python_without_compiled_modules_reads_the_sources(pyzs: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.pyz"
    without_bytecode(pyzs / "cacher.pyz", bare)
    round_trip([sys.executable, *ISOLATED, bare], tmp_path)


def test_the_edition_for_another_machine_says_so(pyzs: Path, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    other = "linux-arm64" if os.uname().machine == "x86_64" else "linux-amd64"
    program = interpreter(next(name for name in NEW if parsed(name) < (3, 14)))
    command: list[str | Path] = [program, "-I", "-S", pyzs / f"cacher-{other}.pyz"]
    done = run([*command, "dir", "upload", "k", "tree"], tmp_path)
    assert done.returncode == 7
    error, hint = done.stderr.splitlines()
    assert error.endswith(f" has no zstd: the {other} edition has no zstandard for it")
    assert hint.startswith("cacher: hint: cacher.pyz is for every machine")
    assert not (tmp_path / "store").exists()
    # What needs no zstd works, so that one who tried that only is not misled by `version`.
    told = version_lines(command, tmp_path)
    assert told["zstd"].endswith(f"the {other} edition has no zstandard for it")
