"""Which edition of the program runs, and what is bundled with it, for `version`.

A zipapp's importer (`.builds/bootstrap`) is the loader of the package, and describes it. Any other
installation bundles nothing.
"""

import sys

import cacher
from cacher.errors import LocalError


def bundled() -> dict[str, str]:
    """Return texts for people by name; empty where nothing is bundled."""
    spec = cacher.__spec__
    loader = spec.loader if spec else None
    describe = getattr(loader, "describe", None)
    if describe is None:
        return {}
    described = describe()
    return {
        "edition": described["edition"],
        "bundled": ", ".join(f"{name} {version}" for name, version in described["bundled"].items()),
        "compiled": ", ".join(f"Python {version}" for version in described["bytecode"]),
        "python": sys.version.split()[0],
        "zstd": _zstd(loader),
    }


def _zstd(loader: object) -> str:
    """Return which zstd is used, and how it was loaded."""
    try:
        from cacher.archive.zstd import LIBRARY
    except LocalError as error:
        return f"none: {error.message}"
    loaded = getattr(loader, "loaded", "")
    return f"{LIBRARY}, loaded {loaded}" if loaded else LIBRARY
