"""What the file commands are asked to do: their arguments, parsed and proved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Download:
    """The arguments of `download`; `sha256` is lower case or empty."""

    key: str
    dest: str
    urls: Sequence[str] = ()
    sha256: str = ""
    store_it: bool = True


@dataclass(frozen=True, slots=True)
class Upload:
    """The arguments of `upload`; `sha256` is lower case or empty."""

    key: str
    file: str
    sha256: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class DirUpload:
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


@dataclass(frozen=True, slots=True)
class DirDownload:
    """The arguments of `dir download`; `max_unpacked` is bytes, or None for the default."""

    key: str
    directory: str
    clean: bool = False
    strip: int = 0
    only: Sequence[str] = ()
    keep_owner: bool = False
    max_unpacked: int | None = None
