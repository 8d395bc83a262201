"""The zipapps that the tests of them share: built once, from wheels in the tests' cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tests.support.kept import kept
from tests.support.servers import programs

ROOT = Path(__file__).parents[2]

SCRIPT = ROOT / ".builds" / "zipapp"

PYTHONS = ROOT / ".builds" / "pythons"

_LIMIT = 2800.0  # seconds; most is the download of 400 MB

LIMITS = {
    # Bytes that each may have.
    "cacher.pyz": 24_000_000,
    "cacher-linux-amd64.pyz": 8_000_000,
    "cacher-linux-arm64.pyz": 8_000_000,
    "cacher-darwin-amd64.pyz": 8_000_000,
    "cacher-darwin-arm64.pyz": 8_000_000,
}

_HOME = Path.home()
"""Read at import: later each test has its own."""

_PYTHON = re.compile(r"python(\d\.\d+)?")


def wheels() -> Path:
    """The wheels of the lock file: downloaded once for each state of it."""
    lock = (ROOT / ".builds" / "zipapp.lock").read_bytes()
    name = f"wheels-{hashlib.sha256(lock).hexdigest()[:12]}"
    return kept(name, _download)


def _download(directory: Path) -> None:
    build("--download", directory)


def build(*arguments: str | Path, script: Path = SCRIPT, **environ: str) -> str:
    """Run the script, and give what it says."""
    done = subprocess.run(
        [sys.executable, script, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def interpreters() -> dict[str, Path]:
    """Every Python of this machine by its version: on PATH, pyenv's, $CACHER_TEST_PYTHONS."""
    places = [Path(place) for place in os.environ.get("PATH", os.defpath).split(os.pathsep)]
    places += [Path("/usr/bin"), Path("/usr/local/bin")]
    for root in (os.environ.get("PYENV_ROOT"), _HOME / ".pyenv"):
        places += sorted(Path(root).glob("versions/*/bin")) if root else []
    found = [path for place in places for path in sorted(_pythons(place))]
    named = os.environ.get("CACHER_TEST_PYTHONS", "").split(os.pathsep)
    found += [Path(name) for name in named if name]
    return _versions([Path(sys.executable), *found])


def _pythons(place: Path) -> Iterable[Path]:
    try:
        return [path for path in place.iterdir() if _PYTHON.fullmatch(path.name)]
    except OSError:
        return []


def _versions(paths: Iterable[Path]) -> dict[str, Path]:
    ask = "import sys; print('%d.%d.%d %s' % (sys.version_info[:3] + (sys.executable,)))"
    versions: dict[str, Path] = {}
    for path in dict.fromkeys(path for path in paths if "shims" not in path.parts):
        done = subprocess.run([path, "-c", ask], capture_output=True, text=True, check=False)
        version, _, executable = done.stdout.strip().partition(" ")
        if done.returncode == 0 and executable:
            versions.setdefault(version, path)
    return versions


def pinned() -> dict[str, Path]:
    """The Pythons that a release is compiled by, by version: downloaded once. Needs `go`."""
    lock = (ROOT / ".builds" / "pythons.lock").read_bytes()
    name = f"pythons-{hashlib.sha256(lock).hexdigest()[:12]}"
    try:
        programs.find("go")
        place = kept(name, _fetch)
    except programs.ProgramNotFound as missing:
        programs.unavailable(missing)
    return {
        version: place / version / "bin" / f"python{version.rpartition('.')[0]}"
        for version in locked()
    }


def locked() -> list[str]:
    """Their versions."""
    text = (ROOT / ".builds" / "pythons.lock").read_text()
    return [line.split()[0] for line in text.splitlines() if not line.startswith("#")]


def _fetch(directory: Path) -> None:
    done = subprocess.run(
        [PYTHONS, directory], capture_output=True, text=True, timeout=_LIMIT, check=False
    )
    assert done.returncode == 0, done.stderr


def compilers() -> list[str]:
    """Those as --python options."""
    return [word for path in pinned().values() for word in ("--python", str(path))]


def copied(directory: Path) -> Path:
    """What a zipapp is built from, elsewhere and of another time; the script there."""
    shutil.copytree(ROOT / ".builds", directory / ".builds")
    shutil.copytree(ROOT / "cacher", directory / "cacher")
    shutil.copyfile(ROOT / "LICENSE", directory / "LICENSE")
    for path in directory.rglob("*"):
        os.utime(path, (1, 1))
    return directory / ".builds" / "zipapp"
