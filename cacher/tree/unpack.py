"""Unpacks a tar stream below one directory, and reaches nothing outside of it.

Every name is looked up by descriptors, from directories that this run has made, without following a
link; a member that would need another place is refused. Knows members and files; must not know
where the stream comes from, nor what the directory is for.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cacher.errors import IntegrityError, LocalError, UsageError, os_reason
from cacher.fileio import BUFFER_SIZE, write_all
from cacher.tar import header_fields
from cacher.tar.header_fields import printable
from cacher.tar.reader import Member, TarReader
from cacher.tree.extract_dirs import ExtractDirs
from cacher.tree.modes_and_owners import give_link_owner, give_owner, set_mode, withheld_mode_bits
from cacher.tree.patterns import IncludePatterns

_PATH_LIMIT = 64 * 1024
"""Bytes of a path, sixteen times the limit of a system call. Each level of it costs time."""

_NOT_NAMES = (b"", b".", b"..")

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

_NO_LINKS = frozenset(
    {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EXDEV}
)
"""Errors of file systems without hard links, or of one link too many; EXDEV where a quota or a bind
mount divides a file system (link(2))."""


class UnpackOptions(NamedTuple):
    """How to unpack an archive; `max_size` is the limit of the whole tar stream in bytes."""

    strip: int = 0
    only: Sequence[str] = ()
    keep_owner: bool = False
    max_size: int = 100 * 1024**3


class Unpacked:
    """Counts of an archive; `size` is the bytes of file contents, `restored` counts members."""

    def __init__(self) -> None:
        self.members = 0
        self.directories = 0
        """The members that are directories."""
        self.restored_directories = 0
        self.size = 0
        self.skipped = 0
        """FIFOs, which are left out."""
        self.restored = 0
        self.implicit: set[bytes] = set()
        """The paths of directories that have entries, but no member; the root is b""."""

    def files(self) -> int:
        """Return the number of members that are not directories."""
        return self.members - self.directories

    def restored_files(self) -> int:
        """Return the number of restored members that are not directories."""
        return self.restored - self.restored_directories


def unpack(
    next_chunk: Callable[[], memoryview],
    root: int,
    options: UnpackOptions,
    unpacked: Unpacked | None = None,
) -> Unpacked:
    """Unpack a tar stream into the empty, private directory `root`.

    `next_chunk` returns the next piece of the stream, an empty one at its end. `unpacked` counts as
    members are restored. Raises `IntegrityError` for an archive that is damaged or unsafe,
    `LocalError`, and the errors of `next_chunk`; then the caller must remove the whole directory.
    """
    try:
        unpacker = _Unpacker(root, options, unpacked or Unpacked())
    except OSError as error:
        raise LocalError(f"writing a directory: {os_reason(error)}") from error
    try:
        unpacker.run(TarReader(next_chunk, options.max_size))
    finally:
        unpacker.dirs.close()
    return unpacker.unpacked


class _Unpacker:
    def __init__(self, root: int, options: UnpackOptions, unpacked: Unpacked) -> None:
        self.unpacked = unpacked
        self._withheld = withheld_mode_bits(root)
        self._strip = options.strip
        self._only = IncludePatterns(options.only) if options.only else None
        self._give_owner = give_owner if options.keep_owner else None
        self.dirs = ExtractDirs(root, 0o777 & ~self._withheld, self._give_owner)

    def run(self, archive: TarReader) -> None:
        """Unpack all members, to the proved end of the archive."""
        unpacked, dirs, file = self.unpacked, self.dirs, self._file
        is_plain = not self._strip and self._only is None
        while (member := archive.next()) is not None:
            unpacked.members += 1
            try:
                if member.kind == header_fields.FILE:
                    unpacked.size += member.size
                    parent, slash, name = member.name.rpartition(b"/")
                    if (
                        is_plain
                        and parent == dirs.parent_in_archive
                        and name not in _NOT_NAMES
                        and (parent or not slash)
                    ):
                        # Most members are files in the directory of the one before.
                        file(archive, member, name, dirs.fd)
                        unpacked.restored += 1
                        continue
                self._member(archive, member)
            except OSError as error:
                raise _failed(error, member) from error
        try:
            self.dirs.finish()
        except OSError as error:
            raise LocalError(f"writing a directory: {os_reason(error)}") from error
        unpacked.implicit = self.dirs.implicit

    def _member(self, archive: TarReader, member: Member) -> None:
        kind = member.kind
        self.unpacked.directories += kind == header_fields.DIRECTORY
        path = self._path(member.name, member)
        if kind in (header_fields.CHARACTER, header_fields.DEVICE):
            raise IntegrityError(f"{printable(member.name)}: it is a device, which is refused")
        if path is None or (self._only and not self._only.matches(path)):
            archive.skip(member.size)
            return
        if kind == header_fields.FIFO:
            self.unpacked.skipped += 1
            return
        if kind == header_fields.DIRECTORY:
            archive.skip(member.size)
            self.dirs.make_directory(path, member)
            self.unpacked.restored_directories += 1
            self.dirs.parent_in_archive = member.name.removesuffix(b"/") if path else b""
        else:
            parent, _, name = path.rpartition(b"/")
            directory = self.dirs.go_to(parent, member)
            before, _, last = member.name.rpartition(b"/")
            # "a/." is a file in the root, so a next member "a/b" is not in the same directory.
            self.dirs.parent_in_archive = before if last == name else parent
            if not name:
                raise IntegrityError(f"{printable(member.name)}: the root is not a directory")
            if kind == header_fields.FILE:
                self._file(archive, member, name, directory)
            elif kind == header_fields.SYMLINK:
                archive.skip(member.size)
                self._symlink(member, name, directory)
            else:
                archive.skip(member.size)
                self._hard_link(member, path, name, directory)
        self.unpacked.restored += 1

    def _path(self, name: bytes, member: Member) -> bytes | None:
        """Return the path of a name in the archive; None if `strip` leaves nothing of it."""
        if len(name) > _PATH_LIMIT:
            raise IntegrityError(f"{_described(name, member)} is a path of {len(name)} bytes")
        parts = name.split(b"/")
        if b"" in parts or b"." in parts or b".." in parts:
            if not name:
                raise IntegrityError(f"{printable(member.name)}: an empty path")
            if parts[0] == b"":
                raise IntegrityError(f"{_described(name, member)} is an absolute path")
            if b".." in parts:
                raise IntegrityError(f"{_described(name, member)} leads upwards")
            parts = [part for part in parts if part not in (b"", b".")]
        if not self._strip:
            return b"/".join(parts)
        return b"/".join(parts[self._strip :]) if len(parts) > self._strip else None

    def _file(self, archive: TarReader, member: Member, name: bytes, directory: int) -> None:
        mode, size = member.mode, member.size
        try:
            fd = os.open(name, _CREATE, mode & 0o777, dir_fd=directory)
        except FileExistsError:
            self._remove_earlier(name, directory, member)
            fd = os.open(name, _CREATE, mode & 0o777, dir_fd=directory)
        try:
            content = archive.contiguous(size)
            if content is None:
                for piece in archive.chunks(size):
                    write_all(fd, piece)
            elif size and (count := os.write(fd, content)) < size:
                write_all(fd, content[count:])
            if self._give_owner:
                self._give_owner(fd, member)
                set_mode(fd, mode, member.name)
            elif mode & self._withheld or mode & 0o7000:
                set_mode(fd, mode, member.name)
            os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))
        finally:
            os.close(fd)

    def _remove_earlier(self, name: bytes, directory: int, member: Member) -> None:
        """Remove an earlier member of the same name: the later one wins, as with tar."""
        if stat.S_ISDIR(self.dirs.existing_status(name, member).st_mode):
            raise IntegrityError(f"{printable(member.name)}: there is a directory of that name")
        os.unlink(name, dir_fd=directory)

    def _symlink(self, member: Member, name: bytes, directory: int) -> None:
        if not member.link:
            raise IntegrityError(f"{printable(member.name)}: a symbolic link to nothing")
        try:
            os.symlink(member.link, name, dir_fd=directory)
        except FileExistsError:
            self._remove_earlier(name, directory, member)
            os.symlink(member.link, name, dir_fd=directory)
        if self._give_owner:
            give_link_owner(name, directory, member)
        times = (member.mtime_ns, member.mtime_ns)
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)

    def _hard_link(self, member: Member, path: bytes, name: bytes, directory: int) -> None:
        target = self._path(member.link, member)
        if target is None or (self._only and not self._only.matches(target)):
            raise UsageError(
                f"{printable(member.name)} is a hard link to {printable(member.link)}, "
                "which is left out",
                "restore both, or neither",
            )
        try:
            there, other, must_close = self.dirs.find_earlier(target)
        except (FileNotFoundError, NotADirectoryError):
            raise self._no_target(member) from None
        try:
            self._require_file(there, other, member)
            if target != path:  # `tar c a a` may store the second `a` as a link to itself
                self._link(there, other, directory, name, member)
        finally:
            if must_close:
                os.close(there)

    def _require_file(self, there: int, other: bytes, member: Member) -> None:
        try:
            status = os.stat(other, dir_fd=there, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            raise self._no_target(member) from None
        if stat.S_ISDIR(status.st_mode):
            raise IntegrityError(f"{printable(member.name)}: a hard link to a directory")

    def _link(self, there: int, other: bytes, here: int, name: bytes, member: Member) -> None:
        try:
            _link_or_copy(there, other, here, name)
        except FileExistsError:
            self._remove_earlier(name, here, member)
            _link_or_copy(there, other, here, name)

    def _no_target(self, member: Member) -> IntegrityError:
        return IntegrityError(
            f"{printable(member.name)}: a hard link to {printable(member.link)}, "
            "which is not an earlier member"
        )


def _link_or_copy(there: int, other: bytes, here: int, name: bytes) -> None:
    """Give a file a second name, or copy it where the file system refuses. Raises `OSError`."""
    try:
        os.link(other, name, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _copy(there, other, here, name)


def _copy(there: int, other: bytes, here: int, name: bytes) -> None:
    status = os.stat(other, dir_fd=there, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(other, dir_fd=there), name, dir_fd=here)
        return
    source = os.open(other, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=there)
    try:
        fd = os.open(name, _CREATE, 0o600, dir_fd=here)
        try:
            buffer = memoryview(bytearray(BUFFER_SIZE))
            while count := os.readv(source, [buffer]):
                write_all(fd, buffer[:count])
            os.fchmod(fd, stat.S_IMODE(status.st_mode))
            os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))
        finally:
            os.close(fd)
    finally:
        os.close(source)


def _described(name: bytes, member: Member) -> str:
    """Return the member's name for a message, and the name that it contains, if that differs."""
    return f"{printable(member.name)}: {'it' if name == member.name else printable(name)}"


def _failed(error: OSError, member: Member) -> LocalError:
    hint = ""
    if error.errno in _NO_SPACE:
        hint = "free some space"
    elif error.errno == errno.EPERM:
        hint = "the file system of DIR, or an attribute that chattr gave DIR, forbids this"
    return LocalError(f"writing {printable(member.name)}: {os_reason(error)}", hint)
