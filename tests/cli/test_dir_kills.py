"""Restores that are killed or stopped, at any moment: DIR is the old tree or the new one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Spawn
from tests.fakes.faults import Fault, Stall
from tests.support.cli_helpers import BucketPlace, LocalPlace, blob, temporary_names
from tests.support.tree_snapshots import Tree, snapshot

pytestmark = pytest.mark.slow

KILLS = 12
"""Of each kind of restore; each step of one is tried in `tests/unit/replace`."""

LONG = 300.0
SOON = 100.0


def grow(root: Path, seed: int, count: int = 80) -> None:
    """A tree of its own for each seed, some names of which are in all of them."""
    for number in range(count):
        directory = root / f"{number % 7}" / f"{number % 3 + (number > 60) * seed}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{number}-{seed * (number % 2)}").write_bytes(blob(3000 + number, seed))


def ended_with(process: subprocess.Popen[bytes], number: int) -> str:
    """Stop a process; return its stderr."""
    process.send_signal(number)
    _, err = process.communicate(timeout=SOON)
    assert process.returncode == 128 + number
    return err.decode()


class Killing:
    """Restores two trees in turn, each run killed after a random time."""

    def __init__(self, spawn: Spawn, trees: list[Tree]) -> None:
        self._spawn = spawn
        self._trees = trees
        self.killed = self.moved = 0
        self._whole = LONG
        self._run(0, LONG)

    def again(self, number: int, *flags: str) -> None:
        """One run, killed at some moment of it, and a look at what it left."""
        before = snapshot(Path("d"))
        if self._run(number, random.Random(number).uniform(0.4, 1.3) * self._whole, *flags):
            self.killed += 1
        after = snapshot(Path("d"))
        assert after in (before, self._trees[number % 2])
        self.moved += after != before
        if after == before:
            # The machine may have become slower: the moments that matter are near the end.
            self._whole *= 1.02

    def _run(self, number: int, patience: float, *flags: str) -> bool:
        began = time.monotonic()
        process = self._spawn("-q", "dir", "download", f"k{number % 2}", "d", *flags)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return True
        assert process.returncode == 0
        self._whole = time.monotonic() - began
        return False


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("flags", [["--clean"], []], ids=["clean", "merge"])
def test_the_old_tree_or_the_new_one(
    cacher: Run, spawn: Spawn, local: LocalPlace, flags: list[str]
) -> None:
    """Both trees have the same names if they are merged, or there would be mixtures of many."""
    for number in range(2):
        grow(Path(f"tree{number}"), number if flags else 0)
        if not flags:
            for path in Path(f"tree{number}").rglob("*"):
                if path.is_file():
                    path.write_bytes(blob(2000, number))
        assert cacher("dir", "upload", f"k{number}", f"tree{number}").status == 0
    killing = Killing(spawn, [snapshot(Path("tree0")), snapshot(Path("tree1"))])
    number = 0
    while killing.killed < KILLS or killing.moved < 2:
        number += 1
        killing.again(number, *flags)
    assert cacher("dir", "download", "k0", "d", *flags).status == 0
    assert snapshot(Path("d")) == snapshot(Path("tree0"))
    assert sorted(os.listdir()) == ["d", "tree0", "tree1"]
    assert local.leftovers() == []


@pytest.mark.parametrize("flags", [["--clean"], []], ids=["clean", "merge"])
@pytest.mark.parametrize("call", ["rename", "link"])
def test_a_kill_in_an_in_place_restore_leaves_whole_files(
    cacher: Run, local: LocalPlace, flags: list[str], call: str
) -> None:
    """DIR is the working directory here, which is never swapped. The next restore completes it."""
    for number in range(2):
        grow(Path(f"tree{number}"), 0 if not flags else number, count=40)
        for path in Path(f"tree{number}").rglob("*"):
            if path.is_file():
                path.write_bytes(blob(2000, number))
        assert cacher("dir", "upload", f"k{number}", f"tree{number}").status == 0
    trees = [snapshot(Path("tree0")), snapshot(Path("tree1"))]
    states = set()
    for nth in (1, 5, 20):
        assert cacher("dir", "download", "k0", "d", "--clean").status == 0
        killed_at(call, nth, "k1", *flags)
        # A file may still be linked aside.
        now = {
            path: found._replace(first=path)
            for path, found in snapshot(Path("d")).items()
            if ".cacher-" not in path and Path("d", path).is_file()
        }
        for name, found in now.items():
            assert found in (trees[0].get(name), trees[1].get(name)), name
        states.add(frozenset(now.items()))
        with chdir("d"):
            assert cacher("dir", "download", "k1", ".", *flags).status == 0
        assert snapshot(Path("d")) == trees[1]
        assert sorted(os.listdir()) == ["d", "tree0", "tree1"]
    assert len(states) == 3


def killed_at(call: str, nth: int, *arguments: str) -> None:
    """Restore into the working directory `d` in a process killed at a call that moves entries."""
    script = (
        "import os, signal, sys\n"
        "from cacher.replace.merge_in_place import InPlaceMerge\n"
        f"run, call, count = InPlaceMerge.run, os.{call}, 0\n"
        "def counted(*names, **options):\n"
        "    global count\n"
        "    count += 1\n"
        f"    if count == {nth}:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return call(*names, **options)\n"
        "def patched(merge):\n"
        f"    os.{call} = counted\n"
        "    run(merge)\n"
        f"    os.{call} = call\n"
        "InPlaceMerge.run = patched\n"
        "from cacher.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    key, *flags = arguments
    command = [sys.executable, "-c", script, "-q", "dir", "download", key, ".", *flags]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environ, cwd="d", check=False, timeout=SOON)
    assert done.returncode in (-signal.SIGKILL, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
class TestSignals:
    def test_while_an_entry_is_read(
        self, spawn: Spawn, cacher: Run, bucket: BucketPlace, number: int
    ) -> None:
        Path("tree").mkdir()
        Path("tree/big").write_bytes(blob(20_000_000))
        assert cacher("dir", "upload", "k", "tree").status == 0
        stall = Fault(Stall(LONG, after=100_000), operation="GetObject", nth=3, times=None)
        bucket.server.inject(stall)
        Path("d").mkdir()
        Path("d/old").write_text("old")
        process = spawn("dir", "download", "k", "d")
        end = time.monotonic() + SOON
        while not any(name.startswith(".d.cacher-") for name in os.listdir()):
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(0.3)
        err = ended_with(process, number)
        assert err == f"cacher: stopped by {signal.Signals(number).name}\n"
        assert sorted(snapshot(Path("d"))) == ["", "old"]
        assert temporary_names(Path()) == []

    def test_while_parts_are_sent(self, spawn: Spawn, bucket: BucketPlace, number: int) -> None:
        Path("tree").mkdir()
        Path("tree/big").write_bytes(blob(40_000_000))
        bucket.server.inject(Fault(Stall(LONG), operation="UploadPart", times=None))
        process = spawn("dir", "upload", "k", "tree")
        end = time.monotonic() + SOON
        while not bucket.server.uploads:
            assert time.monotonic() < end
            time.sleep(0.01)
        ended_with(process, number)
        assert bucket.keys() == bucket.leftovers() == []
