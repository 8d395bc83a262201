"""A restore that fails, is interrupted or killed at any step: the old tree or the new one."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cacher.errors import LocalError, Stopped
from cacher.replace import move_into_place
from cacher.replace.staging import Staging
from cacher.replace.undo_log import UndoLog
from tests.support.staging_helpers import (
    Faults,
    as_user,
    clear,
    fail,
    ground,
    make,
    merged,
    old_and_new,
    playing,
    restore,
    where,
)
from tests.support.tree_snapshots import Tree, snapshot
from tests.support.trees import Spec, build

pytestmark = pytest.mark.slow

clean_or_not = pytest.mark.parametrize("clean", [False, True], ids=["merge", "clean"])


@pytest.fixture(params=["root", "nobody"])
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- failures ------------------------------------------------------------------------------------

SMALL_OLD: Spec = {
    "": 0o755,
    "both/x": b"old x",
    "both/only": b"only",
    "file to directory": b"file",
    "directory to file/in": b"s",
    "directory to file": 0o555,
    "link to file": "both",
    "read-only": 0o555,
    "read-only/x": b"1",
}
SMALL_NEW: Spec = {
    "": 0o711,
    "both/x": b"new x",
    "both/new": b"n",
    "file to directory/a": b"1",
    "directory to file": b"now a file",
    "link to file": b"file",
    "read-only": 0o555,
    "read-only/x": b"new",
    "fresh": 0o555,
    "fresh/a": b"c",
}


def interrupt() -> None:
    raise Stopped(signal.SIGTERM)


def each_step(
    here: Path,
    clean: bool,
    way: str,
    act: Callable[[], object],
    check: Callable[[Path, Tree, Tree, bool], None],
    until: int | None = None,
) -> None:
    """Restore with `act` at the first call of the system, at the second, and so on to the last."""
    before, after = old_and_new(here, SMALL_OLD, SMALL_NEW, clean=clean)
    for at in range(1, 5000):
        target = make(here, SMALL_OLD)
        failed = False
        with playing(way), Staging(str(target)) as staging:
            build(where(staging), SMALL_NEW, 2)
            with Faults(at, act, until) as faults:
                try:
                    staging.commit(clean=clean, root_in_archive=True)
                except (LocalError, Stopped):
                    failed = True
        check(target, before, after, failed)
        if not faults.happened:
            assert at > 10
            assert snapshot(target) == after
            return
    pytest.fail("it never comes to an end")


def settled(target: Path) -> Tree:
    """Return the target after a next run that does nothing, which leaves nothing beside it."""
    Staging(str(target)).close()
    assert os.listdir(target.parent) == ["target"]
    return snapshot(target)


@clean_or_not
@pytest.mark.parametrize("act", [fail, interrupt])
@pytest.mark.parametrize("way", ["at once", "no exchange", "overlay"])
def test_a_failure_at_any_step_leaves_what_was(
    user: str, clean: bool, act: Callable[[], object], way: str
) -> None:
    def check(target: Path, before: Tree, after: Tree, failed: bool) -> None:
        if not failed or (act is interrupt and snapshot(target) == after):
            # Removing what was replaced may have failed, or been interrupted.
            assert snapshot(target) == after
            assert settled(target) == after
        else:
            assert snapshot(target) == before
            assert os.listdir(target.parent) == ["target"]

    with ground(user, "tmpfs") as here:
        as_user(user, lambda: each_step(here, clean, way, act, check))


def assert_each_file_is_whole(now: Tree, before: Tree, after: Tree) -> None:
    """Each is the old one or the new one, and those that both trees have are there."""
    for path, found in now.items():
        if found.kind != "directory":
            found = found._replace(first=path)  # it may still be linked aside
            assert found in (before.get(path), after.get(path)), path
    for path, found in before.items():
        if found[0] == "file" and path in after and after[path][0] == "file":
            assert path in now


@clean_or_not
@pytest.mark.parametrize("way", ["no exchange", "overlay"])
def test_a_disk_that_breaks_for_good_leaves_whole_files(user: str, clean: bool, way: str) -> None:
    """Not even undoing is possible, but the next restore is."""
    failures = 0

    def check(target: Path, before: Tree, after: Tree, failed: bool) -> None:
        nonlocal failures
        failures += failed
        assert_each_file_is_whole(snapshot(target), before, after)
        restore(target, SMALL_NEW, clean=clean)
        assert snapshot(target) == after
        assert os.listdir(target.parent) == ["target"]

    def act(here: Path) -> None:
        each_step(here, clean, way, fail, check, until=1 << 30)
        assert failures > 10

    with ground(user, "tmpfs") as place:
        as_user(user, lambda: act(place))


def test_a_failure_to_undo_keeps_what_was_replaced() -> None:
    with ground("root", "tmpfs") as here:
        target = make(here, {"": 0o755, "directory to file/in": b"old"})
        with (
            pytest.MonkeyPatch.context() as patch,
            pytest.raises(LocalError, match="could not be restored to what it was") as caught,
            Staging(str(target)) as staging,
        ):
            build(where(staging), {"": 0o755, "directory to file": b"new"}, 2)
            patch.setattr(move_into_place, "_swap", lambda *_, **__: False)
            patch.setattr(UndoLog, "undo", lambda *_: fail())
            rename = os.rename

            def once(*names: Any, **options: Any) -> None:
                if names[0] == names[1] == b"directory to file":
                    fail()
                rename(*names, **options)

            patch.setattr(os, "rename", once)
            staging.commit(clean=False)
        place, _, rest = caught.value.hint.partition(" ")
        assert rest == "holds what is missing; the next restore into DIR removes it"
        assert Path(place, "1/in").read_bytes() == b"old"
        assert settled(target).keys() == {""}


# Kills are of an ordinary user, who also has to open what is closed; root does less.


@clean_or_not
@pytest.mark.parametrize("way", ["at once", "no exchange", "overlay", "inside"])
def test_a_kill_at_any_step(clean: bool, way: str) -> None:
    """At once leaves one of the trees; in place, whole files. The next restore leaves no trace."""

    def act(here: Path) -> None:
        before, after = old_and_new(here, SMALL_OLD, SMALL_NEW, clean=clean)
        found = set()
        for at in range(1, 5000):
            target = make(here, SMALL_OLD)
            status = killed_at_step(target, at, way, clean=clean)
            assert status in (0, 9)
            now = snapshot(target)
            found.add(now == after)
            if way == "at once":
                assert now in (before, after)
            visible = {path: found for path, found in now.items() if ".cacher-" not in path}
            assert_each_file_is_whole(visible, before, after)
            restore(target, SMALL_NEW, clean=clean)
            assert snapshot(target) == after
            assert os.listdir(here) == ["target"]
            if not status:
                assert now == after
                assert found == {False, True}
                return
        pytest.fail("it never comes to an end")

    with ground("nobody", "tmpfs") as here:
        as_user("nobody", lambda: act(here))


def killed_at_step(target: Path, at: int, way: str, *, clean: bool) -> int:
    """Restore in a child that ends with status 9 at a call of the system; return its status."""
    pid = os.fork()
    if not pid:
        try:
            if way == "inside":
                os.chdir(target)
            with playing(way), Staging(str(target)) as staging:
                build(where(staging), SMALL_NEW, 2)
                with Faults(at, lambda: os._exit(9)):
                    staging.commit(clean=clean, root_in_archive=True)
                    staging.close()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


ONE: Spec = {"": 0o755, **{f"d{n}/f{n}": b"one" for n in range(30)}}
TWO: Spec = {"": 0o750, **{f"d{n}/f{n}": b"two" for n in range(20, 50)}}


def killed(act: Callable[[], object], seconds: float) -> None:
    """Kill a child that does `act` over and over."""
    pid = os.fork()
    if not pid:
        try:
            while True:
                act()
        except BaseException:
            os._exit(1)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@clean_or_not
def test_a_kill_at_any_moment(clean: bool) -> None:
    """Whichever of two trees is restored over the other: also within the exchange itself."""

    def act(here: Path) -> None:
        old, new = old_and_new(here, ONE, TWO, clean=True)
        valid = [old, new] if clean else [old, merged(old, new), merged(merged(old, new), old)]
        target = make(here, ONE)

        def switch() -> None:
            restore(target, TWO, clean=clean)
            restore(target, ONE, clean=clean, age=1)

        choice = random.Random(7)
        for _ in range(20):
            killed(switch, choice.uniform(0, 0.1))
            assert snapshot(target) in valid
            assert settled(target) in valid

    with ground("nobody", "tmpfs") as here:
        as_user("nobody", lambda: act(here))


@clean_or_not
@pytest.mark.parametrize("start", ["missing", "empty"])
def test_a_kill_at_any_moment_of_a_first_restore(start: str, clean: bool) -> None:
    def act(here: Path) -> None:
        _, new = old_and_new(here, {}, TWO, clean=True)
        target, gone = here / "target", here / "gone"

        def again() -> None:
            restore(target, TWO, clean=clean)
            target.rename(gone)
            clear(gone)
            if start == "empty":
                target.mkdir()

        choice = random.Random(start)
        found = set()
        for _ in range(20):
            killed(again, choice.uniform(0, 0.06))
            now = snapshot(target)
            assert now == new or set(now) <= {""}
            found.add(now == new)
            Staging(str(target)).close()
            assert snapshot(target) == now
            for path in (target, gone):
                if os.path.lexists(path):
                    clear(path)
            assert os.listdir(here) == []
        assert False in found

    with ground("nobody", "tmpfs") as here:
        as_user("nobody", lambda: act(here))
