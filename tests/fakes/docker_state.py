"""What the double of docker knows, in a file: its images, its faults, and a journal of its calls.

Shared by the program (a new process for each call) and the tests that set its scene.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypedDict


class ImageState(TypedDict):
    """An image that the double can make anew from `seed` and `size`."""

    id: str
    """`sha256:` and the digest of its config."""
    names: list[str]
    """As docker shows them: `app:1`, or `app@sha256:...` for one pulled by digest."""
    seed: str
    """Empty: a real image that was loaded, whose content has not been kept."""
    size: int
    """Bytes in the one file of its one layer."""
    layers: list[str]
    """The digests of its unpacked layers, `sha256:...`."""


class Fault(TypedDict):
    """What happens to a command; the fields are those of `FakeDocker.on`."""

    command: str
    call: int | None
    after: int | None
    status: int
    signal: int
    hang: bool
    stderr: str
    flood: int
    registers: str
    linger: float
    deaf: bool


class Scene(TypedDict):
    """All of it."""

    version: str
    reachable: bool
    local: list[ImageState]
    remote: list[ImageState]
    faults: list[Fault]
    counts: dict[str, int]
    """How often each command was called."""


def empty(version: str) -> Scene:
    """A machine where docker runs and nothing has happened yet."""
    return Scene(version=version, reachable=True, local=[], remote=[], faults=[], counts={})


def read(path: str) -> Scene:
    """The scene as it is now."""
    with open(path) as file:
        scene: Scene = json.load(file)
    return scene


def write(path: str, scene: Scene) -> None:
    """Put the scene in its place, whole."""
    begun = f"{path}.{os.getpid()}"
    with open(begun, "w") as file:
        json.dump(scene, file)
    os.replace(begun, path)


@contextmanager
def changing(path: str) -> Iterator[Scene]:
    """The scene, written back at the end; others that change it wait."""
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        scene = read(path)
        yield scene
        write(path, scene)


def journal(path: str) -> str:
    """Where the calls are written down, a line of JSON each time one gets further."""
    return f"{path}.journal"


def note(path: str, record: dict[str, Any]) -> None:
    """Append a line to the journal, in one write."""
    line = json.dumps(record).encode() + b"\n"
    file = os.open(journal(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def shown(name: str) -> str:
    """A reference as docker shows it: no default registry, but the default tag."""
    for default in ("docker.io/", "library/"):
        name = name.removeprefix(default)
    if "@" in name or ":" in name.rpartition("/")[2]:
        return name
    return f"{name}:latest"


def find(images: list[ImageState], name: str) -> ImageState | None:
    """The image of that name, or with that id, `sha256:` or not, whole or its beginning."""
    wanted = shown(name)
    for image in images:
        if wanted in image["names"]:
            return image
    digits = name.removeprefix("sha256:")
    if not digits or set(digits) - set("0123456789abcdef"):
        return None
    found = [image for image in images if image["id"].startswith(f"sha256:{digits}")]
    return found[0] if len(found) == 1 else None


def register(images: list[ImageState], new: ImageState) -> dict[str, str]:
    """Add an image; a name that another had is taken from it. The ids that lost one, by name."""
    lost: dict[str, str] = {}
    for name in new["names"]:
        for other in images:
            if name in other["names"] and other["id"] != new["id"]:
                other["names"].remove(name)
                lost[name] = other["id"]
    for known in images:
        if known["id"] == new["id"]:
            known["names"] = sorted({*known["names"], *new["names"]})
            return lost
    images.append(new)
    return lost


def tags(image: ImageState) -> list[str]:
    """Its names that are tags, not digests."""
    return [name for name in image["names"] if "@" not in name]
