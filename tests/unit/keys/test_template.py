"""Templates become keys, and only keys every store can hold are let through."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cacher
from cacher.errors import LocalError, UsageError
from cacher.keys.template import (
    MAX_NAME_BYTES,
    PLACEHOLDERS,
    check_key,
    check_prefix,
    resolve_template,
)

NOON = datetime.datetime(2026, 7, 30, 12, tzinfo=datetime.UTC).timestamp()
HELLO = "5891b5b522d5df08"  # echo hello | sha256sum | cut -c1-16


def resolved(
    template: str,
    hash_from: Sequence[str] = (),
    now: float = NOON,
    system: str = "Linux",
    machine: str = "x86_64",
) -> str:
    return resolve_template(template, hash_from, now=now, system=system, machine=machine)


def refusal(template: str, hash_from: Sequence[str] = ()) -> UsageError:
    with pytest.raises(UsageError) as caught:
        resolved(template, hash_from)
    error = caught.value
    for line in (error.message, error.hint):
        assert line.isprintable(), "one line, and nothing that moves the cursor"
    return error


@pytest.fixture
def lock(tmp_path: Path) -> str:
    path = tmp_path / "deps.lock"
    path.write_text("hello\n")
    return str(path)


# --- placeholders --------------------------------------------------------------------------------


def test_every_placeholder(lock: str) -> None:
    template = "x/{os}/{arch}/{date}/{week}/{hash}"
    assert resolved(template, [lock]) == f"x/linux/amd64/2026-07-30/2026-W31/{HELLO}"
    assert set(PLACEHOLDERS) == set(re.findall(r"{(\w+)}", template))
    assert all(meaning and "\n" not in meaning for meaning in PLACEHOLDERS.values())


def test_a_template_without_placeholders_is_the_key() -> None:
    assert resolved("node-18.2/é ü") == "node-18.2/é ü"


def test_hash_is_appended_where_the_template_does_not_place_it(lock: str) -> None:
    assert resolved("deps", [lock]) == f"deps-{HELLO}"
    assert resolved("{os}", [lock]) == f"linux-{HELLO}"
    assert resolved("{{hash}}", [lock]) == f"{{hash}}-{HELLO}"


def test_placed_hash_is_not_appended_as_well(lock: str) -> None:
    assert resolved("{hash}/{hash}/deps", [lock]) == f"{HELLO}/{HELLO}/deps"


def test_hash_without_files_is_refused() -> None:
    error = refusal("deps-{hash}")
    assert "{hash}" in error.message
    assert "--hash-from" in error.hint


def test_files_that_cannot_be_hashed_are_no_key(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"absent\.lock"):
        resolved("deps", [str(tmp_path / "absent.lock")])
    assert "'*.lock' matches no file" in refusal("deps", ["*.lock"]).message
    assert "''" in refusal("deps", [""]).message


def test_a_bad_template_is_found_before_files_are_read() -> None:
    assert "{ahs}" in refusal("{ahs}", ["/nonexistent"]).message


@pytest.mark.parametrize(
    ("machine", "arch"),
    [
        ("x86_64", "amd64"),
        ("amd64", "amd64"),
        ("aarch64", "arm64"),
        ("arm64", "arm64"),
        ("i386", "386"),
        ("i686", "386"),
        ("armv6l", "arm"),
        ("armv7l", "arm"),
        ("armv8l", "arm"),
        ("riscv64", "riscv64"),
        ("ppc64le", "ppc64le"),
        ("s390x", "s390x"),
    ],
)
def test_arch_is_named_as_go_does(machine: str, arch: str) -> None:
    assert resolved("{arch}", machine=machine) == arch


@pytest.mark.parametrize(
    ("system", "expected"), [("Linux", "linux"), ("Darwin", "darwin"), ("FreeBSD", "freebsd")]
)
def test_os_is_in_lower_case(system: str, expected: str) -> None:
    assert resolved("{os}", system=system) == expected


def test_values_are_not_templates() -> None:
    assert resolved("{os}-{arch}", system="{arch}", machine="{{x}}") == "{arch}-{{x}}"


def test_values_are_checked_as_part_of_the_key() -> None:
    with pytest.raises(UsageError, match=r"'\.\.'"):
        resolved("a/{arch}", machine="..")


@pytest.mark.parametrize(
    ("day", "week"),
    [
        ("2024-12-29", "2024-W52"),
        ("2024-12-30", "2025-W01"),
        ("2026-01-01", "2026-W01"),
        ("2026-12-31", "2026-W53"),
        ("2027-01-01", "2026-W53"),
        ("2027-01-03", "2026-W53"),
        ("2027-01-04", "2027-W01"),
    ],
)
def test_iso_week_at_the_turn_of_the_year(day: str, week: str) -> None:
    midnight = datetime.datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()
    for now in (midnight, midnight + 86399.999):
        assert resolved("{date}/{week}", now=now) == f"{day}/{week}"


@given(st.integers(0, 4_102_444_800))
def test_dates_are_those_of_the_calendar(now: int) -> None:
    today = datetime.datetime.fromtimestamp(now, datetime.UTC)
    year, week, _ = today.isocalendar()
    assert resolved("{date}={week}", now=now) == f"{today:%Y-%m-%d}={year}-W{week:02}"


@pytest.fixture(params=["UTC+12", "UTC-14"])
def far_away(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_away")
def test_dates_are_utc_wherever_the_job_runs() -> None:
    assert time.localtime(NOON).tm_hour != 12
    assert resolved("{date}") == "2026-07-30"
    assert resolved("{date}", now=NOON + 11 * 3600) == "2026-07-30"
    assert resolved("{date}", now=NOON - 12 * 3600) == "2026-07-30"


# --- braces --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("a{{b}}c", "a{b}c"),
        ("{{{{", "{{"),
        ("}}{{", "}{"),
        ("{{{os}}}", "{linux}"),
        ("{os}}}", "linux}"),
        ("{{{{os}}}}", "{{os}}"),
        ("{os}{arch}", "linuxamd64"),
    ],
)
def test_doubled_braces_are_braces(template: str, key: str) -> None:
    assert resolved(template) == key


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("a{", "a lone '{' at character 2"),
        ("a}", "a lone '}' at character 2"),
        ("{os", "a lone '{' at character 1"),
        ("os}-x", "a lone '}' at character 3"),
        ("{o{os}", "a lone '{' at character 1"),
        ("{{os}", "a lone '}' at character 5"),
        ("{os}}", "a lone '}' at character 5"),
        ("{{}", "a lone '}' at character 3"),
        ("}{", "a lone '}' at character 1"),
    ],
)
def test_lone_braces_are_refused(template: str, complaint: str) -> None:
    error = refusal(template)
    assert error.message == f"the template '{template}' has {complaint}"
    brace = complaint.partition("'")[2][0]
    assert error.hint.endswith(f"for a brace itself, write {brace * 2}")


@pytest.mark.parametrize("template", ["deps-{hash", "deps-hash}", "{hsah-x"])
def test_a_lone_brace_suggests_what_it_may_belong_to(template: str) -> None:
    assert refusal(template).hint.startswith("did you mean {hash}? for a brace ")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("hsah", "hash"),
        ("Hash", "hash"),
        (" hash ", "hash"),
        ("hashFiles", "hash"),
        ("OS", "os"),
        ("oss", "os"),
        ("architecture", "arch"),
        ("dates", "date"),
        ("weeks", "week"),
        ("os!r", "os"),
        ("date:%Y", "date"),
    ],
)
def test_unknown_placeholder_suggests_the_nearest(name: str, meant: str) -> None:
    error = refusal(f"x-{{{name}}}")
    assert f"unknown placeholder '{{{name}}}'" in error.message
    assert error.hint.startswith(f"did you mean {{{meant}}}? ")


@pytest.mark.parametrize("name", ["", "0", "ref", "\x1b[2J"])
def test_unknown_placeholder_lists_them_all(name: str) -> None:
    error = refusal(f"{{{name}}}")
    assert repr(f"{{{name}}}") in error.message
    assert error.hint == "the placeholders are {hash}, {os}, {arch}, {date}, {week}"


@given(st.text().filter(lambda name: name not in PLACEHOLDERS and not set(name) & set("{}")))
def test_no_unknown_placeholder_is_ever_accepted(name: str) -> None:
    assert "unknown placeholder" in refusal(f"a-{{{name}}}").message


@given(st.from_regex(r"[a-z{}]{1,20}(/[a-z{}]{1,20})?", fullmatch=True))
def test_doubling_braces_is_undone_exactly_once(key: str) -> None:
    template = key.replace("{", "{{").replace("}", "}}")
    assert resolved(template) == key
    assert resolved(template.replace("{", "{{").replace("}", "}}")) == template


TOKENS = ["{", "}", "{{", "}}", "{os}", "{date}", "{nope}", "os", "-", "x"]
GRAMMAR = re.compile(r"(?:\{\{|\}\}|\{(?:os|arch|date|week)\}|[^{}])+")


@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=8).map("".join))
def test_a_template_is_what_the_grammar_says(template: str) -> None:
    if GRAMMAR.fullmatch(template):
        pieces = re.findall(r"\{\{|\}\}|\{\w+\}|[^{}]", template)
        values = {"{{": "{", "}}": "}", "{os}": "linux", "{date}": "2026-07-30"}
        assert resolved(template) == "".join(values.get(piece, piece) for piece in pieces)
    else:
        refusal(template)


# --- legal keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "a/b/c",
        "...",
        "..a/.b/c..",
        ".git",
        "a b",
        " ",
        "~+%41é=&?#'\"*",
        "日本/😀",
        "-",
        "k" * MAX_NAME_BYTES,
        "é" * (MAX_NAME_BYTES // 2),
    ],
)
def test_legal_keys(key: str) -> None:
    check_key(key)
    assert check_prefix(key[:100]) == key[:100]


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("", "the key is empty"),
        ("/", "starts with '/'"),
        ("/a", "starts with '/'"),
        ("//a", "starts with '/'"),
        ("a/", "ends with '/'"),
        ("a//b", "holds '//'"),
        (".", "has the segment '.'"),
        ("..", "has the segment '..'"),
        ("a/./b", "has the segment '.'"),
        ("../b", "has the segment '..'"),
        ("a/b/..", "has the segment '..'"),
        ("a\\b", "holds a backslash '\\'"),
        ("a\nb", r"holds the control character '\n'"),
        ("a\0b", r"holds the control character '\x00'"),
        ("\x1b[31mred", r"holds the control character '\x1b'"),
        ("a\x7f", r"holds the control character '\x7f'"),
        ("a\x9bb", r"holds the control character '\x9b'"),
        ("a\udcff", r"is not valid UTF-8 at '\xff'"),
        ("k" * 480, "is too long: 480 bytes, at most 479 are allowed"),
        ("é" * 240, "is too long: 480 bytes, at most 479 are allowed"),
    ],
)
def test_refused_keys(key: str, rule: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_key(key)
    message = caught.value.message
    assert rule in message
    assert message.isprintable()
    assert len(message) < 200
    assert caught.value.hint
    if key and "{" not in key:
        with pytest.raises(UsageError, match=re.escape(rule)):
            resolved(key)


def test_the_part_at_fault_is_shown_even_in_a_long_key() -> None:
    with pytest.raises(UsageError, match=r"'\\x07'"):
        check_key("a" * 200 + "\x07" + "b" * 200)


@given(st.text(min_size=1).filter(lambda text: len(text.encode(errors="replace")) < 400))
def test_an_accepted_key_is_a_safe_relative_path(key: str) -> None:
    try:
        check_key(key)
    except UsageError as error:
        assert error.message.isprintable()
    else:
        assert os.path.normpath(key) == key
        assert not os.path.isabs(key)
        assert ".." not in key.split("/")
        assert key.encode().decode() == key
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\\]", key)


def test_the_limit_is_the_whole_objects_name() -> None:
    check_key("k" * 476, prefix="ci")
    with pytest.raises(UsageError, match="too long: 480 bytes with the prefix 'ci', at most 479"):
        check_key("k" * 477, prefix="ci")


def test_an_empty_template_is_an_empty_key() -> None:
    assert refusal("").message == "the key is empty"


@pytest.mark.parametrize(
    ("given_prefix", "bare"),
    [("", ""), ("/", ""), ("//", ""), ("ci", "ci"), ("/ci/", "ci"), ("//ci/a//", "ci/a")],
)
def test_prefixes_lose_the_slashes_around_them(given_prefix: str, bare: str) -> None:
    assert check_prefix(given_prefix) == bare
    assert check_prefix(check_prefix(given_prefix)) == bare


@pytest.mark.parametrize(
    ("prefix", "rule"),
    [
        ("a//b", "holds '//'"),
        ("/../", "has the segment '..'"),
        ("a/./b", "has the segment '.'"),
        ("a\tb", r"holds the control character '\t'"),
        ("a\\b", "holds a backslash '\\'"),
        ("\udc80", r"is not valid UTF-8 at '\x80'"),
        ("p" * 478, "is too long: 478 bytes, at most 477 leave room for a key"),
    ],
)
def test_refused_prefixes(prefix: str, rule: str) -> None:
    with pytest.raises(UsageError, match=re.escape(rule)) as caught:
        check_prefix(prefix)
    assert caught.value.message.startswith("prefix ")
    assert caught.value.message.isprintable()


def test_the_longest_prefix_leaves_room_for_a_key() -> None:
    prefix = check_prefix("p" * 477)
    check_key("k", prefix)
    with pytest.raises(UsageError, match="480 bytes"):
        check_key("kk", prefix)


# --- what it costs -------------------------------------------------------------------------------


def run_isolated(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A bare interpreter: `site` and its `.pth` files load modules of their own."""
    command = [sys.executable, "-I", "-S", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_importing_loads_nothing_dear() -> None:
    root = str(Path(cacher.__file__).parent.parent)
    code = f"import sys; sys.path.insert(0, {root!r}); import cacher.keys.template"
    lines = run_isolated("-X", "importtime", "-c", code).stderr.splitlines()
    loaded = {line.rpartition("|")[2].strip() for line in lines}
    assert {"cacher.keys.template", "cacher.keys.file_hash", "cacher.errors"} <= loaded
    dear = "dataclasses inspect typing pathlib datetime hashlib difflib ssl tarfile subprocess"
    assert not loaded & {*dear.split(), "urllib3", "zstandard"}


def test_importing_adds_nothing_to_what_argparse_needs() -> None:
    root = str(Path(cacher.__file__).parent.parent)
    code = f"""
import argparse, os, sys, time
before = set(sys.modules)
sys.path.insert(0, {root!r})
from cacher.keys.template import resolve_template
resolve_template("{{os}}-{{week}}", [], now=0, system="Linux", machine="x86_64")
print(*sorted(set(sys.modules) - before))
"""
    added = run_isolated("-c", code).stdout.split()
    # errno is built in, and some Pythons have loaded it before.
    assert [name for name in added if name != "errno"] == [
        "__future__",
        "cacher",
        "cacher.errors",
        "cacher.keys",
        "cacher.keys.file_hash",
        "cacher.keys.template",
    ]
