"""The importer of a zipapp: its packages from their compiled form, zstandard's C from memory.

Knows the archive's layout (`.builds/zipapp` writes it) and nothing of caches. Loaded by every
start, so it imports only what each Python has loaded already.

    bytecode/MAGIC           the modules compiled for the Python of that magic number
    bytecode/MAGIC/bundled.pyc
    cacher, urllib3, zstandard  their sources, for any other Python and for tracebacks
    native/index.json        which of the files beside it is for whom
"""

import _frozen_importlib_external as machinery
import _imp
import marshal
import os
import sys
import zlib

PACKAGES = ("cacher", "urllib3", "zstandard")

EXTENSION = "zstandard.backend_c"

OLDEST = (0, 22)
"""Of an installed zstandard: what pyproject.toml asks for."""

ModuleSpec = type(sys.__spec__)


def install(archive, magic):
    """Let the packages in `archive`, a zipimporter, be found there and nowhere else.

    Not what something at the start of Python has loaded either: half of each would be neither.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
    sys.meta_path.insert(0, Bundle(archive, magic))


class Bundle:
    """A finder on `sys.meta_path`, and the loader of what it finds."""

    def __init__(self, archive, magic):
        self._archive = archive
        self._code, self._index = _compiled(archive, magic)
        self.loaded = ""
        """How zstandard's C came to be loaded, or why it did not; empty before."""

    # --- as a finder ---

    def find_spec(self, name, path=None, target=None):  # noqa: ARG002
        """Nothing for what is not in the archive."""
        if name.partition(".")[0] not in PACKAGES:
            return None
        if name == "zstandard":
            installed = _installed()
            if installed:
                self.loaded = "from an installed package"
                return installed
        if name == EXTENSION:
            return None if self.loaded else ModuleSpec(name, _Extension(self), origin="zipapp")
        try:
            package = self.is_package(name)
        except ImportError:
            return None
        place = "/".join([self._archive.archive, *name.split(".")])
        origin = place + ("/__init__.py" if package else ".py")
        spec = ModuleSpec(name, self, origin=origin, is_package=package)
        spec.has_location = True
        if package:
            spec.submodule_search_locations.append(place)
        return spec

    # --- as a loader ---

    def create_module(self, spec):
        """As usual."""

    def exec_module(self, module):
        """Run the module's code in it."""
        exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, name):
        """The compiled module."""
        if not self._index:
            package, source = self._source(name)
            path = name.replace(".", "/") + ("/__init__.py" if package else ".py")
            return compile(source, "cacher.pyz/" + path, "exec", dont_inherit=True)
        _, start, end = self._index[name]
        return marshal.loads(zlib.decompress(self._code[start:end]))

    def get_source(self, name):
        """Its source, which tracebacks show."""
        return self._source(name)[1]

    def is_package(self, name):
        """Whether it has modules below it. Raises ImportError: there is none of that name."""
        if self._index:
            if name in self._index:
                return self._index[name][0]
            raise ImportError("not in this file", name=name)
        return self._source(name)[0]

    def _source(self, name):
        path = name.replace(".", "/")
        for package, end in ((True, "/__init__.py"), (False, ".py")):
            try:
                return package, self._archive.get_data(path + end).decode()
            except OSError:
                pass
        raise ImportError("not in this file", name=name)

    # --- what is told of it ---

    def describe(self):
        """The edition, and the versions of what is in it."""
        import json

        return json.loads(self._archive.get_data("bundle.json"))

    def extension(self):
        """The bytes of zstandard's C for this Python. Raises ImportError: there are none."""
        import json

        index = json.loads(self._archive.get_data("native/index.json"))
        for suffix in _imp.extension_suffixes():
            # On macOS the suffix does not name the processor.
            for tag in (suffix, suffix + "." + os.uname().machine):
                if tag in index:
                    return self._rebuilt(index, tag)
        raise ImportError("this file has no zstandard for it", name=EXTENSION)

    def _rebuilt(self, index, tag):
        """A file as it was: whole in the archive, or as its difference from another."""
        entry = index[tag]
        content = self._archive.get_data("native/" + entry["file"])
        if "base" in entry:
            content = patched(self._rebuilt(index, entry["base"]), content, entry["size"])
        if zlib.crc32(content) != entry["crc32"]:
            raise ImportError("this file is damaged: " + entry["file"], name=EXTENSION)
        return content


class _Extension:
    """The loader of zstandard's C."""

    def __init__(self, bundle):
        self._bundle = bundle

    def create_module(self, spec):
        """Load it from memory, or else from a file that is gone right after."""
        content = self._bundle.extension()
        reasons = []
        for how, load in (("from memory", _from_memory), ("from a temporary file", _from_file)):
            try:
                module = load(spec.name, content)
            except (OSError, ImportError, AttributeError) as error:
                reasons.append(str(error))
            else:
                self._bundle.loaded = how
                return module
        text = f"no place to load its zstandard from ({'; '.join(reasons)})"
        raise ImportError(text, name=EXTENSION)

    def exec_module(self, module):
        """Its second phase."""
        _imp.exec_dynamic(module)


def patched(base, delta, size):
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


def _compiled(archive, magic):
    """All modules compiled for this Python, and where in there each is: package, start, end."""
    try:
        data = archive.get_data(f"bytecode/{magic}/modules")
    except OSError:
        return b"", {}
    size = int.from_bytes(data[:4], "little")
    return data[4 + size :], marshal.loads(data[4 : 4 + size])


def _installed():
    """The spec of an installed zstandard, Python and C of one version; None without."""
    import re

    try:
        spec = machinery.PathFinder.find_spec("zstandard")
        places = spec.submodule_search_locations
        extension = machinery.PathFinder.find_spec(EXTENSION, places)
        with open(spec.origin, encoding="utf-8") as file:
            version = re.search(r'^__version__ = "(\d+)\.(\d+)', file.read(), re.MULTILINE)
        usable = extension and tuple(map(int, version.groups())) >= OLDEST
    except (AttributeError, OSError, TypeError, ValueError):
        return None
    return spec if usable else None


def _from_memory(name, content):
    """From a file that has no name anywhere. Linux, with /proc."""
    descriptor = os.memfd_create("cacher-zstandard", os.MFD_CLOEXEC)
    try:
        _write(descriptor, content)
        return _loaded(name, f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _from_file(name, content):
    """From a file in a directory of our own, both gone afterwards."""
    reasons = []
    for place in _places():
        directory = os.path.join(place, "cacher-" + os.urandom(8).hex())
        path = os.path.join(directory, "backend_c.so")
        try:
            os.mkdir(directory, 0o700)
        except OSError as error:
            reasons.append(f"{place}: {(error.strerror or '').lower()}")
            continue
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write(descriptor, content)
            finally:
                os.close(descriptor)
            return _loaded(name, path)
        except (OSError, ImportError) as error:
            reasons.append(f"{place}: {str(error).rpartition(': ')[2].lower()}")
        finally:
            for remove, what in ((os.unlink, path), (os.rmdir, directory)):
                try:
                    remove(what)
                except OSError:
                    pass
    raise ImportError("; ".join(reasons), name=name)


def _places():
    """Directories that may take a file to be loaded: any may be full, read-only or noexec."""
    environ = os.environ
    home = environ.get("HOME", "")
    named = [environ.get("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm", environ.get("XDG_RUNTIME_DIR")]
    named += [environ.get("XDG_CACHE_HOME"), home and os.path.join(home, ".cache"), home]
    return dict.fromkeys(
        [place for place in named if place and os.path.isabs(place)] + [os.getcwd()]
    )


def _write(descriptor, content):
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _loaded(name, path):
    return _imp.create_dynamic(ModuleSpec(name, None, origin=path))
