"""What is in a wheel and in a source distribution, and what is at the top of the repository."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import cacher

ROOT = Path(__file__).parents[2]

MAN_PAGE = "share/man/man1/cacher.1"
"""Below the environment that it is installed in, where man(1) finds it."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    for build in ("build_wheel", "build_sdist"):
        subprocess.run(
            [
                sys.executable,
                "-c",
                f"import flit_core.buildapi as b; print(b.{build}({str(directory)!r}))",
            ],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
    return directory


def test_wheel(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith("/METADATA")]
        told = Parser().parsestr(archive.read(metadata).decode())
        (entries,) = [name for name in names if name.endswith("entry_points.txt")]
        assert "cacher=cacher.cli.main:main" in archive.read(entries).decode()
        page = archive.read(f"cacher-{cacher.__version__}.data/data/{MAN_PAGE}")
        assert page == (ROOT / "docs/cacher.1").read_bytes()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "cacher").rglob("*.py")}
    outside = (".dist-info", ".data")
    packed = {name for name in names if not name.split("/")[0].endswith(outside)}
    assert packed == {*modules, "cacher/py.typed"}
    assert sum(".data/" in name for name in names) == 1
    assert any(name.endswith("LICENSE") for name in names)
    assert told["Version"] == cacher.__version__
    assert told["Requires-Python"] == ">=3.11"
    required = [line for line in told.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(line.split(">")[0] for line in required) == ["urllib3", "zstandard"]


def test_sdist_can_be_tested(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"LICENSE", "README.md", "pyproject.toml", "docs/manual.md", ".builds/publish.yml"}
    assert {*needed, ".ci/run", "tests/run", "cacher/py.typed"} <= names


def test_the_wheel_of_an_sdist_is_that_of_the_checkout(built: Path, tmp_path: Path) -> None:
    """As an installer builds it, with the man page behind its link."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        # Debian 12's Python has no filters yet, and later ones warn without one.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path)
    (tree,) = tmp_path.iterdir()
    build = f"import flit_core.buildapi as b; b.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=tree, check=True, capture_output=True)
    contents = []
    for directory in (built, tmp_path):
        with zipfile.ZipFile(next(directory.glob("*.whl"))) as archive:
            contents.append({name: archive.read(name) for name in archive.namelist()})
    assert contents[0] == contents[1]


def test_top_level() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    assert top == {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "cacher",
        "tests",
        "docs",
        ".builds",
        ".ci",
        ".gitignore",
    }
