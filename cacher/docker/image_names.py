"""Images, their ids, and the names that people and engines have for them. Knows no engine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from cacher.errors import UsageError

_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*(\[[0-9a-fA-F:]+\])?[A-Za-z0-9._:/@-]*")
"""Whatever any of the programs takes for an image; above all no option."""

ID = re.compile(r"(sha256:)?([0-9a-f]{64})")
"""An id as engines tell it: docker with its algorithm, podman without."""

_ID_AT_LEAST = 4
"""Digits of an id that nobody takes for a name."""

_TOLD = 5

_PLACES = ("docker.io/library/", "docker.io/", "localhost/")
"""What docker leaves out of a name, and podman does not."""


class Image(NamedTuple):
    """An image as an engine tells of it.

    `id` is 64 hex digits: the digest of its configuration, or of its manifest in an engine with
    containerd's image store. `layers` is the hex SHA-256 over the digests of its unpacked layers,
    in order and one a line, which is the same in all engines.
    """

    id: str
    layers: str


def normal(name: str) -> str:
    """A name as it is compared between engines: `debian` is `docker.io/library/debian:latest`.

    In one engine podman's `localhost/debian` may be another image than `debian`.
    """
    if match := ID.fullmatch(name):
        return f"sha256:{match[2]}"
    for place in _PLACES:
        name = name.removeprefix(place)
    return _tagged(name)


def is_id(name: str, image: Image) -> bool:
    """Whether a name is the beginning of the image's id."""
    digits = name.removeprefix("sha256:")
    return len(digits) >= _ID_AT_LEAST and image.id.startswith(digits)


def exact(name: str, image: Image) -> str:
    """A name that means one image: without a tag `docker save` takes all of the repository's."""
    return f"sha256:{image.id}" if is_id(name, image) else _tagged(name)


def listed(names: Iterable[str]) -> str:
    """Names for a message: as many as somebody reads."""
    told = list(names)
    more = len(told) - _TOLD
    return ", ".join(told) if more <= 0 else f"{', '.join(told[:_TOLD])} and {more} more"


def _tagged(name: str) -> str:
    return name if "@" in name or ":" in name.rpartition("/")[2] else f"{name}:latest"


def check_name(name: str) -> None:
    """Raises `UsageError` for what is not the name of an image."""
    if not _REFERENCE.fullmatch(name):
        raise UsageError(
            f"{name!r} is not the name of an image", "a name is like app:1 or HOST/app:1"
        )
