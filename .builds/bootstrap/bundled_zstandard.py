"""zstandard's C in a zipapp: an installed one, or else the bundled, loaded from memory.

Knows `native/` in the archive, where `index.json` tells which file is for whom.
"""

from __future__ import annotations

import _frozen_importlib as bootstrap
import _frozen_importlib_external as machinery
import _imp
import os
import sys
import zlib

TYPE_CHECKING = False  # importing typing takes as long as all of this
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Read = Callable[..., bytes | None]
    """As in bundled.py."""
else:
    ModuleSpec = bootstrap.ModuleSpec

EXTENSION = "zstandard.backend_c"

_FILE = "backend_c.so"

OLDEST = (0, 22)
"""Of an installed zstandard: what pyproject.toml asks for."""

USED = (
    "ZSTD_VERSION",
    "ZstdCompressionParameters",
    "ZstdCompressor",
    "ZstdDecompressor",
    "ZstdError",
    "__version__",
)
"""And what it must have: all that `cacher/archive/zstd.py` takes from it."""


class Unavailable(ImportError):
    """There is no zstandard to be had here; `hint` is what may be done about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, name=EXTENSION)
        self.hint = hint


def installed() -> ModuleSpec | None:
    """An installed zstandard, Python and C of one version, loaded to see that it can be used.

    None without, or with a broken one, of which some is loaded: the bundled one is as good.
    """
    found = _usable()
    if found is None:
        # What somebody has said of an installed one does not hold for ours.
        os.environ.pop("PYTHON_ZSTANDARD_IMPORT_POLICY", None)
    return found


def _usable() -> ModuleSpec | None:
    import re

    try:
        spec = machinery.PathFinder.find_spec("zstandard")
        if spec is None or spec.loader is None or spec.origin is None:
            return None
        extension = machinery.PathFinder.find_spec(EXTENSION, spec.submodule_search_locations)
        with open(spec.origin, encoding="utf-8") as file:
            version = re.search(r'^__version__ = "(\d+)\.(\d+)', file.read(), re.MULTILINE)
        if not extension or not version or tuple(map(int, version.groups())) < OLDEST:
            return None
        module: ModuleType = bootstrap.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        spec.loader = Ready(module)  # type: ignore[assignment]
        is_whole = sys.modules[EXTENSION].__version__ == module.__version__
        if is_whole and all(hasattr(module, name) for name in USED):
            return spec
    except (Exception, SystemExit):  # whatever a broken package does
        pass
    return None


class Extension:
    """The loader of zstandard's C. `tell` is told how it was loaded."""

    def __init__(self, read: Read, tell: Callable[[str], None]) -> None:
        self._read = read
        self._tell = tell

    @classmethod
    def spec(cls, read: Read, tell: Callable[[str], None]) -> ModuleSpec:
        """The module to be loaded so."""
        loader: Any = cls(read, tell)  # its base class is not worth an import
        return ModuleSpec(EXTENSION, loader, origin="zipapp")

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Load it from memory, or else from a file that is gone right after."""
        content = self._content()
        reasons = []
        for how, load in (("from memory", _from_memory), ("from a temporary file", _from_file)):
            try:
                module = load(spec.name, content)
            except (OSError, ImportError, AttributeError) as error:
                reasons.append(_reason(error))
            else:
                self._tell(how)
                return module
        raise Unavailable(
            f"no place to load its zstandard from ({'; '.join(reasons)})",
            "set TMPDIR to a directory on a file system that is not mounted noexec",
        )

    def exec_module(self, module: ModuleType) -> None:
        """Its second phase."""
        _imp.exec_dynamic(module)

    def _content(self) -> bytes:
        """The bytes of zstandard's C for this Python. Raises `Unavailable`: there are none."""
        index = self._json("native/index.json")
        for suffix in _imp.extension_suffixes():
            # On macOS the suffix does not name the processor.
            for tag in (suffix, suffix + "." + os.uname().machine):
                if tag in index:
                    return self._rebuilt(index, tag)
        edition = self._json("bundle.json")["edition"]
        if edition == "all":
            raise Unavailable("this file has no zstandard for it", "")
        hint = f"cacher.pyz is for every machine; this file is the edition for {edition}"
        raise Unavailable(f"the {edition} edition has no zstandard for it", hint)

    def _rebuilt(self, index: dict[str, Any], tag: str) -> bytes:
        """A file as it was: whole in the archive, or as its difference from another."""
        entry = index[tag]
        content = self._read("native/" + entry["file"], needed=True) or b""
        if "base" in entry:
            content = patched(self._rebuilt(index, entry["base"]), content, entry["size"])
        if zlib.crc32(content) != entry["crc32"]:
            raise ImportError("this file was not built well: " + entry["file"], name=EXTENSION)
        return content

    def _json(self, name: str) -> Any:
        import json

        return json.loads(self._read(name, needed=True) or b"")


class Ready:
    """The loader of a module that is loaded already."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002
        """It."""
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do."""


def patched(base: bytes, delta: bytes, size: int) -> bytes:
    """`size` bytes: pieces of `base` where `delta` says, XOR the rest of `delta`."""
    import struct

    (count,) = struct.unpack_from("<I", delta)
    start = 4 + 12 * count
    pieces, end = [], 0
    for source, target, length in struct.iter_unpack("<III", delta[4:start]):
        pieces += [bytes(target - end), base[source : source + length]]
        end = target + length
    pieces.append(bytes(size - end))
    # Numbers of a megabyte: the one XOR that Python has in C.
    whole = int.from_bytes(b"".join(pieces), "little")
    whole ^= int.from_bytes(delta[start:], "little")
    return whole.to_bytes(size, "little")


def _from_memory(name: str, content: bytes) -> ModuleType:
    """From a file that has no name anywhere. Linux, with /proc."""
    descriptor = os.memfd_create("cacher-zstandard", os.MFD_CLOEXEC)
    try:
        _write(descriptor, content)
        return _loaded(name, f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _from_file(name: str, content: bytes) -> ModuleType:
    """From a file in a directory of our own, both gone afterwards."""
    reasons = []
    for place in _places():
        directory = os.path.join(place, "cacher-" + os.urandom(8).hex())
        path = os.path.join(directory, _FILE)
        try:
            os.mkdir(directory, 0o700)
            _sweep(place)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write(descriptor, content)
            finally:
                os.close(descriptor)
            return _loaded(name, path)
        except (OSError, ImportError) as error:
            reasons.append(f"{place}: {_reason(error)}")
        finally:
            for remove, what in ((os.unlink, path), (os.rmdir, directory)):
                try:
                    remove(what)
                except OSError:
                    pass
    raise ImportError("; ".join(reasons), name=name)


def _sweep(place: str) -> None:
    """Remove what runs that were killed have left there: a directory of ours of a minute ago."""
    import re
    import time

    for name in os.listdir(place):
        path = os.path.join(place, name)
        if not re.fullmatch("cacher-[0-9a-f]{16}", name):
            continue
        try:
            status = os.lstat(path)
            if status.st_uid == os.geteuid() and status.st_mtime < time.time() - 60:
                if os.path.exists(os.path.join(path, _FILE)):
                    os.unlink(os.path.join(path, _FILE))
                os.rmdir(path)
        except OSError:
            pass


def _reason(error: Exception) -> str:
    """Why something could not be loaded; the dynamic loader begins with the file's name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    path = getattr(error, "path", None)
    return str(error).removeprefix(f"{path}: ") if path else str(error)


def _places() -> list[str]:
    """Directories that may take a file to be loaded: any may be full, read-only or noexec."""
    environ = os.environ
    home = environ.get("HOME", "")
    named = [environ.get("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm", environ.get("XDG_RUNTIME_DIR")]
    named += [environ.get("XDG_CACHE_HOME"), home and os.path.join(home, ".cache"), home]
    places = [place for place in named if place and os.path.isabs(place)]
    try:
        places.append(os.getcwd())
    except OSError:  # it was deleted
        pass
    return list(dict.fromkeys(places))


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _loaded(name: str, path: str) -> ModuleType:
    module: ModuleType = _imp.create_dynamic(ModuleSpec(name, None, origin=path))
    return module
