"""What people and machines get to see, on terminals and in logs."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacher.errors import StoreError
from cacher.report import (
    colors_wanted,
    counted,
    packed_text,
    printable,
    seconds_text,
    size_text,
    transfer_text,
    unpacked_text,
)
from tests.support.fake_terminal import Log, ReportBench, Terminal

# --- sizes and times -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1023.96 * 1024, "1.0 MiB"),  # never "1024.0 KiB"
        (1024**2 - 1, "1.0 MiB"),
        (68.4 * 1024**2, "68.4 MiB"),
        (1024**3, "1.0 GiB"),
        (5 * 1024**4, "5.0 TiB"),
        (1024**5, "1.0 PiB"),
        (2000 * 1024**5, "2000.0 PiB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.94, "0.9 s"),
        (59.9, "59.9 s"),
        (59.96, "1:00"),  # never "60.0 s"
        (60, "1:00"),
        (187, "3:07"),
        (3599.4, "59:59"),
        (3599.6, "1:00:00"),
        (3661, "1:01:01"),
        (360_000, "100:00:00"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@given(st.floats(0, 2**60))
def test_sizes_and_durations_are_short(number: float) -> None:
    assert re.fullmatch(r"\d{1,4}( B|\.\d [KMGTP]iB)", size_text(number))
    assert re.fullmatch(r"\d\d?\.\d s|(\d+:)?\d?\d:\d\d", seconds_text(number))


def test_transfers() -> None:
    assert transfer_text(68 * 1024**2, 2.0) == "68.0 MiB in 2.0 s, 34.0 MiB/s"
    assert transfer_text(1024, 0.0) == "1.0 KiB in 0.0 s, 1000.0 KiB/s"
    assert transfer_text(0, 0.0) == "0 B in 0.0 s, 0 B/s"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 files"),
        (1, "1 file"),
        (2, "2 files"),
        (5051, "5,051 files"),
        (10**6, "1,000,000 files"),
    ],
)
def test_plurals(count: int, text: str) -> None:
    assert counted(count, "file") == text


def test_a_plural_of_its_own() -> None:
    assert counted(1, "entry", "entries") == "1 entry"
    assert counted(1200, "entry", "entries") == "1,200 entries"


def test_trees() -> None:
    up = packed_text("5,051 files", int(476.8 * 1024**2), int(238.8 * 1024**2), 3.5)
    assert up == "5,051 files, 476.8 MiB -> 238.8 MiB in 3.5 s, 68.2 MiB/s"
    down = unpacked_text("1 file", int(238.8 * 1024**2), int(476.8 * 1024**2), 3.5)
    assert down == "1 file, 238.8 MiB -> 476.8 MiB in 3.5 s, 68.2 MiB/s"


# --- nothing steers a terminal -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 😀", "plain é 😀"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028", "\\u2028"),
        ("\udcff", "\\xff"),
        ("\0", "\\x00"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_nothing_unprintable_is_left(text: str) -> None:
    assert all(unicodedata.category(c)[0] not in "C" for c in printable(text))
    printable(text).encode()  # no lone surrogates, either


@given(st.text(st.characters()), st.booleans())
def test_control_characters_never_reach_a_terminal(text: str, as_terminal: bool) -> None:
    bench = ReportBench(Terminal() if as_terminal else Log(), verbose=True)
    report = bench.report
    report.say(text)
    report.note(text)
    report.warn(text)
    report.error(StoreError(text, text))
    report.line(text)
    lines = bench.shown.split("\n")
    assert len(lines) == 6 if text else 5  # an empty hint is none
    assert all(c.isprintable() for line in lines for c in line)
    assert bench.stdout.getvalue() == printable(text) + "\n"
    report.draw(text)
    drawn = bench.shown[len("\n".join(lines)) :]
    assert drawn == f"\r\x1b[K{printable(text)}"
    assert report.warnings == [printable(text)]


# --- lines ---------------------------------------------------------------------------------------


def say_everything(bench: ReportBench) -> str:
    report = bench.report
    report.say("said")
    report.note("noted")
    report.warn("warned")
    report.error(StoreError("failed", "try again"))
    return bench.shown


def test_what_is_told() -> None:
    assert say_everything(ReportBench()) == (
        "cacher: said\ncacher: warning: warned\ncacher: error: failed\ncacher: hint: try again\n"
    )


def test_more_and_less_is_told() -> None:
    assert "cacher: noted\n" in say_everything(ReportBench(verbose=True))
    for verbose in (False, True):
        assert say_everything(ReportBench(quiet=True, verbose=verbose)) == (
            "cacher: warning: warned\ncacher: error: failed\ncacher: hint: try again\n"
        )


def test_without_a_hint() -> None:
    bench = ReportBench()
    bench.report.error(StoreError("failed"))
    assert bench.shown == "cacher: error: failed\n"


def test_labels_are_painted_and_nothing_else() -> None:
    assert say_everything(ReportBench(colored=True)) == (
        "cacher: said\n"
        "cacher: \x1b[33mwarning: \x1b[0mwarned\n"
        "cacher: \x1b[31merror: \x1b[0mfailed\n"
        "cacher: \x1b[36mhint: \x1b[0mtry again\n"
    )


@pytest.mark.parametrize(
    ("environ", "as_terminal", "wanted"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": "0"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({}, True, False),
        ({"TERM": "xterm"}, False, False),
    ],
)
def test_when_there_are_colours(
    environ: dict[str, str], as_terminal: bool, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", Terminal() if as_terminal else Log())
    assert colors_wanted(environ) is wanted


def test_a_line_that_nobody_can_read_changes_nothing() -> None:
    class Broken(Log):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    bench = ReportBench(Broken())
    bench.report.say("said")
    bench.report.warn("warned")
    assert bench.report.warnings == ["warned"]


# --- for machines --------------------------------------------------------------------------------


@given(st.text(st.characters()), st.text(st.characters()))
def test_json_is_one_line_of_ascii_that_keeps_everything(key: str, path: str) -> None:
    """Lone surrogates are how Python passes on file names that are not UTF-8."""
    bench = ReportBench()
    bench.report.json({"key": key, "path": f"\udcff{path}", "error": None})
    text = bench.stdout.getvalue()
    assert text.isascii()
    assert text.index("\n") == len(text) - 1
    assert json.loads(text) == {"key": key, "path": f"\udcff{path}", "error": None}
    assert bench.shown == ""


def test_a_raw_line_is_left_as_it_is() -> None:
    bench = ReportBench()
    bench.report.raw("a\tb\x1b")
    assert bench.stdout.getvalue() == "a\tb\x1b\n"
