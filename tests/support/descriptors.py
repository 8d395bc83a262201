"""The descriptors that this process has open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_descriptor_more() -> Iterator[None]:
    """Fails if what is done leaves a descriptor open."""
    before = open_descriptors()
    yield
    assert open_descriptors() == before


def open_descriptors() -> set[str]:
    """What this process has open, the listing itself not counted."""
    return {f"{fd} {target}" for fd in os.listdir("/proc/self/fd") if (target := _target(fd))}


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return ""
    except OSError:
        return "too long a path"
