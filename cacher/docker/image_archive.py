"""An archive of images on its way from or to an engine: looked at as it passes, kept by nobody.

It is a tar stream. That it is whole is proved by its members here, since engines take one that is
cut off between two members for a shorter one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from cacher.errors import IntegrityError, SourceError
from cacher.tar.header_fields import FILE
from cacher.tar.reader import TarReader

BUFFER = 1024 * 1024
"""Bytes read at once of what an engine saves."""

WITHHELD_BUFFERS = 2
"""Buffers at the end of an archive that are held back until it is proved: more than one, so that
what is missing is never the mark of the end alone. Behind the layers come the names of the images,
so an engine that does not get these loads nothing."""

ANY_SIZE = 1 << 62
"""Bytes: who sends an image to a daemon has no say in what fits there."""


class ImageSource(Protocol):
    """What saves images."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`, wholly unless the end comes first; 0 at the end."""
        ...

    def ends(self) -> bool:
        """Whether it ends by itself soon, whatever it still gives: that is thrown away."""
        ...

    def finish(self) -> None:
        """Raises `SourceError` unless all went well, once all was read."""
        ...


class ImageSink(Protocol):
    """What loads images."""

    def write(self, data: memoryview) -> None:
        """Take all of `data`."""
        ...


_TABLES = (b"manifest.json", b"index.json", b"repositories")
"""Where an archive tells what images it has: docker's, OCI's, and docker's before version 1.10."""


class ArchiveStats:
    """What has passed: members of the archive, and bytes of contents in its files."""

    __slots__ = ("content", "has_table", "members")

    def __init__(self) -> None:
        self.members = 0
        self.content = 0
        self.has_table = False
        """Whether it tells of images."""


def copy_from_engine(source: ImageSource, write: Callable[[memoryview], None]) -> ArchiveStats:
    """Give all that `source` saves to `write`, which may keep nothing of it.

    Raises `SourceError` unless the source ended well, with a whole archive.
    """
    buffer = memoryview(bytearray(BUFFER))
    is_over = False

    def next_chunk() -> memoryview:
        nonlocal is_over
        count = source.readinto(buffer)
        is_over = not count
        if count:
            write(buffer[:count])
        return buffer[:count]

    try:
        passed = _walk(next_chunk)
    except IntegrityError as error:
        if is_over or source.ends():
            source.finish()  # why it failed says more than the bytes that it gave
        raise SourceError(f"the saved data is not an archive of images: {error.message}") from error
    source.finish()
    return passed


def copy_to_engine(
    next_piece: Callable[[], memoryview], sink: ImageSink, limit: int = ANY_SIZE
) -> tuple[ArchiveStats, list[memoryview]]:
    """Give an archive to `sink`, all but its end, which is returned: it is the caller's to give.

    `next_piece` gives buffers, an empty one at the end. The last `WITHHELD_BUFFERS` of them and one
    more stay good. Raises `IntegrityError`, and what both raise.
    """
    held: deque[memoryview] = deque()

    def next_chunk() -> memoryview:
        piece = next_piece()
        if piece:
            held.append(piece)
            if len(held) > WITHHELD_BUFFERS:
                sink.write(held.popleft())
        return piece

    return _walk(next_chunk, limit), list(held)


def _walk(next_chunk: Callable[[], memoryview], limit: int = ANY_SIZE) -> ArchiveStats:
    archive, passed = TarReader(next_chunk, limit), ArchiveStats()
    while (member := archive.next()) is not None:
        passed.members += 1
        if member.kind == FILE:
            passed.content += member.size
            passed.has_table |= member.name.removeprefix(b"./") in _TABLES
        archive.skip(member.size)
    if not passed.has_table:
        raise IntegrityError("it is a tar archive, but has no images", "`docker save` makes one")
    return passed
