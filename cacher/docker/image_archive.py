"""The copying of an image archive from or to an engine, with its members verified on the way.

It is a tar stream. Engines accept one that is cut off between two members, so that its end is
proved here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from cacher.errors import IntegrityError, SourceError
from cacher.tar.header_fields import FILE
from cacher.tar.reader import TarReader

SAVE_BUFFER_SIZE = 1024 * 1024
"""Bytes read at once from an engine."""

WITHHELD_BUFFERS = 2
"""Buffers at the end of an archive that are withheld until it is proved: more than one, so that
more is missing than the end-of-archive mark. The names of the images follow the layers, so an
engine that does not get them loads nothing."""

ANY_SIZE = 1 << 62
"""Bytes: the client of a daemon does not know how much fits there."""


class ImageSource(Protocol):
    """A program that saves images."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`, unless the end comes first; 0 at the end."""
        ...

    def discard_output(self) -> bool:
        """Read and discard the rest; return whether its end came soon."""
        ...

    def finish(self) -> None:
        """Raise `SourceError` unless it succeeded; called once all was read."""
        ...


_TABLES = (b"manifest.json", b"index.json", b"repositories")
"""The lists of images in an archive: docker's, OCI's, and docker's before version 1.10."""


class ArchiveStats:
    """The number of an archive's members, and of the bytes in its files."""

    def __init__(self) -> None:
        self.members = 0
        self.content = 0
        self.has_table = False
        """Whether it has a list of images."""


def copy_from_engine(source: ImageSource, write: Callable[[memoryview], None]) -> ArchiveStats:
    """Give the archive that `source` saves to `write`, which must not keep the views.

    Raises `SourceError` unless the source succeeded and its archive is complete.
    """
    buffer = memoryview(bytearray(SAVE_BUFFER_SIZE))
    is_over = False

    def next_chunk() -> memoryview:
        nonlocal is_over
        count = source.readinto(buffer)
        is_over = not count
        if count:
            write(buffer[:count])
        return buffer[:count]

    try:
        stats = _walk(next_chunk)
    except IntegrityError as error:
        if is_over or source.discard_output():
            source.finish()  # its own error explains more than its bytes
        raise SourceError(f"the saved data is not an archive of images: {error.message}") from error
    source.finish()
    return stats


def copy_to_engine(
    next_piece: Callable[[], memoryview],
    write: Callable[[memoryview], None],
    limit: int = ANY_SIZE,
) -> tuple[ArchiveStats, list[memoryview]]:
    """Give an archive to `write`, except for its end, which is returned for the caller to write.

    `next_piece` returns views, an empty one at the end; the last one and `WITHHELD_BUFFERS` before
    it must stay valid. Raises `IntegrityError`, and the errors of both.
    """
    withheld: deque[memoryview] = deque()

    def next_chunk() -> memoryview:
        piece = next_piece()
        if piece:
            withheld.append(piece)
            if len(withheld) > WITHHELD_BUFFERS:
                write(withheld.popleft())
        return piece

    return _walk(next_chunk, limit), list(withheld)


def _walk(next_chunk: Callable[[], memoryview], limit: int = ANY_SIZE) -> ArchiveStats:
    archive, stats = TarReader(next_chunk, limit), ArchiveStats()
    while (member := archive.next()) is not None:
        stats.members += 1
        if member.kind == FILE:
            stats.content += member.size
            stats.has_table |= member.name.removeprefix(b"./") in _TABLES
        archive.skip(member.size)
    if not stats.has_table:
        raise IntegrityError("it is a tar archive, but has no images", "`docker save` makes one")
    return stats
