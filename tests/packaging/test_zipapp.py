"""The zipapp: what is in it, that it is always the same, and every Python of this machine."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import zstandard

import cacher
from tests.packaging import pyz

LINUX = "linux" in sys.platform

ISOLATED = ("-I",)


def parsed(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


NEW = {name: path for name, path in pyz.interpreters().items() if parsed(name) >= (3, 11)}

OLD = {name: path for name, path in pyz.interpreters().items() if parsed(name) < (3, 11)}


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
        timeout=60,
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


# --- what is in it -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", pyz.LIMITS)
def test_sizes_and_contents(pyzs: Path, name: str) -> None:
    path = pyzs / name
    assert path.stat().st_size <= pyz.LIMITS[name]
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert path.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names == sorted(names)
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.external_attr for info in archive.infolist()} == {0o100644 << 16}
        index = json.loads(archive.read("native/index.json"))
        licenses = {p.removeprefix("licenses/") for p in names if p.startswith("licenses/")}
        assert all(
            b"Copyright" in archive.read(f"licenses/{p}") or b"MIT" in archive.read(f"licenses/{p}")
            for p in licenses
        )
    assert licenses == {"cacher.txt", "urllib3.txt", "zstandard.txt", "zstd.txt"}
    assert {"__main__.py", "cacher/cli.py", "urllib3/__init__.py", "zstandard/__init__.py"} <= {
        *names
    }
    assert set(index) == expected_tags(name)


def expected_tags(name: str) -> set[str]:
    """By what the importer finds an extension: what Python says its suffixes are."""
    tags = set()
    for python in ("311", "312", "313", "314"):
        for short, machine in (("amd64", "x86_64"), ("arm64", "aarch64")):
            if name in ("cacher.pyz", f"cacher-linux-{short}.pyz"):
                tags |= {f".cpython-{python}-{machine}-linux-{c}.so" for c in ("gnu", "musl")}
            if name in ("cacher.pyz", f"cacher-darwin-{short}.pyz"):
                mac = machine.replace("aarch64", "arm64")
                tags.add(f".cpython-{python}-darwin.so.{mac}")
    return tags


def test_every_extension_is_what_its_wheel_has(pyzs: Path) -> None:
    """Rebuilt from the differences, for platforms that this machine is not, too."""
    sys.path[:0] = [str(pyz.SCRIPT.parent), str(pyz.SCRIPT.parent / "bootstrap")]
    try:
        import bundled  # type: ignore[import-not-found]
        import natives  # type: ignore[import-not-found]
        import wheels  # type: ignore[import-not-found]
    finally:
        del sys.path[:2]
    with zipfile.ZipFile(pyzs / "cacher.pyz") as archive:
        index = json.loads(archive.read("native/index.json"))

        def rebuilt(tag: str) -> bytes:
            content = archive.read(f"native/{index[tag]['file']}")
            if "base" not in index[tag]:
                return content
            patched = bundled.patched(rebuilt(index[tag]["base"]), content, index[tag]["size"])
            assert isinstance(patched, bytes)
            return patched

        seen = set()
        for wheel in wheels.checked(pyz.wheels()):
            for name, content in wheels.members(wheel).items():
                if name.startswith("zstandard/backend_c."):
                    tag = wheels.tag(wheel, name)
                    seen.add(tag)
                    assert rebuilt(tag) == natives.stripped(content)
                    assert tag.startswith(".cpython-3")
        assert seen == set(index)


def test_two_builds_are_one(pyzs: Path, tmp_path: Path) -> None:
    """Another place, another time, another user's habits."""
    script = pyz.copied(tmp_path / "elsewhere and later")
    before = os.umask(0o077)
    try:
        pyz.build(
            "--out",
            tmp_path / "out",
            "--wheels",
            pyz.wheels(),
            *pyz.compilers(),
            script=script,
            TZ="Asia/Kathmandu",
            LC_ALL="C",
            PYTHONHASHSEED="77",
            HOME=str(tmp_path),
        )
    finally:
        os.umask(before)
    for name in pyz.LIMITS:
        digests = [
            hashlib.sha256((place / name).read_bytes()).hexdigest()
            for place in (pyzs, tmp_path / "out")
        ]
        assert digests[0] == digests[1], name
        assert os.access(tmp_path / "out" / name, os.X_OK)


def test_other_wheels_are_refused(tmp_path: Path) -> None:
    """One byte of one wheel is another."""
    wheels = tmp_path / "wheels"
    shutil.copytree(pyz.wheels(), wheels)
    victim = next(wheels.glob("urllib3-*"))
    victim.write_bytes(victim.read_bytes() + b"\0")
    done = run(
        [sys.executable, pyz.SCRIPT, "--out", tmp_path / "out", "--wheels", wheels], tmp_path
    )
    assert done.returncode == 1
    assert "lacks 1 of 25 wheels" in done.stderr
    assert not (tmp_path / "out").exists()


# --- where it runs -------------------------------------------------------------------------------


@pytest.mark.parametrize("python", NEW)
def test_every_new_python(pyzs: Path, tmp_path: Path, python: str) -> None:
    command: list[str | Path] = [NEW[python], *ISOLATED, pyzs / "cacher.pyz"]
    round_trip(command, tmp_path)
    told = version_lines(command, tmp_path)
    assert told["edition"] == "all"
    assert told["python"] == python
    assert f"urllib3 2.8.0, zstandard {zstandard.__version__}" in told["bundled"]
    assert told["zstd"].startswith("1.5.7 of zstandard 0.25.0, loaded from ")
    if LINUX and parsed(python) < (3, 15) and "installed" not in told["zstd"]:
        assert told["zstd"].endswith("loaded from memory")


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
    text = (pyz.SCRIPT.parent / "bootstrap" / "__main__.py").read_text()
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


@pytest.mark.parametrize("name", sorted(pyz.LIMITS))
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
    with zipfile.ZipFile(pyzs / "cacher.pyz") as old, zipfile.ZipFile(bare, "w") as new:
        for name in old.namelist():
            if not name.startswith("bytecode/"):
                new.writestr(name, old.read(name))
    round_trip([sys.executable, *ISOLATED, bare], tmp_path)


def test_a_damaged_extension_is_not_loaded(pyzs: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pyz"
    with zipfile.ZipFile(pyzs / "cacher.pyz") as old, zipfile.ZipFile(bad, "w") as new:
        for name in old.namelist():
            content = bytearray(old.read(name))
            if name.endswith((".so", ".delta")):
                content[-1000] ^= 1
            new.writestr(name, bytes(content))
    (tmp_path / "tree").mkdir()
    python = next(iter(NEW.values()))
    done = run([python, "-I", "-S", bad, "dir", "upload", "k", "tree"], tmp_path)
    if sys.version_info < (3, 14):
        assert done.returncode == 7
        assert "this file is damaged: backend_c" in done.stderr
        assert not (tmp_path / "store").exists() or not list((tmp_path / "store").rglob("k"))


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
