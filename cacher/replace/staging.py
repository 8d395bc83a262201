"""A directory to fill beside the target, which becomes the target or part of it, or is removed.

Knows where to put it and what killed runs left; how it is moved is `move_into_place`'s.
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
from cacher.replace.kept_directory import find_kept_directory
from cacher.replace.mounts import is_mount_point
from cacher.replace.move_into_place import StagedTree, TargetDir, finish, move_into_place
from cacher.replace.stale_work_dirs import begun_moves
from cacher.replace.work_dirs import HANDLE, LockedDir, WorkDirs, prefix_for
from cacher.tree.dir_stack import FLAGS
from cacher.tree.modes_and_owners import denied_modes
from cacher.tree.own_work_names import MARK

_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""The numbers of errors where no directory may be made."""

_INSIDE = MARK


def _busy() -> None:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


class Staging:
    """A new, empty, private directory on the file system of `target`, a directory or a free name.

    Made beside it, or inside where that cannot be: its parent is not writable, it is a mount point,
    or somebody's working directory is in it, who would lose it in a swap. Before that, a move that
    a killed run began is finished, and the directories of killed runs are removed.

    Only one run at a time has a target: `wait` is called, over and over, while another one has it.
    If the directory `spare` is below the target, it stays there as it is.

    Raises `UsageError` for a target that is something else, and `LocalError`.
    """

    def __init__(
        self, target: str, wait: Callable[[], None] = _busy, *, spare: str | None = None
    ) -> None:
        self.target = target
        """As it was named."""
        path = _resolved(target)
        self._made: list[str] = []
        """Parents that were missing, innermost first."""
        self._all_dirs: list[WorkDirs] = []
        self._move: StagedTree | None = None
        self._parent = -1
        self._turn: tuple[WorkDirs, LockedDir] | None = None
        self._wait = wait
        self._spare = spare
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
        """The directory, of mode 0700 (set-group-ID where the file system passes that on)."""
        return self._opened.tree.fd

    def require(self, size: int) -> None:
        """Raises `LocalError` if the file system has no room for `size` bytes."""
        with self._translated():
            require_space(self.fd, size, self.target)

    @property
    def spared(self) -> str:
        """The path in the target of what was spared and that the archive has, too; or empty."""
        spared = self._opened.spared
        return spared.path if spared and spared.is_in_archive else ""

    def publish(
        self, *, clean: bool, root_told: bool = False, implicit: Collection[bytes] = ()
    ) -> None:
        """Make what is in the directory the target, or merge it into what the target has.

        A merge keeps what is only in the target, and replaces the rest. `clean` keeps nothing. The
        root has its mode and times in the end if `root_told`, or if its mode is not what it was
        made with; else a new target has the mode of any new directory, and an old one keeps its.
        In a merge, so do directories whose paths are `implicit`.

        One that is killed leaves the old or the new content, except in place: there the next
        `Staging` of the target finishes the move.

        Raises `LocalError`, and then the target is as it was.
        """
        move = self._opened
        with self._translated():
            mode = stat.S_IMODE(os.fstat(move.tree.fd).st_mode)
            move.root_in_archive = root_told or mode != self._first_mode
            move.implicit = implicit
            move_into_place(move, clean=clean)
        self._made = []
        self._sweep()

    def close(self) -> None:
        """Without a `move_into_place` before: leave everything as it was."""
        self._sweep()
        if self._turn:
            dirs, turn = self._turn
            dirs.end_turn(turn)
            self._turn = None
        remove_directories(self._made)
        self._made = []
        if self._move:
            self._move.tree.close()
            self._move = None
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
        if self._move is None:
            raise ValueError("the staging directory is closed")
        return self._move

    def _open(self, path: str) -> None:
        self._require_directory(path)
        parent, name = os.path.split(path)
        self._made = make_directories(parent)
        self._parent = os.open(parent, HANDLE)
        target = TargetDir(path, self._parent, os.fsencode(name) or b".")
        beside = self._open_beside(target) if name else None
        inside = self._take_turn(target, beside)
        # Looked at now, as another run may just have made or exchanged it.
        old = self._require_directory(path)
        inside = inside or self._open_inside(target, old)
        for dirs in self._all_dirs:
            self._clear(target, dirs)
        in_the_way = old is not None and (_is_elsewhere(path, old, self._parent) or _is_ours(old))
        self._move = self._made_in(target, beside, inside, in_the_way=in_the_way)
        if self._spare is not None and old:
            self._move.spared = find_kept_directory(old, self._spare)
        self._first_mode = stat.S_IMODE(os.fstat(self.fd).st_mode)
        self._move.mode = 0o777 & ~denied_modes(self.fd) | self._first_mode & stat.S_ISGID

    def _require_directory(self, path: str) -> os.stat_result | None:
        """The status of the target; None where there is none."""
        status = _status(path)
        if status and not stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{self.target} is not a directory")
        return status

    def _take_turn(self, target: TargetDir, beside: WorkDirs | None) -> WorkDirs | None:
        """Wait until no other run works on the target; the inside of it, if that had to be opened.

        Runs meet beside it, or inside, where all do who see a mount point, whatever its name. Where
        neither can be written to they do not, and fail later.
        """
        old = target.status()
        if beside and (old is None or not _is_elsewhere(target.path, old, target.parent)):
            with _unless_refused(), _turn_in(os.path.dirname(target.path), beside):
                self._turn = beside, beside.take_turn(self._wait)
                return None
        inside = self._open_inside(target, old)
        if inside:
            with _unless_refused(), _turn_in(target.path, inside):
                self._turn = inside, inside.take_turn(self._wait)
        return inside

    def _open_inside(self, target: TargetDir, old: os.stat_result | None) -> WorkDirs | None:
        if old is None:
            return None
        try:
            fd = os.open(target.name, FLAGS, dir_fd=target.parent)
        except PermissionError:
            return None
        self._all_dirs.append(WorkDirs(fd, _INSIDE, is_inside=True))
        return self._all_dirs[-1]

    def _open_beside(self, target: TargetDir) -> WorkDirs:
        fd = os.open(b".", HANDLE, dir_fd=target.parent)
        self._all_dirs.append(WorkDirs(fd, prefix_for(target.name), is_inside=False))
        return self._all_dirs[-1]

    @staticmethod
    def _made_in(
        target: TargetDir, beside: WorkDirs | None, inside: WorkDirs | None, *, in_the_way: bool
    ) -> StagedTree:
        """A staging directory, beside the target if that will do."""
        if beside and not (in_the_way and inside):
            try:
                return _move(target, beside, beside.make())
            except OSError as error:
                if inside is None or error.errno not in _REFUSED:
                    raise
        if inside is None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return _move(target, inside, inside.make())

    def _clear(self, target: TargetDir, dirs: WorkDirs) -> None:
        """Finish or remove what killed runs left."""
        for leftover, kind in begun_moves(dirs):
            try:
                finish(target, dirs, leftover, kind)
            except (OSError, LocalError) as error:
                place = os.fsdecode(leftover.name)
                reason = os_reason(error) if isinstance(error, OSError) else error.message
                raise LocalError(
                    f"finishing what a killed run began in {self.target}: {reason}",
                    f"{place} holds what is left to move; remove it to give that up",
                ) from error

    def _sweep(self) -> None:
        """Remove what is not needed any more. The next run tries again what cannot be now."""
        if self._move:
            for name in self._move.to_delete:
                with suppress(OSError):
                    self._move.dirs.remove(name)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = writing_hint(error, self.target, "DIR")
            raise LocalError(f"writing {self.target}: {os_reason(error)}", hint) from error


@contextmanager
def _unless_refused() -> Iterator[None]:
    """Go on where no directory may be made."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSED:
            raise


@contextmanager
def _turn_in(directory: str, dirs: WorkDirs) -> Iterator[None]:
    """Name what is in the place of the directory that serves as a lock."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        path = os.path.join(directory, os.fsdecode(dirs.turn_name))
        raise LocalError(
            f"{path} is not a directory", "remove it: cacher makes a new lock"
        ) from error


def _move(target: TargetDir, dirs: WorkDirs, tree: LockedDir) -> StagedTree:
    move = StagedTree(target, dirs, tree)
    move.to_delete.append(tree.name)
    return move


def _resolved(target: str) -> str:
    """The absolute path of a target, or of what it is a link to, which need not be there."""
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
    """Whether a target is a mount point, or on another file system than its parent."""
    return status.st_dev != os.stat(".", dir_fd=parent).st_dev or is_mount_point(path)


def _is_ours(status: os.stat_result) -> bool:
    """Whether the working directory is the target or below it.

    It is that of the shell that called us, too, which would find itself in what was removed.
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
