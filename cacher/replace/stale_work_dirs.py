"""What killed runs left for a target: trees that go, and moves in place that are to be finished."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from cacher.replace.work_dirs import Begun, LockedDir, WorkDirs, begun, prefix_for
from cacher.tree.dir_stack import FLAGS
from cacher.tree.own_work_names import MARK


def begun_moves(dirs: WorkDirs) -> Iterator[tuple[LockedDir, Begun]]:
    """The moves that killed runs began; what else they left is removed if it can be.

    Each is closed when the next is asked for. Raises `OSError`.
    """
    for leftover in dirs.leftovers():
        kind = begun(leftover)
        if kind:
            yield leftover, kind
        else:
            with suppress(OSError):
                dirs.remove(leftover.name)


def sweep(target: str) -> None:
    """Remove what killed runs staged for `target`, which need not be there.

    For a run that has nothing to restore: it makes nothing, and costs two listings, of the target
    and of what it is in. A move that was begun stays, since to finish it would change the target.
    No failure is told: the next run tries again.
    """
    with suppress(OSError):
        path = os.path.realpath(target)
        parent, name = os.path.split(path)
        _sweep(parent, prefix_for(os.fsencode(name)), is_inside=False)
        _sweep(path, MARK, is_inside=True)


def _sweep(directory: str, prefix: bytes, *, is_inside: bool) -> None:
    try:
        fd = os.open(directory, FLAGS)
    except OSError:
        return  # it is not there, or cannot be listed
    dirs = WorkDirs(fd, prefix, is_inside=is_inside)
    try:
        for _ in begun_moves(dirs):
            pass
    finally:
        dirs.close()
