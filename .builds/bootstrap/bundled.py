"""The importer of a zipapp: its packages from their compiled form.

Knows the archive's layout (`.builds/zipapp` writes it) and nothing of caches. Loaded by every
start, so it imports only what each Python has loaded already. What it reads was compared with its
checksum (`__main__.py`).

    bytecode/MAGIC/modules   the modules compiled for the Python of that magic number
    bytecode/MAGIC/bundled   and this one, alone
    cacher, urllib3, zstandard  their sources, for any other Python, for tracebacks, and for what is
                             compiled when it is used
    bundled_zstandard.py     what finds and loads zstandard's C
    bundle.json              the edition, and the versions of what is in it
"""

from __future__ import annotations

import _frozen_importlib as bootstrap
import marshal
import sys
import zlib

TYPE_CHECKING = False  # importing typing takes as long as all of this
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
    from typing import Any

    Read = Callable[..., bytes | None]
    """An entry by its name; None if there is none, unless it is `needed` (the second argument).

    Raises an ImportError if the file is damaged.
    """
else:
    ModuleSpec = bootstrap.ModuleSpec

PACKAGES = ("cacher", "urllib3", "zstandard", "bundled_zstandard")


def install(archive: str, read: Read, magic: int) -> None:
    """Let the packages in `archive`, which `read` reads, be found there and nowhere else.

    Not what something at the start of Python has loaded either: half of each would be neither.
    """
    _forget(PACKAGES)
    sys.meta_path.insert(0, Bundle(archive, read, magic))


class Bundle:
    """A finder on `sys.meta_path`, and the loader of what it finds."""

    def __init__(self, archive: str, read: Read, magic: int) -> None:
        self._archive = archive
        self._read = read
        self._code, self._index, self._dictionary = _compiled(read, magic)
        self.loaded = ""
        """How zstandard's C came to be loaded; empty before."""

    # --- as a finder ---

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Nothing for what is not in the archive."""
        if name.partition(".")[0] not in PACKAGES:
            return None
        if name.startswith("zstandard"):
            from bundled_zstandard import EXTENSION, Extension, installed

            if name == "zstandard":
                self.loaded = "from an installed package"
                found = installed()
                if found:
                    return found
                _forget(["zstandard"])
                self.loaded = ""
            elif name == EXTENSION:
                # That of an installed package is found as any other.
                return None if self.loaded else Extension.spec(self._read, self._tell)
        try:
            package = self.is_package(name)
        except ModuleNotFoundError:
            return None
        place = "/".join([self._archive, *name.split(".")])
        origin = place + ("/__init__.py" if package else ".py")
        loader: Any = self  # its base class is not worth an import
        spec = ModuleSpec(name, loader, origin=origin, is_package=package)
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(place)
        return spec

    # --- as a loader ---

    def create_module(self, spec: ModuleSpec) -> None:
        """As usual."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code in it."""
        exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, name: str) -> CodeType:
        """The compiled module."""
        if name not in self._index:
            package, source = self._source(name)
            path = name.replace(".", "/") + ("/__init__.py" if package else ".py")
            return compile(source, "cacher.pyz/" + path, "exec", dont_inherit=True)
        _, start, end = self._index[name]
        unpacker = zlib.decompressobj(zdict=self._dictionary)
        code: CodeType = marshal.loads(unpacker.decompress(self._code[start:end]))
        return code

    def get_source(self, name: str) -> str:
        """Its source, which tracebacks show."""
        return self._source(name)[1]

    def is_package(self, name: str) -> bool:
        """Whether it has modules below it. Raises ModuleNotFoundError."""
        if name in self._index:
            return self._index[name][0]
        return self._source(name)[0]

    def _source(self, name: str) -> tuple[bool, str]:
        path = name.replace(".", "/")
        for package, end in ((True, "/__init__.py"), (False, ".py")):
            content = self._read(path + end)
            if content is not None:
                return package, content.decode()
        raise ModuleNotFoundError(f"No module named {name!r} in this file", name=name)

    # --- what is told of it ---

    def describe(self) -> dict[str, Any]:
        """The edition, and the versions of what is in it."""
        import json

        told: dict[str, Any] = json.loads(self._read("bundle.json", needed=True) or b"")
        return told

    def _tell(self, how: str) -> None:
        self.loaded = how


_WINDOW = 32 * 1024
"""Bytes of a dictionary that deflate uses (RFC 1951)."""


def _compiled(read: Read, magic: int) -> tuple[bytes, dict[str, tuple[bool, int, int]], bytes]:
    """All modules compiled for this Python, where in there each is (package, start, end), and the
    dictionary that they were compressed with."""
    data = read(f"bytecode/{magic}/modules")
    if data is None:
        return b"", {}, b""
    size = int.from_bytes(data[:4], "little")
    common, index = marshal.loads(data[4 : 4 + size])
    code = data[4 + size :]
    plain = [zlib.decompress(code[slice(*index[name][1:])]) for name in common]
    return code, index, b"".join(plain)[-_WINDOW:]


def _forget(packages: Sequence[str]) -> None:
    """Let these packages not be loaded."""
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]
