"""What a move that was begun has to know to be finished by another run, in a file.

A directory loses its times, and perhaps its mode, while it is emptied. They are written down by
inode number before, so that whoever finishes can still give them to the one that takes its place.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from typing import NamedTuple, Self

_NAME = "ledger"
_ID_LIMIT = 2**32 - 1
"""Where the numbers of users and groups end; this one says "leave it"."""

_NO_TIME = "-"
"""The archive does not say: the file system's will do."""


class Attributes(NamedTuple):
    """What a directory is to have in the end; no time for what the file system makes it."""

    uid: int
    gid: int
    mode: int
    mtime_ns: int | None

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Those that it has."""
        return cls(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_mtime_ns)

    def give(self, directory: int) -> None:
        """Give them to an open directory; one that is somebody else's keeps its own."""
        status = os.fstat(directory)
        privileged = os.geteuid() == 0
        if status.st_uid != os.geteuid() and not privileged:
            return
        if privileged and (status.st_uid, status.st_gid) != (self.uid, self.gid):
            os.fchown(directory, self.uid, self.gid)
        if stat.S_IMODE(status.st_mode) != self.mode:
            os.fchmod(directory, self.mode)
        if self.mtime_ns is not None:
            os.utime(directory, ns=(status.st_atime_ns, self.mtime_ns))


def kept(paths: Collection[bytes], new: int, old: int) -> dict[int, Attributes]:
    """What directories of the tree `new` are to have that keep what they have in `old`, by inode.

    Those that are in both trees. One whose path is too long for the system is left out.
    """
    found = {}
    for path in paths:
        if path:
            try:
                ours = os.stat(path, dir_fd=new, follow_symlinks=False)
                theirs = os.stat(path, dir_fd=old, follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(theirs.st_mode):
                mode = stat.S_IMODE(theirs.st_mode)
                found[ours.st_ino] = Attributes(theirs.st_uid, theirs.st_gid, mode, None)
    return found


class Ledger:
    """The file, in the open directory `area`; begun, or read and gone on with."""

    def __init__(self, area: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(_NAME, flags, 0o600, dir_fd=area)
        self.target = 0
        """Inode of the directory that is moved into."""
        self.spared: tuple[int, int] | None = None
        """Device and inode of a directory of the old tree that stays, whatever else goes."""
        self._attributes: dict[int, Attributes] = {}
        self._swept: set[int] = set()
        self._read()

    def begin(self, target: os.stat_result, spared: tuple[int, int] | None) -> None:
        """Note what is moved into, and what stays there."""
        if spared:
            self.spared = spared
            self._write("spared", *spared)
        self.target = target.st_ino
        self._write("target", target.st_ino)

    def attributes(self, status: os.stat_result) -> Attributes:
        """Those of a directory of the new tree, as it was before anything was moved."""
        return self._attributes.get(status.st_ino) or self.note(
            status.st_ino, Attributes.of(status)
        )

    def note(self, inode: int, attributes: Attributes) -> Attributes:
        """Note what is to become of a directory of the new tree."""
        mtime = _NO_TIME if attributes.mtime_ns is None else attributes.mtime_ns
        self._write("is", inode, attributes.uid, attributes.gid, attributes.mode, mtime)
        self._attributes[inode] = attributes
        return attributes

    def is_swept(self, status: os.stat_result) -> bool:
        """Whether what the new directory does not have is out of the old one."""
        return status.st_ino in self._swept

    def swept(self, status: os.stat_result) -> None:
        """Note that it is."""
        self._write("swept", status.st_ino)
        self._swept.add(status.st_ino)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _write(self, *words: object) -> None:
        line = (" ".join(map(str, words)) + "\n").encode()
        if os.write(self._fd, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _read(self) -> None:
        with open(os.dup(self._fd), "rb") as file:
            content = file.read()
        for line in content.decode(errors="replace").splitlines():
            try:
                self._read_line(*line.split())
            except (TypeError, ValueError):
                pass  # cut short by a full disk: what it would have told was not begun
        if content and not content.endswith(b"\n"):
            os.write(self._fd, b"\n")

    def _read_line(self, kind: str, inode: str, *words: str) -> None:
        if kind == "target":
            self.target = int(inode)
        elif kind == "swept":
            self._swept.add(int(inode))
        elif kind == "spared":
            self.spared = int(inode), int(*words)
        elif kind == "is":
            uid, gid, mode, mtime = words
            mtime_ns = None if mtime == _NO_TIME else int(mtime)
            if max(int(uid), int(gid)) < _ID_LIMIT and int(mode) <= 0o7777:
                self._attributes[int(inode)] = Attributes(int(uid), int(gid), int(mode), mtime_ns)
