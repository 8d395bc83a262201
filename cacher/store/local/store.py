"""A store in a directory: entries are plain files that a person can look at and `cp`.

Knows how readers and writers of one directory exclude each other; `paths.py` has the paths,
`writer.py` publishes. A file that a reader has open stays whole: replacing and deleting give its
name to another file, and never write into a file that has a name.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from cacher.errors import CacherError, IntegrityError, LocalError
from cacher.fileio import OnProgress, ignore_progress
from cacher.store.interface import SHA256, Deletion, Entry
from cacher.store.local.files import (
    CopySide,
    copy,
    exclusive,
    local_error,
    open_regular,
    regular_status,
    remove_empty_parents,
    shared,
    store_error,
    translate_store_errors,
)
from cacher.store.local.listing import walk
from cacher.store.local.paths import StorePaths
from cacher.store.local.writer import METADATA_FORMAT, LocalWriter, entry_of
from cacher.store.source_file import SourceFile
from cacher.store.verified_reader import VerifiedReader

if TYPE_CHECKING:
    from collections.abc import Callable


class LocalStore:
    """The `Store` of the entries under `prefix` in the directory `root`, which a writer makes.

    Safe to share among threads, and the directory among processes. Raises `UsageError` for keys a
    directory cannot hold: segments over 250 bytes, and `a` beside `a/b`.
    """

    def __init__(self, root: str, prefix: str = "") -> None:
        self._paths = StorePaths(root, prefix)
        self.left_out: list[str] = []
        """Directories that listings left out, since they may not be read."""

    @property
    def name(self) -> str:
        """The directory under which the keys are."""
        return self._paths.name

    def head(self, key: str, *, verify_bucket: bool = True) -> Entry | None:  # noqa: ARG002
        """Return the entry, or None if there is none.

        Raises `IntegrityError` if the entry's metadata file is damaged.
        """
        opened = self._open(key)
        if opened is None:
            return None
        fd, entry = opened
        os.close(fd)
        return entry

    def open(self, key: str, on_progress: OnProgress = ignore_progress) -> VerifiedReader | None:
        """Return a reader of the entry as it is now, even if it is replaced later; or None."""
        opened = self._open(key)
        if opened is None:
            return None
        fd, entry = opened
        return VerifiedReader(_LocalSource(fd, entry, self.name, on_progress), entry)

    def create(
        self, key: str, metadata: Mapping[str, str], on_progress: OnProgress = ignore_progress
    ) -> LocalWriter:
        """Return a writer for a stream whose length is not known."""
        return LocalWriter(self._paths, key, metadata, on_progress)

    def prepare(self, content: SourceFile) -> None:
        """Do nothing: a local store needs no digests of parts."""

    def put(
        self,
        key: str,
        content: SourceFile,
        metadata: Mapping[str, str],
        on_progress: OnProgress = ignore_progress,
    ) -> Entry:
        """Store a file; a digest in `metadata` is trusted.

        Raises `LocalError` if the file changes meanwhile.
        """
        with self.create(key, metadata, on_progress) as writer:
            source = CopySide(content.fd, lambda error: local_error(error, f"read {content.name}"))
            target = CopySide(
                writer.fd, lambda error: store_error(error, f"store {key} in {self.name}")
            )
            for count in copy(source, target, content.size):
                writer.add_written(count)
            content.require_unchanged()
            recorded = metadata.get(SHA256, "")
            if recorded and SourceFile.of(writer.fd, content.name).sha256() != recorded:
                # It was written to through a mapping, or its times were set back.
                raise LocalError(f"{content.name} changed while it was read; nothing was stored")
            return writer.commit()

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield entries whose key begins with `prefix`, in UTF-8 byte order of the keys."""
        try:
            path_prefix = self._paths.prefix + prefix.encode()
        except UnicodeEncodeError:
            return
        with translate_store_errors(f"list {self.name}"):
            for path, status in walk(self._paths.root, path_prefix, self._leave_out):
                yield entry_of(self._paths.key(path), status, {})

    def delete(self, keys: Iterable[str]) -> Iterator[Deletion]:
        """Remove entries, and directories that become empty. Yields one result a key, in order."""
        for key in keys:
            try:
                self._delete(key)
            except CacherError as error:
                yield Deletion(key, error)
            else:
                yield Deletion(key)

    def close(self) -> None:
        """Do nothing: each operation closes the files that it opened."""

    def _leave_out(self, path: bytes) -> None:
        self.left_out.append(self._paths.key(path))

    def _open(self, key: str) -> tuple[int, Entry] | None:
        """Return an open data file and its entry, which belong together; None if there is none."""
        data_path, meta_path = self._paths.data(key), self._paths.meta(key)
        with translate_store_errors(f"read {key} in {self.name}"), shared(self._paths.lock):
            while (fd := open_regular(data_path)) is not None:
                try:
                    status = os.fstat(fd)
                    metadata = _read_metadata(meta_path, key)
                    now = regular_status(data_path)
                    if now is not None and os.path.samestat(status, now):
                        return fd, entry_of(key, status, metadata)
                except BaseException:
                    os.close(fd)
                    raise
                # Only if there is no lock file: the entry was replaced between the two reads.
                # While the data still has its name, the metadata is its own or not there yet.
                os.close(fd)
        return None

    def _delete(self, key: str) -> None:
        paths = self._paths
        data_path, meta_path = paths.data(key), paths.meta(key)
        with translate_store_errors(f"delete {key} in {self.name}"):
            # To delete a missing entry must not need the right to write, nor make a directory.
            if not regular_status(data_path) and not regular_status(meta_path):
                return
            with exclusive(paths.lock):
                for path in (meta_path, data_path):
                    if regular_status(path):
                        os.unlink(path)
                remove_empty_parents(data_path, paths.data_top)
                remove_empty_parents(meta_path, paths.meta_top)


class _LocalSource:
    """The `UnverifiedSource` of an open data file, which it closes."""

    def __init__(self, fd: int, entry: Entry, store: str, on_progress: OnProgress) -> None:
        self._fd = fd
        self._doing = f"read {entry.key} in {store}"
        self._saving = f"save {entry.key}"
        self._on_progress = on_progress
        self._position = 0
        self.size = entry.size

    def readinto(self, buffer: memoryview) -> int:
        # Not past the size at the time of opening: somebody may append to the file.
        room = buffer[: self.size - self._position]
        if not room:
            return 0
        with translate_store_errors(self._doing):
            count = os.preadv(self._fd, [room], self._position)
        self._position += count
        self._on_progress(count)
        return count

    def tail(self, count: int) -> bytes:
        start = max(self.size - count, 0)
        with translate_store_errors(self._doing):
            return os.pread(self._fd, self.size - start, start)

    def save(self, fd: int, on_written: Callable[[int], None]) -> int:
        source = CopySide(self._fd, lambda error: store_error(error, self._doing))
        target = CopySide(fd, lambda error: local_error(error, self._saving))
        done = 0
        for count in copy(source, target, self.size):
            done += count
            self._on_progress(count)
            on_written(done)
        return done

    def cancel(self) -> None:
        pass  # reading a file does not wait

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _read_metadata(path: bytes, key: str) -> dict[str, str]:
    """Return the metadata in the file `path`; an empty one if there is no such file.

    Raises `IntegrityError` for a damaged file (an unclean stop of the machine leaves empty files):
    then the data beside it may be damaged, too.
    """
    fd = open_regular(path)
    if fd is None:
        return {}
    with open(fd, "rb") as file:
        content = file.read()
    with contextlib.suppress(ValueError, RecursionError):
        match json.loads(content):
            case {"format": int(form), "metadata": dict(metadata)} if form == METADATA_FORMAT:
                if all(isinstance(value, str) for value in metadata.values()):
                    return metadata
    raise IntegrityError(f"the metadata of {key} is damaged", "delete the entry, or store it again")
