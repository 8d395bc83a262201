"""Progress: a bar that fits its terminal, a line now and then in a log."""

from __future__ import annotations

import io
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacher import progress as progress_module
from cacher.progress import Progress
from cacher.report import Report
from tests.support.fake_terminal import LONG_TIMEOUT, Log, ReportBench, Terminal
from tests.support.terminal import Terminal as PseudoTerminal


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other without a pause."""
    monkeypatch.setattr(progress_module, "TERMINAL_INTERVAL", 0.001)
    monkeypatch.setattr(progress_module, "LOG_INTERVAL", 0.001)


def wait_for_a_look(bench: ReportBench) -> None:
    while bench.stderr.drawn.acquire(blocking=False):
        pass
    for _ in range(2):  # the first may have been under way
        assert bench.stderr.drawn.acquire(timeout=LONG_TIMEOUT)


@pytest.mark.usefixtures("_impatient")
def test_a_bar_on_a_terminal() -> None:
    bench = ReportBench(Terminal())
    with Progress(bench.report, "uploading k", 4096) as progress:
        bench.now += 2.0
        progress.add(1024)
        wait_for_a_look(bench)
    last = bench.shown.split("\r\x1b[K")[-2]
    assert last == "uploading k [######                  ] 25% of 4.0 KiB, 512 B/s ETA 6.0 s"
    assert bench.shown.endswith("\r\x1b[K")  # nothing of it stays
    assert "\n" not in bench.shown


@pytest.mark.usefixtures("_impatient")
def test_lines_in_a_log() -> None:
    bench = ReportBench()
    with Progress(bench.report, "uploading k", 4096) as progress:
        bench.now += 2.0
        progress.add(1024)
        wait_for_a_look(bench)
    assert "\x1b" not in bench.shown
    assert "\r" not in bench.shown
    assert bench.shown.endswith("cacher: uploading k 25% of 4.0 KiB, 512 B/s ETA 6.0 s\n")


def test_a_log_stays_quiet_for_a_while() -> None:
    bench = ReportBench()
    with Progress(bench.report, "uploading k", 4096) as progress:
        progress.add(4096)
    assert bench.shown == ""


@pytest.mark.usefixtures("_impatient")
def test_quiet_is_without_progress() -> None:
    bench, before = ReportBench(Terminal(), quiet=True), threading.active_count()
    with Progress(bench.report, "uploading k", 10) as progress:
        progress.add(10)
        assert threading.active_count() == before
    assert bench.shown == ""
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
    bench = ReportBench()
    with Progress(bench.report, "k", total) as progress:
        bench.now += seconds
        progress.add(added)
        wait_for_a_look(bench)
    assert bench.shown.splitlines()[-1] == f"cacher: {text}"
    assert progress.seconds == seconds


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("doing", ["downloading " + "k" * 479, "é" * 200, "\x1b" * 40])
def test_a_bar_fits_its_terminal(doing: str) -> None:
    """A line that wraps cannot be drawn over, and would fill the screen."""
    bench = ReportBench(Terminal())
    with Progress(bench.report, doing, 5 * 1024**3) as progress:
        bench.now += 1000.0
        progress.add(1024**3)
        wait_for_a_look(bench)
    bars = [bar for bar in bench.shown.split("\r\x1b[K") if bar]
    assert {len(bar) for bar in bars} == {79}
    assert bars[-1].endswith("… 20% of 5.0 GiB, 1.0 MiB/s")


def progress_of(bench: ReportBench, key: str = "k", **counts: int) -> Progress:
    """100 s into a transfer, a fifth of which is done."""
    progress = Progress(bench.report, f"downloading {key}")
    progress.total = counts.get("total", 5 * 1024**3)
    bench.now += 100.0
    progress.add(counts.get("count", 1024**3))
    return progress


KEY = "node-linux-8d969eef6ecad3c2"

LINES = {
    # What a key of 27 letters, a bar, numbers and an estimate become, by columns.
    20: "downloading no… 20%",
    40: "downloading node-linux-… 20% of 5.0 GiB",
    60: "downloading node-linux-8d969eef… 20% of 5.0 GiB, 10.2 MiB/s",
    80: f"downloading {KEY} [##        ] 20% of 5.0 GiB, 10.2 MiB/s",
    120: f"downloading {KEY} [####                    ] 20% of 5.0 GiB, 10.2 MiB/s ETA 6:40",
}


@pytest.mark.parametrize("columns", LINES)
def test_the_key_has_the_space_that_is_left(columns: int) -> None:
    assert progress_of(ReportBench(), KEY)._bar(columns - 1) == LINES[columns]


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("columns", LINES)
def test_a_terminal_of_that_width(columns: int) -> None:
    with PseudoTerminal() as terminal, open(terminal.slave, "w", closefd=False) as stderr:
        terminal.resize(columns)
        now = [0.0]
        report = Report(stdout=io.StringIO(), stderr=stderr, monotonic=lambda: now[0])
        with Progress(report, f"downloading {KEY}") as progress:
            now[0] = 100.0
            progress.total = 5 * 1024**3
            progress.add(1024**3)
            shown = terminal.read_until(f"\r\x1b[K{LINES[columns]}\r\x1b[K")
        assert all(len(line) < columns for line in shown.split("\r\x1b[K"))
        assert "\n" not in shown


def test_a_bar_shrinks_for_the_estimate() -> None:
    line = progress_of(ReportBench(), "go.tar.gz")._bar(79)
    assert line.startswith("downloading go.tar.gz [##")
    assert line.endswith("] 20% of 5.0 GiB, 10.2 MiB/s ETA 6:40")
    assert len(line) == 79


@given(
    st.text(st.characters(categories=("L", "N")), min_size=1, max_size=500),
    st.integers(0, 2**50),
    st.integers(0, 2**50),
    st.integers(1, 300),
    st.booleans(),
    st.booleans(),
)
def test_every_line_fits(
    key: str, total: int, count: int, columns: int, waits: bool, files: bool
) -> None:
    bench = ReportBench()
    progress = progress_of(bench, key, total=total, count=count)
    progress.files = (lambda: 5051) if files else None
    progress._numbers()
    bench.now += 100.0 if waits else 0.0
    line = progress._bar(columns - 1)
    assert len(line) <= columns - 1
    if columns >= 20 and total and not waits:
        assert f"{min(count / total, 1):.0%}" in line
    if "…" in line:
        assert "[" not in line  # the bar shrinks before the key
        assert "ETA" not in line
    if columns >= 120 and len(key) <= 27:
        assert line.startswith(f"downloading {key} ")


def test_files_are_counted() -> None:
    bench = ReportBench()
    progress = progress_of(bench)
    progress.files = lambda: 5051
    numbers = "20% of 5.0 GiB, 5,051 files, 10.2 MiB/s"
    assert progress._bar(119) == f"downloading k [####                    ] {numbers} ETA 6:40"
    progress.total = None
    assert progress._bar(119) == "downloading k 1.0 GiB, 5,051 files, 10.2 MiB/s"
    progress.files = lambda: 1
    assert progress._bar(119) == "downloading k 1.0 GiB, 1 file, 10.2 MiB/s"


class TestWaiting:
    """Nothing has moved for some seconds."""

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (4.9, "20% of 5.0 GiB, "),
            (5.0, "20% of 5.0 GiB, waiting for the store, 5 s"),
            (12.4, "20% of 5.0 GiB, waiting for the store, 12 s"),
            (75.0, "20% of 5.0 GiB, waiting for the store, 1:15"),
        ],
    )
    def test_for_the_store(self, seconds: float, text: str) -> None:
        bench = ReportBench()
        progress = progress_of(bench)
        bench.now += seconds
        line = progress._bar(119)
        assert text in line
        assert ("ETA" in line) == ("waiting" not in line)
        progress.add(1)
        assert "waiting" not in progress._bar(119)

    def test_for_somebody_else(self) -> None:
        bench = ReportBench()
        progress = Progress(bench.report, "fetching k", waits_for="the origin")
        bench.now += 12.0
        assert progress._bar(79) == "fetching k 0 B, waiting for the origin, 12 s"
        assert progress._bar(39) == "fetching k waiting for the origin, 12 s"
        assert progress._bar(19) == "fetching k 0 B"

    @pytest.mark.parametrize("name", ["files", "passed"])
    def test_not_while_something_else_moves(self, name: str) -> None:
        bench = ReportBench()
        progress, seen = progress_of(bench), [0]
        setattr(progress, name, lambda: seen[0])
        for _ in range(5):
            bench.now += 4.0
            seen[0] += 1
            assert "waiting" not in progress._bar(119)
        bench.now += 6.0
        assert "waiting for the store, 6 s" in progress._bar(119)

    def test_not_when_all_has_arrived(self) -> None:
        bench = ReportBench()
        progress = progress_of(bench, count=5 * 1024**3)
        bench.now += 60.0
        assert "100% of 5.0 GiB, " in progress._bar(119)
        assert "waiting" not in progress._bar(119)

    def test_for_the_answer_to_all_that_was_sent(self) -> None:
        bench = ReportBench()
        progress = Progress(bench.report, "uploading k", 10)
        progress.add(10)
        bench.now += 60.0
        line = progress._bar(79)
        assert line.startswith("uploading k [####")
        assert line.endswith("#] 100% of 10 B, waiting for the store, 1:00")

    @pytest.mark.usefixtures("_impatient")
    @pytest.mark.parametrize("stderr", [Log, Terminal])
    def test_where_no_bytes_are_counted(self, stderr: type[Terminal]) -> None:
        """As for `exists`: nothing is shown but that."""
        bench = ReportBench(stderr())
        with Progress(bench.report, "looking for k,", counts=False):
            assert not bench.stderr.drawn.acquire(timeout=0.05)
            assert bench.shown == ""
            bench.now += 12.0
            wait_for_a_look(bench)
        assert "looking for k, waiting for the store, 12 s" in bench.shown
        assert " B" not in bench.shown

    @pytest.mark.usefixtures("_impatient")
    def test_in_a_log(self) -> None:
        bench = ReportBench()
        with Progress(bench.report, "uploading k", 4096) as progress:
            progress.add(1024)
            bench.now += 12.0
            wait_for_a_look(bench)
        line = "cacher: uploading k 25% of 4.0 KiB, waiting for the store, 12 s\n"
        assert bench.shown.endswith(line)


def test_a_line_clears_the_bar_first() -> None:
    bench = ReportBench(Terminal())
    bench.report.draw("bar")
    bench.report.warn("w")
    bench.report.say("s")
    assert bench.shown == "\r\x1b[Kbar\r\x1b[Kcacher: warning: w\ncacher: s\n"


def test_what_moves_again_is_taken_back() -> None:
    progress = Progress(ReportBench().report, "k", 10)

    def move() -> None:
        progress.add(3)
        progress.add(-2)

    threads = [threading.Thread(target=move) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress.count == 8
