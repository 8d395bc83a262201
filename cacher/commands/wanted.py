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
