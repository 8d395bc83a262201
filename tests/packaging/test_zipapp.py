"""The zipapp: what is in it, that it is always the same, and what it is not built from."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import sys
import zipfile
from pathlib import Path

import pytest

from tests.packaging import zipapps
from tests.packaging.zipapp_runs import (
    run,
)


@pytest.mark.parametrize("name", zipapps.LIMITS)
def test_sizes_and_contents(pyzs: Path, name: str) -> None:
    path = pyzs / name
    assert path.stat().st_size <= zipapps.LIMITS[name]
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert path.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names == sorted(names)
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.external_attr for info in archive.infolist()} == {0o100644 << 16}
        *_, line, rest = path.read_bytes().split(b"\n", 3)
        assert line == b"# " + digest(rest)
        licenses = {p.removeprefix("licenses/") for p in names if p.startswith("licenses/")}
        assert all(
            b"Copyright" in archive.read(f"licenses/{p}") or b"MIT" in archive.read(f"licenses/{p}")
            for p in licenses
        )
    assert licenses == {"cacher.txt", "urllib3.txt", "zstandard.txt", "zstd.txt"}
    assert {
        "__main__.py",
        "cacher/cli/main.py",
        "urllib3/__init__.py",
        "zstandard/__init__.py",
    } <= {*names}
    natives = {p.removeprefix("native/backend_c") for p in names if p.startswith("native/")}
    assert natives == expected_tags(name)
    # Each Python that a release is compiled by has its modules.
    assert sum(place.endswith("/cacher/__init__.pyc") for place in names) == 4


def digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


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
    """But for symbols: each byte that the dynamic loader reads, for every platform."""
    sys.path.insert(0, str(zipapps.SCRIPT.parent))
    try:
        import wheels
    finally:
        del sys.path[0]
    with zipfile.ZipFile(pyzs / "cacher.pyz") as archive:
        for wheel in wheels.checked(zipapps.wheels()):
            for name, content in wheels.members(wheel).items():
                if name.startswith("zstandard/backend_c."):
                    kept = archive.read(f"native/backend_c{wheels.tag(wheel, name)}")
                    assert kept[64:] == content[64 : len(kept)]
                    assert kept[:40] == content[:40]
                    assert len(kept) > 500_000


def test_two_builds_are_one(pyzs: Path, tmp_path: Path) -> None:
    """Another place, another time, another user's habits."""
    script = zipapps.copied(tmp_path / "elsewhere and later")
    before = os.umask(0o077)
    try:
        zipapps.build(
            "--out",
            tmp_path / "out",
            "--wheels",
            zipapps.wheels(),
            *zipapps.compilers(),
            script=script,
            TZ="Asia/Kathmandu",
            LC_ALL="C",
            PYTHONHASHSEED="77",
            HOME=str(tmp_path),
        )
    finally:
        os.umask(before)
    for name in zipapps.LIMITS:
        digests = [
            hashlib.sha256((place / name).read_bytes()).hexdigest()
            for place in (pyzs, tmp_path / "out")
        ]
        assert digests[0] == digests[1], name
        assert os.access(tmp_path / "out" / name, os.X_OK)


@pytest.mark.release
def test_other_wheels_are_refused(tmp_path: Path) -> None:
    """One byte of one wheel is another."""
    wheels = tmp_path / "wheels"
    shutil.copytree(zipapps.wheels(), wheels)
    victim = next(wheels.glob("urllib3-*"))
    victim.write_bytes(victim.read_bytes() + b"\0")
    done = run(
        [sys.executable, zipapps.SCRIPT, "--out", tmp_path / "out", "--wheels", wheels], tmp_path
    )
    assert done.returncode == 1
    said = f"lacks 1 of 25 wheels of zipapp.lock, and has others: {victim.name}\n"
    assert done.stderr.endswith(said)
    assert not (tmp_path / "out").exists()


def test_pythons_that_are_not_those(tmp_path: Path) -> None:
    """Something else by that name, or nothing, or no `go`: nothing is unpacked."""
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    for script, said in (
        ('echo \'{"Zip": "/x.zip", "Sum": "h1:other"}\'', "is not what pythons.lock says: its sum"),
        ('echo \'{"Error": "no network"}\'; exit 1', "no network"),
        ("exit 3", "exited 3"),
        (None, "there is no `go`"),
    ):
        if script is None:
            go.unlink()
        else:
            go.write_text(f"#!/bin/sh\n{script}\n")
            go.chmod(0o755)
        command: list[str | Path] = [sys.executable, zipapps.PYTHONS, tmp_path / "pythons"]
        done = run(command, tmp_path, PATH=str(go.parent))
        assert done.returncode == 1
        assert re.fullmatch(r"pythons: .*\n", done.stderr)
        assert said in done.stderr
        assert os.listdir(tmp_path / "pythons") == []
