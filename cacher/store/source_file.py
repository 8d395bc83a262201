"""An open file to store, which must not change meanwhile."""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple, Self

from cacher.errors import LocalError, os_reason
from cacher.fileio import BUFFER_SIZE


class SourceFile(NamedTuple):
    """All of the regular file `fd`: `size` bytes, called `name` in messages."""

    fd: int
    size: int
    name: str
    times_ns: tuple[int, int]
    """The times of the last change of the bytes, and of anything; the first can be set back."""

    @classmethod
    def of(cls, fd: int, name: str) -> Self:
        """Return the file as it is now."""
        status = os.fstat(fd)
        return cls(fd, status.st_size, name, (status.st_mtime_ns, status.st_ctime_ns))

    def require_unchanged(self) -> None:
        """Raise `LocalError` if the file was written to since `of`."""
        status = os.fstat(self.fd)
        times = (status.st_mtime_ns, status.st_ctime_ns)
        if (status.st_size, times) != (self.size, self.times_ns):
            raise LocalError(
                f"{self.name} changed while it was read; nothing was stored",
                "store it once nothing writes to it any more",
            )

    def sha256(self) -> str:
        """Return the file's hex SHA-256. Raises `LocalError` if it cannot be read, or changed."""
        digest = hashlib.sha256(usedforsecurity=False)
        window = memoryview(bytearray(min(BUFFER_SIZE, max(self.size, 1))))
        position = 0
        while position < self.size:
            try:
                count = os.preadv(self.fd, [window[: self.size - position]], position)
            except OSError as error:
                raise LocalError(f"cannot read {self.name}: {os_reason(error)}") from error
            if not count:
                break
            digest.update(window[:count])
            position += count
        self.require_unchanged()
        return digest.hexdigest()
