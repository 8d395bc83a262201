"""Moves a finished tree to where it was wanted: all of it, or nothing is changed.

By one rename or one swap where that is possible, even for a process that is killed; else in place,
where the next run finishes what a killed one began. Knows no archive.
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
from cacher.replace.kept_directory import KeptDirectory
from cacher.replace.merge_in_place import InPlaceMerge
from cacher.replace.mounts import mounts_below
from cacher.replace.resume_log import Attributes, Ledger, kept
from cacher.replace.undo_log import Step, UndoLog
from cacher.replace.work_dirs import Begun, LockedDir, WorkDirs
from cacher.tree.dir_stack import FLAGS
from cacher.tree.remove import open_up, open_up_fd, status_of

_TREE = b"tree"
_ASIDE = b"aside"


class TargetDir(NamedTuple):
    """A directory, or where there will be one."""

    path: str
    """Absolute, and no link."""
    parent: int
    name: bytes

    def status(self) -> os.stat_result | None:
        """What is there; None if nothing is."""
        return status_of(self.name, self.parent)

    def open(self) -> int:
        """A descriptor of the directory, which may have to be opened up."""
        try:
            return os.open(self.name, FLAGS, dir_fd=self.parent)
        except PermissionError:
            status = self.status()
            if status is not None:
                open_up(self.name, self.parent, status)
            return os.open(self.name, FLAGS, dir_fd=self.parent)


class StagedTree:
    """A staged tree and where it goes."""

    __slots__ = (
        "dirs",
        "implicit",
        "mode",
        "root_in_archive",
        "spared",
        "target",
        "to_delete",
        "tree",
    )

    def __init__(self, target: TargetDir, dirs: WorkDirs, tree: LockedDir) -> None:
        self.target = target
        self.dirs = dirs
        self.tree = tree
        self.mode = 0o700
        """What the root gets if nothing says what it should."""
        self.root_in_archive = False
        """Whether the root has its mode and times from the archive."""
        self.spared: KeptDirectory | None = None
        """What stays in the target, whatever the tree has and else is removed."""
        self.implicit: Collection[bytes] = ()
        """Paths of directories that the archive does not tell of: in a merge the old ones stay."""
        self.to_delete: list[bytes] = []
        """Names in the yard to be removed whatever happens, if they are there."""


def move_into_place(move: StagedTree, *, clean: bool) -> None:
    """Make the target the staged tree, or merge that into it.

    What is no longer needed stays under the names of `move.to_delete`. Raises `OSError`, or
    `LocalError`; the target then is as it was.
    """
    old = move.target.status()
    mounted = mounts_below(move.target.path) if old else []
    if clean and mounted:
        raise LocalError(
            f"{mounted[0]} is a mount point, which --clean cannot remove",
            "unmount it, or restore without --clean",
        )
    # A directory that is somebody else's is not ours to replace.
    foreign = old is not None and os.geteuid() not in (0, old.st_uid)
    at_once = not (move.dirs.is_inside or foreign or move.spared) and (
        _rename(move, old) or _swap(move, clean=clean, mounted=bool(mounted))
    )
    if not at_once:
        _move_in_place(move, clean=clean)


def _rename(move: StagedTree, old: os.stat_result | None) -> bool:
    """Whether one rename did it: the target is missing, or an empty directory."""
    if old and _has_entries(move.target):
        return False
    if not move.root_in_archive:
        _give_root(move, old)
    target = move.target
    try:
        os.rename(move.tree.name, target.name, src_dir_fd=move.dirs.fd, dst_dir_fd=target.parent)
    except OSError as error:
        # Something may have come into it, or into being, meanwhile.
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
    """Give the root, of which the archive says nothing, what the old one has."""
    if old and not os.geteuid():
        os.fchown(move.tree.fd, old.st_uid, old.st_gid)
    os.fchmod(move.tree.fd, stat.S_IMODE(old.st_mode) if old else move.mode)


def _swap(move: StagedTree, *, clean: bool, mounted: bool) -> bool:
    """Whether the trees were swapped, so that the old one has the new one's staging name."""
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
        completion = HardlinkFill(
            move.tree.fd, directory, kept(move.implicit, move.tree.fd, directory)
        )
        if not completion.run():
            return False
        if not move.root_in_archive:
            _give_root(move, old)
        if _exchange(move):
            return True
        completion.undo()
        return False
    finally:
        os.close(directory)


def _can_be_renamed(move: StagedTree) -> bool:
    """Whether the target can leave its place, for nothing: not that of others in a directory like
    /tmp, nor what is in a lower layer of an overlay file system, where links are copies, too.
    """
    with os.scandir(move.tree.fd) as entries:
        if next(entries, None) is None:
            return True
    try:
        # What is tried first is whether it may; then it fails, as the tree is not empty.
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
    """Whether the two could be swapped: not every system and file system can."""
    target = move.target
    try:
        exchange(move.tree.name, move.dirs.fd, target.name, target.parent)
    except OSError:
        return False
    return True


def _move_in_place(move: StagedTree, *, clean: bool) -> None:
    """Move the tree into the target, name by name."""
    undo_log = UndoLog()
    kind = Begun.CLEAN if clean else Begun.MERGE
    status = move.target.status()
    if status is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    undo_log.note_status(Step.OLD_STATUS, undo_log.root, status)
    with ExitStack() as stack:
        target = aside = -1
        work: LockedDir | None = None
        try:
            target = _opened(stack, move.target.open())
            open_up_fd(target)
            work = move.dirs.make()
            stack.callback(work.close)
            move.to_delete.append(work.name)
            aside = _make_aside(stack, work.fd)
            ledger = Ledger(work.fd)
            stack.callback(ledger.close)
            ledger.begin(status, move.spared.identity if move.spared else None)
            _note_root(move, ledger, status)
            implicit = [] if clean else [*move.implicit]
            if move.spared:
                implicit += move.spared.lead_to(move.tree.fd)
            for inode, attributes in kept(implicit, move.tree.fd, target).items():
                ledger.note(inode, attributes)
            _rename_into(move, work)
            move.dirs.rename(work.name, work.name + kind.value)
            InPlaceMerge(
                move.tree.fd,
                target,
                aside,
                ledger,
                undo_log,
                clean=clean,
                reserved=move.dirs.is_ours,
            ).run()
            move.dirs.rename(work.name + kind.value, work.name)
        except BaseException:
            _undo(move, undo_log, target, aside)
            if work:
                _withdraw(move.dirs, work, kind)
            raise


def _opened(stack: ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd


def _make_aside(stack: ExitStack, work: int) -> int:
    os.mkdir(_ASIDE, 0o700, dir_fd=work)
    return _opened(stack, os.open(_ASIDE, FLAGS, dir_fd=work))


def _note_root(move: StagedTree, ledger: Ledger, old: os.stat_result) -> None:
    """Note what the target itself is to have in the end."""
    new = os.fstat(move.tree.fd)
    attributes = Attributes.of(new)
    if not move.root_in_archive:
        attributes = Attributes(old.st_uid, old.st_gid, stat.S_IMODE(old.st_mode), None)
    ledger.note(new.st_ino, attributes)


def _rename_into(move: StagedTree, work: LockedDir) -> None:
    open_up_fd(move.tree.fd)
    with move.dirs.changing():
        os.rename(move.tree.name, _TREE, src_dir_fd=move.dirs.fd, dst_dir_fd=work.fd)


def _undo(move: StagedTree, undo_log: UndoLog, target: int, aside: int) -> None:
    """Give the target back all that it had. Raises `LocalError` if that fails, too."""
    try:
        if target >= 0:
            undo_log.undo(move.tree.fd, target, aside)
    except OSError as error:
        raise LocalError(
            f"{move.target.path} could not be restored to what it was: {error}",
            "the next restore into it will finish what this one began",
        ) from error


def _withdraw(dirs: WorkDirs, work: LockedDir, kind: Begun) -> None:
    """Let nobody finish what was undone."""
    try:
        dirs.rename(work.name + kind.value, work.name)
    except FileNotFoundError:
        pass  # it did not come that far


def finish(target: TargetDir, dirs: WorkDirs, leftover: LockedDir, kind: Begun) -> None:
    """Finish what a killed run began, unless the target is another directory by now.

    Raises `OSError` or `LocalError`; a later run can still try.
    """
    status = target.status()
    name = leftover.name.removesuffix(kind.value)
    with ExitStack() as stack:
        ledger = Ledger(leftover.fd)
        stack.callback(ledger.close)
        if status is not None and stat.S_ISDIR(status.st_mode) and status.st_ino == ledger.target:
            old = _opened(stack, target.open())
            open_up_fd(old)
            new = _opened(stack, os.open(_TREE, FLAGS, dir_fd=leftover.fd))
            aside = _opened(stack, os.open(_ASIDE, FLAGS, dir_fd=leftover.fd))
            clean = kind is Begun.CLEAN
            merge = InPlaceMerge(
                new, old, aside, ledger, UndoLog(), clean=clean, reserved=dirs.is_ours
            )
            merge.run()
    dirs.rename(leftover.name, name)
    dirs.remove(name)
