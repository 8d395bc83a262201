"""The manual and the man page tell of every command and option, and of none that is not there."""

from __future__ import annotations

import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cacher import errors
from cacher.cli.completion.command_tree import Command, Option, program
from cacher.errors import CacherError
from cacher.settings.options import SETTINGS, SWITCHES
from tests.support.servers.programs import require

DOCS = Path(__file__).parents[2] / "docs"
ROOT = program()
LEAVES = [command for command in ROOT.walk() if command.path and not command.commands]
SHARED = {flag for option in ROOT.options for flag in option.flags}

every_command = pytest.mark.parametrize("command", LEAVES, ids=lambda command: command.path)


def own(command: Command) -> list[Option]:
    """Its options that are not those of every command."""
    return [option for option in command.options if option not in ROOT.options]


def plain(roff: str) -> str:
    """What man(7) text says, on one line: fonts, macros and escapes gone."""
    text = re.sub(r"^\.(B|I|BR|BI|TP|PP|RS|nf|fi|RE|br)\b ?(?=.*$)", "", roff, flags=re.MULTILINE)
    text = re.sub(r"\\f[BIRP]", "", text).replace("\\-", "-").replace("\\(aq", "'")
    return " ".join(text.split())


def page_sections(kind: str, text: str) -> dict[str, str]:
    """The sections of the page (`SH`) or the subsections of one (`SS`), by their titles."""
    parts = re.split(rf"^\.{kind} (.*)$", text, flags=re.MULTILINE)
    return dict(zip(map(plain, parts[1::2]), parts[2::2], strict=True))


PAGE = (DOCS / "cacher.1").read_text()
PAGE_SECTIONS = page_sections("SH", PAGE)
PAGE_COMMANDS = page_sections("SS", PAGE_SECTIONS["COMMANDS"])


def tags(section: str) -> dict[str, str]:
    """What is after `.TP`: the paragraphs of a section, by their tags."""
    found = re.findall(r"^\.TP\n(.*)\n((?:(?!\.TP|\.S[HS]).*\n)*)", section, re.MULTILINE)
    return {plain(tag): plain(text) for tag, text in found}


def tag(option: Option) -> str:
    """As the page has it: `-q, --quiet`, `--sort key|age|size`."""
    value = option.value
    words = value.kind.replace(",", "|") if value and not value.kind.startswith("@") else ""
    return f"{', '.join(option.flags)} {words or (value.metavar if value else '')}".rstrip()


def wording(text: str) -> set[str]:
    """The words that carry a help text's meaning."""
    text = re.sub(r"\(CACHER_\w+;? ?", "(", text)
    return {word.lower() for word in re.findall(r"[A-Za-z0-9]{4,}", text)}


def tells(said: str, text: str) -> bool:
    """Whether most of a help text's words are there."""
    meant = wording(text)
    return len(meant & wording(said)) >= len(meant) / 2


# --- the man page --------------------------------------------------------------------------------


def test_the_page_has_every_command_and_no_other() -> None:
    names = [re.match(r"[a-z]+( [a-z]+)?", title) for title in PAGE_COMMANDS]
    assert [name[0] for name in names if name] == [command.path for command in LEAVES]
    for command in LEAVES:
        assert f"\n.B cacher {command.path}\n" in PAGE_SECTIONS["SYNOPSIS"]


@every_command
def test_the_page_has_every_option_of_a_command(command: Command) -> None:
    (section,) = [
        text
        for title, text in PAGE_COMMANDS.items()
        if re.match(rf"{command.path}( [^a-z]|$)", title)
    ]
    told = tags(section)
    assert sorted(told) == sorted(tag(option) for option in own(command))
    for option in own(command):
        assert tells(told[tag(option)], option.text), tag(option)
    assert tells(plain(section), command.text)


def test_the_page_has_the_options_of_every_command() -> None:
    told = tags(PAGE_SECTIONS["OPTIONS"])
    assert sorted(told) == sorted(tag(option) for option in ROOT.options)
    for option in ROOT.options:
        assert tells(told[tag(option)], option.text), tag(option)


def test_the_page_has_every_exit_status() -> None:
    classes = [value for value in vars(errors).values() if inspect.isclass(value)]
    statuses = {str(value.status) for value in classes if issubclass(value, CacherError)}
    assert set(tags(PAGE_SECTIONS["EXIT STATUS"])) == {"0", "128+N", *statuses}


def variables() -> Iterator[str]:
    """All that the code reads, by their names in it."""
    for path in (DOCS.parent / "cacher").rglob("*.py"):
        yield from re.findall(r'"((?:CACHER|AWS|SSL)_[A-Z0-9_]*[A-Z0-9])"', path.read_text())


def test_the_page_has_every_variable() -> None:
    told = set(re.findall(r"\b[A-Z]+_[A-Z0-9_]+\b", " ".join(tags(PAGE_SECTIONS["ENVIRONMENT"]))))
    read = set(variables())
    assert {variable for _, _, variable, _ in (*SETTINGS, *SWITCHES)} < read
    assert read <= told
    assert {name for name in told - read if name.startswith("CACHER")} == set()


def test_the_page_is_clean() -> None:
    lint = require("mandoc")
    done = subprocess.run([lint, "-T", "lint", DOCS / "cacher.1"], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_what_the_page_shows_as_examples_is_a_command_line() -> None:
    """They are run as the recipes' and the README's; here they are read as the program would."""
    examples = re.findall(r"^\.nf\n(.*?)^\.fi", PAGE_SECTIONS["EXAMPLES"], re.MULTILINE | re.DOTALL)
    assert len(examples) == 4
    for example in examples:
        text = example.replace("\\-", "-").replace("\\(aq", "'")
        done = subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        for line in re.findall(r"cacher [^|;{]*", text):
            flags = re.findall(r"--[a-z0-9-]+", line)
            (command,) = [c for c in LEAVES if line.startswith(f"cacher {c.path} ")]
            assert {*flags} <= {flag for option in command.options for flag in option.flags}


# --- docs/manual.md ------------------------------------------------------------------------------

MANUAL = (DOCS / "manual.md").read_text()


def manual_section(command: Command) -> str:
    """The section whose title names the command."""
    parts = re.split(r"^## (.*)$", MANUAL, flags=re.MULTILINE)
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        names = re.sub(r" [\[A-Z].*", "", title.replace(" [PREFIX]", "")).split(", ")
        if command.path in names:
            return text
    raise AssertionError(f"no section for {command.path}")


@every_command
def test_the_manual_has_every_option_of_a_command(command: Command) -> None:
    section = manual_section(command)
    named = set(re.findall(r"(?<![\w-])--?[a-z0-9][a-z0-9-]*", re.sub(r"```.*?```", "", section)))
    for option in own(command):
        if option.flags in (("--hash-from",), ("--literal",)):  # all that take a key have them
            assert f"`{option.flags[0]}" in MANUAL.partition("\n## Keys\n")[2].partition("\n## ")[0]
        else:
            assert option.flags[-1] in named, option.flags
    everywhere = {flag for other in LEAVES for option in other.options for flag in option.flags}
    assert {flag for flag in named if flag.startswith("--")} <= everywhere | SHARED


@every_command
def test_the_manual_names_values_and_defaults_as_help_does(command: Command) -> None:
    """In the tables, that is."""
    section = manual_section(command)
    rows = dict(re.findall(r"^\| `(--[a-z-]+(?: [^`]*)?)` \| (.*) \|$", section, re.MULTILINE))
    flags = {option.flags[-1]: option for option in own(command)}
    for row, text in rows.items():
        flag, _, value = row.partition(" ")
        option = flags[flag]
        kind = option.value.kind if option.value else ""
        words = [] if kind.startswith("@") else kind.split(",")
        metavar = option.value.metavar if option.value else ""
        assert value in (metavar, *words), row
        default = re.search(r"\(default (\S+?)\)", option.text)
        if default and default[1] not in words:
            assert f"default {default[1]}" in text, row


def test_the_manual_tells_defaults_of_settings_as_help_does() -> None:
    for name, metavar, variable, text in SETTINGS:
        default = re.search(r"\(default (.*?)\)", text)
        (row,) = re.findall(rf"^\| `--{name} {metavar}` \|.*", MANUAL, re.MULTILINE)
        assert variable in row
        for word in re.findall(r"\d\w*", default[1] if default else ""):
            assert word in row.split("|")[3], name
