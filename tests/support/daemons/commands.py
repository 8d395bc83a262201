"""The programs of container engines, run to their end."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

_LIMIT = 600.0  # seconds; the longest, a load of Debian into podman, needs 10


def run(
    program: Path, *argv: str | Path, env: Mapping[str, str], input_: bytes, check: bool
) -> subprocess.CompletedProcess[bytes]:
    """Run a program; raises `RuntimeError` with its stderr if `check` and it fails."""
    done = subprocess.run(
        [program, *argv],
        input=input_,
        capture_output=True,
        env=dict(env),
        timeout=_LIMIT,
        check=False,
    )
    if check and done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise RuntimeError(f"{program.name} {argv[0]} exited {done.returncode}: {said}")
    return done
