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
from cacher.replace.exchange import exchange
from cacher.replace.hardlink_fill import HardlinkFill
from cacher.replace.merge_in_place import InPlaceMerge
from cacher.replace.mounts import mounts_below
from cacher.replace.store_in_target import StoreInTarget
from cacher.replace.undo_log import Step, UndoLog
from cacher.replace.work_dirs import LockedDir, WorkDirs
from cacher.tree.dir_access import (
    DirAttributes,
    make_accessible_fd,
    open_any_mode,
    status_of,
)
from cacher.tree.dir_stack import FLAGS


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
        """Open the directory, made accessible if necessary; return its descriptor."""
        return open_any_mode(self.name, self.parent)


class StagedTree:
    """A directory tree staged beside its target, or inside."""

    def __init__(self, target: TargetDir, dirs: WorkDirs, tree: LockedDir) -> None:
        self.target = target
        self.dirs = dirs
        self.tree = tree
        self.mode = 0o700
        """The mode of the root if neither the archive nor an old target gives one."""
        self.root_in_archive = False
        """Whether the archive gives the mode and times of the root."""
        self.store_inside: StoreInTarget | None = None
        """The local store that is read, if it is in the target: it stays as it is."""
        self.implicit: Collection[bytes] = ()
        """Paths of directories without a member: in a merge they keep the attributes of the old."""
        self.to_delete = [tree.name]
        """Names in `dirs` to be removed in the end, if they are there."""


def move_into_place(staged: StagedTree, *, clean: bool) -> None:
    """Replace the target by the staged tree if `clean`, else merge the tree into it.

    The caller removes the names of `staged.to_delete` afterwards. Raises `OSError` or `LocalError`;
    the target then is as it was.
    """
    old = staged.target.status()
    mounted = mounts_below(staged.target.path) if old else []
    if clean and mounted:
        raise LocalError(
            f"{mounted[0]} is a mount point, which --clean cannot remove",
            "unmount it, or restore without --clean",
        )
    # The owner of a directory would change with it.
    foreign = old is not None and os.geteuid() not in (0, old.st_uid)
    at_once = not (staged.dirs.is_inside or foreign or staged.store_inside) and (
        _rename(staged, old) or _swap(staged, clean=clean, mounted=bool(mounted))
    )
    if not at_once:
        _merge_in_place(staged, clean=clean)


def _rename(staged: StagedTree, old: os.stat_result | None) -> bool:
    """Try one rename, which works if the target is missing or empty; return whether it did."""
    if old and _has_entries(staged.target):
        return False
    if not staged.root_in_archive:
        _give_root(staged, old)
    target = staged.target
    try:
        os.rename(
            staged.tree.name, target.name, src_dir_fd=staged.dirs.fd, dst_dir_fd=target.parent
        )
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
        return bool(os.listdir(directory))
    finally:
        os.close(directory)


def _give_root(staged: StagedTree, old: os.stat_result | None) -> None:
    """Give the root the mode and owner of the old one, for an archive without a root member."""
    if old and not os.geteuid():
        os.fchown(staged.tree.fd, old.st_uid, old.st_gid)
    os.fchmod(staged.tree.fd, stat.S_IMODE(old.st_mode) if old else staged.mode)


def _swap(staged: StagedTree, *, clean: bool, mounted: bool) -> bool:
    """Try to exchange the trees; return whether the old one has the staging name now.

    A merge first adds to the new tree all that only the old one has.
    """
    if clean:
        if not staged.root_in_archive:
            os.fchmod(staged.tree.fd, staged.mode)
        return _exchange(staged)
    old = staged.target.status()
    if mounted or old is None or not _can_be_renamed(staged):
        return False
    try:
        directory = os.open(staged.target.name, FLAGS, dir_fd=staged.target.parent)
    except OSError:
        return False
    try:
        attributes = _attributes_to_keep(staged.implicit, staged.tree.fd, directory)
        fill = HardlinkFill(staged.tree.fd, directory, attributes)
        if not fill.run():
            return False
        if not staged.root_in_archive:
            _give_root(staged, old)
        if _exchange(staged):
            return True
        fill.undo()
        return False
    finally:
        os.close(directory)


def _can_be_renamed(staged: StagedTree) -> bool:
    """Return whether the target can be renamed, without doing so.

    A directory of others in one like /tmp cannot, nor one of a lower layer of an overlay file
    system, where links would be copies as well.
    """
    if not os.listdir(staged.tree.fd):
        return True
    try:
        # The permission is checked first; then this fails, as the tree is not empty.
        os.rename(
            staged.target.name,
            staged.tree.name,
            src_dir_fd=staged.target.parent,
            dst_dir_fd=staged.dirs.fd,
        )
    except OSError as error:
        return error.errno in (errno.EEXIST, errno.ENOTEMPTY)
    return True


def _exchange(staged: StagedTree) -> bool:
    """Exchange the two; return False where the system or the file system cannot."""
    target = staged.target
    try:
        exchange(staged.tree.name, staged.dirs.fd, target.name, target.parent)
    except OSError:
        return False
    return True


def _merge_in_place(staged: StagedTree, *, clean: bool) -> None:
    """Move the entries of the tree into the target, one by one."""
    status = staged.target.status()
    if status is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    undo_log = UndoLog()
    undo_log.note_status(Step.OLD_STATUS, undo_log.root, status)
    with ExitStack() as stack:
        target = -1
        aside: LockedDir | None = None
        try:
            target = staged.target.open()
            stack.callback(os.close, target)
            make_accessible_fd(target)
            aside = staged.dirs.make()
            stack.callback(aside.close)
            staged.to_delete.append(aside.name)
            attributes = _final_attributes(staged, target, status, clean=clean)
            make_accessible_fd(staged.tree.fd)
            InPlaceMerge(
                staged.tree.fd,
                target,
                aside.fd,
                undo_log,
                attributes=attributes,
                kept=staged.store_inside.identity if staged.store_inside else None,
                clean=clean,
                reserved=staged.dirs.is_work_dir,
            ).run()
        except BaseException:
            if target >= 0:
                _undo(staged, undo_log, target, aside)
            raise


def _final_attributes(
    staged: StagedTree, target: int, old: os.stat_result, *, clean: bool
) -> dict[int, DirAttributes]:
    """Return the attributes of directories, by inode in the tree, that others than it decides.

    On the way the tree gets the directories that lead to the kept one.
    """
    new = os.fstat(staged.tree.fd)
    root = DirAttributes.of(new) if staged.root_in_archive else DirAttributes.untimed(old)
    implicit = [] if clean else [*staged.implicit]
    if staged.store_inside:
        implicit += staged.store_inside.make_parents_in(staged.tree.fd)
    return {new.st_ino: root, **_attributes_to_keep(implicit, staged.tree.fd, target)}


def _attributes_to_keep(paths: Collection[bytes], new: int, old: int) -> dict[int, DirAttributes]:
    """Return the attributes of directories of the tree `old`, by the inodes of those in `new`.

    Only of `paths` that are directories in both. A path too long for the system is left out.
    """
    found = {}
    for path in paths:
        if path:
            try:
                new_status = os.stat(path, dir_fd=new, follow_symlinks=False)
                old_status = os.stat(path, dir_fd=old, follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(old_status.st_mode):
                found[new_status.st_ino] = DirAttributes.untimed(old_status)
    return found


def _undo(staged: StagedTree, undo_log: UndoLog, target: int, aside: LockedDir | None) -> None:
    """Give the target back all that it had. Raises `LocalError` if that fails, too."""
    try:
        undo_log.undo(staged.tree.fd, target, aside.fd if aside else -1)
    except BaseException as error:
        hint = ""
        if aside:
            # It has the only copies of what could not be put back.
            staged.to_delete.remove(aside.name)
            path = staged.target.path
            parent = path if staged.dirs.is_inside else os.path.dirname(path)
            place = os.path.join(parent, os.fsdecode(aside.name))
            hint = f"{place} holds what is missing; the next restore into DIR removes it"
        if not isinstance(error, OSError):
            raise
        raise LocalError(
            f"{staged.target.path} could not be restored to what it was: {error}", hint
        ) from error
