"""zstd without zstandard: with the one of Python 3.14, or with an error that says what is missing.

Before Python 3.14 it is `backports.zstd`, which is the same code.
"""

from __future__ import annotations

import importlib
import random
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import zstandard

from cacher.archive import zstd as ours
from cacher.archive.zstd_settings import OUTPUT_SIZE
from cacher.errors import IntegrityError, LocalError, UsageError
from tests.support.zstd_streams import unzstd, zstd

NOISE = random.Random(5).randbytes(3_000_000)
TEXT = b"".join(b"line %d of a text\n" % number for number in range(300_000))

SAMPLES = {"nothing": b"", "a byte": b"x", "noise": NOISE, "text": TEXT, "both": TEXT + NOISE}

every_sample = pytest.mark.parametrize("data", SAMPLES.values(), ids=SAMPLES)


@pytest.fixture(scope="module")
def stdlib() -> Iterator[ModuleType]:
    """`cacher.archive.zstd_stdlib`, on any Python."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.version_info < (3, 14):
            compression: Any = types.ModuleType("compression")
            compression.zstd = importlib.import_module("backports.zstd")
            patch.setitem(sys.modules, "compression", compression)
            patch.setitem(sys.modules, "compression.zstd", compression.zstd)
        patch.delitem(sys.modules, "cacher.archive.zstd_stdlib", raising=False)
        yield importlib.import_module("cacher.archive.zstd_stdlib")
    sys.modules.pop("cacher.archive.zstd_stdlib", None)


class Starved:
    """What a library's compressor is like where there is no memory."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def compress(self, _data: memoryview) -> bytes:
        raise self._error

    def flush(self, _mode: int) -> bytes:
        raise self._error

    def finish(self) -> Iterator[bytes]:
        yield b"some"
        raise self._error


@pytest.mark.parametrize("library", ["ours", "stdlib"])
@pytest.mark.parametrize("is_python", [True, False])
def test_too_little_memory_is_this_machine(
    stdlib: ModuleType, library: str, is_python: bool
) -> None:
    module = stdlib if library == "stdlib" else ours
    error: Exception = MemoryError()
    if not is_python:
        text = "zstd compress error: Allocation error : not enough memory"
        error = zstandard.ZstdError(text) if module is ours else stdlib.zstd.ZstdError(text)
    compressor = module.Compressor()
    name = "_chunker" if module is ours else "_compressor"
    setattr(compressor, name, Starved(error))
    for ask in (lambda: compressor.compress(memoryview(b"x")), compressor.finish):
        with pytest.raises(LocalError, match="not enough memory, or no more threads") as caught:
            list(ask())
        assert "`ulimit -u`" in caught.value.hint
        assert "--level" in caught.value.hint


def compressed(library: ModuleType, data: bytes, *, step: int = 1 << 18, **how: int) -> bytes:
    compressor = library.Compressor(**how)
    pieces = []
    for start in range(0, len(data), step):
        pieces += compressor.compress(memoryview(data)[start : start + step])
    pieces += compressor.finish()
    assert all(0 < len(piece) <= OUTPUT_SIZE for piece in pieces)
    return b"".join(pieces)


def supply(stream: bytes, step: int) -> Callable[[], memoryview]:
    """What gives a stream piece by piece, each time in the same buffer."""
    starts = iter(range(0, len(stream), step))
    buffer = bytearray(step)

    def more() -> memoryview:
        start = next(starts, None)
        piece = b"" if start is None else stream[start : start + step]
        buffer[: len(piece)] = piece
        return memoryview(buffer)[: len(piece)]

    return more


def decompressed(library: ModuleType, stream: bytes, *, step: int, size: int = 65536) -> bytes:
    decompressor = library.Decompressor(supply(stream, step))
    content, window = bytearray(), memoryview(bytearray(size))
    while count := decompressor.readinto(window):
        content += window[:count]
    assert decompressor.readinto(window) == 0
    return bytes(content)


@every_sample
@pytest.mark.parametrize("level", [1, 3, 12])
def test_all_libraries_decompress_its_output(stdlib: ModuleType, data: bytes, level: int) -> None:
    stream = compressed(stdlib, data, level=level)
    assert unzstd(stream) == data
    assert decompressed(ours, stream, step=100_000) == data


@every_sample
def test_it_compresses_with_the_same_parameters(stdlib: ModuleType, data: bytes) -> None:
    theirs, mine = (compressed(library, data, workers=2) for library in (stdlib, ours))
    parameters = [zstandard.get_frame_parameters(stream) for stream in (theirs, mine)]
    for name in ("content_size", "window_size", "dict_id", "has_checksum"):
        assert getattr(parameters[0], name) == getattr(parameters[1], name)
    assert parameters[0].has_checksum
    # Where the versions of zstd are one, so are the bytes.
    assert abs(len(theirs) - len(mine)) <= len(mine) // 50


def test_its_output_does_not_depend_on_threads_or_pieces(stdlib: ModuleType) -> None:
    streams = {
        compressed(stdlib, TEXT + NOISE + TEXT, workers=workers, step=step)
        for workers, step in ((1, 1 << 18), (3, 1 << 18), (2, 99_991))
    }
    assert len(streams) == 1


@every_sample
@pytest.mark.parametrize("step", [997, 65536, 10_000_000])
def test_it_decompresses_the_output_of_others(stdlib: ModuleType, data: bytes, step: int) -> None:
    assert decompressed(stdlib, zstd(data), step=step) == data
    assert decompressed(stdlib, zstd(data, "--no-check", "-1"), step=step, size=1000) == data


@pytest.mark.parametrize("step", [1, 2, 17, 100_000])
def test_it_goes_on_to_the_next_frame(stdlib: ModuleType, step: int) -> None:
    stream = zstd(b"one ") + zstd(b"") + zstd(b"two ") + zstd(b"three")
    assert decompressed(stdlib, stream, step=step) == b"one two three"
    assert decompressed(stdlib, stream, step=step, size=1) == b"one two three"


def test_many_small_frames_take_no_long_time(stdlib: ModuleType) -> None:
    """Of what follows a frame it copies little."""
    frame = zstd(b"")
    assert decompressed(stdlib, frame * 100_000, step=1 << 20) == b""


@pytest.mark.parametrize("library", ["ours", "stdlib"])
def test_both_refuse_alike(stdlib: ModuleType, library: str, tmp_path: Path) -> None:
    module = ours if library == "ours" else stdlib
    damaged = bytearray(zstd(TEXT))
    damaged[len(damaged) // 2] ^= 0xFF
    with pytest.raises(IntegrityError, match=r"^the zstd stream is damaged: [a-z]"):
        decompressed(module, bytes(damaged), step=65536)
    with pytest.raises(IntegrityError, match="larger than 128 MiB") as refused:
        # A frame whose header asks for a window of 256 MiB.
        decompressed(module, b"\x28\xb5\x2f\xfd\x00" + bytes([18 << 3]) + b"\1\0\0", step=100)
    assert "--long=28" in refused.value.hint
    with pytest.raises(UsageError, match="--level 20"):
        module.Compressor(20)


def test_errors_of_next_data_come_through(stdlib: ModuleType) -> None:
    def more() -> memoryview:
        raise IntegrityError("cut off")

    with pytest.raises(IntegrityError, match="cut off"):
        stdlib.Decompressor(more).readinto(memoryview(bytearray(10)))


# --- which of them is taken ----------------------------------------------------------------------

CHOICE = """\
import sys
sys.path.insert(0, sys.argv[1])
sys.modules["zstandard"] = None
if sys.argv[2] == "none":
    sys.modules["compression"] = None
elif sys.version_info < (3, 14):
    import types, backports.zstd
    sys.modules["compression"] = types.ModuleType("compression")
    sys.modules["compression"].zstd = sys.modules["compression.zstd"] = backports.zstd
sys.argv[1:3] = []
from cacher.cli.main import main
sys.exit(main())
"""


def chosen(library: str, *argv: str | Path) -> subprocess.CompletedProcess[str]:
    root = Path(ours.__file__).parents[2]
    command = [sys.executable, "-I", "-c", CHOICE, str(root), library, *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def test_without_zstandard_python_does_it(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(TEXT)
    store = f"--endpoint=file://{tmp_path}/store"
    for verb, directory in (("upload", "tree"), ("download", "again")):
        done = chosen("stdlib", store, "dir", verb, "k", tmp_path / directory)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "again" / "file").read_bytes() == TEXT


def test_without_any_zstd_the_error_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    store = f"--endpoint=file://{tmp_path}/store"
    done = chosen("none", store, "dir", "upload", "k", tmp_path / "tree")
    assert done.returncode == 7
    error, hint = done.stderr.splitlines()
    assert error.startswith(f"cacher: error: CPython {sys.version.split()[0]} ({sys.platform}, ")
    assert " has no zstd: " in error
    assert hint.startswith("cacher: hint: `pip install zstandard`")
    assert chosen("none", store, "exists", "k").returncode == 1


def test_ours_is_zstandard() -> None:
    assert f"zstandard {zstandard.__version__}" in ours.LIBRARY
