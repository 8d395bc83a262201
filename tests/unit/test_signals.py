"""A signal's exception reaches the main thread, even if Python drops it the first time."""

from __future__ import annotations

import subprocess
import sys
import time

LOST = """
import os, signal, sys, time
from cacher import signals
from cacher.errors import Stopped

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)  # its exception is dropped here
        time.sleep(0)

signals.catch()
try:
    item = Finalized()
    del item
    time.sleep(20)
except Stopped as stopped:
    signals.release()
    sys.exit(stopped.status)
"""

CLEANING = """
import os, signal, sys, time
from cacher import signals
from cacher.errors import Stopped

signals.catch()
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
    signals.release()
    time.sleep(0.7)
    sys.exit(stopped.status)
"""


def run(program: str) -> tuple[int, str, float]:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
    )
    return done.returncode, done.stdout, time.monotonic() - began


def test_an_exception_that_got_lost_is_raised_again() -> None:
    status, _, seconds = run(LOST)
    assert status == 128 + 15
    assert seconds < 10


def test_cleaning_up_is_left_alone() -> None:
    assert run(CLEANING)[:2] == (128 + 15, "cleaned\n")
