"""Which edition of the program runs, what is bundled with it, and whether its file is intact.

Knows the layout of a zipapp (`.builds/zipapp`). Any other installation has nothing bundled.
"""

from __future__ import annotations

import sys

import cacher
from cacher.errors import LocalError, os_reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def bundled() -> dict[str, str]:
    """Return texts for people by name; empty where nothing is bundled."""
    _, content = _zipapp()
    if not content:
        return {}
    import json

    bundle = json.loads(content)
    return {
        "edition": bundle["edition"],
        "bundled": ", ".join(f"{name} {version}" for name, version in bundle["bundled"].items()),
        "compiled": ", ".join(f"Python {version}" for version in bundle["bytecode"]),
        "python": sys.version.split()[0],
        "zstd": _zstd(),
    }


def verified() -> str:
    """Compare the zipapp with the digest in its third line; return a line for people.

    It finds damage. Who changes the file on purpose can change the digest, too.
    Raises `LocalError`.
    """
    archive, content = _zipapp()
    if not content:
        return "nothing to verify: this is an installed package, and not cacher.pyz"
    import hashlib

    try:
        with open(archive, "rb") as file:
            head = [file.readline() for _ in range(3)]
            rest = file.read()
    except OSError as error:
        raise LocalError(f"{archive}: {os_reason(error)}") from error
    if head[2] != b"# %s\n" % hashlib.sha256(rest).hexdigest().encode():
        raise LocalError(
            f"{archive} is damaged: it has another SHA-256",
            "download it again, and compare it with its checksum: `sha256sum -c`",
        )
    digest = hashlib.sha256(b"".join([*head, rest])).hexdigest()
    return f"{archive} is intact, its SHA-256 is {digest}"


def _zipapp() -> tuple[str, bytes]:
    """Return the path of the zipapp that runs, and its bundle.json; empty without one."""
    loader: Any = cacher.__spec__.loader if cacher.__spec__ else None
    try:
        return loader.archive, loader.get_data("bundle.json")
    except (AttributeError, OSError):
        return "", b""


def _zstd() -> str:
    """Return which zstd is used, and how it was loaded."""
    try:
        from cacher.archive.zstd import LIBRARY
    except LocalError as error:
        return f"none: {error.message}"
    module = sys.modules.get("zstandard.backend_c")
    loaded = module.__spec__.origin if module and module.__spec__ else None
    return f"{LIBRARY}, loaded {loaded}" if loaded else LIBRARY
