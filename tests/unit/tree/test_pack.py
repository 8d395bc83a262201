"""Packing: what independent readers find in the archive, and its order and pieces."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacher.errors import LocalError, UsageError
from cacher.tar.header_fields import BLOCK_SIZE
from cacher.tree.pack import CHUNK_SIZE, Selection, pack
from tests.support.descriptors import no_descriptor_more, open_descriptors
from tests.support.local_store_helpers import in_child
from tests.support.staging_helpers import NOBODY, is_root
from tests.support.tar_helpers import (
    PROGRAMS,
    Sink,
    by_tarfile,
    counts,
    listed,
    members,
    names,
    packed,
    restores,
)
from tests.support.tree_snapshots import snapshot
from tests.support.trees import FULL, SECOND, Spec, build, deep

TAG = b"Signature: 8a477f597d28d172789f06886806bc55"


def write(path: Path, content: bytes = b"", mode: int = 0o644, mtime_ns: int = 10**18) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    os.utime(path, ns=(mtime_ns, mtime_ns))


MORE: Spec = {
    "old": b"1969",
    "epoch": b"",
    "block": b"b" * BLOCK_SIZE,
    "more": b"m" * (BLOCK_SIZE + 1),
    "large": os.urandom(3 * CHUNK_SIZE + 17),
}
"""What only packing is sensitive to."""


def test_every_reader_gives_the_tree_back(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    build(root, FULL | MORE)
    for name, time in (("old", -86_400 * SECOND), ("epoch", 0), ("absolute", 10**18 + 7)):
        os.utime(root / name, ns=(5, time), follow_symlinks=False)
    os.utime(root, ns=(10**18 + 9, 10**18 + 9))
    data, result = packed(root)
    expected = snapshot(root)
    assert by_tarfile(data) == expected
    for program in PROGRAMS:
        restores(program, data, tmp_path / program, expected)
    # Not by rglob, which some Pythons end at a link whose target is too long a name.
    walked = [*os.walk(root)]
    paths = [Path(where, name) for where, _, names in walked for name in names]
    sizes = {path.stat().st_ino: path.stat().st_size for path in paths if is_file(path)}
    directories = len(walked)
    assert counts(result) == {
        "members": len(expected),
        "directories": directories,
        "size": sum(sizes.values()),
    }


def is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def test_order_is_of_bytes_and_directories_come_first(tmp_path: Path) -> None:
    for path in ("b/x", "b.c", "b-c/y", "B", "a/b/c", "é/z", "zz"):
        write(tmp_path / path)
    write(tmp_path / os.fsdecode(b"\x80"))
    expected = [
        *(".", "B", "a", "a/b", "a/b/c", "b", "b/x", "b-c", "b-c/y", "b.c", "zz"),
        *(os.fsdecode(b"\x80"), "é", "é/z"),
    ]
    assert names(tmp_path) == expected


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    """Made in another order, read by another user name, at another place."""
    paths = [f"d{number % 7}/f{number * 37 % 101}" for number in range(101)]
    archives = []
    for number, order in enumerate((paths, paths[::-1])):
        root = tmp_path / str(number)
        for path in order:
            write(root / path, path.encode())
        for place in [root, *root.iterdir()]:
            os.utime(place, ns=(10**18, 10**18))
        archives.append(packed(root)[0])
    assert archives[0] == archives[1]
    assert b"root" not in archives[0]


def test_pieces_are_views_of_one_full_buffer(tmp_path: Path) -> None:
    for number in range(60):
        write(tmp_path / f"{number}", os.urandom(number * 2000))
    buffers = set()

    def take(view: memoryview) -> None:
        buffers.add(id(view.obj))
        sizes.append(len(view))

    sizes: list[int] = []
    pack(str(tmp_path), take, Selection())
    assert len(buffers) == 1
    assert len(sizes) > 3
    # A header that no longer fits begins the next one.
    assert all(CHUNK_SIZE - 4 * BLOCK_SIZE < size <= CHUNK_SIZE for size in sizes[:-1])
    assert all(size % BLOCK_SIZE == 0 for size in sizes)


@pytest.mark.parametrize("left", [0, 1, 2, 3])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_any_place_in_the_buffer(tmp_path: Path, left: int, more: int) -> None:
    """The member after a file begins where the buffer is full, nearly full, or new."""
    root = tmp_path / "root"
    write(root / "a", os.urandom(CHUNK_SIZE - (left + 2) * BLOCK_SIZE + more))
    write(root / "b", os.urandom(3 * BLOCK_SIZE))
    write(root / "c", mtime_ns=10**18 + 1)
    os.utime(root, ns=(10**18, 10**18))
    assert by_tarfile(packed(root)[0]) == snapshot(root)


# bsdtar takes backslashes and drive letters off the front of names, on any system.
NAME = st.binary(min_size=1, max_size=30).map(
    lambda name: name.translate(bytes.maketrans(b"\0/\\:", b"0123"))
)
CONTENT = st.one_of(
    st.binary(max_size=40).map(lambda data: ("file", data)),
    st.integers(0, 3000).map(lambda size: ("file", b"z" * size)),
    st.binary(min_size=1, max_size=200)
    .map(lambda data: data.replace(b"\0", b"0"))
    .map(lambda data: ("link", data)),
    st.just(("directory", b"")),
    st.just(("same", b"")),
)
TREES = st.dictionaries(
    st.lists(NAME.filter(lambda name: name not in (b".", b"..")), min_size=1, max_size=4).map(
        b"/".join
    ),
    st.tuples(CONTENT, st.integers(0o400, 0o7777), st.integers(0, 2**32 * SECOND)),
    max_size=8,
)
Trees = dict[bytes, tuple[tuple[str, bytes], int, int]]


def grow(root: bytes, tree: Trees) -> None:
    """As much of a tree as there can be; modes and times of links are not set."""
    last = b""
    for path, ((kind, data), mode, time) in tree.items():
        place = root + b"/" + path
        try:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if kind == "link":
                os.symlink(data, place)
            elif kind == "directory":
                os.mkdir(place)
            elif kind == "same" and last:
                os.link(last, place)
            else:
                with open(place, "xb") as file:
                    file.write(data)
                last = place
        except OSError:
            continue
        if kind != "link":
            os.chmod(place, mode)
            os.utime(place, ns=(time, time))


@settings(max_examples=40, deadline=None)
@given(tree=TREES)
def test_any_tree(tree: Trees) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "root")
        root.mkdir()
        grow(os.fsencode(root), tree)
        data, result = packed(root)
        expected = snapshot(root)
        assert by_tarfile(data) == expected
        for program in PROGRAMS:
            restores(program, data, Path(scratch, program), expected)
        assert result.members == len(expected)


@pytest.mark.parametrize(("name", "depth"), [(b"d", 200), (b"n" * 255, 40), (b"d", 1200)])
def test_deep_directories(tmp_path: Path, name: bytes, depth: int) -> None:
    """40 names of 255 bytes are longer than PATH_MAX: no path reaches the file, a walk does."""
    root = tmp_path / "root"
    root.mkdir()
    with deep(root, name, depth) as deepest:
        fd = os.open("file", os.O_WRONLY | os.O_CREAT, 0o640, dir_fd=deepest)
        os.write(fd, b"far down")
        os.close(fd)
        few = len(open_descriptors()) + 80
        most = 0

        def count(done: int) -> None:
            nonlocal most
            most = max(most, len(open_descriptors()))

        sink = Sink(count)
        with no_descriptor_more():
            result = pack(str(root), sink.write, Selection())
        assert counts(result) == {"members": depth + 2, "directories": depth + 1, "size": 8}
        assert most <= few
        tree = by_tarfile(bytes(sink.data))
        path = "/".join([name.decode()] * depth) + "/file"
        assert path in tree
        assert len(tree) == depth + 2
        if depth == 200:
            for program in PROGRAMS:
                restores(program, bytes(sink.data), tmp_path / program, tree)
        for program in PROGRAMS:
            assert len(listed(program, bytes(sink.data))) == depth + 2


def test_what_has_no_content_to_keep_is_counted(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        directory = os.open(tmp_path, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{directory}/socket")
        os.close(directory)
    write(tmp_path / "kept")
    expected = 2
    if is_root():
        os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        expected = 3
    data, result = packed(tmp_path)
    assert [member.name for member in members(data)] == [".", "kept"]
    assert counts(result) == {"members": 2, "directories": 1, "skipped": expected}


def test_owners_only_if_asked(tmp_path: Path) -> None:
    write(tmp_path / "file")
    owner = (12345, 2**22) if is_root() else (os.getuid(), os.getgid())
    os.chown(tmp_path / "file", *owner)
    (file,) = (member for member in members(packed(tmp_path)[0]) if member.name == "file")
    assert (file.uid, file.gid, file.uname, file.gname) == (0, 0, "", "")
    data, _ = packed(tmp_path, keep_owner=True)
    (file,) = (member for member in members(data) if member.name == "file")
    assert (file.uid, file.gid, file.uname, file.gname) == (*owner, "", "")


def test_a_link_to_the_directory_is_followed_at_the_top(tmp_path: Path) -> None:
    write(tmp_path / "real/file", b"1")
    (tmp_path / "link").symlink_to("real")
    (data, linked), (same, real) = packed(tmp_path / "link"), packed(tmp_path / "real")
    assert data == same
    assert counts(linked) == counts(real) == {"members": 2, "directories": 1, "size": 1}


def test_no_directory(tmp_path: Path) -> None:
    write(tmp_path / "file")
    (tmp_path / "dangling").symlink_to("nowhere")
    with no_descriptor_more():
        for name in ("missing", "dangling"):
            with pytest.raises(LocalError, match=f"cannot read .*{name}: no such file"):
                packed(tmp_path / name)
        with pytest.raises(UsageError, match="file is not a directory"):
            packed(tmp_path / "file")


@pytest.mark.parametrize("path", ["locked", "file", ""])
def test_what_may_not_be_read_is_named(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    (root / "locked").mkdir(parents=True)
    write(root / "file", b"1")
    for place in (tmp_path, *tmp_path.parents[:2], root, *root.iterdir()):
        place.chmod(place.stat().st_mode | 0o755)
    (root / path).chmod(0)

    def act() -> tuple[str, str, bool]:
        if is_root():
            os.chdir(tmp_path)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        before = open_descriptors()
        with pytest.raises(LocalError) as caught:
            pack("root", lambda view: None, Selection())
        return caught.value.message, caught.value.hint, open_descriptors() == before

    try:
        message, hint, closed = in_child(act) if is_root() else act()
    finally:
        (root / path).chmod(0o755)
    assert message == f"cannot read {os.path.join('root', path).rstrip('/')}: permission denied"
    assert ("--exclude" in hint) == bool(path)
    assert closed
