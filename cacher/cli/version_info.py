"""Which edition of the program runs, what is bundled with it, and whether its file is intact.

Knows the layout of a zipapp (`.builds/zipapp`). Any other installation has nothing bundled.
"""

import sys

import cacher
from cacher.errors import LocalError, os_reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zipimport import zipimporter

_DIGEST = 64
"""Bytes at the end of the file: the SHA-256 of all before them, in hexadecimal."""

_DOWNLOAD = "download it again, and compare it with its checksum: `sha256sum -c`"


def bundled() -> dict[str, str]:
    """For people to read, by name; empty where nothing is bundled. Raises `LocalError`."""
    loader = _importer()
    if loader is None:
        return {}
    import json

    try:
        bundle = json.loads(loader.get_data("bundle.json"))
    except OSError as error:
        raise LocalError(
            f"{loader.archive} is damaged: it has no bundle.json", _DOWNLOAD
        ) from error
    return {
        "edition": bundle["edition"],
        "bundled": ", ".join(f"{name} {version}" for name, version in bundle["bundled"].items()),
        "compiled": ", ".join(f"Python {version}" for version in bundle["bytecode"]),
        "python": sys.version.split()[0],
        "zstd": _zstd(),
    }


def verified() -> str:
    """Compare the zipapp with the digest at its end: a line for people. Raises `LocalError`.

    It finds damage. Somebody who changes the file on purpose can change the digest, too.
    """
    loader = _importer()
    if loader is None:
        return "nothing to verify: this is an installed package, and not cacher.pyz"
    import hashlib

    try:
        with open(loader.archive, "rb") as file:
            content = memoryview(file.read())
    except OSError as error:
        raise LocalError(f"{loader.archive}: {os_reason(error)}") from error
    digest = hashlib.sha256(content[:-_DIGEST])
    if digest.hexdigest().encode() != content[-_DIGEST:]:
        raise LocalError(f"{loader.archive} is damaged: it has another SHA-256", _DOWNLOAD)
    digest.update(content[-_DIGEST:])
    return f"{loader.archive} is intact, its SHA-256 is {digest.hexdigest()}"


def _importer() -> "zipimporter | None":
    """The importer of the zipapp that this is; None where it is none."""
    spec = cacher.__spec__
    loader = spec.loader if spec else None
    return loader if hasattr(loader, "archive") else None  # type: ignore[return-value]


def _zstd() -> str:
    """Which zstd is used, and how it was loaded."""
    try:
        from cacher.archive.zstd import LIBRARY
    except LocalError as error:
        return f"none: {error.message}"
    module = sys.modules.get("zstandard.backend_c")
    loaded = module.__spec__.origin if module and module.__spec__ else None
    return f"{LIBRARY}, loaded {loaded}" if loaded else LIBRARY
