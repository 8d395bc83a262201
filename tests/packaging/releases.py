"""A release, as far as `.builds/publish` makes it here: with a `hut` that only notes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import cacher

VERSION = cacher.__version__

RELEASED = f"# Changelog\n\n## [{VERSION}] - 2026-02-03\n\n### Added\n\n- Everything.\n"


def publish(
    place: Path, *options: str, status: str = "0", site: str = "example.org"
) -> subprocess.CompletedProcess[str]:
    """With a `hut` that notes what it is told, and exits with `status`."""
    hut = place.parent / "bin/hut"
    hut.parent.mkdir(exist_ok=True)
    hut.write_text(f'#!/bin/sh\necho "$*" >>{place.parent}/hut.log\nexit {status}\n')
    hut.chmod(0o755)
    return subprocess.run(
        [str(place / ".builds/publish"), *options, str(place.parent / "out")],
        env={**os.environ, "PATH": f"{hut.parent}:{os.environ['PATH']}", "SITE": site},
        capture_output=True,
        text=True,
    )
