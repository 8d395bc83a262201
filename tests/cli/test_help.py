"""Help: what it shows, how wide it is, and what it says to a command line that is misspelt."""

from __future__ import annotations

import re

import pytest

from cacher.cli import help_pages
from cacher.cli.arguments import build
from cacher.cli.completion.command_tree import Command, program
from cacher.cli.suggestions import (
    AMBIGUOUS_ALIASES,
    COMMAND_ALIASES,
    FLAG_ALIASES,
    FLAG_ALIASES_OF_COMMAND,
    NOUN_ALIASES,
)
from tests.cli.conftest import Run

ROOT = program()
COMMANDS = [command for command in ROOT.walk() if command.path]
LEAVES = [command for command in COMMANDS if not command.commands]

every_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.path)

VERBS = {
    *("allow", "complete", "compress", "connect", "delete", "do", "drop", "exit", "expect"),
    *("fetch", "give", "hash", "leave", "list", "load", "look", "name", "print", "pull"),
    *("read", "refuse", "replace", "require", "resolve", "restore", "reverse", "send", "show"),
    *("sort", "store", "treat", "trust", "upload", "use", "write", "check"),
}
"""What a line of help may begin with."""


# --- pages ---------------------------------------------------------------------------------------


def test_the_program_alone_shows_its_help(cacher: Run) -> None:
    alone, asked = cacher(), cacher("--help")
    assert (alone.status, alone.out) == (2, b"")
    assert (asked.status, asked.err) == (0, "")
    assert alone.err == asked.text
    assert cacher("-h").text == cacher("help").text == asked.text


def test_the_program_alone_tells_machines_what_is_wrong(cacher: Run) -> None:
    done = cacher("--json")
    assert done.status == 2
    assert done.json["error"]["kind"] == "usage"
    assert done.err.startswith("usage: cacher [options] COMMAND ...\n")


def test_the_help_of_the_program_shows_every_command_and_verb_on_a_line(cacher: Run) -> None:
    lines = cacher("--help").text.splitlines()
    for command in LEAVES:
        found = [line for line in lines if re.match(rf"  {command.path}( [A-Z\[]|  )", line)]
        assert len(found) == 1, command.path
        shape = found[0].strip().partition("  ")[0]
        assert all(argument.metavar in shape for argument in command.arguments)
    assert [line for line in lines if line.startswith("  docker download KEY [IMAGE]  load ")]


def test_the_help_of_the_program_says_where_everything_else_is(cacher: Run) -> None:
    text = cacher("--help").text
    for word in ("CACHER_ENDPOINT", "CACHER_S3_SECRET", "--key-file", "AWS_ACCESS_KEY_ID"):
        assert word in text
    for status in ("0", "1", "2", "3", "4", "5", "6", "7", "70", "128+N"):
        assert re.search(rf"^  {re.escape(status)} +[a-z]", text, re.MULTILINE)
    assert text.endswith("`cacher help options`\n")
    assert len(text.splitlines()) < 60


@every_command
def test_the_help_of_a_command_has_its_own_options_only(cacher: Run, command: Command) -> None:
    text = cacher(*command.path.split(), "--help").text
    assert text == cacher("help", *command.path.split()).text
    usage = text.splitlines()[0]
    assert usage.startswith(f"usage: cacher {command.path} [options]")
    for arg in command.arguments:
        assert arg.metavar in usage
    shown = set(re.findall(r"^  (?:-\w, )?(--[a-z0-9-]+)", text, re.MULTILINE))
    if not command.commands:
        own = {option.flags[-1] for option in command.options if option not in ROOT.options}
        assert shown == own | {"--help"}
    assert text.endswith("`cacher help options`\n")
    assert command.commands or command.path in ("version", "doctor") or "\nexamples:\n" in text


def test_usages() -> None:
    usages = {
        "download": "usage: cacher download [options] KEY DEST",
        "docker upload": "usage: cacher docker upload [options] KEY IMAGE...",
        "docker exists": "usage: cacher docker exists [options] KEY [IMAGE]",
        "dir": "usage: cacher dir [options] VERB ...",
        "list": "usage: cacher list [options] [PREFIX]",
        "doctor": "usage: cacher doctor [options]",
        "help": "usage: cacher help [options] [COMMAND [VERB]]",
    }
    for path, usage in usages.items():
        parser = build()
        for name in path.split():
            parser = parser.commands[name]
        assert help_pages.page(parser, 80).splitlines()[0] == usage


def test_the_help_of_options_has_all_that_commands_share(cacher: Run) -> None:
    text = cacher("help", "options").text
    for option in ROOT.options:
        if option.flags[-1] != "--help":
            assert re.search(rf"^  {', '.join(option.flags)}\b", text, re.MULTILINE)
    for word in ("CACHER_BUCKET", "(default 4)", "-V, --version", "config file"):
        assert word in text


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("words", [(), ("options",), *(tuple(c.path.split()) for c in COMMANDS)])
def test_no_line_is_longer_than_80_columns(
    cacher: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = cacher("help", *words).text
    assert text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("columns", [1, 20, 40, 60])
@pytest.mark.parametrize("words", [(), ("options",), *(tuple(c.path.split()) for c in COMMANDS)])
def test_all_words_are_there_at_any_width(
    cacher: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], columns: int
) -> None:
    wide = cacher("help", *words).text
    monkeypatch.setenv("COLUMNS", str(columns))
    narrow = cacher("help", *words).text
    assert narrow.split() == wide.split()
    if columns >= 40:
        tables = narrow.partition("\nexamples:")[0].splitlines()
        whole = [line for line in tables if line.split()[1:]]  # one long word cannot be helped
        assert max(len(line) for line in whole if "[options]" not in line) <= columns


@pytest.mark.parametrize("columns", ["", "0", "wide", "-5"])
def test_a_width_that_is_none(cacher: Run, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    done = cacher("--help")
    assert (done.status, done.err) == (0, "")


# --- words ---------------------------------------------------------------------------------------


def test_every_line_of_help_begins_with_a_verb() -> None:
    parsers, lines = [build()], []
    for parser in parsers:
        parsers += parser.commands.values()
        lines += [action.help for action in parser._actions if action.help]
    lines += [command.text for command in COMMANDS]
    assert len(lines) > 100
    assert [line for line in lines if line.split()[0] not in VERBS] == []
    assert [line for line in lines if line.endswith(".") or line != line.strip()] == []


def test_what_can_be_repeated_says_so() -> None:
    options = [option for command in ROOT.walk() for option in command.options]
    repeated = [option for option in options if option.repeated]
    assert {o.flags[-1] for o in repeated} >= {"--url", "--only", "--include", "--hash-from"}
    assert all("repeatable" in option.text for option in repeated)


def test_every_page_has_a_text_and_no_text_is_left_over() -> None:
    paths = {"", *(command.path for command in COMMANDS)}
    assert set(help_pages.ABOUT) == paths
    for table in (help_pages.STATUSES, help_pages.EXAMPLES, help_pages.USAGES):
        assert set(table) <= paths
    grouped = [path for _, group in help_pages.GROUPS for path in group]
    assert sorted(grouped) == sorted(command.path for command in LEAVES)


@pytest.mark.parametrize("path", help_pages.EXAMPLES)
def test_examples_are_command_lines(path: str) -> None:
    flags = {
        command.path: {flag for option in command.options for flag in option.flags}
        for command in COMMANDS
    }
    joined = "\n".join(help_pages.EXAMPLES[path]).replace("\\\n", "")
    lines = re.findall(r"\bcacher ((?:(?! \|| >|;|\n|\)).)*)", joined)
    shown = set()
    for line in lines:
        (command,) = [c for c in LEAVES if f"{line} ".startswith(f"{c.path} ")]
        shown.add(command.path)
        assert set(re.findall(r"--[a-z0-9-]+", line)) <= flags[command.path]
    assert path in shown if path else shown


# --- a command line that is misspelt -------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("ls", "`cacher list`"),
        ("rm k", "`cacher delete`"),
        ("cp k f", "`cacher download` or `cacher upload`"),
        ("sync k d", "`cacher dir download` or `cacher dir upload`"),
        ("dir sync k d", "`cacher dir download` or `cacher dir upload`"),
        ("delete --recursive a", "--prefix"),
        ("delete -f a", "--yes"),
        ("downlaod k f", "`cacher download`"),
        ("dockr upload k i", "`cacher docker`"),
        ("dir restore k d", "`cacher dir download`"),
        ("dir restor k d", "`cacher dir download`"),
        ("dir uplaod k d", "`cacher dir upload`"),
        ("dir ls", "`cacher list`"),
        ("docker pull k", "`cacher docker download`"),
        ("docker rm k", "`cacher delete`"),
        ("help downlod", "`cacher download`"),
        ("help dir restore", "`cacher dir download`"),
        ("download k f --ulr http://h/f", "--url"),
        ("download --ulr=http://h/f k f", "--url"),
        ("dir download k d --strip-components 1", "--strip"),
        ("dir download k d --delete", "--clean"),
        ("upload k f --overwrite", "--force"),
        ("list --jsno", "--json"),
        ("list --endpoint-url http://h", "--endpoint"),
        ("--endpont=http://h list", "--endpoint"),
        ("list --sort keys", "key"),
        ("completion bsh", "bash"),
    ],
)
def test_the_nearest_is_offered(cacher: Run, line: str, meant: str) -> None:
    done = cacher(*line.split())
    assert done.status == 2
    assert done.out == b""
    assert done.err.splitlines()[1].startswith(f"cacher: hint: did you mean {meant}?")


@pytest.mark.parametrize(
    ("line", "error", "hint"),
    [
        ("ls", "there is no command 'ls'", "did you mean `cacher list`? `cacher --help` lists"),
        ("frobnicate", "there is no command 'frobnicate'", "`cacher --help` lists the commands"),
        ("dir xyz", "there is no command 'dir xyz'", "`cacher dir --help` lists the commands"),
        ("help xyz", "there is no command 'xyz'", "`cacher --help` lists the commands"),
        ("help dir upload k", "unexpected argument 'k'", "`cacher dir upload --help` shows how"),
        ("dir", "dir needs a verb: download or upload", "`cacher dir --help` shows how"),
        ("docker -q", "docker needs a verb: download, upload or exists", "`cacher docker --help`"),
        ("--nope", "there is no option --nope", "`cacher --help` shows how"),
        ("exists k -x", "exists has no option -x", "`cacher exists --help` shows how"),
        ("dir upload k d --nope", "dir upload has no option --nope", "`cacher dir upload --help`"),
        ("dir upload k d --delete", "dir upload has no option --delete", "`cacher dir upload"),
        ("exists k l", "unexpected argument 'l'", "`cacher exists --help` shows how"),
        ("exists", "KEY is missing", "`cacher exists --help` shows how"),
        ("download", "KEY and DEST are missing", "`cacher download --help` shows how"),
        ("list --sort x", "--sort 'x': not key, age or size", "`cacher list --help` shows how"),
        ("list --jobs", "--jobs needs a value", "`cacher list --help` shows how"),
        ("dir upload k d --level x", "--level: 'x' is not a whole number", "`cacher dir upload"),
        ("completion tcsh", "SHELL 'tcsh': not bash, zsh or fish", "`cacher completion --help`"),
    ],
)
def test_what_a_command_line_lacks(cacher: Run, line: str, error: str, hint: str) -> None:
    told = cacher(*line.split()).failed(2).splitlines()
    assert told[0] == f"cacher: error: {error}"
    assert told[1].startswith(f"cacher: hint: {hint}")
    assert len(told) == 2


def test_what_other_tools_say_means_something_that_exists() -> None:
    paths = {command.path for command in COMMANDS}
    flags = {flag for command in COMMANDS for option in command.options for flag in option.flags}
    assert set(COMMAND_ALIASES.values()) | set(NOUN_ALIASES.values()) <= paths
    assert {path for several in AMBIGUOUS_ALIASES.values() for path in several} <= paths
    assert set(FLAG_ALIASES.values()) <= flags
    for path, meanings in FLAG_ALIASES_OF_COMMAND.items():
        (command,) = (command for command in COMMANDS if command.path == path)
        own = {flag for option in command.options for flag in option.flags}
        assert set(meanings.values()) - {""} <= own
        assert not set(meanings) & own
    assert not {*COMMAND_ALIASES, *NOUN_ALIASES} & {path.split()[-1] for path in paths}
    assert not set(FLAG_ALIASES) & flags
