"""Images, their ids, and their names as people and engines write them. Knows no engine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from cacher.errors import UsageError

_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*(\[[0-9a-fA-F:]+\])?[A-Za-z0-9._:/@-]*")
"""A name that any of the programs accepts; above all, it is not an option."""

ID = re.compile(r"(sha256:)?([0-9a-f]{64})")
"""An id as engines print it: docker with its algorithm, podman without."""

_ID_AT_LEAST = 4
"""Digits of an id that nobody takes for a name."""

_MAX_SHOWN = 5

_DEFAULT_PREFIXES = ("docker.io/library/", "docker.io/", "localhost/")
"""Prefixes of names that docker leaves out, and podman does not."""


class Image(NamedTuple):
    """An image as an engine describes it.

    `id` is 64 hex digits: the digest of its configuration, or of its manifest in an engine with
    containerd's image store. `layers` is the hex SHA-256 over the digests of its unpacked layers,
    in order and one a line, which is the same in all engines.
    """

    id: str
    layers: str


def normalize(name: str) -> str:
    """Return a name in the form that is compared between engines.

    `debian` is `docker.io/library/debian:latest`. In one engine podman's `localhost/debian` may be
    another image than `debian`.
    """
    if match := ID.fullmatch(name):
        return f"sha256:{match[2]}"
    for prefix in _DEFAULT_PREFIXES:
        name = name.removeprefix(prefix)
    return _with_tag(name)


def is_id(name: str, image: Image) -> bool:
    """Whether a name is the beginning of the image's id."""
    digits = name.removeprefix("sha256:")
    return len(digits) >= _ID_AT_LEAST and image.id.startswith(digits)


def exact_name(name: str, image: Image) -> str:
    """Return a name of one image: without a tag `docker save` takes all of the repository."""
    return f"sha256:{image.id}" if is_id(name, image) else _with_tag(name)


def names_text(names: Iterable[str]) -> str:
    """Return names for a message: the first few, and how many more."""
    known = list(names)
    more = len(known) - _MAX_SHOWN
    return ", ".join(known) if more <= 0 else f"{', '.join(known[:_MAX_SHOWN])} and {more} more"


def _with_tag(name: str) -> str:
    return name if "@" in name or ":" in name.rpartition("/")[2] else f"{name}:latest"


def check_name(name: str) -> None:
    """Raise `UsageError` unless this is the name of an image."""
    if not _REFERENCE.fullmatch(name):
        raise UsageError(
            f"{name!r} is not the name of an image", "a name is like app:1 or HOST/app:1"
        )
