"""Whole processes timed in turn, A B C A B C, so that a drifting machine hits all alike."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Contender:
    """A command, and what must be done before each of its runs, untimed."""

    name: str
    command: Sequence[str]
    prepare: Callable[[], None] = lambda: None
    stdin: str | None = None
    stdout: str = os.devnull


@dataclass
class Runs:
    """Wall-clock seconds and peak memory (MiB) of one contender's runs."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


def race(
    contenders: Sequence[Contender], *, rounds: int, environ: Mapping[str, str]
) -> dict[str, Runs]:
    """Each contender once a round, after one round that does not count."""
    results = {contender.name: Runs() for contender in contenders}
    for round_ in range(rounds + 1):
        for contender in contenders:
            contender.prepare()
            seconds, cpu, memory = _timed(contender, environ)
            if round_:
                runs = results[contender.name]
                runs.seconds.append(seconds)
                runs.cpu.append(cpu)
                runs.memory.append(memory)
    return results


def show(title: str, results: Mapping[str, Runs], *, first: str) -> None:
    """A table, and the ratio of `first` to each of the others, pair by pair."""
    print(f"\n{title}")
    for name, runs in results.items():
        print(
            f"  {name:<28} {statistics.median(runs.seconds):7.3f} s"
            f"  ({min(runs.seconds):.3f} to {max(runs.seconds):.3f})"
            f"  cpu {statistics.median(runs.cpu):6.2f} s  peak {max(runs.memory):6.1f} MiB"
        )
    ours = results[first]
    for name, runs in results.items():
        if name != first:
            print(
                f"  {first} / {name}: {_ratio(ours.seconds, runs.seconds)}"
                f"  cpu {_ratio(ours.cpu, runs.cpu)}"
            )


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"


def _timed(contender: Contender, environ: Mapping[str, str]) -> tuple[float, float, float]:
    with (
        open(contender.stdin or os.devnull, "rb") as stdin,
        open(contender.stdout, "wb") as stdout,
    ):
        start = time.perf_counter()
        process = subprocess.Popen(
            contender.command, env=dict(environ), stdin=stdin, stdout=stdout, stderr=subprocess.PIPE
        )
        peak = Peak(process.pid)
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stderr.close()
    if process.returncode:
        sys.exit(f"{contender.name} failed: {said.decode(errors='replace')}")
    return seconds, usage.ru_utime + usage.ru_stime, peak.mib()


class Peak:
    """The peak memory of a process, as its status tells it while it runs.

    Not `ru_maxrss`, which begins with the memory of the process that it was forked from.
    """

    def __init__(self, pid: int) -> None:
        self._path = f"/proc/{pid}/status"
        self._kib = 0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def mib(self) -> float:
        """Once the process has ended."""
        self._thread.join()
        return self._kib / 1024

    def _watch(self) -> None:
        while True:
            try:
                with open(self._path) as status:
                    match = re.search(r"^VmHWM:\s+(\d+) kB", status.read(), re.MULTILINE)
            except OSError:
                return
            if not match:
                return  # a zombie has no memory
            self._kib = int(match[1])
            time.sleep(0.02)
