"""What takes long to make: made once, kept in the tests' cache, and only read by the tests."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.support.servers import programs


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The directory of that name in the cache, made if it is not there.

    Made beside its place first, so that one that is there is whole.
    """
    place = programs.CACHE / "trees" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with open(place.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            begun = place.with_suffix(".begun")
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir()
            make(begun)
            begun.rename(place)
    return place
