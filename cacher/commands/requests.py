"""What the commands that move entries are asked to do: their arguments, parsed and proved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class DownloadRequest(NamedTuple):
    """The arguments of `download`; `sha256` is lower case or empty."""

    key: str
    dest: str
    urls: Sequence[str] = ()
    sha256: str = ""
    store_it: bool = True


class UploadRequest(NamedTuple):
    """The arguments of `upload`; `sha256` is lower case or empty."""

    key: str
    file: str
    sha256: str = ""
    force: bool = False


class DirUploadRequest(NamedTuple):
    """The arguments of `dir upload`."""

    key: str
    directory: str
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    exclude_caches: bool = False
    allow_missing: bool = False
    level: int = 3
    keep_owner: bool = False
    tolerate_changes: bool = False
    force: bool = False


class DirDownloadRequest(NamedTuple):
    """The arguments of `dir download`; `max_unpacked` is bytes, or None for the default."""

    key: str
    directory: str
    clean: bool = False
    strip: int = 0
    only: Sequence[str] = ()
    keep_owner: bool = False
    max_unpacked: int | None = None


class DockerUploadRequest(NamedTuple):
    """The arguments of `docker upload`; `program` is that of the engine, None for the first."""

    key: str
    images: Sequence[str]
    program: str | None = None
    level: int = 3
    force: bool = False


class DockerDownloadRequest(NamedTuple):
    """The arguments of `docker download`; `sha256` is of what a URL gives, or empty."""

    key: str
    image: str | None = None
    program: str | None = None
    pull: bool = False
    urls: Sequence[str] = ()
    sha256: str = ""
    store_it: bool = True
