"""The interface of a store: entries under keys, read through readers, written through writers.

Protocols and values only; `s3_store.py` and `local/store.py` are the stores. Keys are relative to
the store's prefix; sizes are bytes; times are POSIX seconds. Methods raise `StoreError` (the store
failed), `AccessError` (it refused access), `IntegrityError` (what arrived is not what was stored)
and `LocalError` (this machine failed).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, Self

from cacher.errors import CacherError
from cacher.fileio import OnProgress, ignore_progress
from cacher.store.source_file import SourceFile

SHA256 = "cacher-sha256"
"""The metadata name (on S3: `x-amz-meta-cacher-sha256`) of the hex SHA-256 of an entry's bytes."""

Data = bytes | bytearray | memoryview


_NONE: Mapping[str, str] = MappingProxyType({})
"""Shared, since a listing may hold many entries."""


class Entry(NamedTuple):
    """One entry as the store reports it. Entries of a listing have no metadata."""

    key: str
    size: int
    modified: float | None = None
    etag: str = ""
    metadata: Mapping[str, str] = _NONE

    @property
    def sha256(self) -> str:
        """The recorded hex SHA-256, or an empty string."""
        return self.metadata.get(SHA256, "")


class Deletion(NamedTuple):
    """The result of deleting one key; without an error it is gone, or was not there."""

    key: str
    error: CacherError | None = None


class Reader(Protocol):
    """An open entry. Its bytes are checked against the recorded digest as they flow."""

    @property
    def entry(self) -> Entry:
        """The entry that is read."""
        ...

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer` with the next bytes, in order; return 0 at the proved end.

        Raises `IntegrityError` instead of returning 0 where the digest differs.
        """
        ...

    def tail(self, count: int) -> bytes:
        """Return the last `count` bytes, or all if there are fewer; at any time, not proved yet."""
        ...

    def save(self, fd: int) -> str:
        """Write the whole entry at offset 0 of the regular file `fd`; return its hex SHA-256.

        Raises `IntegrityError` if that is not the recorded one. Not to be mixed with `readinto`.
        """
        ...

    def cancel(self) -> None:
        """Make a `readinto` that waits in another thread fail soon; then only `close` is left.

        To be called again and again until it has failed.
        """
        ...

    def close(self) -> None:
        """Close the entry, read to its end or not. Safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class Writer(Protocol):
    """An entry in the making: nothing exists until `commit`, and nothing stays without it."""

    def write(self, data: Data) -> None:
        """Write all of `data`; the caller may reuse the buffer at once."""
        ...

    def commit(self) -> Entry:
        """Publish the entry, which replaces an older one at once and whole."""
        ...

    def close(self) -> None:
        """Without a `commit` before: undo everything. Safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class Store(Protocol):
    """A place of entries: a bucket or a directory."""

    @property
    def name(self) -> str:
        """The store as messages name it, without secrets: `s3://bucket/prefix`, a directory."""
        ...

    def head(self, key: str, *, verify_bucket: bool = True) -> Entry | None:
        """Return the entry, or None if there is certainly none. Any doubt is an error, never None.

        Without `verify_bucket`, which may be cheaper, None may also mean that the store is missing:
        enough for a caller that stores the entry next.
        """
        ...

    def open(self, key: str, on_progress: OnProgress = ignore_progress) -> Reader | None:
        """Return a reader of the entry, or None if there is none."""
        ...

    def create(
        self, key: str, metadata: Mapping[str, str], on_progress: OnProgress = ignore_progress
    ) -> Writer:
        """Return a writer for a stream whose length is not known."""
        ...

    def prepare(self, content: SourceFile) -> None:
        """Begin in the background to compute the digests that a `put` of `content` needs."""
        ...

    def put(
        self,
        key: str,
        content: SourceFile,
        metadata: Mapping[str, str],
        on_progress: OnProgress = ignore_progress,
    ) -> Entry:
        """Store a file. Raises `LocalError`, and stores nothing, if it changes meanwhile.

        A digest in `metadata` is trusted. `on_progress` gets the number of bytes that move, below
        zero if some must move again.
        """
        ...

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield entries whose key begins with `prefix`, in the store's order, page by page."""
        ...

    def delete(self, keys: Iterable[str]) -> Iterator[Deletion]:
        """Remove entries; a missing one counts as removed. Yields one result a key."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...
