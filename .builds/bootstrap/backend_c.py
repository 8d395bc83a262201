"""zstandard's compiled part in a zipapp, where Python itself can load no shared library from.

In the place of the real module, for which it exchanges itself: loaded from memory, or else from a
file that is deleted at once. Without one for this Python and machine, or where neither is allowed,
an installed zstandard takes the place of the whole package.
"""

from __future__ import annotations

import _imp
import os
import sys
from _frozen_importlib import ModuleSpec  # of importlib.machinery, which is not loaded yet
from _frozen_importlib_external import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

OLDEST = (0, 22)
"""Of an installed zstandard: what pyproject.toml asks for."""


class Unavailable(ImportError):
    """There is no zstandard to be had here; `hint` is what may be done about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, name=__name__)
        self.hint = hint


def _bundled() -> ModuleType:
    """The module of this file. Raises `Unavailable`."""
    content = _content()
    reasons = []
    for load in (_from_memory, _from_file):
        try:
            return load(content)
        except (OSError, ImportError, AttributeError) as error:
            reasons.append(_reason(error))
    raise Unavailable(
        f"no place to load its zstandard from ({'; '.join(reasons)})",
        "set TMPDIR to a directory on a file system that is not mounted noexec",
    )


def _content() -> bytes:
    """The shared library for this Python and machine. Raises `Unavailable`: there is none."""
    for suffix in _imp.extension_suffixes():
        # On macOS the suffix does not name the processor.
        for tag in (suffix, f"{suffix}.{os.uname().machine}"):
            try:
                return _read(f"native/backend_c{tag}")
            except OSError:
                continue
    import json

    edition = json.loads(_read("bundle.json"))["edition"]
    if edition == "all":
        raise Unavailable("this file has no zstandard for it", "")
    hint = f"cacher.pyz is for every machine; this file is the edition for {edition}"
    raise Unavailable(f"the {edition} edition has no zstandard for it", hint)


def _read(name: str) -> bytes:
    """An entry of the archive. Raises OSError: there is none of that name."""
    data: bytes = __loader__.get_data(name)  # type: ignore[name-defined]
    return data


def _from_memory(content: bytes) -> ModuleType:
    """Load it from a file without a name. Linux, with /proc."""
    with open(os.memfd_create("cacher-zstandard", os.MFD_CLOEXEC), "wb", buffering=0) as file:
        _write(file.fileno(), content)
        return _loaded(f"/proc/self/fd/{file.fileno()}", "from memory")


def _from_file(content: bytes) -> ModuleType:
    """Load it from a file in a private directory; both are gone afterwards."""
    import tempfile

    reasons = []
    for place in _places():
        try:
            with tempfile.TemporaryDirectory(prefix="cacher-", dir=place) as directory:
                path = os.path.join(directory, "backend_c.so")
                with open(path, "xb") as file:
                    file.write(content)
                return _loaded(path, "from a temporary file")
        except (OSError, ImportError) as error:
            reasons.append(f"{place}: {_reason(error)}")
    raise ImportError("; ".join(reasons), name=__name__)


def _places() -> list[str]:
    """Directories that may take a file to be loaded: any may be full, read-only or noexec."""
    named = [os.environ.get("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm", os.environ.get("HOME")]
    places = [place for place in named if place and os.path.isabs(place)]
    try:
        places.append(os.getcwd())
    except OSError:  # it was deleted
        pass
    return places


def _reason(error: Exception) -> str:
    """Why something could not be loaded; the dynamic loader begins with the file's name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    path = getattr(error, "path", None)
    return str(error).removeprefix(f"{path}: ") if path else str(error)


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _loaded(path: str, how: str) -> ModuleType:
    """The module of a shared library; `how` is for `cacher version`."""
    module: ModuleType = _imp.create_dynamic(ModuleSpec(__name__, None, origin=path))
    _imp.exec_dynamic(module)
    module.__spec__ = ModuleSpec(__name__, None, origin=how)
    return module


def _installed() -> ModuleType | None:
    """The compiled part of an installed zstandard, which is then `zstandard`; None without one."""
    archive = __loader__.archive  # type: ignore[name-defined]
    elsewhere = [place for place in sys.path if not place.startswith(archive)]
    spec = PathFinder.find_spec("zstandard", elsewhere)
    if spec is None or spec.loader is None or spec.origin is None:
        return None
    package = type(sys)("zstandard")
    package.__spec__, package.__path__ = spec, spec.submodule_search_locations or []
    sys.modules["zstandard"] = package
    del sys.modules[__name__]
    spec.loader.exec_module(package)
    if tuple(map(int, package.__version__.split(".")[:2])) < OLDEST:
        return None
    module = sys.modules[__name__]
    assert module.__spec__
    module.__spec__.origin = "from an installed package"
    return module


try:
    _module = _bundled()
except Unavailable:
    try:
        _other = _installed()
    except (ImportError, AttributeError, KeyError):
        _other = None
    if _other is None:
        raise
    _module = _other
sys.modules[__name__] = _module
