"""The arguments of the commands, parsed.

A field has the name of the option that it comes from (`cli/arguments.py`), where its value is the
same; `cli/dispatch.py` parses the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


class ListRequest(NamedTuple):
    """The arguments of `list`; without `sort` entries come in the store's order."""

    below: str = ""
    """The prefix of the keys to list."""

    sort: str = ""
    reverse: bool = False
    root: bool = False
    """Ignore the configured prefix."""

    delimiter: bool = False
    """Show keys with a slash behind `below` as the group that ends at the slash."""


class DeleteRequest(NamedTuple):
    """The arguments of `delete`: `keys`, or the prefix `below` of them."""

    keys: Iterable[str] = ()
    below: str | None = None
    dry_run: bool = False
    yes: bool = False
