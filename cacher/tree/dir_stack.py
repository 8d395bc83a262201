"""A stack of open directories, from a root down to the current one.

Each is opened below its parent without following a link, so no path is too long and nothing outside
the root can be reached. Knows directories; must not know why they are entered.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, Self, TypeVar

OPEN_LIMIT = max(min(64, os.sysconf("SC_OPEN_MAX") // 4), 2)
"""How many directories are kept open at most, however deep the tree is. A process may have 1024
descriptors, or 256, or so few (`ulimit -n 16`) that a failed restore could not be removed."""

FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Payload = TypeVar("Payload")


class _Frame(Generic[Payload]):
    __slots__ = ("fd", "identity", "name", "payload")

    def __init__(self, fd: int, name: bytes, payload: Payload) -> None:
        self.fd = fd
        self.name = name
        self.payload = payload
        self.identity: tuple[int, int] | None = None
        """Device and inode, once `fd` was closed to limit descriptors."""


class DirStack(Generic[Payload]):
    """A stack of directories, from the caller's descriptor `root` to the current one.

    `payload` is the caller's data about a directory. Methods raise `OSError`.
    """

    def __init__(self, root: int, payload: Payload) -> None:
        self._frames = [_Frame(root, b"", payload)]
        self._first_open = 1
        """The first frame below the root that is open."""

    @property
    def fd(self) -> int:
        """The descriptor of the current directory."""
        return self._frames[-1].fd

    @property
    def payload(self) -> Payload:
        """The payload of the current directory."""
        return self._frames[-1].payload

    @property
    def payloads(self) -> list[Payload]:
        """The payloads of the directories from the root to the current one."""
        return [frame.payload for frame in self._frames]

    @property
    def depth(self) -> int:
        """The number of directories below the root; 0 at the root."""
        return len(self._frames) - 1

    @property
    def name(self) -> bytes:
        """The name of the current directory."""
        return self._frames[-1].name

    @property
    def names(self) -> list[bytes]:
        """The names from below the root to the current directory."""
        return [frame.name for frame in self._frames[1:]]

    def enter(self, name: bytes, payload: Payload) -> int:
        """Enter the directory `name`, not through a link; return its descriptor."""
        fd = os.open(name, FLAGS, dir_fd=self.fd)
        self._frames.append(_Frame(fd, name, payload))
        if len(self._frames) - self._first_open > OPEN_LIMIT:
            frame = self._frames[self._first_open]
            status = os.fstat(frame.fd)
            frame.identity = (status.st_dev, status.st_ino)
            os.close(frame.fd)
            frame.fd = -1
            self._first_open += 1
        return fd

    def leave(self, finish: Callable[[int], None] | None = None) -> None:
        """Go back to the parent. Raises `OSError` if the directory was moved to another.

        `finish` is called with the directory's descriptor, after the last look-up in it.
        """
        frame = self._frames[-1]
        above = self._frames[-2]
        if above.fd < 0:
            fd = os.open(b"..", FLAGS, dir_fd=frame.fd)
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) != above.identity:
                os.close(fd)
                raise OSError(f"{os.fsdecode(above.name)} was moved meanwhile")
            above.fd = fd
            self._first_open -= 1
        self._frames.pop()
        try:
            if finish:
                finish(frame.fd)
        finally:
            os.close(frame.fd)

    def close(self) -> None:
        """Close all directories but the root."""
        while len(self._frames) > 1:
            frame = self._frames.pop()
            if frame.fd >= 0:
                os.close(frame.fd)
        self._first_open = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
