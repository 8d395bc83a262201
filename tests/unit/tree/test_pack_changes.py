"""Packing a tree that changes meanwhile, and what of a tree is chosen."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cacher.errors import LocalError, UsageError
from cacher.tree.pack import CHUNK_SIZE, Selection, pack
from tests.support.descriptors import no_descriptor_more
from tests.support.tar_helpers import Sink, by_tarfile, counts, members, names, packed

SIZE = 3 * CHUNK_SIZE

TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# by a test"


class Full(Exception):
    """The disk is full, or the store gone."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`b` is packed in several pieces; by then `a` is done, and `c` and `d` are not begun."""
    root = tmp_path / "root"
    for name in ("a/1", "c/2", "d"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode() * 100)
    (root / "b").write_bytes(b"b" * SIZE)
    (root / "e").symlink_to("d")
    for path in [*root.rglob("*"), root]:
        os.utime(path, ns=(10**18, 10**18), follow_symlinks=False)
    return root


def sink(change: Callable[[], object]) -> Sink:
    """Makes the change when the first piece is given away, in the middle of `b`."""

    def before(done: int) -> None:
        if not done:
            change()

    return Sink(before)


def lengthen(path: Path) -> None:
    """Without a trace in the time."""
    with open(path, "ab") as file:
        file.write(b"more")
    os.utime(path, ns=(10**18, 10**18))


def shorten(path: Path) -> None:
    os.truncate(path, CHUNK_SIZE + 5)
    os.utime(path, ns=(10**18, 10**18))


def rewrite(path: Path) -> None:
    """In place: the size stays."""
    with open(path, "r+b") as file:
        file.seek(SIZE - 1)
        file.write(b"x")
    os.utime(path, ns=(10**18 + 1, 10**18 + 1))


@pytest.mark.parametrize(
    ("change", "content"),
    [
        (lengthen, b"b" * SIZE),
        (shorten, b"b" * (CHUNK_SIZE + 5) + bytes(SIZE - CHUNK_SIZE - 5)),
        (lambda path: os.truncate(path, 0), None),
        (rewrite, b"b" * (SIZE - 1) + b"x"),
    ],
    ids=["grows", "shrinks", "is emptied", "is written to"],
)
def test_a_file_that_changes(
    root: Path, change: Callable[[Path], None], content: bytes | None
) -> None:
    kept = shutil.copytree(root, root.parent / "kept", symlinks=True)
    target = sink(lambda: change(root / "b"))
    with (
        no_descriptor_more(),
        pytest.raises(
            LocalError, match=f"^{root}/b changed while it was packed; nothing was st"
        ) as caught,
    ):
        pack(str(root), target.write, Selection())
    assert "--changed warn" in caught.value.hint
    # The stream so far is not a whole archive: its end is missing.
    assert bytes(1024) not in bytes(target.data[-1024:])

    target = sink(lambda: change(kept / "b"))
    result = pack(str(kept), target.write, Selection(), tolerate_changes=True)
    assert (result.changed, result.vanished, result.members) == (1, 0, 8)
    with_content = {member.name: member.size for member in members(bytes(target.data))}
    assert with_content["b"] == SIZE
    assert result.size == sum(with_content.values())
    if content is not None:
        assert contents(target)["b"] == content


def contents(target: Sink) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(target.data)) as archive:
        return {
            member.name: file.read() for member in archive if (file := archive.extractfile(member))
        }


def test_a_change_of_what_is_packed_or_not_yet_is_none(root: Path) -> None:
    def change() -> None:
        (root / "a/1").write_bytes(b"later")
        (root / "d").write_bytes(b"before")

    target = sink(change)
    assert pack(str(root), target.write, Selection()).changed == 0
    found = contents(target)
    assert (found["a/1"], found["d"]) == (b"a/1" * 100, b"before")


def into_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def into_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def into_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def directory_into_link(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to("/etc")


def directory_into_file(path: Path) -> None:
    shutil.rmtree(path)
    path.touch()


def into_file(path: Path) -> None:
    path.unlink()
    path.touch()


@pytest.mark.parametrize(
    ("name", "change", "how"),
    [
        ("d", Path.unlink, "vanished"),
        ("e", Path.unlink, "vanished"),
        ("c", shutil.rmtree, "vanished"),
        ("d", into_directory, "changed"),
        ("d", into_fifo, "changed"),
        ("d", into_link, "changed"),
        ("e", into_file, "changed"),
        ("c", directory_into_link, "changed"),
        ("c", directory_into_file, "changed"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_vanishes_or_becomes_something_else(
    root: Path, name: str, change: Callable[[Path], None], how: str
) -> None:
    """The names have been listed by then. It is no longer there to be packed: it is left out."""
    kept = shutil.copytree(root, root.parent / "kept", symlinks=True)
    target = sink(lambda: change(root / name))
    with no_descriptor_more(), pytest.raises(LocalError) as caught:
        pack(str(root), target.write, Selection())
    assert caught.value.message == f"{root}/{name} {how} while it was packed; nothing was stored"
    assert "--changed warn" in caught.value.hint

    target = sink(lambda: change(kept / name))
    result = pack(str(kept), target.write, Selection(), tolerate_changes=True)
    found = [member.name for member in members(bytes(target.data))]
    expected = [".", "a", "a/1", "b", "c", "c/2", "d", "e"]
    assert found == [path for path in expected if path.split("/")[0] != name]
    assert (result.changed, result.vanished, result.members) == (0, 1, len(found))


def test_a_failing_write_ends_it(root: Path) -> None:
    def fail() -> None:
        raise Full

    target = sink(fail)
    with no_descriptor_more(), pytest.raises(Full):
        pack(str(root), target.write, Selection())
    assert not target.data


def chosen(tmp_path: Path) -> Path:
    """A home directory."""
    for path in (
        *("go/pkg/mod/m/1", "go/pkg/sumdb/s", "go/bin/tool", ".cache/go-build/00/x"),
        *(".cache/pip/p", "src/a.o", "src/a.c", "src/deep/b.o", "src/deep/node_modules/n"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    return tmp_path


def test_includes_are_members_and_their_parents_are_not(tmp_path: Path) -> None:
    home = chosen(tmp_path)
    assert names(home, [".cache/go-build", "go/pkg/mod"]) == [
        *(".cache/go-build", ".cache/go-build/00", ".cache/go-build/00/x"),
        *("go/pkg/mod", "go/pkg/mod/m", "go/pkg/mod/m/1"),
    ]
    assert names(home, ["**/*.o"]) == ["src/a.o", "src/deep/b.o"]
    assert names(home, ["go/bin", "go/bin/tool", "go/bin/*"]) == ["go/bin", "go/bin/tool"]
    assert names(home, ["src/*"], ["deep"]) == ["src/a.c", "src/a.o"]


def test_directories_that_hold_nothing_wanted_are_not_even_read(tmp_path: Path) -> None:
    home = chosen(tmp_path)
    opened: list[str] = []
    real = os.open

    def spy(path: str | bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        opened.append(os.fsdecode(path))
        return real(path, flags, mode, dir_fd=dir_fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", spy)
        names(home, ["go/pkg/mod"], ["m"])
    assert opened == [str(home), "go", "pkg", "mod"]


def test_excludes_are_those_of_gitignore(tmp_path: Path) -> None:
    home = chosen(tmp_path)
    assert names(home, exclude=["*", "!src/", "!src/**", "node_modules/", "*.o", "!b.o"]) == [
        *(".", "src", "src/a.c", "src/deep", "src/deep/b.o"),
    ]
    assert "src/deep/node_modules" in names(home, exclude=["/node_modules"])


def test_caches_keep_their_tag_alone(tmp_path: Path) -> None:
    home = chosen(tmp_path)
    for directory, tag in ((".cache", TAG), ("go", b"Signature: none"), ("src/deep", TAG)):
        (home / directory / "CACHEDIR.TAG").write_bytes(tag)
    (home / "go/bin/CACHEDIR.TAG").symlink_to("../../.cache/CACHEDIR.TAG")
    left = [path for path in names(home) if not path.startswith((".cache/", "src/deep/"))]
    kept = [".cache/CACHEDIR.TAG", "src/deep/CACHEDIR.TAG"]
    assert sorted(names(home, exclude_caches=True)) == sorted([*left, *kept])
    assert names(home / "src/deep", exclude_caches=True) == [".", "CACHEDIR.TAG"]
    # Who asks for what is in a cache gets it.
    assert names(home, [".cache/pip"], exclude_caches=True) == [".cache/pip", ".cache/pip/p"]


def test_an_include_of_nothing(tmp_path: Path) -> None:
    home = chosen(tmp_path)
    sent = Sink()
    with no_descriptor_more():
        for include, exclude in ((["go", "no/x"], []), (["no/x"], []), (["src"], ["src"])):
            with pytest.raises(LocalError, match=r"nothing in .* matches (no/x|src)$") as caught:
                pack(str(home), sent.write, Selection(include, exclude))
            assert ("--allow-missing" in caught.value.hint) == ("go" in include)
        with pytest.raises(LocalError, match=r"leave nothing of .* to store"):
            pack(str(home), sent.write, Selection(["missing"], allow_missing=True))
        with pytest.raises(UsageError):
            pack(str(home), sent.write, Selection(["../up"]))
    assert not sent.data
    assert names(home, ["go/bin", "missing"], allow_missing=True) == ["go/bin", "go/bin/tool"]


def test_everything_left_out_still_leaves_the_directory(tmp_path: Path) -> None:
    data, result = packed(chosen(tmp_path), Selection(exclude=["*"]))
    assert list(by_tarfile(data)) == [""]
    assert counts(result) == {"members": 1, "directories": 1}


def test_a_file_of_the_working_directory_is_named_as_it_is_there(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    target = sink(lambda: lengthen(root / "b"))
    with pytest.raises(LocalError, match=r"^b changed while it was packed"):
        pack(".", target.write, Selection())
