"""What the tests of the local store do over and over: look at a tree, and fork."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from cacher.store.interface import SHA256, Entry, Store
from cacher.store.source_file import SourceFile

T = TypeVar("T")


def recorded(data: bytes) -> dict[str, str]:
    """The metadata that records the digest of `data`."""
    return {SHA256: hashlib.sha256(data).hexdigest()}


def put(store: Store, key: str, data: bytes, metadata: Mapping[str, str] | None = None) -> Entry:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return store.put(key, SourceFile.of(file.fileno(), "file"), metadata or {})


def read(store: Store, key: str) -> bytes:
    """All the bytes of an entry that must be there, checked."""
    reader = store.open(key)
    assert reader is not None
    data = bytearray()
    buffer = memoryview(bytearray(1 << 16))
    with reader:
        while count := reader.readinto(buffer):
            data += buffer[:count]
    return bytes(data)


def tree(root: Path) -> dict[str, bytes]:
    """The regular files below `root` and what is in them."""
    found = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def files(root: Path) -> set[str]:
    """The names of the regular files below `root`."""
    return set(tree(root))


def spawn(act: Callable[[], T]) -> Callable[[], T]:
    """Run `act` in a forked child; the answer waits for it and gives its result.

    A child that is killed or fails makes the answer raise `AssertionError`.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(reading)
            with open(writing, "wb") as file:
                pickle.dump(act(), file)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    os.close(writing)

    def answer() -> T:
        with open(reading, "rb") as file:
            content = file.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status == 0, f"the child ended with {status}"
        result: T = pickle.loads(content)
        return result

    return answer


def in_child(act: Callable[[], T]) -> T:
    """Run `act` in a forked child, whose process-wide settings end with it."""
    return spawn(act)()
