"""The writer of an entry of a local store: a temporary file, moved into place when complete.

Knows the order in which data and metadata are moved, and the format of the metadata file.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Mapping

from cacher.errors import UsageError
from cacher.fileio import OnProgress, ignore_progress, write_all_at
from cacher.store.interface import Data, Entry, Writer
from cacher.store.local.files import (
    TemporaryFile,
    exclusive,
    make_directories,
    remove_empty_parents,
    remove_stale,
    translate_store_errors,
)
from cacher.store.local.listing import walk
from cacher.store.local.paths import StorePaths

METADATA_FORMAT = 1
"""The version of the format of the metadata file."""


class LocalWriter(Writer):
    """A `Writer` to a temporary file, which `commit` moves into place.

    Raises `UsageError` at once for a key that cannot be stored beside those that exist.
    """

    def __init__(
        self,
        paths: StorePaths,
        key: str,
        metadata: Mapping[str, str],
        on_progress: OnProgress = ignore_progress,
    ) -> None:
        self._paths = paths
        self._key = key
        self._metadata = dict(metadata)
        self._on_progress = on_progress
        self._size = 0
        self._doing = f"store {key} in {paths.name}"
        with translate_store_errors(self._doing):
            _refuse_conflict(paths, key)
            self._temporary = TemporaryFile(paths.tmp)
        self._is_open = True
        try:
            remove_stale(paths.tmp, self._temporary)
        except BaseException:
            self.close()
            raise

    @property
    def fd(self) -> int:
        """The temporary file, for callers that fill it faster than `write` does."""
        return self._temporary.fd

    def write(self, data: Data) -> None:
        """Write all of `data`. After an error there is nothing to commit."""
        self._require_open()
        view = memoryview(data).cast("B")
        try:
            with translate_store_errors(self._doing):
                write_all_at(self.fd, view, self._size)
        except BaseException:
            self.close()
            raise
        self.add_written(view.nbytes)

    def add_written(self, count: int) -> None:
        """Count `count` more bytes that were written to `fd`."""
        self._size += count
        self._on_progress(count)

    def commit(self) -> Entry:
        """Publish the entry and its metadata. After an error nothing is left."""
        self._require_open()
        try:
            with (
                translate_store_errors(self._doing),
                contextlib.closing(TemporaryFile(self._paths.tmp)) as meta,
            ):
                write_all_at(meta.fd, self._metadata_file(), 0)
                with exclusive(self._paths.lock):
                    return self._publish(meta)
        finally:
            self.close()

    def close(self) -> None:
        """Remove the temporary file, if it has not become an entry. Safe to call twice."""
        self._is_open = False
        self._temporary.close()

    def _require_open(self) -> None:
        if not self._is_open:
            raise ValueError("this writer is closed")

    def _metadata_file(self) -> memoryview:
        content = {"format": METADATA_FORMAT, "size": self._size, "metadata": self._metadata}
        return memoryview(json.dumps(content, separators=(",", ":")).encode())

    def _publish(self, meta: TemporaryFile) -> Entry:
        """Move data and metadata into place, under the lock.

        Old metadata is removed first and new metadata comes last: after a crash at any point there
        may be an entry without a digest, but none with another entry's digest.
        """
        paths, data = self._paths, self._temporary
        data_path, meta_path = paths.data(self._key), paths.meta(self._key)
        _refuse_conflict(paths, self._key)
        try:
            os.makedirs(os.path.dirname(data_path), exist_ok=True)
            make_directories(os.path.dirname(meta_path))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(meta_path)
            data.move(data_path)
            meta.move(meta_path)
        except BaseException:
            if data.moved:
                with contextlib.suppress(OSError):
                    os.unlink(data_path)
            remove_empty_parents(data_path, paths.data_top)
            remove_empty_parents(meta_path, paths.meta_top)
            raise
        return entry_of(self._key, os.fstat(data.fd), self._metadata)


def entry_of(key: str, status: os.stat_result, metadata: Mapping[str, str]) -> Entry:
    """Return the entry of a data file; its ETag consists of size and time (nanoseconds)."""
    return Entry(
        key=key,
        size=status.st_size,
        modified=status.st_mtime,
        etag=f'"{status.st_mtime_ns:x}-{status.st_size:x}"',
        metadata=metadata,
    )


def _refuse_conflict(paths: StorePaths, key: str) -> None:
    """Refuse `a/b` if there is an entry `a`, and `a` if there is `a/b`.

    S3 can hold both; a directory cannot. An empty directory of the entry's name is removed.
    """
    *parents, last = paths.segments(key)
    above = b""
    for name in parents:
        above += name
        if not _is_directory(os.path.join(paths.root, above), missing=True):
            _refuse(paths, key, above)
        above += b"/"
    path = os.path.join(paths.root, above + last)
    if _is_directory(path, missing=False):
        try:
            os.rmdir(path)
        except OSError:
            inside, _ = next(walk(paths.root, above + last + b"/"), (above + last + b"/", None))
            _refuse(paths, key, inside)


def _refuse(paths: StorePaths, key: str, blocker: bytes) -> None:
    raise UsageError(
        f"{key} cannot be stored: {paths.key(blocker)} is in the way",
        "a store in a directory cannot hold an entry under the name of another",
    )


def _is_directory(path: bytes, *, missing: bool) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except FileNotFoundError:
        return missing
