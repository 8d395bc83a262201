"""The zipapp on its own: a Python without a site, and an environment of what is said here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.cli_helpers import Ended

_PYTHON = [sys.executable, "-I", "-S"]
"""No site, no variables, no directory of its own in front: nothing but what the zipapp brings."""


class Zipapp:
    """Runs `cacher.pyz` in a directory, and in an environment of nothing but what is said here."""

    def __init__(self, path: Path, directory: Path) -> None:
        self.work, self.temporary = directory / "work", directory / "tmp"
        self.home = directory / "home"
        self._path = path
        self._environ = {
            "PATH": os.defpath,
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "CACHER_PART_SIZE": "5MiB",
        }
        self.work.mkdir()
        self.temporary.mkdir()

    def lead(self, environ: Mapping[str, str]) -> None:
        """Add what leads to a store, or to docker."""
        self._environ |= environ

    def forget(self, *names: str) -> None:
        """Take out what led there."""
        for name in names:
            del self._environ[name]

    def start(self, *argv: str | Path, python: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Start it, with these options of Python's."""
        return subprocess.Popen(
            [*_PYTHON, *python, self._path, *argv],
            cwd=self.work,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *argv: str | Path, python: tuple[str, ...] = ()) -> Ended:
        """Run it to its end."""
        with self.start(*argv, python=python) as process:
            try:
                out, err = process.communicate(timeout=600)
            finally:
                process.kill()
        return Ended(process.returncode, out, err.decode())
