"""The page of this checkout, with stand-ins for what it links to."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipapp
from pathlib import Path

import cacher

ROOT = Path(__file__).parents[2]
TEMPLATE = "docs/index.html"
VERSION = cacher.__version__

PYZ = [
    f"cacher{edition}.pyz"
    for edition in ("", "-linux-amd64", "-linux-arm64", "-darwin-amd64", "-darwin-arm64")
]
ARTIFACTS = [*PYZ, f"cacher-{VERSION}-py3-none-any.whl", f"cacher-{VERSION}.tar.gz"]

DOCUMENTS = sorted(path.stem for path in (ROOT / "docs").glob("*.md") if path.stem != "changelog")
"""The changelog is on the page itself."""


def make_artifacts(directory: Path) -> None:
    directory.mkdir()
    for name in ARTIFACTS:
        (directory / name).write_text(f"{name}\n")
    # What there is of the program that needs nothing else: enough to tell its version.
    zipapp.create_archive(
        ROOT,
        directory / "cacher.pyz",
        interpreter="/usr/bin/env python3",
        main="cacher.cli.main:main",
        filter=lambda path: path.parts[0] == "cacher" and "__pycache__" not in path.parts,
    )
    listed = (f"{sha256(directory / name)}  {name}\n" for name in sorted(ARTIFACTS))
    (directory / "checksums.txt").write_text("".join(listed))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_site(directory: Path) -> Path:
    """The artifacts, and the page with what this checkout's changelog tells, as a draft."""
    make_artifacts(directory)
    script = [sys.executable, str(ROOT / ".builds/page.py"), "--draft", "--documents"]
    places = ["--artifacts", str(directory), "--out", str(directory / "index.html")]
    subprocess.run([*script, *places], check=True)
    return directory
