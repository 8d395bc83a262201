"""The wheels that a zipapp is made of: which, where from, and that they are those."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

LOCK = Path(__file__).with_name("zipapp.lock")

PYTHONS = ("3.11", "3.12", "3.13", "3.14")

PLATFORMS = {
    # What is in an edition's name, and what pip calls it: every tag that a wheel may have.
    "linux-amd64": [
        ["manylinux_2_17_x86_64", "manylinux_2_28_x86_64"],
        ["musllinux_1_2_x86_64"],
    ],
    "linux-arm64": [
        ["manylinux_2_17_aarch64", "manylinux_2_28_aarch64"],
        ["musllinux_1_2_aarch64"],
    ],
    "darwin-amd64": [["macosx_10_9_x86_64", "macosx_10_13_x86_64"]],
    "darwin-arm64": [["macosx_11_0_arm64"]],
}


class Refused(Exception):
    """The wheels are not what they have to be; the message says which."""


def locked() -> dict[str, str]:
    """The packages of the lock file and their versions."""
    return dict(re.findall(r"^(\w+)==(\S+)", LOCK.read_text(), re.MULTILINE))


def download(directory: Path) -> None:
    """Fetch every wheel into `directory`, with pip, which checks the hashes.

    Raises `CalledProcessError`.
    """
    for tags in (tags for platform in PLATFORMS.values() for tags in platform):
        for version in PYTHONS:
            command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
            command += ["--quiet", "--require-hashes", "--only-binary", ":all:", "--no-deps"]
            command += ["--implementation", "cp", "--python-version", version]
            command += ["--abi", f"cp{version.replace('.', '')}", "--abi", "none"]
            command += [word for tag in tags for word in ("--platform", tag)]
            command += ["--dest", str(directory), "--requirement", str(LOCK)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def checked(directory: Path) -> list[Path]:
    """The wheels of the lock file in `directory`, all of them, whatever else is there.

    Raises `Refused`.
    """
    wanted = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", LOCK.read_text()))
    found: dict[str, Path] = {}
    for path in sorted(directory.glob("*.whl")):
        found.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)
    missing = wanted - found.keys()
    if missing:
        others = sorted(path.name for digest, path in found.items() if digest not in wanted)
        told = f", and has others: {', '.join(others)}" if others else ""
        raise Refused(
            f"{directory} lacks {len(missing)} of {len(wanted)} wheels of {LOCK.name}{told}"
        )
    return sorted(found[digest] for digest in wanted)


def tag(wheel: Path, name: str) -> str:
    """By what the zipapp finds an extension: its suffix, and on macOS the processor."""
    suffix = name[name.index(".") :]
    if "darwin" not in suffix:
        return suffix
    return f"{suffix}.{'arm64' if 'arm64' in wheel.name else 'x86_64'}"


def platform(tag: str) -> str:
    """The edition that has it."""
    system = "darwin" if "darwin" in tag else "linux"
    return f"{system}-{'amd64' if 'x86_64' in tag else 'arm64'}"


def members(wheel: Path) -> dict[str, bytes]:
    """What is in a wheel, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}
