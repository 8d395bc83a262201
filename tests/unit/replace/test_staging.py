"""Staging: where the directory is made, what stays of it, and stale ones of other runs."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cacher.errors import LocalError, UsageError
from cacher.replace import mounts, staging, work_dirs
from cacher.replace.staging import Staging
from cacher.tree.remove import remove
from tests.support.staging_helpers import NOBODY, as_user, clear, ground, is_root, restore, where
from tests.support.tree_snapshots import snapshot
from tests.support.trees import build


@pytest.fixture(params=["root", "nobody"])
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def here(user: str) -> Iterator[Path]:
    with ground(user, "tmpfs") as place:
        yield place


def stage_and_fail(target: Path) -> Path:
    """Return where a run staged its tree that then failed."""
    with pytest.raises(KeyError), Staging(str(target)) as staging:
        place = where(staging)
        build(place, {"": 0o555, "read-only/a": b"a", "read-only": 0o555, "closed": 0})
        raise KeyError
    return place


# --- where ---------------------------------------------------------------------------------------


def test_it_is_private_and_beside_the_target(here: Path) -> None:
    with Staging(str(here / "new")) as staging:
        place = where(staging)
        assert place.parent == here
        assert place.name.startswith(".new.cacher-")
        assert place.stat().st_mode & 0o7777 == 0o700
        with pytest.raises(BlockingIOError):
            fcntl.flock(os.open(place, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert os.listdir(here) == []


def test_nothing_is_left_of_a_failure(here: Path, user: str) -> None:
    def act() -> None:
        (here / "old").mkdir()
        before = snapshot(here)
        stage_and_fail(here / "old")
        stage_and_fail(here / "new")
        stage_and_fail(here / "some/parents/new")
        assert {**snapshot(here), "": before[""]} == before

    as_user(user, act)


def test_closing_twice_is_once(here: Path) -> None:
    staging = Staging(str(here / "new"))
    fd = staging.fd
    staging.close()
    staging.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    with pytest.raises(ValueError, match="closed"):
        _ = staging.fd
    assert os.listdir(here) == []


def test_no_descriptor_is_leaked(here: Path) -> None:
    before = sorted(os.listdir("/dev/fd"))
    for spec in ({"a": b"1"}, {"a": b"2", "b/c": b"3"}, {"b/d": b"4"}):
        restore(here / "target", dict(spec))
    stage_and_fail(here / "target")
    with pytest.raises(UsageError):
        Staging(str(here / "target/a"))
    assert sorted(os.listdir("/dev/fd")) == before


def test_parents_are_made_as_the_umask_says(here: Path) -> None:
    before = os.umask(0o027)
    try:
        restore(here / "some/parents/new", {"": 0o755, "a": b"a"})
    finally:
        os.umask(before)
    assert (here / "some").stat().st_mode & 0o7777 == 0o750
    assert (here / "some/parents").stat().st_mode & 0o7777 == 0o750
    assert os.listdir(here / "some/parents") == ["new"]


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_stays_a_link(here: Path, dangling: bool) -> None:
    (here / "elsewhere").mkdir()
    (here / "link").symlink_to("elsewhere/real")
    if not dangling:
        (here / "elsewhere/real").mkdir()
        (here / "elsewhere/real/old").write_bytes(b"o")
    with Staging(str(here / "link")) as staging:
        assert where(staging).parent == here / "elsewhere"
        (where(staging) / "a").write_bytes(b"a")
        staging.commit(clean=False)
    assert os.readlink(here / "link") == "elsewhere/real"
    assert sorted(os.listdir(here / "link")) == (["a"] if dangling else ["a", "old"])
    assert os.listdir(here / "elsewhere") == ["real"]


@pytest.mark.parametrize("name", ["file", "link to file", "file/below", "fifo", ""])
def test_a_target_that_is_not_a_directory_is_refused(here: Path, name: str) -> None:
    (here / "file").write_bytes(b"f")
    (here / "link to file").symlink_to("file")
    os.mkfifo(here / "fifo")
    before = snapshot(here)
    with pytest.raises(UsageError, match="directory"):
        Staging(f"{here}/{name}" if name else "")
    assert snapshot(here) == before


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127])
def test_long_names(here: Path, name: str) -> None:
    other = here / (name[:-1] + "x")
    restore(here / name, {"a": b"a"})
    restore(here / name, {"b": b"b"})
    with Staging(str(here / name)) as one, Staging(str(other)) as two:
        prefixes = [where(staging).name[:-8] for staging in (one, two)]
        assert prefixes[0] != prefixes[1]  # neither takes the other's for its own
    assert os.listdir(here) == [name]
    assert sorted(os.listdir(here / name)) == ["a", "b"]


# --- inside --------------------------------------------------------------------------------------


@pytest.mark.parametrize("clean", [False, True], ids=["merge", "clean"])
@pytest.mark.parametrize("reason", ["working directory", "below it", "mount point", "device"])
def test_inside_the_target(
    here: Path, user: str, clean: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason == "mount point":
        monkeypatch.setattr(mounts, "mount_points", lambda: [os.fsencode(here / "target")])
    if reason == "device":
        monkeypatch.setattr(staging, "_is_elsewhere", lambda *_: True)

    def act() -> None:
        target = here / "target"
        build(here, {"target/old": b"o", "target/sub/x": b"x", "target": 0o555})
        if reason in ("working directory", "below it"):
            os.chdir(target / "sub" if reason == "below it" else target)
        before, inode = snapshot(target), target.stat().st_ino
        try:
            assert stage_and_fail(target).parent == target
            assert snapshot(target) == before
            assert os.listdir(here) == ["target"]
            restore(target, {"": 0o511, "sub/y": b"y"}, clean=clean)
        finally:
            os.chdir("/")
        assert target.stat().st_ino == inode
        assert snapshot(target).keys() == {"", "sub", "sub/y"} | (
            set() if clean else {"old", "sub/x"}
        )
        assert snapshot(target)[""][1] == 0o511
        assert os.listdir(here) == ["target"]

    as_user(user, act)


@pytest.mark.parametrize("clean", [False, True], ids=["merge", "clean"])
def test_below_a_parent_that_cannot_be_written_to(clean: bool) -> None:
    with ground("nobody", "tmpfs") as here:

        def act() -> None:
            target = here / "parent/target"
            build(here, {"parent/target/old": b"o", "parent": 0o555, "parent/target": 0o555})
            before = snapshot(here)
            assert stage_and_fail(target).parent == target
            assert snapshot(here) == before
            with pytest.raises(LocalError, match="missing: permission denied"):
                Staging(str(here / "parent/missing"))
            assert snapshot(here) == before
            restore(target, {"": 0o755, "new": b"n"}, clean=clean)
            assert sorted(os.listdir(target)) == (["new"] if clean else ["new", "old"])
            assert os.listdir(target.parent) == ["target"]

        as_user("nobody", act)


def test_a_parent_that_cannot_be_listed() -> None:
    with ground("nobody", "tmpfs") as here:

        def act() -> None:
            (here / "parent").mkdir()
            (here / "parent").chmod(0o300)
            for name in ("a", "b"):
                with Staging(str(here / "parent/target")) as staging:
                    os.mkdir(name, dir_fd=staging.fd)
                    staging.commit(clean=False)
            (here / "parent").chmod(0o700)
            assert os.listdir(here / "parent") == ["target"]
            assert sorted(os.listdir(here / "parent/target")) == ["a", "b"]

        as_user("nobody", act)


# --- room and other failures ---------------------------------------------------------------------


def test_room_is_required(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Staging(str(here / "new")) as staging:
        staging.require(1)
        with pytest.raises(LocalError, match=r"no space for .*new: \d+ bytes are needed") as caught:
            staging.require(1 << 62)
        assert caught.value.hint == "free some space"
        silent = SimpleNamespace(f_bavail=0, f_frsize=4096, f_blocks=0)
        monkeypatch.setattr(os, "fstatvfs", lambda _: silent)
        staging.require(1 << 62)
    assert os.listdir(here) == []


def test_a_full_disk_has_a_hint(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(LocalError, match="no space left") as caught:
        patch.setattr(os, "mkdir", full)
        Staging(str(here / "some/new"))
    assert caught.value.hint == "free some space"
    assert os.listdir(here) == []


def test_a_removed_working_directory(here: Path) -> None:
    (here / "gone").mkdir()
    os.chdir(here / "gone")
    try:
        (here / "gone").rmdir()
        with pytest.raises(LocalError, match="looking for new"):
            Staging("new")
        restore(here / "absolute", {"a": b"a"})
    finally:
        os.chdir("/")
    assert os.listdir(here) == ["absolute"]


# --- stale directories --------------------------------------------------------------------------


def leave(target: Path) -> Path:
    """A staging directory of a run that was killed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        staging = Staging(str(target))
        place = where(staging)
        build(place, {"": 0, "a/b": b"b", "a": 0, "c/d/e": b"e", "c/d": 0o111, "c": 0o555})
        os.write(writing, os.fsencode(place))
        time.sleep(60)
    os.close(writing)
    place = Path(os.fsdecode(os.read(reading, 4096)))
    os.close(reading)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert place.is_dir()
    return place


@pytest.mark.parametrize("first", ["beside", "inside"])
@pytest.mark.parametrize("then", ["beside", "inside"])
def test_stale_directories_are_removed(here: Path, user: str, first: str, then: str) -> None:
    def act() -> None:
        target = here / "target"
        build(here, {"target/old": b"o"})
        before = snapshot(target)
        os.chdir(target if first == "inside" else "/")
        leave(target)
        os.chdir(target if then == "inside" else "/")
        Staging(str(target)).close()
        os.chdir("/")
        assert os.listdir(here) == ["target"]
        assert snapshot(target) == before

    as_user(user, act)


def test_what_is_alive_or_another_targets_stays(here: Path) -> None:
    (here / ".one.cacher-zzzzzzzz").mkdir()
    (here / ".one.cacher-0123456789").mkdir()
    (here / ".one.cacher-01234567").write_bytes(b"a file's")
    (here / ".one.cacher-89abcdef").symlink_to(".one.cacher-zzzzzzzz")
    (here / ".other.cacher-01234567").mkdir()
    (here / ".other.cacher-lock").mkdir()
    (here / ".one.cacher-76543210").mkdir()
    stay = sorted(os.listdir(here))
    alive = os.open(here / ".one.cacher-76543210", os.O_RDONLY)
    fcntl.flock(alive, fcntl.LOCK_EX)
    restore(here / "one", {"a": b"a"})
    os.close(alive)
    assert sorted(os.listdir(here)) == sorted([*stay, "one"])
    assert sorted(os.listdir(here / "one")) == ["a"]


def test_stale_directories_may_stay(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = leave(here / "one")

    def refuse(name: bytes, parent: int) -> None:
        if name == os.fsencode(place.name):
            raise PermissionError(errno.EPERM, "immutable")
        remove(name, parent)

    with monkeypatch.context() as patch:
        patch.setattr(work_dirs, "remove", refuse)
        with Staging(str(here / "one")) as staging:
            (where(staging) / "a").write_bytes(b"a")
            staging.commit(clean=False)
    assert sorted(os.listdir(here)) == [place.name, "one"]
    clear(place)


@pytest.mark.skipif(not is_root(), reason="needs two users: run as root")
def test_stale_directories_of_other_users_stay() -> None:
    with ground("nobody", "tmpfs") as here:
        (here / ".one.cacher-01234567").mkdir(mode=0o700)
        as_user("nobody", lambda: restore(here / "one", {"a": b"a"}))
        assert sorted(os.listdir(here)) == [".one.cacher-01234567", "one"]


@pytest.mark.parametrize("how", ["removes it", "locks it"])
def test_another_run_that_takes_a_new_directory_for_stale(
    here: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making it and locking it there is a moment."""
    taken: list[bytes] = []
    held: list[int] = []
    real = os.open

    def meanwhile(path: str | bytes, flags: int, mode: int = 0o777, **options: int) -> int:
        is_ours = isinstance(path, bytes) and b".cacher-" in path and not path.endswith(b"lock")
        if is_ours and not taken:
            assert isinstance(path, bytes)
            taken.append(path)
            held.append(real(path, os.O_RDONLY, **options))
            fcntl.flock(held[0], fcntl.LOCK_EX)
            if how == "removes it":
                fd = real(path, flags, mode, **options)
                os.rmdir(path, **options)
                fcntl.flock(held[0], fcntl.LOCK_UN)
                return fd
        return real(path, flags, mode, **options)

    monkeypatch.setattr(os, "open", meanwhile)
    with Staging(str(here / "one")) as staging:
        assert os.fsencode(where(staging).name) not in taken
        assert where(staging).is_dir()
    os.close(held[0])
    assert len(taken) == 1


def test_a_file_system_without_locks(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = leave(here / "one")

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no locks here")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        restore(here / "one", {"a": b"a"})
    assert sorted(os.listdir(here)) == [place.name, "one"]  # it may be alive
    assert place.stat().st_mode & 0o7777 == 0
    Staging(str(here / "one")).close()
    assert os.listdir(here) == ["one"]


# --- locks ---------------------------------------------------------------------------------------


@pytest.fixture(params=["missing", "full", "working directory", "mount point", "closed parent"])
def shared(
    request: pytest.FixtureRequest, here: Path, user: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A target that several runs want at once, for which they meet here or there."""
    target = here / "deep/target"
    if request.param != "missing":
        target.mkdir(parents=True)
        build(target, {"old": b"o"})
        if user == "nobody" and is_root():
            for path in (target.parent, target, target / "old"):
                os.chown(path, NOBODY, NOBODY)
    if request.param == "working directory":
        monkeypatch.chdir(target)
    elif request.param == "mount point":
        monkeypatch.setattr(mounts, "mount_points", lambda: [os.fsencode(target)])
    elif request.param == "closed parent":
        target.parent.chmod(0o555)
    yield target
    if request.param == "closed parent":
        target.parent.chmod(0o755)


def test_runs_for_one_target_wait_for_each_other(shared: Path, user: str) -> None:
    def act() -> None:
        waited: list[list[str]] = []
        first = Staging(str(shared))

        def wait() -> None:
            waited.append(os.listdir(where(first)))
            if len(waited) == 3:
                first.commit(clean=False)
                first.close()

        (where(first) / "a").write_bytes(b"a")
        with Staging(f"{shared.parent}/../{shared.parent.name}/{shared.name}", wait) as second:
            (where(second) / "b").write_bytes(b"b")
            second.commit(clean=False)
        assert waited == [["a"]] * 3
        assert {"a", "b"} <= {*os.listdir(shared)} <= {"a", "b", "old"}
        assert os.listdir(shared.parent) == [shared.name]

    as_user(user, act)


def test_without_waiting_a_second_run_fails(here: Path) -> None:
    with Staging(str(here / "one")):
        before = sorted(os.listdir(here))
        with pytest.raises(LocalError, match="resource temporarily unavailable"):
            Staging(str(here / "one"))
        Staging(str(here / "other")).close()
        assert sorted(os.listdir(here)) == before
    assert os.listdir(here) == []


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_wait_that_is_interrupted_leaves_nothing(shared: Path, user: str) -> None:
    def act() -> None:
        with Staging(str(shared)):
            before = snapshot(shared.parent)
            with pytest.raises(KeyboardInterrupt):
                Staging(str(shared), interrupt)
            assert snapshot(shared.parent) == before
        assert not [*shared.parent.parent.rglob(".*.cacher-*")]
        assert not [*shared.parent.rglob(".cacher-*")]

    as_user(user, act)


def test_the_lock_of_a_killed_run_is_taken_over(shared: Path, user: str) -> None:
    def act() -> None:
        child = os.fork()
        if not child:
            Staging(str(shared))
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        restore(shared, {"a": b"a"})
        assert os.listdir(shared.parent) == [shared.name]
        assert {"a"} <= {*os.listdir(shared)} <= {"a", "old"}

    as_user(user, act)


def test_parents_that_another_run_takes_away(here: Path) -> None:
    """It made them, we opened them, and then it failed."""
    first = Staging(str(here / "made/by/first/one"))
    assert (here / "made/by/first").is_dir()
    with Staging(str(here / "made/by/first/one"), first.close) as second:
        (where(second) / "a").write_bytes(b"a")
        second.commit(clean=False)
    assert os.listdir(here / "made/by/first") == ["one"]


# --- mount points --------------------------------------------------------------------------------

TABLE = rb"""22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/vda rw
35 22 0:30 /a /mnt/with\040space\134 rw shared:7 master:1 - tmpfs none rw
36 22 0:31 / /mnt rw - tmpfs none rw
"""


def test_mount_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "table").write_bytes(TABLE)
    monkeypatch.setattr(mounts, "_TABLE", str(tmp_path / "table"))
    assert mounts.mount_points() == [b"/", b"/mnt/with space\\", b"/mnt"]
    assert mounts.is_mount_point("/mnt/with space\\")
    assert not mounts.is_mount_point("/mnt/with")
    assert mounts.mounts_below("/mnt") == ["/mnt/with space\\"]
    assert mounts.mounts_below("/mnt/with space\\") == []
    assert mounts.mounts_below("/") == ["/mnt/with space\\", "/mnt"]
    monkeypatch.setattr(mounts, "_TABLE", str(tmp_path / "absent"))
    assert mounts.mount_points() == []
    assert mounts.is_mount_point("/")


# --- removal -------------------------------------------------------------------------------------


def test_removing_what_is_not_there(here: Path) -> None:
    fd = os.open(here, os.O_RDONLY)
    remove(b"absent", fd)
    (here / "file").write_bytes(b"f")
    (here / "link").symlink_to(here)
    remove(b"file", fd)
    remove(b"link", fd)
    os.close(fd)
    assert os.listdir(here) == []


def test_removing_follows_no_link(here: Path) -> None:
    build(here, {"outside/a": b"a", "tree/b": b"b", "tree/link": "../outside"})
    clear(here / "tree")
    assert os.listdir(here / "outside") == ["a"]


def test_two_may_remove_the_same(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thing is gone by the time that it is to be removed."""
    build(here, {"tree/a/b/c": b"c", "tree/d": b"d"})
    unlink, rmdir = os.unlink, os.rmdir

    def twice(call: object) -> object:
        def wrapped(path: str, *, dir_fd: int) -> None:
            assert callable(call)
            call(path, dir_fd=dir_fd)
            call(path, dir_fd=dir_fd)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", twice(unlink))
        patch.setattr(os, "rmdir", twice(rmdir))
        clear(here / "tree")
    assert os.listdir(here) == []
