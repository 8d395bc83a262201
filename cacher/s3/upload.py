"""Store a file of known size, or a stream, as an object.

Data that fits in one part is one plain PUT. Nothing is published before the end.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Self

from cacher.errors import LocalError, OutOfThreads, StoreError
from cacher.fileio import OnProgress, start_thread
from cacher.s3.client import Client
from cacher.s3.multipart import Multipart, part_size_for
from cacher.s3.request_body import FileBody, MemoryBody


class FileParts:
    """The first `size` bytes of the regular file `fd` as parts, each a request body.

    Their digests can be computed in advance, on another core than the digest of the whole file,
    which must be known before the first part is sent.
    """

    def __init__(self, fd: int, size: int, part_size: int) -> None:
        step = part_size_for(size, part_size)
        self.bodies = [
            FileBody(fd, start, min(step, size - start)) for start in range(0, size, step)
        ]
        self._thread: threading.Thread | None = None
        self._wanted = True

    def digest_ahead(self) -> None:
        """Start computing the digests of the parts in a thread, if one can be started."""
        if len(self.bodies) > 1:
            thread = threading.Thread(target=self._digest, daemon=True)
            try:
                start_thread(thread)
            except OutOfThreads:
                return
            self._thread = thread

    def settle(self) -> None:
        """Stop that thread; missing digests are computed when the parts are sent."""
        self._wanted = False
        if self._thread is not None:
            self._thread.join()

    def _digest(self) -> None:
        for body in self.bodies:
            if not self._wanted:
                return
            try:
                _ = body.sha256
            except LocalError:
                return  # reported when it is sent


def put_file(
    client: Client,
    key: str,
    parts: FileParts,
    metadata: Mapping[str, str],
    *,
    jobs: int,
    on_progress: OnProgress,
    require_unchanged: Callable[[], None],
    sha256: str = "",
) -> str:
    """Store a file; return the object's ETag, or an empty string.

    `sha256` is its earlier digest, if known. `require_unchanged` raises if the file has changed;
    it is called before the object is published. `on_progress` gets the bytes sent, below zero
    before they are sent again.
    """
    parts.settle()
    if len(parts.bodies) < 2:
        # Read once: what is signed and what is sent are the same bytes, whatever the file does.
        data = parts.bodies[0].load() if parts.bodies else b""
        whole = MemoryBody(data, on_progress)
        require_unchanged()
        if sha256 and whole.sha256 != sha256:
            # Changed through a memory mapping, or its times were restored.
            raise LocalError("the file changed while it was read; nothing was stored")
        return client.put(key, whole, metadata)
    multipart = Multipart(client, key, metadata, min(jobs, len(parts.bodies)))
    try:
        for body in parts.bodies:
            body.watch(on_progress, multipart.pool.check)
            multipart.send(body)
        multipart.finish()
        require_unchanged()
        etag = multipart.complete()
        if etag is None:
            for number in multipart.parts_to_resend():
                multipart.send_again(number, parts.bodies[number - 1])
            require_unchanged()
            etag = multipart.complete()
        if etag is None:
            raise StoreError(f"storing {key}: the store loses parts that it has acknowledged")
        return etag
    finally:
        multipart.abort()


class Upload:
    """A writer of a stream of unknown length: an object once `commit` returns."""

    def __init__(
        self,
        client: Client,
        key: str,
        metadata: Mapping[str, str],
        *,
        part_size: int,
        jobs: int,
        on_progress: OnProgress,
    ) -> None:
        self._client = client
        self._key = key
        self._metadata = metadata
        self._part_size = part_size
        self._on_progress = on_progress
        self._multipart = Multipart(client, key, metadata, jobs)
        self._spare = jobs
        """How many more buffers may be made: memory is limited to `jobs` parts."""
        self._free: deque[bytearray] = deque()
        self._buffer: bytearray | None = None
        self._used = 0
        self._parts = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take all of `data`, which may be reused at once. Waits while all buffers are full."""
        view = memoryview(data)
        while view:
            if self._buffer is not None and self._used == self._part_size:
                self._flush()
            if self._buffer is None:
                self._buffer = self._empty_buffer()
            count = min(len(view), self._part_size - self._used)
            self._buffer[self._used : self._used + count] = view[:count]
            self._used += count
            view = view[count:]

    def commit(self) -> str:
        """Send the rest and publish the object; return its ETag, or an empty string."""
        if not self._parts:
            body = MemoryBody(memoryview(self._buffer or b"")[: self._used], self._on_progress)
            return self._client.put(self._key, body, self._metadata)
        if self._used:
            self._flush()
        self._multipart.finish()
        etag = self._multipart.complete()
        if etag is None:
            raise StoreError(
                f"storing {self._key}: the store lost parts that it had acknowledged",
                "a later run may succeed",
            )
        return etag

    def close(self) -> None:
        """Abort, unless `commit` was called; nothing is left in the store."""
        self._multipart.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _flush(self) -> None:
        """Send the current buffer as the next part; it is free again once it is stored."""
        buffer = self._buffer
        assert buffer is not None  # noqa: S101 - for the type checker
        view = memoryview(buffer)[: self._used]
        self._parts += 1
        self._multipart.send(
            MemoryBody(view, self._on_progress, self._multipart.pool.check),
            lambda: self._free.append(buffer),
        )
        self._buffer, self._used = None, 0

    def _empty_buffer(self) -> bytearray:
        if not self._free and self._spare:
            self._spare -= 1
            return bytearray(self._part_size)
        self._multipart.pool.wait_for(lambda: bool(self._free))
        return self._free.popleft()
