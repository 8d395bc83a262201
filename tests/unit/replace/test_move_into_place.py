"""Putting trees in place: the result of each way, and the attributes of directories."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cacher.errors import LocalError
from cacher.replace import hardlink_fill, move_into_place
from cacher.replace.staging import Staging
from tests.support.acl import set_default_acl
from tests.support.staging_helpers import (
    NOBODY,
    as_user,
    clear,
    fail,
    ground,
    is_root,
    make,
    old_and_new,
    playing,
    restore,
    where,
)
from tests.support.tree_snapshots import snapshot
from tests.support.trees import Spec, build

OLD: Spec = {
    "": 0o750,
    "keep/deep/a": b"a",
    "keep/read-only": 0o555,
    "both/x": b"old x",
    "both/only": b"only",
    "file to directory": b"file",
    "directory to file/in/side": b"s",
    "directory to file/in": 0o555,
    "directory to file": 0o555,
    "link to file": "both/x",
    "link to directory": "both",
    "file to link": b"q",
    "dangling": "nowhere",
    "read-only": 0o555,
    "read-only/x": b"1",
    "read-only/y": b"2",
    "read-only/sub": 0o555,
    "read-only/sub/z": b"z",
}
NEW: Spec = {
    "": 0o711,
    "both/x": b"new x",
    "both/new": b"n",
    "file to directory/a": b"1",
    "directory to file": b"now a file",
    "link to file": b"file",
    "link to directory/in": b"in",
    "file to link": "nowhere",
    "read-only": 0o555,
    "read-only/x": b"new",
    "read-only/w": 0o555,
    "read-only/w/v": b"v",
    "fresh": 0o555,
    "fresh/a": 0o555,
    "fresh/a/b/c": b"c",
}
CLOSED: Spec = {"closed": 0, "closed/a": b"a"}

BOTH = [False, True]
clean_or_not = pytest.mark.parametrize("clean", BOTH, ids=["merge", "clean"])


@pytest.fixture(params=["root", "nobody"])
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["tmpfs", "disk"])
def here(request: pytest.FixtureRequest, user: str) -> Iterator[Path]:
    with ground(user, request.param) as place:
        yield place


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "not here")

    monkeypatch.setattr(move_into_place, "exchange", refuse)


# --- what comes out ------------------------------------------------------------------------------


@clean_or_not
@pytest.mark.parametrize("old", [OLD, OLD | CLOSED, {"": 0o700}, {}], ids=len)
@pytest.mark.parametrize("new", [NEW, NEW | CLOSED, {"": 0o700}, {"": 0o555}], ids=len)
@pytest.mark.parametrize("way", ["at once", "no exchange", "overlay", "inside"])
def test_the_result(here: Path, user: str, clean: bool, old: Spec, new: Spec, way: str) -> None:
    def act() -> None:
        _, after = old_and_new(here, old, new, clean=clean)
        target = make(here, old)
        if way == "inside" and old:
            os.chdir(target)
        try:
            with playing(way):
                restore(target, new, clean=clean)
        finally:
            os.chdir("/")
        assert snapshot(target) == after
        assert os.listdir(here) == ["target"]

    as_user(user, act)


@clean_or_not
def test_it_is_a_swap(here: Path, user: str, clean: bool) -> None:
    """Where one is possible, also below read-only directories: else a kill would show."""

    def act() -> None:
        target = make(here, OLD)
        before = target.stat().st_ino
        kept = (target / "keep/deep/a").stat().st_ino
        with Staging(str(target)) as staging:
            build(where(staging), NEW, 2)
            staged = os.fstat(staging.fd).st_ino
            staging.commit(clean=clean)
        assert target.stat().st_ino == staged != before
        assert clean or (target / "keep/deep/a").stat().st_ino == kept

    as_user(user, act)


@pytest.mark.parametrize("obstacle", ["FIFO", "too many", "mount point", "exchange", "links"])
def test_a_merge_in_place_gives_the_same(
    here: Path, user: str, obstacle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = old_and_new(here, OLD, NEW, clean=False)
    real_link = os.link

    def link(*arguments: object, **options: object) -> None:
        if arguments[0] == b"y":
            raise OSError(errno.EMLINK, "too many links")
        real_link(*arguments, **options)  # type: ignore[arg-type]

    def act() -> None:
        target = make(here, OLD)
        if obstacle == "FIFO":
            os.mkfifo(target / "both/fifo")
            os.utime(target / "both", ns=(before["both"][2], before["both"][2]))
        elif obstacle == "too many":
            monkeypatch.setattr(hardlink_fill, "LIMIT", 5)
        elif obstacle == "mount point":
            monkeypatch.setattr(move_into_place, "mounts_below", lambda _: [f"{target}/keep"])
        elif obstacle == "links":
            monkeypatch.setattr(os, "link", link)
        else:
            monkeypatch.setattr(move_into_place, "exchange", lambda *_: fail())
        inode = target.stat().st_ino
        restore(target, NEW)
        monkeypatch.undo()
        assert target.stat().st_ino == inode
        now = snapshot(target)
        if obstacle == "FIFO":
            assert now.pop("both/fifo")[0] == "special"
        assert now == after
        assert os.listdir(here) == ["target"]

    as_user(user, act)


def test_clean_refuses_a_mount_point(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = make(here, OLD)
    before = snapshot(target)
    monkeypatch.setattr(move_into_place, "mounts_below", lambda _: [f"{target}/keep"])
    with pytest.raises(LocalError, match="keep is a mount point"):
        restore(target, NEW, clean=True)
    assert snapshot(target) == before
    assert os.listdir(here) == ["target"]


@clean_or_not
@pytest.mark.usefixtures("no_exchange")
def test_hard_links_stay_links(here: Path, clean: bool) -> None:
    target = make(here, {"": 0o755, "one": b"old", "sub/two": b"old", "x": b"x"})
    os.link(target / "x", target / "y")
    with Staging(str(target)) as staging:
        place = where(staging)
        build(place, {"one": b"new", "sub/three": b"3"}, 2)
        os.link(place / "one", place / "sub/two")
        staging.commit(clean=clean)
    assert (target / "one").samefile(target / "sub/two")
    assert (target / "sub/two").read_bytes() == b"new"
    assert clean or (target / "x").samefile(target / "y")


@pytest.mark.slow
@clean_or_not
@pytest.mark.parametrize("way", ["swap", "in place"])
def test_deep_trees(here: Path, clean: bool, way: str, request: pytest.FixtureRequest) -> None:
    """Far beyond PATH_MAX, the descriptors of a process, and Python's recursion."""
    if way == "in place":
        request.getfixturevalue("no_exchange")
    depth, name = 1500, "n" * 40

    def dig(top: Path, leaf: str) -> None:
        fd = os.open(top, os.O_RDONLY)
        for _ in range(depth):
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=fd)
            below = os.open(name, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        os.mkdir(leaf, dir_fd=fd)
        os.close(fd)

    def leaves(top: Path) -> list[str]:
        fd = os.open(top, os.O_RDONLY)
        for _ in range(depth):
            below = os.open(name, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    target = make(here, {"": 0o755})
    dig(target, "old")
    with Staging(str(target)) as staging:
        dig(where(staging), "new")
        staging.commit(clean=clean)
    assert leaves(target) == (["new"] if clean else ["new", "old"])
    assert os.listdir(here) == ["target"]
    clear(target)


# --- the root ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "clean", "mode"),
    [
        (None, False, 0o750),
        (0o2711, False, 0o2711),
        (0o2711, True, 0o750),
        (0o555, False, 0o555),
    ],
)
@pytest.mark.parametrize("way", ["at once", "no exchange"])
def test_a_root_of_which_the_archive_says_nothing(
    here: Path,
    user: str,
    old: int | None,
    clean: bool,
    mode: int,
    way: str,
    request: pytest.FixtureRequest,
) -> None:
    if way == "no exchange":
        request.getfixturevalue("no_exchange")
        # The old directory stays, and with it its mode: nothing says another.
        mode = mode if old is None else old

    def act() -> int:
        os.umask(0o027)
        target = make(here, {} if old is None else {"": old, "x": b"x"})
        with Staging(str(target)) as staging:
            (where(staging) / "a").write_bytes(b"a")
            staging.commit(clean=clean)
        return target.stat().st_mode & 0o7777

    before = os.umask(0o027)
    try:
        assert as_user(user, act) == mode
    finally:
        os.umask(before)


def test_a_root_in_a_directory_with_a_default_acl(here: Path, user: str) -> None:
    set_default_acl(here, 7, 5, 0)

    def act() -> tuple[int, int]:
        with Staging(str(here / "silent")) as staging:
            (where(staging) / "a").write_bytes(b"a")
            staging.commit(clean=False)
        with Staging(str(here / "given")) as staging:
            os.fchmod(staging.fd, 0o755)
            staging.commit(clean=False, root_in_archive=True)
        silent, given = (here / "silent").stat(), (here / "given").stat()
        return silent.st_mode & 0o7777, given.st_mode & 0o7777

    assert as_user(user, act) == (0o750, 0o755)


@clean_or_not
@pytest.mark.parametrize("way", ["at once", "no exchange"])
def test_other_directories_of_which_it_says_nothing(
    here: Path, user: str, clean: bool, way: str
) -> None:
    def act() -> None:
        target = make(here, {"": 0o755, "a": 0o700, "a/b": 0o711, "a/b/old": b"o", "link": "a"})
        before = snapshot(target)
        with playing(way), Staging(str(target)) as staging:
            build(where(staging), {"a/b/new": b"n", "a/given": 0o750, "link/b": 0o755, "n": 0o755})
            staging.commit(clean=clean, implicit={b"", b"a", b"a/b", b"link", b"link/b", b"n"})
        now = snapshot(target)
        modes = {path: mode for path, (kind, mode, *_) in now.items() if kind == "directory"}
        private, crossed = (0o755, 0o755) if clean else (0o700, 0o711)
        assert modes == {
            "": modes[""],
            "a": private,
            "a/b": crossed,
            "a/given": 0o750,
            "link": 0o755,
            "link/b": 0o755,
            "n": 0o755,
        }
        assert clean or now["a/b"][2] > before["a/b"][2]
        assert os.listdir(here) == ["target"]

    as_user(user, act)


@pytest.mark.parametrize("old", [{}, {"": 0o755, "x": b"x"}], ids=["missing", "full"])
def test_a_root_that_is_to_be_private(here: Path, old: Spec) -> None:
    target = make(here, old)
    with Staging(str(target)) as staging:
        os.utime(staging.fd, ns=(DAYS, DAYS))
        staging.commit(clean=False, root_in_archive=True)
    assert target.stat().st_mode & 0o7777 == 0o700
    assert target.stat().st_mtime_ns == DAYS


DAYS = 100 * 86_400 * 10**9 + 1


# --- another user's -----------------------------------------------------------------------------


@pytest.mark.skipif(not is_root(), reason="only root can make files of another user: run as root")
class TestForeign:
    @pytest.mark.parametrize("clean", BOTH)
    def test_a_directory_that_all_may_write_to(self, clean: bool) -> None:
        with ground("nobody", "disk") as here:
            target = make(here, {"": 0o777, "theirs": b"t"})
            before = snapshot(target)
            as_user("nobody", lambda: restore(target, {"": 0o711, "a": b"a"}, clean=clean))
            now = snapshot(target)
            assert target.stat().st_uid == 0
            assert set(now) == ({"", "a"} if clean else {"", "a", "theirs"})
            assert now[""][:2] == before[""][:2]  # the mode is not ours to change
            assert clean or now["theirs"] == before["theirs"]
            assert os.listdir(here) == ["target"]

    def test_what_cannot_be_removed_makes_a_clean_fail(self) -> None:
        with ground("nobody", "disk") as here:
            target = make(here, {"": 0o777, "theirs/x": b"x", "sub": 0o777, "sub/mine": b"m"})
            os.chown(target / "sub", NOBODY, NOBODY)
            before = snapshot(target)

            def act() -> None:
                with pytest.raises(LocalError, match="permission denied"):
                    restore(target, {"a": b"a", "sub/b": b"b"}, clean=True)

            as_user("nobody", act)
            # Its times are not ours to give back.
            assert {**snapshot(target), "": before[""]} == before
            assert os.listdir(here) == ["target"]

    def test_an_empty_one_can_be_removed(self) -> None:
        with ground("nobody", "disk") as here:
            target = make(here, {"": 0o777, "empty": 0o755})
            as_user("nobody", lambda: restore(target, {"a": b"a"}, clean=True))
            assert os.listdir(target) == ["a"]

    def test_root_keeps_whose_the_target_is(self) -> None:
        with ground("root", "disk") as here:
            empty: Spec = {"": 0o750}
            for spec in (empty, empty | {"x": b"x"}):
                target = make(here, spec)
                os.chown(target, NOBODY, NOBODY)
                with Staging(str(target)) as staging:
                    (where(staging) / "a").write_bytes(b"a")
                    staging.commit(clean=False)
                assert (target.stat().st_uid, target.stat().st_gid) == (NOBODY, NOBODY)
                assert target.stat().st_mode & 0o7777 == 0o750
