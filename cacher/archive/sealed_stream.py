"""A sealed zstd stream, written and read: what is in it is tar, or whatever else.

Knows frames, digests and the seal; must not know where the bytes go to or come from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol, Self

from cacher.archive import seal as seals
from cacher.archive.background_hash import BackgroundSha256
from cacher.archive.seal import Seal
from cacher.archive.zstd import Compressor, Decompressor
from cacher.archive.zstd_frames import FrameScanner, Segment
from cacher.errors import IntegrityError
from cacher.fileio import BUFFER_SIZE, read_full

BUFFERS = 6
"""How many of them: hashing may be behind by as many, less the one that is filled."""


class ByteWriter(Protocol):
    """Where a stream goes to."""

    def write(self, data: bytes) -> None:
        """Take all of `data`."""
        ...


class SealedWriter:
    """Compresses what is written, and ends it with a seal. It publishes nothing: `target` does.

    `clock` gives seconds: those that pass in compressing and in `target.write` are counted. To be
    used in a `with` block, which ends its thread.
    """

    def __init__(
        self, target: ByteWriter, compressor: Compressor, clock: Callable[[], float]
    ) -> None:
        self._target = target
        self._compressor = compressor
        self._clock = clock
        self._digest = BackgroundSha256()
        self.compressing = 0.0
        self.storing = 0.0
        self.size = 0
        """Bytes that were written, before compression."""

    def __enter__(self) -> Self:
        self._digest.__enter__()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._digest.close()

    def write(self, data: memoryview) -> None:
        """Take all of `data`, which may be reused at once."""
        self._put_all(self._compressor.compress(data))
        self.size += data.nbytes

    def finish(self, kind: str, *, members: int, content: int, created: int) -> Seal:
        """End the stream with its seal."""
        self._put_all(self._compressor.finish())
        seal = Seal(kind, members, content, self.size, self._digest.hexdigest(), created)
        self._target.write(seal.frame())
        return seal

    def _put_all(self, outputs: Iterator[bytes]) -> None:
        clock = self._clock
        before = clock()
        for output in outputs:
            after = clock()
            self.compressing += after - before
            self._digest.update(output)
            self._target.write(output)
            before = clock()
            self.storing += before - after
        self.compressing += clock() - before


class SealedReader:
    """What was compressed, and whether it is all: the end is a proved one.

    `read` fills the front of a buffer with the next bytes of the stream; 0 is its end. The
    seconds that pass in it are counted in `fetching`. To be used in a `with` block, which ends its
    thread.
    """

    def __init__(self, read: Callable[[memoryview], int], clock: Callable[[], float]) -> None:
        self._read = read
        self._clock = clock
        self._buffers = [(memoryview(bytearray(BUFFER_SIZE)), 0) for _ in range(BUFFERS)]
        """With the number of the last piece of each that is being hashed."""
        self._buffer, self._last = self._buffers.pop()
        self._frames = FrameScanner()
        self._segments: deque[Segment] = deque()
        self._digest = BackgroundSha256()
        self._before = ""
        self._frame = bytearray()
        self._decompressor = Decompressor(self._more)
        self.fetching = 0.0
        self._size = 0
        self.seal: Seal | None = None
        """What ended the stream, once all was read; None if nothing did."""

    def __enter__(self) -> Self:
        self._digest.__enter__()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._digest.close()
        # It knows us and we know it: together they would keep their buffers for long.
        del self._decompressor

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`, wholly unless the end comes first; 0 at the end.

        Raises `IntegrityError` for a stream that is cut off, damaged, or not what its seal says.
        """
        filled = read_full(self._decompressor.readinto, buffer)
        self._size += filled
        if not filled and self.seal is not None and self.seal.size != self._size:
            raise IntegrityError("its seal records another size")
        return filled

    def _more(self) -> memoryview:
        """The next bytes of data frames; an empty view at the proved end of the stream."""
        while True:
            while self._segments:
                segment = self._segments.popleft()
                if self._take(segment):
                    return segment.view
            self._turn()
            start = self._clock()
            count = self._read(self._buffer)
            self.fetching += self._clock() - start
            if not count:
                break
            self._segments.extend(self._frames.walk(self._buffer[:count]))
        if not self._frames.is_complete:
            raise IntegrityError("the zstd stream is cut off")
        return self._buffer[:0]

    def _turn(self) -> None:
        """Go on to the next buffer, once nobody reads what it holds."""
        self._buffers.append((self._buffer, self._last))
        self._buffer, last = self._buffers.pop(0)
        self._digest.wait(last)

    def _take(self, segment: Segment) -> bool:
        """Account for a segment; whether it is to be decompressed."""
        if self.seal is not None:
            raise IntegrityError("something follows its seal")
        if segment.is_data:
            self._last = self._digest.update(segment.view)
            return True
        if segment.begins:
            self._frame = bytearray()
            self._before = self._digest.hexdigest()
        self._last = self._digest.update(segment.view)
        if len(self._frame) < seals.SIZE:
            self._frame += segment.view[: seals.SIZE]
        if segment.ends and seals.may_be(frame := bytes(self._frame)):
            self.seal = seals.parse(frame)
            if self.seal.sha256 != self._before:
                raise IntegrityError("its bytes are not those that were sealed")
        return False
