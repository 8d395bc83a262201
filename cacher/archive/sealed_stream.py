"""A writer and a reader of sealed zstd streams, whatever they contain.

Knows frames, digests and the seal; must not know where the bytes go to or come from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Self

from cacher.archive.background_hash import BackgroundSha256
from cacher.archive.seal import SEAL_SIZE, Seal, is_seal, parse_seal
from cacher.archive.zstd import Compressor, Decompressor
from cacher.archive.zstd_frames import FrameScanner, Segment
from cacher.errors import IntegrityError
from cacher.fileio import BUFFER_SIZE, read_full

BUFFERS = 6
"""Hashing may be behind by as many buffers, less the one that is being filled."""


class SealedWriter:
    """A compressor that ends its stream with a seal, and gives `store` its bytes.

    `clock` gives seconds: those in compressing and in `store` are counted. Use it in a `with`
    block, which ends its thread.
    """

    def __init__(
        self,
        store: Callable[[bytes], None],
        compressor: Compressor,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._compressor = compressor
        self._clock = clock
        self._digest = BackgroundSha256()
        self.compressing = 0.0
        self.storing = 0.0
        self.size = 0
        """Bytes written, before compression."""

    def __enter__(self) -> Self:
        self._digest.__enter__()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._digest.close()

    def write(self, data: memoryview) -> None:
        """Take all of `data`, which may be reused at once."""
        self._write_all(self._compressor.compress(data))
        self.size += data.nbytes

    def finish(self, kind: str, *, members: int, content: int, created: int) -> Seal:
        """End the stream with its seal, and return it."""
        self._write_all(self._compressor.finish())
        seal = Seal(kind, members, content, self.size, self._digest.hexdigest(), created)
        self._store(seal.frame())
        return seal

    def _write_all(self, outputs: Iterator[bytes]) -> None:
        clock = self._clock
        before = clock()
        for output in outputs:
            after = clock()
            self.compressing += after - before
            self._digest.update(output)
            self._store(output)
            before = clock()
            self.storing += before - after
        self.compressing += clock() - before


class SealedReader:
    """A decompressor that verifies the frames and the seal, so that the end is a proved one.

    `read` fills the front of a buffer with the next bytes of the stream and returns how many, 0 at
    the end. The seconds in it are counted in `fetching`. Use it in a `with` block, which ends its
    thread.
    """

    def __init__(self, read: Callable[[memoryview], int], clock: Callable[[], float]) -> None:
        self._read = read
        self._clock = clock
        self._buffers = [(memoryview(bytearray(BUFFER_SIZE)), 0) for _ in range(BUFFERS)]
        """Each with the number of its last piece that was given to be hashed."""
        self._buffer, self._last = self._buffers.pop()
        self._frames = FrameScanner()
        self._segments: deque[Segment] = deque()
        self._digest = BackgroundSha256()
        self._digest_before = ""
        self._skippable = bytearray()
        self._decompressor = Decompressor(self._next_data)
        self.fetching = 0.0
        self._size = 0
        self.seal: Seal | None = None
        """The seal of the stream, once all was read; None if it has none."""

    def __enter__(self) -> Self:
        self._digest.__enter__()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._digest.close()
        # A reference cycle would keep the buffers for long.
        del self._decompressor

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`, wholly unless the end comes first; 0 at the end.

        Raises `IntegrityError` for a stream that is cut off, damaged, or differs from its seal.
        """
        filled = read_full(self._decompressor.readinto, buffer)
        self._size += filled
        if not filled and self.seal is not None and self.seal.size != self._size:
            raise IntegrityError("its seal records another size")
        return filled

    def _next_data(self) -> memoryview:
        """Return the next bytes of data frames; an empty view at the proved end of the stream."""
        while True:
            while self._segments:
                segment = self._segments.popleft()
                if self._verify(segment):
                    return segment.view
            self._switch_buffer()
            start = self._clock()
            count = self._read(self._buffer)
            self.fetching += self._clock() - start
            if not count:
                break
            self._segments.extend(self._frames.walk(self._buffer[:count]))
        if not self._frames.is_complete:
            raise IntegrityError("the zstd stream is cut off")
        return self._buffer[:0]

    def _switch_buffer(self) -> None:
        """Go on to the next buffer, once its content has been hashed."""
        self._buffers.append((self._buffer, self._last))
        self._buffer, last = self._buffers.pop(0)
        self._digest.wait(last)

    def _verify(self, segment: Segment) -> bool:
        """Hash a segment and verify a seal; return whether it is to be decompressed."""
        if self.seal is not None:
            raise IntegrityError("something follows its seal")
        if segment.is_data:
            self._last = self._digest.update(segment.view)
            return True
        if segment.begins:
            self._skippable = bytearray()
            self._digest_before = self._digest.hexdigest()
        self._last = self._digest.update(segment.view)
        if len(self._skippable) < SEAL_SIZE:
            self._skippable += segment.view[:SEAL_SIZE]
        if segment.ends and is_seal(frame := bytes(self._skippable)):
            self.seal = parse_seal(frame)
            if self.seal.sha256 != self._digest_before:
                raise IntegrityError("its bytes are not those that were sealed")
        return False
