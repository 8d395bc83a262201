"""A directory to fill beside the target, which becomes the target or is merged into it.

Knows where to make it, the lock of the target, and cleaning up; `move_into_place` moves it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from cacher.errors import LocalError, UsageError, os_reason, writing_hint
from cacher.fileio import make_directories, remove_directories, require_space
from cacher.replace.mounts import is_mount_point
from cacher.replace.move_into_place import StagedTree, TargetDir, move_into_place
from cacher.replace.store_in_target import find_store_in_target
from cacher.replace.work_dirs import HANDLE, LockedDir, WorkDirs, prefix_for
from cacher.tree.dir_stack import FLAGS
from cacher.tree.modes_and_owners import withheld_mode_bits
from cacher.tree.reserved_names import MARK

_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""Errors where no directory may be made."""


def _busy() -> None:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


class Staging:
    """A new, empty, private directory on the file system of `target`, a directory or a free name.

    It is made beside the target, or inside where it must be: the parent is not writable, the target
    is a mount point, or the working directory is in it, which a swap would remove. Before that,
    directories that killed runs left are removed.

    Only one run at a time works on a target: `wait` is called again and again while another does.
    If the directory `keep` is below the target, it stays there as it is.

    Raises `UsageError` for a target that is something else, and `LocalError`.
    """

    def __init__(
        self, target: str, wait: Callable[[], None] = _busy, *, keep: str | None = None
    ) -> None:
        self.target = target
        """The target as the caller named it."""
        path = _resolved(target)
        self._made: list[str] = []
        """Parents that were missing, innermost first."""
        self._all_dirs: list[WorkDirs] = []
        self._staged: StagedTree | None = None
        self._parent = -1
        self._lock: tuple[WorkDirs, LockedDir] | None = None
        self._wait = wait
        self._keep = keep
        try:
            with self._translated():
                try:
                    self._open(path)
                except FileNotFoundError:
                    # Another run has taken away the parents that it had made.
                    self.close()
                    self._open(path)
        except BaseException:
            self.close()
            raise

    @property
    def fd(self) -> int:
        """The descriptor of the directory, of mode 0700 (and set-group-ID if inherited)."""
        return self._opened.tree.fd

    def require(self, size: int) -> None:
        """Raise `LocalError` if the file system has no room for `size` bytes."""
        with self._translated():
            require_space(self.fd, size, self.target)

    @property
    def left_out(self) -> str:
        """The path of the kept directory in the target, if the archive has it, too; or ""."""
        store = self._opened.store_inside
        return store.path if store and store.is_in_archive else ""

    def commit(
        self, *, clean: bool, root_in_archive: bool = False, implicit: Collection[bytes] = ()
    ) -> None:
        """Replace the target by the directory if `clean`, else merge the directory into it.

        A merge keeps entries that only the target has, and replaces the others. With
        `root_in_archive`, or if its mode was changed, the directory's mode and times become the
        target's; else a new target has the mode of any new directory, and an old one keeps its own.
        In a merge, so do directories whose paths are `implicit`.

        A kill leaves the old or the new tree; where entries are moved one by one, it leaves each
        file whole, old or new.

        Raises `LocalError`, and then the target is as it was.
        """
        staged = self._opened
        with self._translated():
            mode = stat.S_IMODE(os.fstat(staged.tree.fd).st_mode)
            staged.root_in_archive = root_in_archive or mode != self._first_mode
            staged.implicit = implicit
            move_into_place(staged, clean=clean)
        self._made = []
        self._remove_work_dirs()

    def close(self) -> None:
        """Clean up. Without a `commit` before, everything is as it was."""
        self._remove_work_dirs()
        if self._lock:
            dirs, lock = self._lock
            dirs.unlock_target(lock)
            self._lock = None
        remove_directories(self._made)
        self._made = []
        if self._staged:
            self._staged.tree.close()
            self._staged = None
        for dirs in self._all_dirs:
            dirs.close()
        self._all_dirs = []
        if self._parent >= 0:
            os.close(self._parent)
            self._parent = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def _opened(self) -> StagedTree:
        if self._staged is None:
            raise ValueError("the staging directory is closed")
        return self._staged

    def _open(self, path: str) -> None:
        self._require_directory(path)
        parent, name = os.path.split(path)
        self._made = make_directories(parent)
        self._parent = os.open(parent, HANDLE)
        target = TargetDir(path, self._parent, os.fsencode(name) or b".")
        beside = self._open_beside(target) if name else None
        inside = self._lock_target(target, beside)
        # Only now, as another run may just have made or exchanged it.
        old = self._require_directory(path)
        inside = inside or self._open_inside(target, old)
        for dirs in self._all_dirs:
            dirs.remove_stale()
        must_be_inside = old is not None and (
            _is_elsewhere(path, old, self._parent) or _has_working_directory(old)
        )
        self._staged = self._make_staging_dir(target, beside, inside, must_be_inside=must_be_inside)
        if self._keep is not None and old:
            self._staged.store_inside = find_store_in_target(old, self._keep)
        self._first_mode = stat.S_IMODE(os.fstat(self.fd).st_mode)
        self._staged.mode = 0o777 & ~withheld_mode_bits(self.fd) | self._first_mode & stat.S_ISGID

    def _require_directory(self, path: str) -> os.stat_result | None:
        """Return the status of the target; None if it does not exist."""
        status = _status(path)
        if status and not stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{self.target} is not a directory")
        return status

    def _lock_target(self, target: TargetDir, beside: WorkDirs | None) -> WorkDirs | None:
        """Lock the target, waiting for other runs; return its inside if that had to be opened.

        The lock is beside the target, or inside where the parent is not writable, and for a mount
        point, which containers may share under different names. If neither is writable there is no
        lock, and the run fails later.
        """
        old = target.status()
        if beside and (old is None or not _is_elsewhere(target.path, old, target.parent)):
            with _unless_refused(), _require_lockable(os.path.dirname(target.path), beside):
                self._lock = beside, beside.lock_target(self._wait)
                return None
        inside = self._open_inside(target, old)
        if inside:
            with _unless_refused(), _require_lockable(target.path, inside):
                self._lock = inside, inside.lock_target(self._wait)
        return inside

    def _open_inside(self, target: TargetDir, old: os.stat_result | None) -> WorkDirs | None:
        if old is None:
            return None
        try:
            fd = os.open(target.name, FLAGS, dir_fd=target.parent)
        except PermissionError:
            return None
        self._all_dirs.append(WorkDirs(fd, MARK, is_inside=True))
        return self._all_dirs[-1]

    def _open_beside(self, target: TargetDir) -> WorkDirs:
        fd = os.open(b".", HANDLE, dir_fd=target.parent)
        self._all_dirs.append(WorkDirs(fd, prefix_for(target.name), is_inside=False))
        return self._all_dirs[-1]

    @staticmethod
    def _make_staging_dir(
        target: TargetDir, beside: WorkDirs | None, inside: WorkDirs | None, *, must_be_inside: bool
    ) -> StagedTree:
        """Make the staging directory, beside the target if possible."""
        if beside and not (must_be_inside and inside):
            try:
                return StagedTree(target, beside, beside.make())
            except OSError as error:
                if inside is None or error.errno not in _REFUSED:
                    raise
        if inside is None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return StagedTree(target, inside, inside.make())

    def _remove_work_dirs(self) -> None:
        """Remove the work directories of this run. The next run tries again those that stay."""
        if self._staged:
            for name in self._staged.to_delete:
                with suppress(OSError):
                    self._staged.dirs.remove(name)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = writing_hint(error, self.target, "DIR")
            raise LocalError(f"writing {self.target}: {os_reason(error)}", hint) from error


@contextmanager
def _unless_refused() -> Iterator[None]:
    """Suppress the errors of places where no directory may be made."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSED:
            raise


@contextmanager
def _require_lockable(directory: str, dirs: WorkDirs) -> Iterator[None]:
    """Translate the error of a file in the place of the directory that serves as the lock."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        path = os.path.join(directory, os.fsdecode(dirs.lock_name))
        raise LocalError(
            f"{path} is not a directory", "remove it: cacher makes a new lock"
        ) from error


def _resolved(target: str) -> str:
    """Return the absolute path of a target without links; it need not exist."""
    if not target or "\0" in target:
        raise UsageError(f"{target!r} is not the name of a directory")
    try:
        return os.path.realpath(target)
    except OSError as error:  # the working directory is gone
        raise LocalError(f"looking for {target}: {os_reason(error)}") from error


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise UsageError(f"{os.path.dirname(path)} is not a directory") from error


def _is_elsewhere(path: str, status: os.stat_result, parent: int) -> bool:
    """Return whether a target is a mount point, or on another file system than its parent."""
    return status.st_dev != os.stat(".", dir_fd=parent).st_dev or is_mount_point(path)


def _has_working_directory(status: os.stat_result) -> bool:
    """Return whether the working directory is the target or below it.

    It is also that of the calling shell, which would be left in a removed directory.
    """
    path = os.curdir
    try:
        here = os.stat(path)
        while not os.path.samestat(here, status):
            path = os.path.join(path, os.pardir)
            below, here = here, os.stat(path)
            if os.path.samestat(below, here):
                return False
    except OSError:
        pass  # removed, or too deep to tell
    return True
