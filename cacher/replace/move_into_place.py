"""Moves a finished tree to where it was wanted: all of it, or nothing is changed.

By one rename or one swap where that is possible, also for a process that is killed; else entry by
entry, where a kill leaves each file whole, old or new. Knows no archive.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from contextlib import ExitStack
from typing import NamedTuple

from cacher.errors import LocalError
from cacher.replace.dir_attributes import DirAttributes, attributes_to_keep
from cacher.replace.exchange import exchange
from cacher.replace.hardlink_fill import HardlinkFill
from cacher.replace.kept_directory import KeptDirectory
from cacher.replace.merge_in_place import InPlaceMerge
from cacher.replace.mounts import mounts_below
from cacher.replace.undo_log import Step, UndoLog
from cacher.replace.work_dirs import LockedDir, WorkDirs
from cacher.tree.dir_stack import FLAGS
from cacher.tree.remove import open_up, open_up_fd, status_of


class TargetDir(NamedTuple):
    """A directory that exists or will."""

    path: str
    """Absolute, without links."""
    parent: int
    name: bytes

    def status(self) -> os.stat_result | None:
        """Return its status; None if there is nothing."""
        return status_of(self.name, self.parent)

    def open(self) -> int:
        """Open the directory, and return its descriptor. Makes it accessible first if need be."""
        try:
            return os.open(self.name, FLAGS, dir_fd=self.parent)
        except PermissionError:
            status = self.status()
            if status is not None:
                open_up(self.name, self.parent, status)
            return os.open(self.name, FLAGS, dir_fd=self.parent)


class StagedTree:
    """A directory tree staged beside its target, or inside."""

    __slots__ = (
        "dirs",
        "implicit",
        "kept",
        "mode",
        "root_in_archive",
        "target",
        "to_delete",
        "tree",
    )

    def __init__(self, target: TargetDir, dirs: WorkDirs, tree: LockedDir) -> None:
        self.target = target
        self.dirs = dirs
        self.tree = tree
        self.mode = 0o700
        """The mode of the root if neither the archive nor an old target gives one."""
        self.root_in_archive = False
        """Whether the archive gives the mode and times of the root."""
        self.kept: KeptDirectory | None = None
        """A directory of the target that stays, whatever the tree has in its place."""
        self.implicit: Collection[bytes] = ()
        """Paths of directories without a member: in a merge they keep the attributes of the old."""
        self.to_delete: list[bytes] = []
        """Names in `dirs` to be removed in the end, if they are there."""


def move_into_place(move: StagedTree, *, clean: bool) -> None:
    """Replace the target by the staged tree if `clean`, else merge the tree into it.

    The caller removes the names of `move.to_delete` afterwards. Raises `OSError` or `LocalError`;
    the target then is as it was.
    """
    old = move.target.status()
    mounted = mounts_below(move.target.path) if old else []
    if clean and mounted:
        raise LocalError(
            f"{mounted[0]} is a mount point, which --clean cannot remove",
            "unmount it, or restore without --clean",
        )
    # The owner of a directory would change with it.
    foreign = old is not None and os.geteuid() not in (0, old.st_uid)
    at_once = not (move.dirs.is_inside or foreign or move.kept) and (
        _rename(move, old) or _swap(move, clean=clean, mounted=bool(mounted))
    )
    if not at_once:
        _merge_in_place(move, clean=clean)


def _rename(move: StagedTree, old: os.stat_result | None) -> bool:
    """Try one rename, which works if the target is missing or empty; return whether it did."""
    if old and _has_entries(move.target):
        return False
    if not move.root_in_archive:
        _give_root(move, old)
    target = move.target
    try:
        os.rename(move.tree.name, target.name, src_dir_fd=move.dirs.fd, dst_dir_fd=target.parent)
    except OSError as error:
        # It may have been made or filled meanwhile.
        if not old and error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        return False
    return True


def _has_entries(target: TargetDir) -> bool:
    try:
        directory = os.open(target.name, FLAGS, dir_fd=target.parent)
    except PermissionError:
        return True
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is not None
    finally:
        os.close(directory)


def _give_root(move: StagedTree, old: os.stat_result | None) -> None:
    """Give the root the mode and owner of the old one, for an archive without a root member."""
    if old and not os.geteuid():
        os.fchown(move.tree.fd, old.st_uid, old.st_gid)
    os.fchmod(move.tree.fd, stat.S_IMODE(old.st_mode) if old else move.mode)


def _swap(move: StagedTree, *, clean: bool, mounted: bool) -> bool:
    """Try to exchange the trees; return whether the old one has the staging name now.

    A merge first adds to the new tree all that only the old one has.
    """
    if clean:
        if not move.root_in_archive:
            os.fchmod(move.tree.fd, move.mode)
        return _exchange(move)
    old = move.target.status()
    if mounted or old is None or not _can_be_renamed(move):
        return False
    try:
        directory = os.open(move.target.name, FLAGS, dir_fd=move.target.parent)
    except OSError:
        return False
    try:
        attributes = attributes_to_keep(move.implicit, move.tree.fd, directory)
        fill = HardlinkFill(move.tree.fd, directory, attributes)
        if not fill.run():
            return False
        if not move.root_in_archive:
            _give_root(move, old)
        if _exchange(move):
            return True
        fill.undo()
        return False
    finally:
        os.close(directory)


def _can_be_renamed(move: StagedTree) -> bool:
    """Return whether the target can be renamed, without doing so.

    A directory of others in one like /tmp cannot, nor one of a lower layer of an overlay file
    system, where links would be copies as well.
    """
    with os.scandir(move.tree.fd) as entries:
        if next(entries, None) is None:
            return True
    try:
        # The permission is checked first; then this fails, as the tree is not empty.
        os.rename(
            move.target.name,
            move.tree.name,
            src_dir_fd=move.target.parent,
            dst_dir_fd=move.dirs.fd,
        )
    except OSError as error:
        return error.errno in (errno.EEXIST, errno.ENOTEMPTY)
    return True


def _exchange(move: StagedTree) -> bool:
    """Exchange the two; return False where the system or the file system cannot."""
    target = move.target
    try:
        exchange(move.tree.name, move.dirs.fd, target.name, target.parent)
    except OSError:
        return False
    return True


def _merge_in_place(move: StagedTree, *, clean: bool) -> None:
    """Move the entries of the tree into the target, one by one."""
    status = move.target.status()
    if status is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    undo_log = UndoLog()
    undo_log.note_status(Step.OLD_STATUS, undo_log.root, status)
    with ExitStack() as stack:
        target = -1
        aside: LockedDir | None = None
        try:
            target = move.target.open()
            stack.callback(os.close, target)
            open_up_fd(target)
            aside = move.dirs.make()
            stack.callback(aside.close)
            move.to_delete.append(aside.name)
            attributes = _final_attributes(move, target, status, clean=clean)
            open_up_fd(move.tree.fd)
            InPlaceMerge(
                move.tree.fd,
                target,
                aside.fd,
                undo_log,
                attributes=attributes,
                kept=move.kept.identity if move.kept else None,
                clean=clean,
                reserved=move.dirs.is_work_dir,
            ).run()
        except BaseException:
            if target >= 0:
                _undo(move, undo_log, target, aside)
            raise


def _final_attributes(
    move: StagedTree, target: int, old: os.stat_result, *, clean: bool
) -> dict[int, DirAttributes]:
    """Return the attributes of directories, by inode in the tree, that others than it decides.

    On the way the tree gets the directories that lead to the kept one.
    """
    new = os.fstat(move.tree.fd)
    root = DirAttributes.of(new) if move.root_in_archive else DirAttributes.untimed(old)
    implicit = [] if clean else [*move.implicit]
    if move.kept:
        implicit += move.kept.lead_to(move.tree.fd)
    return {new.st_ino: root, **attributes_to_keep(implicit, move.tree.fd, target)}


def _undo(move: StagedTree, undo_log: UndoLog, target: int, aside: LockedDir | None) -> None:
    """Give the target back all that it had. Raises `LocalError` if that fails, too."""
    try:
        undo_log.undo(move.tree.fd, target, aside.fd if aside else -1)
    except BaseException as error:
        hint = ""
        if aside:
            # It has the only copies of what could not be put back.
            move.to_delete.remove(aside.name)
            path = move.target.path
            parent = path if move.dirs.is_inside else os.path.dirname(path)
            place = os.path.join(parent, os.fsdecode(aside.name))
            hint = f"{place} holds what is missing; the next restore into DIR removes it"
        if not isinstance(error, OSError):
            raise
        raise LocalError(
            f"{move.target.path} could not be restored to what it was: {error}", hint
        ) from error
