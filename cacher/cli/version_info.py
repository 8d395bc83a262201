"""Which edition of the program runs, and what is bundled with it: what `version` tells.

A zipapp's importer (`.builds/bootstrap`) is the loader of the package, and knows. Any other
installation has nothing to tell.
"""

import sys

import cacher
from cacher.errors import LocalError


def bundled() -> dict[str, str]:
    """For people to read, by name; empty where nothing is bundled."""
    spec = cacher.__spec__
    loader = spec.loader if spec else None
    describe = getattr(loader, "describe", None)
    if describe is None:
        return {}
    told = describe()
    return {
        "edition": told["edition"],
        "bundled": ", ".join(f"{name} {version}" for name, version in told["bundled"].items()),
        "compiled": ", ".join(f"Python {version}" for version in told["bytecode"]),
        "python": sys.version.split()[0],
        "zstd": _zstd(loader),
    }


def _zstd(loader: object) -> str:
    """Which zstd is used, and how it was loaded."""
    try:
        from cacher.archive.zstd import LIBRARY
    except LocalError as error:
        return f"none: {error.message}"
    loaded = getattr(loader, "loaded", "")
    return f"{LIBRARY}, loaded {loaded}" if loaded else LIBRARY
