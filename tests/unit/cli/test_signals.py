"""A signal's exception reaches the main thread, even if Python drops it the first time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LOST = """
import os, signal, sys, time
from cacher.cli import signals
from cacher.errors import Stopped

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)  # its exception is dropped here
        time.sleep(0)

signals.install_handlers(time.monotonic)
try:
    item = Finalized()
    del item
    time.sleep(20)
except Stopped as stopped:
    signals.restore_default_soon()
    sys.exit(stopped.status)
"""

LATE = """
import os, signal, sys, time
from cacher.cli import signals
from cacher.errors import TimedOut

class Finalized:
    def __del__(self):
        time.sleep(0.3)  # the exception is dropped here

signals.install_handlers(time.monotonic)
signals.start_timeout(0.1, time.monotonic)
try:
    item = Finalized()
    del item
    time.sleep(20)
except TimedOut as timeout:
    sys.exit(42)
"""

CLEANING = """
import os, signal, sys, time
from cacher.cli import signals
from cacher.errors import Stopped

signals.install_handlers(time.monotonic)
try:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)
    finally:
        try:
            raise ValueError
        except ValueError:
            time.sleep(1.3)  # longer than it takes to look twice
        print("cleaned")
except Stopped as stopped:
    signals.restore_default_soon()
    time.sleep(0.7)
    sys.exit(stopped.status)
"""


HELD_UP = """
import os, signal, sys, time
from cacher.cli import signals

signal.signal(signal.SIGINT, signal.SIG_IGN)
signals.install_handlers(time.monotonic)
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)
finally:
    for name in sys.argv[1:]:
        if name.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, name))
        else:
            time.sleep(float(name))
    print("cleaned", flush=True)
    os._exit(0)
"""


RELEASED = """
import os, signal, sys, time
from cacher.cli import signals
from cacher.errors import Stopped

signals.install_handlers(time.monotonic)
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)
except Stopped:
    signals.restore_default_soon()
for _ in range(2):
    os.kill(os.getpid(), signal.SIGTERM)
    print("sent", flush=True)
    time.sleep(1)
time.sleep(20)
"""


STRUCK = """
import os, signal, time
from cacher.cli import signals
from cacher.errors import Stopped, TimedOut

signals.install_handlers(time.monotonic)
assert signals.ended_at() is None
signals.start_timeout(0.05, time.monotonic)
for late, send in ((TimedOut, lambda: None), (Stopped, lambda: os.kill(os.getpid(), 15))):
    began = time.monotonic()
    try:
        send()
        time.sleep(20)
    except late:
        assert began <= signals.ended_at() <= time.monotonic()
print("both")
"""


def run(program: str, *argv: str) -> tuple[int, str, float]:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, *argv], capture_output=True, text=True, timeout=600
    )
    return done.returncode, done.stdout, time.monotonic() - began


def test_an_exception_that_got_lost_is_raised_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST], capture_output=True, text=True, timeout=600, check=False
    )
    assert (done.returncode, done.stderr) == (128 + 15, "")


def test_at_once() -> None:
    """A command that is nearly done would be done before it is looked again."""
    quick = LOST.replace("sleep(20)", "sleep(0.2)")
    assert run(quick)[0] == 128 + 15


def test_a_time_out_that_got_lost_is_raised_again() -> None:
    assert run(LATE)[0] == 42


def test_what_else_is_dropped_is_shown() -> None:
    other = LOST.replace("os.kill(os.getpid(), signal.SIGTERM)", "raise ValueError('other')")
    done = subprocess.run(
        [sys.executable, "-c", other.replace("sleep(20)", "sleep(0)")],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0
    assert "ValueError: other" in done.stderr


HALF_MADE = """
import os, signal, sys, time
from cacher.cli import signals
from cacher.errors import Stopped

class Reader:
    def __init__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)
        self.socket = None
    def __del__(self):
        self.socket.close()  # which a signal in `__init__` has kept from being there

signals.install_handlers(time.monotonic)
try:
    Reader()
except Stopped as stopped:
    signals.restore_default_soon()
    status = stopped.status
sys.exit(status)
"""


def test_an_object_that_a_signal_left_half_made_says_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HALF_MADE], capture_output=True, text=True, timeout=600, check=False
    )
    assert (done.returncode, done.stderr) == (128 + 15, "")


def test_cleaning_up_is_left_alone() -> None:
    assert run(CLEANING)[:2] == (128 + 15, "cleaned\n")


@pytest.mark.parametrize("again", ["SIGTERM", "SIGHUP"])
def test_cleaning_up_is_undone_by_none_of_several_at_once(again: str) -> None:
    assert run(HELD_UP, again, "0.2", again, "0.3", again)[:2] == (0, "cleaned\n")


@pytest.mark.parametrize("again", ["SIGTERM", "SIGHUP"])
def test_cleaning_up_is_ended_by_another_one_later(again: str) -> None:
    status, output, seconds = run(HELD_UP, again, "1.3", again, "15")
    assert (status, output) == (-getattr(signal, again), "")
    assert seconds < 10


def test_what_was_ignored_at_the_start_stays_so() -> None:
    assert run(HELD_UP, "SIGINT", "1.3", "SIGINT")[:2] == (0, "cleaned\n")


def test_another_one_ends_what_goes_on_after_cleaning_up() -> None:
    status, output, seconds = run(RELEASED)
    assert (status, output) == (-signal.SIGTERM, "sent\n")
    assert seconds < 10


def test_when_the_run_was_ended_is_known() -> None:
    assert run(STRUCK)[:2] == (0, "both\n")


TAKES_LONG = """
import os, sys, time
if sys.argv[1] == "signal":
    os.kill(os.getpid(), 15)
time.sleep(0.3)
print("loaded")
"""

LOADING = """
import sys, time
from cacher.cli import signals
from cacher.errors import Stopped, TimedOut
signals.install_handlers(time.monotonic)
if sys.argv[1] == "time":
    signals.start_timeout(0.05, time.monotonic)
try:
    import takes_long
    time.sleep(600)
except (Stopped, TimedOut) as ended:
    print(type(ended).__name__)
"""


@pytest.mark.parametrize(("ended_by", "raised"), [("signal", "Stopped"), ("time", "TimedOut")])
def test_a_module_is_loaded_to_its_end(tmp_path: Path, ended_by: str, raised: str) -> None:
    """What is raised there may be hidden by an error of the module's own, or be lost."""
    (tmp_path / "takes_long.py").write_text(TAKES_LONG)
    done = subprocess.run(
        [sys.executable, "-c", LOADING, ended_by],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"loaded\n{raised}\n"), done.stderr
