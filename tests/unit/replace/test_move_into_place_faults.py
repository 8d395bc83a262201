"""Publishing that fails, is interrupted or killed at any step: the old tree or the new one."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from cacher.errors import LocalError, Stopped
from cacher.replace import move_into_place
from cacher.replace.staging import Staging
from tests.support.staged_trees import (
    Faults,
    Seen,
    Spec,
    as_user,
    build,
    clear,
    fail,
    ground,
    make,
    merged,
    old_and_new,
    playing,
    restore,
    seen,
    where,
)

clean_or_not = pytest.mark.parametrize("clean", [False, True], ids=["merge", "clean"])


@pytest.fixture(params=["root", "nobody"])
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "not here")

    monkeypatch.setattr(move_into_place, "exchange", refuse)


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
    check: Callable[[Path, dict[str, Seen], dict[str, Seen], bool], None],
    until: int | None = None,
) -> None:
    """Publish with `act` at the first call of the system, at the second, and so on to the last."""
    before, after = old_and_new(here, SMALL_OLD, SMALL_NEW, clean=clean)
    for at in range(1, 5000):
        target = make(here, SMALL_OLD)
        failed = False
        with playing(way), Staging(str(target)) as staging:
            build(where(staging), SMALL_NEW, 2)
            with Faults(at, act, until) as faults:
                try:
                    staging.publish(clean=clean, root_told=True)
                except (LocalError, Stopped):
                    failed = True
        check(target, before, after, failed)
        if not faults.happened:
            assert at > 10
            assert seen(target) == after
            return
    pytest.fail("it never comes to an end")


def settled(target: Path) -> dict[str, Seen]:
    """What the target is once the next run has looked at it. Nothing is left but the target."""
    Staging(str(target)).close()
    assert os.listdir(target.parent) == ["target"]
    return seen(target)


@clean_or_not
@pytest.mark.parametrize("act", [fail, interrupt])
@pytest.mark.parametrize("way", ["at once", "no exchange", "overlay"])
def test_a_failure_at_any_step_leaves_what_was(
    user: str, clean: bool, act: Callable[[], object], way: str
) -> None:
    def check(target: Path, before: dict[str, Seen], after: dict[str, Seen], failed: bool) -> None:
        if not failed or (act is interrupt and seen(target) == after):
            # Removing what was replaced may have failed, or been interrupted.
            assert seen(target) == after
            assert settled(target) == after
        else:
            assert seen(target) == before
            assert os.listdir(target.parent) == ["target"]

    with ground(user, "tmpfs") as here:
        as_user(user, lambda: each_step(here, clean, way, act, check))


@clean_or_not
@pytest.mark.parametrize("way", ["no exchange", "overlay"])
def test_a_disk_that_breaks_for_good_is_no_loss(user: str, clean: bool, way: str) -> None:
    """Not even undoing is possible: the next run finishes, or nothing was begun."""
    finished = 0

    def check(target: Path, before: dict[str, Seen], after: dict[str, Seen], failed: bool) -> None:
        nonlocal finished
        now = settled(target)
        assert now in (before, after)
        finished += failed and now == after

    def act(here: Path) -> None:
        each_step(here, clean, way, fail, check, until=1 << 30)
        assert finished > 10

    with ground(user, "tmpfs") as place:
        as_user(user, lambda: act(place))


@clean_or_not
@pytest.mark.parametrize("way", ["at once", "no exchange", "overlay", "inside"])
def test_a_kill_at_any_step(user: str, clean: bool, way: str) -> None:
    def act(here: Path) -> None:
        before, after = old_and_new(here, SMALL_OLD, SMALL_NEW, clean=clean)
        found = set()
        for at in range(1, 5000):
            target = make(here, SMALL_OLD)
            pid = os.fork()
            if not pid:
                try:
                    if way == "inside":
                        os.chdir(target)
                    with playing(way), Staging(str(target)) as staging:
                        build(where(staging), SMALL_NEW, 2)
                        with Faults(at, lambda: os._exit(9)):
                            staging.publish(clean=clean, root_told=True)
                            staging.close()
                except BaseException:
                    os._exit(1)
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if way == "at once":
                assert seen(target) in (before, after)
            assert status in (0, 9)
            now = settled(target)
            if way == "inside":
                # Between a change in the target and giving it back its time there is a moment.
                time_of = {mode: time for _, mode, time, _ in (before[""], after[""])}
                kind, mode, _, content = now[""]
                now[""] = (kind, mode, time_of[mode], content)
            assert now in (before, after), at
            found.add(now == after)
            if not status:
                assert now == after
                assert found == {False, True}
                return
        pytest.fail("it never comes to an end")

    with ground(user, "tmpfs") as here:
        as_user(user, lambda: act(here))


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
def test_a_kill_at_any_moment(user: str, clean: bool) -> None:
    """Whichever of two trees is restored over the other."""

    def act(here: Path) -> None:
        old, new = old_and_new(here, ONE, TWO, clean=True)
        valid = [old, new] if clean else [old, merged(old, new), merged(merged(old, new), old)]
        target = make(here, ONE)

        def switch() -> None:
            restore(target, TWO, clean=clean)
            restore(target, ONE, clean=clean, age=1)

        choice = random.Random(7)
        for _ in range(40):
            killed(switch, choice.uniform(0, 0.1))
            assert seen(target) in valid
            assert settled(target) in valid

    with ground(user, "tmpfs") as here:
        as_user(user, lambda: act(here))


@clean_or_not
@pytest.mark.parametrize("start", ["missing", "empty"])
def test_a_kill_at_any_moment_of_a_first_restore(user: str, start: str, clean: bool) -> None:
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
            now = seen(target)
            assert now == new or set(now) <= {""}
            found.add(now == new)
            Staging(str(target)).close()
            assert seen(target) == now
            for path in (target, gone):
                if os.path.lexists(path):
                    clear(path)
            assert os.listdir(here) == []
        assert False in found

    with ground(user, "tmpfs") as here:
        as_user(user, lambda: act(here))


@pytest.mark.usefixtures("no_exchange")
def test_a_move_into_a_target_that_is_gone_is_forgotten() -> None:
    with ground("root", "tmpfs") as here:
        target = make(here, SMALL_OLD)
        killed_while_moving(target)
        clear(target)
        target.mkdir()
        (target / "other").write_bytes(b"o")
        before = seen(target)
        assert settled(target) == before


@pytest.mark.usefixtures("no_exchange")
def test_what_somebody_else_left_is_not_finished() -> None:
    """Or anybody who may write beside it could have root move their files into it."""
    with ground("root", "tmpfs") as here:
        target = make(here, SMALL_OLD)
        killed_while_moving(target)
        before = seen(target)
        (left,) = [path for path in here.iterdir() if path.name.endswith(".merge")]
        left.chmod(0o777)
        assert settled(target) == before


@pytest.mark.usefixtures("no_exchange")
def test_a_move_that_cannot_be_finished_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with ground("root", "tmpfs") as here:
        target = make(here, SMALL_OLD)
        killed_while_moving(target)
        with monkeypatch.context() as patch, pytest.raises(LocalError, match="finishing") as caught:
            patch.setattr(os, "rename", lambda *_, **__: fail())
            Staging(str(target))
        (left,) = [path for path in here.iterdir() if path.name != "target"]
        assert left.name in caught.value.hint
        settled(target)


def killed_while_moving(target: Path) -> None:
    """A run that was killed after it had moved one name into the target."""
    pid = os.fork()
    if not pid:
        rename = os.rename

        def once(*names: Any, **options: Any) -> None:
            rename(*names, **options)
            if names[0] == b"x":
                os._exit(9)

        os.rename = cast("Any", once)
        restore(target, SMALL_NEW)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
