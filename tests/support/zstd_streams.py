"""Zstd streams for tests, made by cacher and by the `zstd` program."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable

from cacher.archive.seal import Seal
from cacher.archive.sealed_stream import SealedReader, SealedWriter
from cacher.archive.zstd import Compressor
from tests.support.servers import programs


class Collector:
    """A target that collects the bytes written."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data


def no_clock() -> float:
    return 0.0


def sealed(
    data: bytes,
    *,
    level: int = 3,
    workers: int | None = None,
    step: int = 1 << 20,
    kind: str = "dir",
) -> bytes:
    """Return `data` compressed and sealed."""
    target = Collector()
    with SealedWriter(target.write, Compressor(level, workers), no_clock) as writer:
        for start in range(0, len(data), step):
            writer.write(memoryview(data)[start : start + step])
        writer.finish(kind, members=1, content=len(data), created=1_700_000_000)
    return bytes(target.data)


def source(stream: bytes, step: int = 0) -> Callable[[memoryview], int]:
    """Return a `readinto` over `stream` that returns at most `step` bytes at a time."""
    file = io.BytesIO(stream)
    return lambda buffer: file.readinto(buffer[:step] if step else buffer)


def unsealed(stream: bytes, *, step: int = 0, buffer: int = 1 << 16) -> tuple[bytes, Seal | None]:
    """Return the content of a stream, and its seal."""
    content = bytearray()
    window = memoryview(bytearray(buffer))
    with SealedReader(source(stream, step), no_clock) as reader:
        while count := reader.readinto(window):
            content += window[:count]
    return bytes(content), reader.seal


def zstd(data: bytes, *flags: str) -> bytes:
    """Compress `data` with the `zstd` program."""
    return subprocess.run(
        [programs.require("zstd"), "-q", "-c", *flags],
        input=data,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout


def unzstd(stream: bytes) -> bytes:
    """Decompress a stream with `zstd -d`, at its defaults."""
    return subprocess.run(
        [programs.require("zstd"), "-q", "-d", "-c"],
        input=stream,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
