"""A zipapp that is damaged says so, and an installed zstandard that is broken does not matter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
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
        ("bytecode/{magic}/bundled", "exists k"),
        ("bytecode/{magic}/modules", "exists k"),
        ("bundle.json", "version"),
        ("native/index.json", "dir upload k tree"),
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
    if name.startswith("native/") and parsed(python) >= (3, 14):
        # It has a zstd of its own, or there would be no point in going on.
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 7, done.stderr
    error, hint = done.stderr.splitlines()
    assert f"{tmp_path}/bad.pyz is damaged, or was replaced while it ran ({name}: " in error
    assert hint.startswith("cacher: hint: download it again")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["bundled.py", "cacher/cli/main.py", "cacher/settings/config.py"])
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


def test_an_installed_zstandard_is_used_as_it_is(pyzs: Path, tmp_path: Path) -> None:
    place = Path(zstandard.__file__).parents[1]
    command: list[str | Path] = [sys.executable, "-s", "-S", pyzs / "cacher.pyz"]
    told = version_lines(command, tmp_path, PYTHONPATH=str(place))
    assert told["zstd"].endswith("loaded from an installed package")
    round_trip(command, tmp_path, PYTHONPATH=str(place))


@pytest.mark.parametrize("fault", ["too old", "no extension"])
def test_another_zstandard_is_not_mixed_with_ours(pyzs: Path, tmp_path: Path, fault: str) -> None:
    """One that is too old, or has no C for this Python: neither half of it is used."""
    installed = Path(zstandard.__file__).parent
    theirs = tmp_path / "site" / "zstandard"
    shutil.copytree(installed, theirs, ignore=shutil.ignore_patterns("__pycache__"))
    init = theirs / "__init__.py"
    if fault == "too old":
        text = init.read_text().replace(f'"{zstandard.__version__}"', '"0.21.0"')
    else:
        text = init.read_text() + "\nraise SystemExit('mixed')\n"
        for path in theirs.glob("backend_c*.so"):
            path.unlink()
    init.write_text(text)
    command: list[str | Path] = [sys.executable, "-s", "-S", pyzs / "cacher.pyz"]
    told = version_lines(command, tmp_path, PYTHONPATH=str(theirs.parent))
    assert told["zstd"].startswith("1.5.7 of zstandard 0.25.0, loaded from memory")


@pytest.mark.parametrize("name", ["native/index.json", "native/{file}", "bundle.json"])
def test_what_is_missing_is_damage(pyzs: Path, tmp_path: Path, name: str) -> None:
    """As where a name in the archive's directory is another."""
    program = interpreter("3.11.11")
    file = "backend_c.cpython-311-x86_64-linux-gnu.so"
    if os.uname().machine != "x86_64":
        file = "backend_c.cpython-311-aarch64-linux-gnu.so"
    name, bad = name.format(file=file), tmp_path / "bad.pyz"
    with zipfile.ZipFile(pyzs / "cacher.pyz") as old, zipfile.ZipFile(bad, "w") as new:
        for other in old.namelist():
            if other != name:
                new.writestr(other, old.read(other))
    (tmp_path / "tree").mkdir()
    argv = ["version"] if name == "bundle.json" else ["dir", "upload", "k", "tree"]
    done = run([program, "-I", "-S", bad, *argv], tmp_path)
    assert done.returncode == 7, done.stderr
    assert (
        f"bad.pyz is damaged, or was replaced while it ran ({name}: it is not there)" in done.stderr
    )
    assert "download it again" in done.stderr


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


@pytest.mark.parametrize("policy", ["cffi", "rust", "odd", ""])
@pytest.mark.parametrize("site", [False, True], ids=["bundled", "installed"])
def test_what_is_said_of_an_installed_one_does_not_matter(
    pyzs: Path, tmp_path: Path, policy: str, site: bool
) -> None:
    place = str(Path(zstandard.__file__).parents[1]) if site else ""
    environ = {"PYTHON_ZSTANDARD_IMPORT_POLICY": policy, "PYTHONPATH": place}
    round_trip([sys.executable, "-s", "-S", pyzs / "cacher.pyz"], tmp_path, **environ)


def test_what_killed_runs_have_left_goes(tmp_path: Path) -> None:
    """Of the directories that the extension is loaded from, where memory will not do."""
    sys.path[:0] = [str(zipapps.SCRIPT.parent / "bootstrap")]
    try:
        from bundled_zstandard import _sweep
    finally:
        del sys.path[0]
    for name, age in (("a1d", 100), ("eee", 1), ("f11", 100), ("e0e", 100)):
        place = tmp_path / f"cacher-{name:0>16}"
        place.mkdir()
        (place / ("other" if name == "f11" else "backend_c.so")).touch()
        if name == "e0e":
            (place / "backend_c.so").unlink()
        os.utime(place, (time.time() - age,) * 2)
    (tmp_path / "cacher-of-somebody-else").mkdir()
    os.utime(tmp_path / "cacher-of-somebody-else", (0, 0))
    (tmp_path / f"cacher-{'1111':0>16}").symlink_to(tmp_path)
    _sweep(str(tmp_path))
    names = ("eee", "f11", "1111")
    left = {f"cacher-{name:0>16}" for name in names} | {"cacher-of-somebody-else"}
    assert {path.name for path in tmp_path.iterdir()} == left


BROKEN = {
    "of two versions": lambda theirs: other_version(theirs),
    "no library": lambda theirs: overwrite(theirs, "backend_c*.so", b"no library"),
    "raises": lambda theirs: add(theirs, "raise RuntimeError('broken')"),
    "exits": lambda theirs: add(theirs, "raise SystemExit('broken')"),
    "another interface": lambda theirs: add(theirs, "del ZstdCompressionParameters"),
}


def other_version(theirs: Path) -> None:
    text = (theirs / "__init__.py").read_text()
    changed = text.replace(f'"{zstandard.__version__}"', '"0.24.0"')
    assert changed != text
    (theirs / "__init__.py").write_text(changed)


def overwrite(theirs: Path, pattern: str, content: bytes) -> None:
    for path in theirs.glob(pattern):
        path.write_bytes(content)


def add(theirs: Path, line: str) -> None:
    with open(theirs / "__init__.py", "a") as init:
        init.write(f"\n{line}\n")


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_zstandard_does_not_matter(pyzs: Path, tmp_path: Path, fault: str) -> None:
    """There is a good one in the file."""
    theirs = tmp_path / "site" / "zstandard"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(zstandard.__file__).parent, theirs, ignore=ignored)
    BROKEN[fault](theirs)
    command: list[str | Path] = [sys.executable, "-s", "-S", pyzs / "cacher.pyz"]
    told = version_lines(command, tmp_path, PYTHONPATH=str(theirs.parent))
    assert told["zstd"].startswith("1.5.7 of zstandard 0.25.0, loaded from memory")
    round_trip(command, tmp_path, PYTHONPATH=str(theirs.parent))
