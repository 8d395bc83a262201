"""Progress: a bar that fits its terminal, a line now and then in a log."""

from __future__ import annotations

import threading

import pytest

from cacher import report as report_module
from tests.unit.screens import LONG, Bench, Terminal


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other without a pause."""
    monkeypatch.setattr(report_module, "TERMINAL_INTERVAL", 0.001)
    monkeypatch.setattr(report_module, "LOG_INTERVAL", 0.001)


def wait_for_a_look(bench: Bench) -> None:
    while bench.stderr.drawn.acquire(blocking=False):
        pass
    for _ in range(2):  # the first may have been under way
        assert bench.stderr.drawn.acquire(timeout=LONG)


@pytest.mark.usefixtures("_impatient")
def test_a_bar_on_a_terminal() -> None:
    bench = Bench(Terminal())
    with bench.report.progress("uploading k", 4096) as progress:
        bench.now += 2.0
        progress.add(1024)
        wait_for_a_look(bench)
    last = bench.told.split("\r\x1b[K")[-2]
    assert last == "uploading k [######                  ] 25% of 4.0 KiB, 512 B/s ETA 6.0 s"
    assert bench.told.endswith("\r\x1b[K")  # nothing of it stays
    assert "\n" not in bench.told


@pytest.mark.usefixtures("_impatient")
def test_lines_in_a_log() -> None:
    bench = Bench()
    with bench.report.progress("uploading k", 4096) as progress:
        bench.now += 2.0
        progress.add(1024)
        wait_for_a_look(bench)
    assert "\x1b" not in bench.told
    assert "\r" not in bench.told
    assert bench.told.endswith("cacher: uploading k 25% of 4.0 KiB, 512 B/s ETA 6.0 s\n")


def test_a_log_stays_quiet_for_a_while() -> None:
    bench = Bench()
    with bench.report.progress("uploading k", 4096) as progress:
        progress.add(4096)
    assert bench.told == ""


@pytest.mark.usefixtures("_impatient")
def test_quiet_is_without_progress() -> None:
    bench, before = Bench(Terminal(), quiet=True), threading.active_count()
    with bench.report.progress("uploading k", 10) as progress:
        progress.add(10)
        assert threading.active_count() == before
    assert bench.told == ""
    assert progress.count == 10


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("total", "added", "seconds", "text"),
    [
        (None, 2048, 2.0, "k 2.0 KiB, 1.0 KiB/s"),
        (0, 0, 2.0, "k 0 B, 0 B/s"),
        (10, 0, 2.0, "k 0% of 10 B, 0 B/s"),
        (10, 10, 2.0, "k 100% of 10 B, 5 B/s"),
        (10, 30, 2.0, "k 100% of 10 B, 15 B/s"),
        (10, 0, 0.0, "k 0% of 10 B, 0 B/s"),
    ],
)
def test_progress_that_is_hard_to_tell(
    total: int | None, added: int, seconds: float, text: str
) -> None:
    bench = Bench()
    with bench.report.progress("k", total) as progress:
        bench.now += seconds
        progress.add(added)
        wait_for_a_look(bench)
    assert bench.told.splitlines()[-1] == f"cacher: {text}"
    assert progress.seconds == seconds


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("doing", ["downloading " + "k" * 479, "é" * 200, "\x1b" * 40])
def test_a_bar_fits_its_terminal(doing: str) -> None:
    """A line that wraps cannot be drawn over, and would fill the screen."""
    bench = Bench(Terminal())
    with bench.report.progress(doing, 5 * 1024**3) as progress:
        bench.now += 1000.0
        progress.add(1024**3)
        wait_for_a_look(bench)
    bars = [bar for bar in bench.told.split("\r\x1b[K") if bar]
    assert {len(bar) for bar in bars} == {79}
    assert bars[-1].endswith(" 20% of 5.0 GiB, 1.0 MiB/s ETA 1:06:40")
    assert "…" in bars[-1]


def test_a_line_clears_the_bar_first() -> None:
    bench = Bench(Terminal())
    bench.report.draw("bar")
    bench.report.warn("w")
    bench.report.say("s")
    assert bench.told == "\r\x1b[Kbar\r\x1b[Kcacher: warning: w\ncacher: s\n"


def test_what_moves_again_is_taken_back() -> None:
    progress = Bench().report.progress("k", 10)

    def move() -> None:
        progress.add(3)
        progress.add(-2)

    threads = [threading.Thread(target=move) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress.count == 8
