"""Where the programs that tests need are found, and what happens when one is missing.

Knows `PATH`, the directory that `tests/run` fills and the list of packages that it installs
(`tests/support/programs.txt`); installs nothing itself.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def _cache() -> Path:
    chosen = os.environ.get("CACHER_TEST_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cacher-tests"


CACHE = _cache()
"""Where `tests/run` keeps what it installs. Read at import: later each test has its own HOME."""


class ProgramNotFound(Exception):
    """A program is not installed; the message says what would provide it."""


def _packages() -> dict[str, str]:
    text = Path(__file__).parents[1].joinpath("programs.txt").read_text()
    rows = [line.split(maxsplit=3) for line in text.splitlines() if not line.startswith("#")]
    return {program: package for _tier, program, package, _purpose in rows}


PACKAGES = _packages()
"""The package of Debian that provides each program."""


def find(program: str, *, package: str = "", provider: str = "") -> Path:
    """The path of `program`: from `PATH`, or else from `CACHE/PACKAGE-VERSION/bin`.

    `provider` is the command that would install it, where that is not apt-get with a package of
    `PACKAGES`. Raises `ProgramNotFound`.
    """
    on_path = shutil.which(program)
    if on_path:
        return Path(on_path)
    kept = sorted(CACHE.glob(f"{package}-[0-9]*/bin/{program}")) if package else []
    if kept:
        return kept[-1]
    provider = provider or f"apt-get install {PACKAGES[program]}"
    raise ProgramNotFound(f"{program} was not found; to provide it: {provider}")


def unavailable(missing: ProgramNotFound) -> NoReturn:
    """Skip the test that needs it; under `CI=true`, where nothing may go untested, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(str(missing), pytrace=False)
    pytest.skip(str(missing))


def require(program: str, *, provider: str = "") -> Path:
    """`find`, for a test: without the program the test is `unavailable`."""
    try:
        return find(program, provider=provider)
    except ProgramNotFound as missing:
        unavailable(missing)
