"""The paths in the directory of a local store.

Computes paths and checks keys; touches no disk. Paths are `bytes`, so that keys are UTF-8
in file names whatever the locale says.

    ROOT/PREFIX/KEY                     an entry's bytes, a plain file
    ROOT/.cacher/meta/PREFIX/KEY.json   its metadata
    ROOT/.cacher/tmp/                   temporary files
    ROOT/.cacher/lock                   held while entries change
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from cacher.errors import UsageError

RESERVED = b".cacher"
"""The one name at the root of the directory that no key may begin with."""

SEGMENT_LIMIT = 250
"""Bytes between two slashes. Linux file systems take 255 (NAME_MAX), and `.json` is five."""

_META_SUFFIX = b".json"
_LOOKS_LIKE_META = re.compile(rb"\.json\+*\Z")


def is_segment(name: bytes) -> bool:
    """Whether `name` can be the part of a key between two slashes: a file name, and UTF-8."""
    if name in (b"", b".", b"..") or b"\0" in name or len(name) > SEGMENT_LIMIT:
        return False
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def meta_directory(root: bytes, names: Iterable[bytes]) -> bytes:
    """Return the path of the metadata of the entries in the directory `names` below the root."""
    marked = [name + b"+" if _LOOKS_LIKE_META.search(name) else name for name in names]
    return os.path.join(root, RESERVED, b"meta", *marked)


class StorePaths:
    """The paths of the store whose keys live under `prefix` in the directory `root`.

    Raises `UsageError` for a prefix that no key can have.
    """

    def __init__(self, root: str, prefix: str = "") -> None:
        self.root = os.fsencode(os.path.abspath(root))
        self.own = os.path.join(self.root, RESERVED)
        self.tmp = os.path.join(self.own, b"tmp")
        self.lock = os.path.join(self.own, b"lock")
        self.data_top = self.root
        self.meta_top = meta_directory(self.root, ())
        self.prefix = b""
        if prefix := prefix.strip("/"):
            self.prefix = b"/".join(self.segments(prefix)) + b"/"

    @property
    def name(self) -> str:
        """The directory as messages name it."""
        return os.fsdecode(os.path.join(self.root, self.prefix).rstrip(b"/") or b"/")

    def segments(self, key: str) -> list[bytes]:
        """Return the names from the root to the entry. Raises `UsageError` for an illegal key."""
        try:
            names = (self.prefix + key.encode()).split(b"/")
        except UnicodeEncodeError:
            raise UsageError(f"the key {key!r} is not text that UTF-8 can write") from None
        for name in names:
            if len(name) > SEGMENT_LIMIT:
                raise UsageError(
                    f"the key {key!r} has a segment of {len(name)} bytes; "
                    f"a store in a directory takes {SEGMENT_LIMIT} between two slashes"
                )
            if not is_segment(name):
                raise UsageError(f"the key {key!r} cannot be the name of a file")
        if names[0] == RESERVED:
            raise UsageError(f"the key {key!r} begins with the store's own {RESERVED.decode()}")
        return names

    def data(self, key: str) -> bytes:
        """Return the path of the entry's bytes."""
        return os.path.join(self.root, *self.segments(key))

    def meta(self, key: str) -> bytes:
        """Return the path of the entry's metadata.

        Files end in `.json` and directories never do, or the keys `a` and `a.json/b` would need
        one name: a directory whose name ends so gets a `+`.
        """
        *parents, last = self.segments(key)
        return os.path.join(meta_directory(self.root, parents), last + _META_SUFFIX)

    def key(self, path: bytes) -> str:
        """Return the key of the entry at `path`, which is relative to the root.

        Outside the store's prefix it is the path itself.
        """
        return path.removeprefix(self.prefix).decode()
