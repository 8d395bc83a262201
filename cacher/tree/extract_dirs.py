"""The directories of an extraction: found or made below one descriptor, never through a link.

A directory gets its mode, time and owner when it is left, since new entries would change its time
and a read-only one takes none. Nothing is remembered of directories that were left: their status is
on the disk.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from cacher.errors import IntegrityError
from cacher.tar.header_fields import printable
from cacher.tar.reader import Member
from cacher.tree.dir_stack import FLAGS, DirStack
from cacher.tree.modes_and_owners import set_mode
from cacher.tree.reserved_names import is_reserved

_PRIVATE = 0o700

_IMPLICIT_LIMIT = 64 * 1024 * 1024
"""Bytes of the paths of directories without a member: half a million short ones, or the 11,000
above one path of as many levels."""


class _DirState:
    """The attributes that a directory gets when it is left."""

    __slots__ = ("member", "mode", "mtime_ns")

    def __init__(self, mode: int, mtime_ns: int | None = None) -> None:
        self.mode = mode
        self.mtime_ns = mtime_ns
        self.member: Member | None = None


class ExtractDirs:
    """The current directory of an extraction, for the next member.

    `default` is the mode of directories without a member. `give_owner(fd, member)` is called before
    a directory gets its mode. Methods raise `OSError`, and `IntegrityError` for unsafe paths.
    """

    def __init__(
        self, root: int, default: int, give_owner: Callable[[int, Member], None] | None
    ) -> None:
        self._root = root
        self._default = default
        self._give_owner = give_owner
        self._root_state = _DirState(_PRIVATE)
        """The root keeps its attributes unless it has a member."""
        self._stack: DirStack[_DirState] = DirStack(root, self._root_state)
        self._parent = b""
        """The path of the current directory."""
        self.parent_in_archive = b""
        """The path of the current directory as the archive writes it, where that is known."""
        self.implicit = {b""}
        """The paths of directories that have entries, but no member."""
        self._implicit_size = 0
        self.ignores_case = _ignores_case(root)

    @property
    def fd(self) -> int:
        """The current directory."""
        return self._stack.fd

    def go_to(self, parent: bytes, member: Member) -> int:
        """Enter the directory `parent`, making those that are missing; return its descriptor."""
        if parent == self._parent:
            return self._stack.fd
        wanted = parent.split(b"/") if parent else []
        names = self._stack.names
        common = 0
        while common < min(len(wanted), len(names)) and wanted[common] == names[common]:
            common += 1
        for _ in range(len(names) - common):
            self._leave()
        for depth in range(common, len(wanted)):
            if self._enter(wanted[depth], member):
                self._add_implicit(b"/".join(wanted[: depth + 1]), member)
        self._parent = parent
        return self._stack.fd

    def make_directory(self, path: bytes, member: Member) -> None:
        """Make the directory of a member, if it is missing, and enter it."""
        if not path:
            self.go_to(b"", member)
        else:
            parent, _, name = path.rpartition(b"/")
            self.go_to(parent, member)
            self._enter(name, member)
            self._parent = path
        self.implicit.discard(path)
        state = self._stack.payload
        state.mode, state.mtime_ns, state.member = member.mode, member.mtime_ns, member

    def finish(self) -> None:
        """Leave all directories; give the root the attributes of its member."""
        for _ in range(self._stack.depth):
            self._leave()
        self._parent = b""
        if b"" not in self.implicit:
            self._give(self._root, self._root_state, b".")

    def close(self) -> None:
        """Close all directories but the root."""
        self._stack.close()

    def existing_status(self, name: bytes, member: Member) -> os.stat_result:
        """Return the status of an entry of the current directory with exactly this name."""
        if self.ignores_case and name not in map(os.fsencode, os.listdir(self.fd)):
            raise IntegrityError(
                f"{printable(member.name)}: this file system takes it for another member's name",
                "restore it on a file system that distinguishes upper and lower case",
            )
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def find_earlier(self, path: bytes) -> tuple[int, bytes, bool]:
        """Return the directory and the name of an earlier member, and whether to close the first.

        Raises `FileNotFoundError` or `NotADirectoryError` if there is no such directory.
        """
        parent, _, name = path.rpartition(b"/")
        if parent == self._parent:
            return self.fd, name, False
        fd = os.dup(self._root)
        for part in parent.split(b"/") if parent else []:
            try:
                inner = os.open(part, FLAGS, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd, name, True

    def _add_implicit(self, path: bytes, member: Member) -> None:
        self.implicit.add(path)
        self._implicit_size += len(path)
        if self._implicit_size > _IMPLICIT_LIMIT:
            raise IntegrityError(
                f"{printable(member.name)}: too many directories that the archive has no member for"
            )

    def _enter(self, name: bytes, member: Member) -> bool:
        """Enter a directory; return whether it had to be made."""
        if is_reserved(name):
            raise IntegrityError(
                f"{printable(member.name)}: {printable(name)} is a name of cacher's own",
                "pack it again with `cacher dir upload`, which leaves such directories out",
            )
        try:
            os.mkdir(name, _PRIVATE, dir_fd=self.fd)
        except FileExistsError:
            self._enter_existing(name, member)
            return False
        state = _DirState(self._default)
        # A directory inherits this bit from its parent.
        state.mode |= os.fstat(self._stack.enter(name, state)).st_mode & stat.S_ISGID
        return True

    def _enter_existing(self, name: bytes, member: Member) -> None:
        status = self.existing_status(name, member)
        if not stat.S_ISDIR(status.st_mode):
            raise IntegrityError(
                f"{printable(member.name)}: {printable(name)} is not a directory, "
                "but an earlier member"
            )
        mode = stat.S_IMODE(status.st_mode)
        if mode & _PRIVATE != _PRIVATE:
            # Nobody else can enter the root, so it is still the same directory.
            os.chmod(name, mode | _PRIVATE, dir_fd=self.fd)
        self._stack.enter(name, _DirState(mode, status.st_mtime_ns))

    def _leave(self) -> None:
        state, name = self._stack.payload, self._stack.name
        self._stack.leave(lambda fd: self._give(fd, state, name))

    def _give(self, fd: int, state: _DirState, name: bytes) -> None:
        if state.member and self._give_owner:
            self._give_owner(fd, state.member)
        set_mode(fd, state.mode, state.member.name if state.member else name)
        if state.mtime_ns is not None:
            os.utime(fd, ns=(state.mtime_ns, state.mtime_ns))


def _ignores_case(root: int) -> bool:
    """Return whether names that differ by case or Unicode form are the same in `root`."""
    made, others = "cacher-\u00e9", ("CACHER-\u00c9", "cacher-e\u0301", "cacher-\u00c9")
    try:
        os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=root))
    except (OSError, UnicodeError):
        return True  # it may do anything with names, so check them all
    try:
        return any(_exists(other, root) for other in others)
    finally:
        os.unlink(made, dir_fd=root)


def _exists(name: str, root: int) -> bool:
    try:
        os.stat(name, dir_fd=root, follow_symlinks=False)
    except OSError as error:
        return error.errno != errno.ENOENT
    return True
