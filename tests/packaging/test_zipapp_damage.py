"""A zipapp that is damaged says so, and an installed zstandard changes nothing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import zstandard

from tests.packaging import zipapps
from tests.packaging.zipapp_runs import (
    ISOLATED,
    NEW,
    interpreter,
    parsed,
    round_trip,
    run,
    version_lines,
    without_bytecode,
)


def flipped(path: Path, name: str, copy: Path) -> None:
    """A copy in which one bit is another, in the middle of that entry."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(name)
    content = bytearray(path.read_bytes())
    start = info.header_offset + 30
    start += int.from_bytes(content[start - 4 : start - 2], "little")
    start += int.from_bytes(content[start - 2 : start], "little") if info.extra else 0
    content[start + info.compress_size // 2] ^= 4
    copy.write_bytes(content)


def magic(python: Path) -> int:
    ask = "import importlib.util as i; print(int.from_bytes(i.MAGIC_NUMBER[:2], 'little'))"
    return int(subprocess.check_output([python, "-c", ask]))


@pytest.mark.parametrize("python", zipapps.locked())
@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("bytecode/{magic}/cacher/cli/main.pyc", "exists k"),
        ("bytecode/{magic}/cacher/settings/config.pyc", "exists k"),
        ("bytecode/{magic}/cacher/archive/zstd.pyc", "dir upload k tree"),
        ("bundle.json", "version"),
        ("native/backend_c.cpython-311-x86_64-linux-gnu.so", "dir upload k tree"),
    ],
)
def test_a_damaged_file_says_so(
    pyzs: Path, tmp_path: Path, python: str, name: str, argv: str
) -> None:
    """One bit in any of its parts: Python itself compares no checksum, and would crash."""
    program = interpreter(python)
    name = name.format(magic=magic(program))
    flipped(pyzs / "cacher.pyz", name, tmp_path / "bad.pyz")
    (tmp_path / "tree").mkdir()
    done = run([program, "-I", "-S", tmp_path / "bad.pyz", *argv.split()], tmp_path)
    if name.startswith("native/") and parsed(python) >= (3, 12):
        assert done.returncode == 0, done.stderr  # it loads another
        return
    assert done.returncode == 7, done.stderr
    error, hint = done.stderr.splitlines()
    assert f"{tmp_path}/bad.pyz is damaged, or was replaced while it ran ({name}: " in error
    assert hint.startswith("cacher: hint: download it again")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["cacher/cli/main.py", "cacher/settings/config.py"])
def test_damaged_sources_say_so(pyzs: Path, tmp_path: Path, name: str) -> None:
    """Which a Python reads that nothing is compiled for."""
    bare, bad = tmp_path / "bare.pyz", tmp_path / "bad.pyz"
    without_bytecode(pyzs / "cacher.pyz", bare)
    flipped(bare, name, bad)
    done = run([sys.executable, *ISOLATED, bad, "exists", "k"], tmp_path)
    assert done.returncode == 7, done.stderr
    error, hint = done.stderr.splitlines()
    assert f"bad.pyz is damaged, or was replaced while it ran ({name}: " in error
    assert hint.startswith("cacher: hint: download it again")


def test_verify_finds_what_is_damaged(pyzs: Path, tmp_path: Path) -> None:
    """Also where this Python reads nothing."""
    good, bad = pyzs / "cacher.pyz", tmp_path / "bad.pyz"
    done = run([sys.executable, *ISOLATED, good, "version", "--verify"], tmp_path)
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha256(good.read_bytes()).hexdigest()
    assert done.stdout == f"{good} is intact, its SHA-256 is {digest}\n"
    for name in ("native/backend_c.cpython-313-darwin.so.arm64", "licenses/zstd.txt"):
        flipped(good, name, bad)
        done = run([sys.executable, *ISOLATED, bad, "version", "--verify"], tmp_path)
        assert (done.returncode, done.stdout) == (7, "")
        error, hint = done.stderr.splitlines()
        assert error == f"cacher: error: {bad} is damaged: it has another SHA-256"
        assert hint.startswith("cacher: hint: download it again")


def test_an_installed_zstandard_serves_where_there_is_none(pyzs: Path, tmp_path: Path) -> None:
    """As in the edition for another machine. Otherwise the one in the file is used."""
    place = str(Path(zstandard.__file__).parents[1])
    other = "linux-arm64" if os.uname().machine == "x86_64" else "linux-amd64"
    for name, used in ((f"cacher-{other}", "an installed package"), ("cacher", "memory")):
        command: list[str | Path] = [sys.executable, "-s", "-S", pyzs / f"{name}.pyz"]
        told = version_lines(command, tmp_path, PYTHONPATH=place)
        assert told["zstd"] == f"1.5.7 of zstandard 0.25.0, loaded from {used}"
        (tmp_path / name).mkdir()
        round_trip(command, tmp_path / name, PYTHONPATH=place)


@pytest.mark.parametrize("python", NEW)
@pytest.mark.parametrize("size", [0.1, 0.5, 0.999, 2])
def test_a_file_that_was_cut_off(pyzs: Path, tmp_path: Path, python: str, size: float) -> None:
    """Or has a tail: Python takes it for a source, and has but one way to say what is wrong."""
    content = (pyzs / "cacher.pyz").read_bytes()
    bad = tmp_path / "bad.pyz"
    bad.write_bytes(content[: int(len(content) * size)] if size < 1 else content + bytes(70_000))
    done = run([interpreter(python), "-I", bad, "exists", "k"], tmp_path)
    assert done.returncode == 1
    assert "this.file.is.damaged.so.download.it.again" in done.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("policy", ["cffi", "odd"])
def test_what_is_said_of_an_installed_one_does_not_matter(
    pyzs: Path, tmp_path: Path, policy: str
) -> None:
    environ = {"PYTHON_ZSTANDARD_IMPORT_POLICY": policy}
    round_trip([sys.executable, "-s", "-S", pyzs / "cacher.pyz"], tmp_path, **environ)
