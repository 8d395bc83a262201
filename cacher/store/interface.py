"""The interface of a store: entries under keys, read through readers, written through writers.

Protocols and values only; `s3_store.py` and `local/store.py` are the stores, and
`verified_reader.py` reads from both. Keys are relative to
the store's prefix; sizes are bytes; times are POSIX seconds. Methods raise `StoreError` (the store
failed), `AccessError` (it refused access), `IntegrityError` (what arrived is not what was stored)
and `LocalError` (this machine failed).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from cacher.errors import CacherError
from cacher.fileio import OnProgress, ignore_progress
from cacher.store.source_file import SourceFile

if TYPE_CHECKING:
    from cacher.store.verified_reader import VerifiedReader

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


class Writer(Protocol):
    """An entry in the making: nothing exists until `commit`, and nothing stays without it."""

    def write(self, data: Data) -> None:
        """Write all of `data`; the caller may reuse the buffer at once."""

    def commit(self) -> Entry:
        """Publish the entry, which replaces an older one at once and whole."""

    def close(self) -> None:
        """Without a `commit` before: undo everything. Safe to call twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Store(Protocol):
    """A place of entries: a bucket or a directory."""

    @property
    def name(self) -> str:
        """The store as messages name it, without secrets: `s3://bucket/prefix`, a directory."""

    def head(self, key: str, *, verify_bucket: bool = True) -> Entry | None:
        """Return the entry, or None if there is certainly none. Any doubt is an error, never None.

        Without `verify_bucket`, which may be cheaper, None may also mean that the store is missing:
        enough for a caller that stores the entry next.
        """

    def open(self, key: str, on_progress: OnProgress = ignore_progress) -> VerifiedReader | None:
        """Return a reader of the entry as it is now, or None if there is none."""

    def create(
        self, key: str, metadata: Mapping[str, str], on_progress: OnProgress = ignore_progress
    ) -> Writer:
        """Return a writer for a stream whose length is not known."""

    def prepare(self, content: SourceFile) -> None:
        """Begin in the background to compute the digests that a `put` of `content` needs."""

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

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield entries whose key begins with `prefix`, in the store's order, page by page."""

    def delete(self, keys: Iterable[str]) -> Iterator[Deletion]:
        """Remove entries; a missing one counts as removed. Yields one result a key."""

    def close(self) -> None:
        """Close the connections."""
