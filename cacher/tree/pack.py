"""Packs a directory as a tar stream, through one buffer.

Knows files and tar headers; must not know where the stream goes.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from cacher.errors import LocalError, UsageError, os_reason
from cacher.tar import header_fields
from cacher.tar.header_fields import BLOCK_SIZE
from cacher.tar.writer import end_of_archive, header
from cacher.tree.walk import DIRECTORY, FILE, OPEN_FILE, SPECIAL, SYMLINK, Selection, Walk

__all__ = ["Packed", "Selection", "pack"]

CHUNK_SIZE = 1024 * 1024
"""Bytes, in whole blocks. One buffer is used again and again: new ones would cost more in page
faults than everything else together."""

_PADDING = [bytes(-size % BLOCK_SIZE) for size in range(BLOCK_SIZE)]
"""The padding of a file, by its size modulo `BLOCK_SIZE`."""

_TYPE = 0o170000
"""The bits of a mode for the type of the file (`S_IFMT`)."""

_CHANGED_HINT = "store it once nothing writes to it any more; --changed warn stores it as it was"


class Packed:
    """Counts of what was packed; `size` is the bytes of file contents, hard links counted once."""

    def __init__(self) -> None:
        self.members = 0
        self.directories = 0
        """The members that are directories."""
        self.size = 0
        self.skipped = 0
        """Sockets, FIFOs and devices, which were left out."""
        self.vanished = 0
        self.changed = 0
        self.omitted_path = b""
        """The path of the directory that the selection omits, if the walk met it."""

    def files(self) -> int:
        """Return the number of members that are not directories."""
        return self.members - self.directories


def pack(
    directory: str,
    write: Callable[[memoryview], None],
    selection: Selection,
    *,
    keep_owner: bool = False,
    tolerate_changes: bool = False,
    packed: Packed | None = None,
) -> Packed:
    """Write a directory as a tar archive; `write` gets views of one buffer that is used again.

    Without `keep_owner` user and group are 0. With `tolerate_changes` a file that changes is padded
    or cut to the size in its header, and one that vanishes is left out. `packed` counts as it goes.
    Raises `LocalError`, `UsageError`, and the errors of `write`.
    """
    try:
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except NotADirectoryError:
        raise UsageError(f"{directory} is not a directory") from None
    except OSError as error:
        hint = f"user {os.geteuid()} may not list it" if isinstance(error, PermissionError) else ""
        raise LocalError(f"cannot read {directory}: {os_reason(error)}", hint) from error
    try:
        packer = _Packer(directory, write, packed or Packed(), keep_owner, tolerate_changes)
        packer.pack(root, selection)
        return packer.packed
    finally:
        os.close(root)


class _Packer:
    def __init__(
        self,
        directory: str,
        write: Callable[[memoryview], None],
        packed: Packed,
        keep_owner: bool,
        tolerate_changes: bool,
    ) -> None:
        self.packed = packed
        self._named = directory
        self._write = write
        self._keep_owner = keep_owner
        self._tolerates = tolerate_changes
        self._view = memoryview(bytearray(CHUNK_SIZE))
        self._used = 0
        self._links: dict[tuple[int, int], bytes] = {}
        """The first path of each file that has several."""

    def pack(self, root: int, selection: Selection) -> None:
        """Write all members and the end of the archive."""
        directory = self._named
        try:
            walk = Walk(root, selection, self._unreadable)
        except OSError as error:
            raise LocalError(f"cannot read {directory}: {os_reason(error)}") from error
        try:
            self._walk(walk, root, selection)
        finally:
            walk.close()
        self.packed.omitted_path = walk.omitted_path
        if missing := not selection.allow_missing and walk.unmatched():
            raise LocalError(f"nothing in {directory} matches {missing[0]}", self._missing_hint())
        if not self.packed.members:
            left_out = self._missing_hint() if self.packed.omitted_path else ""
            raise LocalError(f"the patterns leave nothing of {directory} to store", left_out)
        self._put(end_of_archive())
        self._flush()

    def _missing_hint(self) -> str:
        if self.packed.omitted_path:
            return f"the local store is left out: {os.fsdecode(self.packed.omitted_path)}"
        if self.packed.members:
            return "--allow-missing stores what there is"
        return "a GLOB is a path below DIR; does the step that creates it run first?"

    def _walk(self, walk: Walk, root: int, selection: Selection) -> None:
        if not selection.include:
            self._directory(b".", root)
        file = self._file
        for path, name, kind, directory in walk:
            if kind == FILE:
                file(path, name, directory)
            elif kind == DIRECTORY:
                self._directory(path, directory)
            elif kind == SYMLINK:
                self._symlink(path, name, directory)
            else:
                assert kind == SPECIAL  # noqa: S101 - there is no other
                self._special(path, name, directory)

    def _directory(self, path: bytes, fd: int) -> None:
        status = os.fstat(fd)
        self._member(path + b"/", status, header_fields.DIRECTORY)

    def _symlink(self, path: bytes, name: bytes, directory: int) -> None:
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            target = os.readlink(name, dir_fd=directory)
        except OSError as error:
            # EINVAL: it is not a link any more.
            self._unreadable(path, error)
            return
        if not self._is_linked(path, status):
            self._member(path, status, header_fields.SYMLINK, target)

    def _special(self, path: bytes, name: bytes, directory: int) -> None:
        try:
            mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        except OSError as error:
            self._unreadable(path, error)
            return
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
            self._replaced(path)
        else:
            self.packed.skipped += 1

    def _file(self, path: bytes, name: bytes, directory: int) -> None:
        try:
            fd = os.open(name, OPEN_FILE, dir_fd=directory)
        except OSError as error:
            self._unreadable(path, error)
            return
        try:
            status = os.fstat(fd)
            if status.st_mode & _TYPE != stat.S_IFREG:
                self._replaced(path)
            elif status.st_nlink == 1 or not self._is_linked(path, status):
                self._member(path, status, header_fields.FILE)
                if status.st_size:
                    # An empty one was read with its status, at one moment.
                    self._content(path, fd, status)
        finally:
            os.close(fd)

    def _content(self, path: bytes, fd: int, before: os.stat_result) -> None:
        """Write exactly as many bytes as the header says, even if the file has changed."""
        left = size = before.st_size
        view, used = self._view, self._used
        while left:
            if used == CHUNK_SIZE:
                self._used = used
                self._flush()
                used = 0
            try:
                count = os.readv(fd, [view[used : used + left]])
            except OSError as error:
                raise LocalError(f"cannot read {self._shown(path)}: {os_reason(error)}") from error
            if not count:
                break
            used += count
            left -= count
        self._used = used
        after = os.fstat(fd)
        if left or after.st_size != size or after.st_mtime_ns != before.st_mtime_ns:
            self._changed(path)
            self._fill(left)
        if padding := _PADDING[size % BLOCK_SIZE]:
            used = self._used
            self._used = end = used + len(padding)
            view[used:end] = padding
        self.packed.size += size

    def _fill(self, count: int) -> None:
        """Write zeros for a file that became shorter."""
        while count:
            piece = min(count, CHUNK_SIZE - self._used)
            if not piece:
                self._flush()
                continue
            self._view[self._used : self._used + piece] = bytes(piece)
            self._used += piece
            count -= piece

    def _member(
        self, path: bytes, status: os.stat_result, kind: bytes, target: bytes = b""
    ) -> None:
        """Write the header of a member."""
        block = header(
            path,
            status.st_mode & 0o7777,
            status.st_size if kind == header_fields.FILE else 0,
            status.st_mtime_ns,
            kind,
            target,
            status.st_uid if self._keep_owner else 0,
            status.st_gid if self._keep_owner else 0,
        )
        self.packed.members += 1
        self.packed.directories += kind == header_fields.DIRECTORY
        used = self._used
        end = used + len(block)
        if end <= CHUNK_SIZE:
            self._view[used:end] = block
            self._used = end
        else:
            self._put(block)

    def _is_linked(self, path: bytes, status: os.stat_result) -> bool:
        """Write a hard link if the file was stored under another name; return whether it was."""
        if status.st_nlink == 1:
            return False
        identity = (status.st_dev, status.st_ino)
        first = self._links.setdefault(identity, path)
        if first is path:
            return False
        self._member(path, status, header_fields.HARD_LINK, first)
        return True

    def _put(self, data: bytes) -> None:
        used = self._used
        if used + len(data) > CHUNK_SIZE:
            self._flush()
            used = 0
        if len(data) > CHUNK_SIZE:
            # A header with a name of a megabyte.
            self._write(memoryview(data))
            return
        self._view[used : used + len(data)] = data
        self._used = used + len(data)

    def _flush(self) -> None:
        self._write(self._view[: self._used])
        self._used = 0

    def _unreadable(self, path: bytes, error: OSError) -> None:
        """Count an entry that cannot be opened, or raise `LocalError`."""
        if isinstance(error, FileNotFoundError):
            if not self._tolerates:
                raise LocalError(
                    f"{self._shown(path)} vanished while it was packed; nothing was stored",
                    "--changed warn leaves out what vanishes",
                ) from error
            self.packed.vanished += 1
        elif error.errno in (errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.EINVAL):
            self._replaced(path)
        else:
            # With --exclude the next file would fail instead.
            is_limit = error.errno in (errno.EMFILE, errno.ENFILE)
            hint = "" if is_limit else "--exclude leaves it out"
            raise LocalError(
                f"cannot read {self._shown(path)}: {os_reason(error)}", hint
            ) from error

    def _shown(self, path: bytes) -> str:
        """Return the path as the user would write it, who named the directory."""
        return os.path.join(self._named, os.fsdecode(path)).removeprefix("./")

    def _replaced(self, path: bytes) -> None:
        """Count an entry as vanished, since another has its name."""
        self._changed(path)
        self.packed.changed -= 1
        self.packed.vanished += 1

    def _changed(self, path: bytes) -> None:
        if not self._tolerates:
            raise LocalError(
                f"{self._shown(path)} changed while it was packed; nothing was stored",
                _CHANGED_HINT,
            )
        self.packed.changed += 1
