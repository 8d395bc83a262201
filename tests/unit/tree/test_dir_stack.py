"""The way into directories: deep ones, moved ones, and how many descriptors it takes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cacher.tree.dir_stack import OPEN_LIMIT, DirStack
from tests.support.descriptors import no_descriptor_more, open_descriptors
from tests.support.trees import deep


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def inode(fd: int) -> int:
    return os.fstat(fd).st_ino


def test_goes_down_and_up_again(root: Path) -> None:
    (root / "a/b").mkdir(parents=True)
    fd = opened(root)
    with no_descriptor_more(), DirStack(fd, "top") as stack:
        assert (stack.depth, stack.names, stack.payload) == (0, [], "top")
        assert stack.fd == fd
        assert stack.enter(b"a", "first") == stack.fd
        stack.enter(b"b", "second")
        assert inode(stack.fd) == (root / "a/b").stat().st_ino
        assert (stack.depth, stack.name, stack.names) == (2, b"b", [b"a", b"b"])
        assert stack.payloads == ["top", "first", "second"]
        stack.leave()
        assert inode(stack.fd) == (root / "a").stat().st_ino
        assert (stack.depth, stack.payload) == (1, "first")
        stack.leave()
        assert stack.fd == fd
    os.fstat(fd)  # The root stays the caller's.
    os.close(fd)


@pytest.mark.parametrize("depth", [1, *range(OPEN_LIMIT - 1, OPEN_LIMIT + 2), 3 * OPEN_LIMIT, 1500])
def test_comes_back_from_any_depth_with_few_descriptors(root: Path, depth: int) -> None:
    with deep(root, b"d", depth):
        fd = opened(root)
        few = len(open_descriptors()) + OPEN_LIMIT
        with no_descriptor_more(), DirStack(fd, 0) as stack:
            inodes = [inode(fd)]
            for number in range(depth):
                stack.enter(b"d", number + 1)
                inodes.append(inode(stack.fd))
            assert len(open_descriptors()) <= few
            for number in range(depth, 0, -1):
                assert (stack.depth, stack.payload) == (number, number)
                assert inode(stack.fd) == inodes[number]
                stack.leave()
            assert stack.fd == fd
        os.close(fd)


def test_goes_down_again_after_coming_back(root: Path) -> None:
    """Up and down across the frames that were closed: each way gives the right directory."""
    depth = OPEN_LIMIT + 20
    with deep(root, b"d", depth) as deepest:
        fd = opened(root)
        few = len(open_descriptors()) + OPEN_LIMIT
        with no_descriptor_more(), DirStack(fd, None) as stack:
            for _ in range(4):
                while stack.depth < depth:
                    stack.enter(b"d", None)
                    assert len(open_descriptors()) <= few
                assert inode(stack.fd) == inode(deepest)
                while stack.depth > 5:
                    stack.leave()
        os.close(fd)


def test_paths_beyond_what_the_system_takes(root: Path) -> None:
    with deep(root, b"n" * 255, 40) as deepest:
        fd = opened(root)
        with DirStack(fd, None) as stack:
            for _ in range(40):
                stack.enter(b"n" * 255, None)
            assert sum(map(len, stack.names)) > os.pathconf(root, "PC_PATH_MAX")
            assert inode(stack.fd) == inode(deepest)
        os.close(fd)


@pytest.mark.parametrize("kind", ["link", "file", "nothing"])
def test_only_directories_are_entered(root: Path, kind: str) -> None:
    (root / "real").mkdir()
    (root / "link").symlink_to("real")
    (root / "file").touch()
    fd = opened(root)
    with no_descriptor_more(), DirStack(fd, None) as stack:
        with pytest.raises(OSError) as caught:
            stack.enter(kind.encode(), None)
        assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT)
        assert (stack.depth, stack.fd) == (0, fd)
        stack.enter(b"real", None)
        assert stack.depth == 1
    os.close(fd)


def test_a_directory_moved_meanwhile_is_not_left_for_another(root: Path) -> None:
    """Its `..` is another directory by then, which is outside."""
    (root / "tree").mkdir()
    (root / "outside").mkdir()
    with deep(root / "tree", b"d", OPEN_LIMIT + 3):
        fd = opened(root / "tree")
        with no_descriptor_more(), DirStack(fd, None) as stack:
            for _ in range(OPEN_LIMIT + 3):
                stack.enter(b"d", None)
            (root / "tree/d/d/d/d").rename(root / "outside/d")
            try:
                with pytest.raises(OSError, match="d was moved meanwhile"):
                    while stack.depth:
                        stack.leave()
                assert stack.depth == 4
                assert inode(stack.fd) == (root / "outside/d").stat().st_ino
            finally:
                (root / "outside/d").rename(root / "tree/d/d/d/d")
        os.close(fd)


def test_finish_gets_the_directory_that_is_left(root: Path) -> None:
    (root / "a").mkdir()
    fd = opened(root)
    with no_descriptor_more(), DirStack(fd, None) as stack:
        stack.enter(b"a", None)
        found: list[int] = []
        stack.leave(lambda left: found.append(inode(left)))
        assert found == [(root / "a").stat().st_ino]

        def fail(left: int) -> None:
            raise PermissionError

        stack.enter(b"a", None)
        with pytest.raises(PermissionError):
            stack.leave(fail)
        assert stack.depth == 0
    os.close(fd)
