"""Helpers of tests that replace trees: stage, act as another user, fail at any step."""

from __future__ import annotations

import ctypes  # noqa: F401 - it is loaded late, and nobody may not be able to read it
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

import pytest

from cacher.replace import move_into_place
from cacher.replace.staging import Staging
from cacher.tree.remove import remove
from tests.support.local_store_helpers import in_child
from tests.support.tree_snapshots import Tree, snapshot
from tests.support.trees import Spec, build

T = TypeVar("T")

NOBODY = 65534


def merged(old: Tree, new: Tree) -> Tree:
    """The result of a merge: the new tree, and entries of the old that it neither has nor hides."""
    result = dict(old)
    for path, (kind, *_) in new.items():
        replaced = path in old and (kind != "directory" or old[path][0] != "directory")
        if replaced:
            for other in old:
                if other == path or other.startswith(f"{path}/"):
                    del result[other]
    return {**result, **new}


def is_root() -> bool:
    return os.geteuid() == 0


def as_user(name: str, act: Callable[[], T]) -> T:
    """Run `act` as root, or as an ordinary user: in a child that gave up being root."""
    if name == "root" or not is_root():
        return act()

    def child() -> T:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.chdir("/")  # a checkout in the home of root is closed to others
        return act()

    return in_child(child)


@contextmanager
def ground(user: str, disk: str) -> Iterator[Path]:
    """A directory of the user's, on tmpfs or on a disk."""
    shm = Path("/dev/shm")
    parent = shm if disk == "tmpfs" and shm.is_dir() else None
    path = Path(tempfile.mkdtemp(prefix="cacher-tests-", dir=parent))
    try:
        if user == "nobody" and is_root():
            os.chown(path, NOBODY, NOBODY)
        yield path
    finally:
        for place, names, _ in os.walk(path):
            for name in names:
                if not os.path.islink(os.path.join(place, name)):
                    os.chmod(os.path.join(place, name), 0o700)
        shutil.rmtree(path)


def restore(target: Path, spec: Spec, *, clean: bool = False, age: int = 2) -> None:
    """Stage a tree beside or inside the target, and put it in place."""
    with Staging(str(target)) as staging:
        build(where(staging), spec, age)
        staging.commit(clean=clean, root_in_archive=True)


def where(staging: Staging) -> Path:
    """The path of a staging directory."""
    inode = os.fstat(staging.fd).st_ino
    target = Path(os.path.realpath(staging.target))
    for place in (target.parent, target):
        for name in os.listdir(place) if place.is_dir() else ():
            if ".cacher-" in name and (place / name).lstat().st_ino == inode:
                return place / name
    raise AssertionError("it is nowhere")


def expected(spec: Spec, age: int, scratch: Path) -> Tree:
    """Build a tree in `scratch`, and return how it looks."""
    scratch.mkdir()
    build(scratch, spec, age)
    found = snapshot(scratch)
    clear(scratch)
    return found


def clear(path: Path) -> None:
    """Remove a tree with the means under test."""
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        remove(os.fsencode(path.name), parent)
    finally:
        os.close(parent)
    assert not os.path.lexists(path)


def old_and_new(here: Path, old: Spec, new: Spec, *, clean: bool) -> tuple[Tree, Tree]:
    """Return the target `here/target` before and after a restore."""
    before = expected(old, 1, here / "scratch")
    after = expected(new, 2, here / "scratch")
    return before, after if clean or not old else merged(before, after)


def make(here: Path, spec: Spec) -> Path:
    """The target, of which a test may have made another before."""
    target = here / "target"
    if os.path.lexists(target):
        clear(target)
    if spec:
        target.mkdir()
        build(target, spec)
    return target


@contextmanager
def playing(way: str) -> Iterator[None]:
    """A system as in `way`: "at once" is this one."""
    with pytest.MonkeyPatch.context() as patch:
        if way == "no exchange":
            patch.setattr(move_into_place, "exchange", lambda *_: refuse(errno.ENOSYS))
        elif way == "overlay":
            _play_overlay(patch)
        yield


def refuse(number: int) -> None:
    raise OSError(number, os.strerror(number))


def _play_overlay(patch: pytest.MonkeyPatch) -> None:
    """Let directories that were not just made be of a lower layer: they cannot be renamed."""
    made: set[int] = set()
    real_mkdir, real_rename = os.mkdir, os.rename

    def mkdir(path: bytes, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        real_mkdir(path, mode, dir_fd=dir_fd)
        made.add(os.stat(path, dir_fd=dir_fd).st_ino)

    def rename(
        old: bytes, new: bytes, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        status = os.lstat(old, dir_fd=src_dir_fd)
        if stat.S_ISDIR(status.st_mode) and status.st_ino not in made:
            refuse(errno.EXDEV)
        real_rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    patch.setattr(os, "mkdir", mkdir)
    patch.setattr(os, "rename", rename)
    patch.setattr(move_into_place, "exchange", lambda *_: refuse(errno.EXDEV))


CALLS = (
    *("chmod", "fchmod", "fchown", "fstat", "link", "listdir", "mkdir", "open", "rename"),
    *("rmdir", "scandir", "stat", "unlink", "utime", "write"),
)
"""Functions of `os` that may fail."""


class Faults:
    """Lets the calls of the system from the `at`-th on, up to the `until`-th, do `act` instead."""

    def __init__(self, at: int, act: Callable[[], object], until: int | None = None) -> None:
        self._at = at
        self._until = at if until is None else until
        self._act = act
        self._originals: dict[str, Callable[..., object]] = {}
        self.calls = 0

    @property
    def happened(self) -> bool:
        return self.calls >= self._at

    def __enter__(self) -> Self:
        for name in CALLS:
            self._originals[name] = getattr(os, name)
            setattr(os, name, self._counted(self._originals[name]))
        return self

    def __exit__(self, *_exc: object) -> None:
        for name, original in self._originals.items():
            setattr(os, name, original)

    def _counted(self, original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            self.calls += 1
            if self._at <= self.calls <= self._until:
                self._act()
            return original(*arguments, **options)

        return call


def fail() -> None:
    raise OSError(errno.EIO, "broken disk")
