"""`completion`, tried in the shells: what is typed, and what becomes of it at a tab."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cacher.cli.completion.command_tree import KINDS, NOTHING, Argument, Command, program
from tests.cli.conftest import Run
from tests.support.servers.programs import require
from tests.support.shell_terminal import shell
from tests.unit.cli.test_lazy_loading import start

COMMANDS = list(program().walk())

SHELLS = ("bash", "zsh", "fish")

SETUP = {
    "bash": '. {}; cacher() {{ printf \'%s\\n\' "$@" END >>"$TOLD"; }}',
    "zsh": (
        "autoload -Uz compinit; compinit -D; zstyle ':completion:*' insert-tab false; . {}; "
        'cacher() {{ printf \'%s\\n\' "$@" END >>"$TOLD"; }}'
    ),
}

ALONE = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}
"""Flags for a shell that has nothing of the user's or the machine's: no bash-completion."""

BECOMES = {
    # commands and verbs
    "dow": ["download"],
    "dir up": ["dir", "upload"],
    "docker ex": ["docker", "exists"],
    "upl": ["upload"],
    # options before, between and after them
    "--quiet dow": ["--quiet", "download"],
    "--config dow dow": ["--config", "dow", "download"],
    "--config=dow -qv dow": ["--config=dow", "-qv", "download"],
    "--endpoint http://h:1/a=b --bucket b dow": [
        *("--endpoint", "http://h:1/a=b", "--bucket", "b", "download")
    ],
    "dir --json dow": ["dir", "--json", "download"],
    "--buc": ["--bucket"],
    "exists key --js": ["exists", "key", "--json"],
    "dir download --owner k some --str": ["dir", "download", "--owner", "k", "some", "--strip"],
    "delete --pre": ["delete", "--prefix"],
    # words
    "dir upload --changed w": ["dir", "upload", "--changed", "warn"],
    "dir upload --changed=w": ["dir", "upload", "--changed=warn"],
    "list --sort a": ["list", "--sort", "age"],
    "docker upload --docker p": ["docker", "upload", "--docker", "podman"],
    "completion f": ["completion", "fish"],
    "help exi": ["help", "exists"],
    "help dir downlo": ["help", "dir", "download"],
    "help op": ["help", "options"],
    # files
    "--config fi": ["--config", "file one.txt"],
    "--config=fi": ["--config=file one.txt"],
    "--key-file fi": ["--key-file", "file one.txt"],
    "--secret-file fi": ["--secret-file", "file one.txt"],
    "doctor --ca-file fi": ["doctor", "--ca-file", "file one.txt"],
    "key t --hash-from fi": ["key", "t", "--hash-from", "file one.txt"],
    "upload key fi": ["upload", "key", "file one.txt"],
    "upload 'a key' fi": ["upload", "a key", "file one.txt"],
    "upload --sha256 0 key --force fi": [
        *("upload", "--sha256", "0", "key", "--force", "file one.txt")
    ],
    "download key pla": ["download", "key", "place.txt"],
    # directories, and no file
    "dir upload key so": ["dir", "upload", "key", "some dir/"],
    "dir download key --clean so": ["dir", "download", "key", "--clean", "some dir/"],
}

STAYS = (
    # Keys, images, numbers, addresses: nothing is known of them, and no file is one.
    "exists fi",
    "upload fi",
    "upload key place.txt fi",
    "docker exists k fi",
    "list fi",
    "delete a fi",
    "delete --prefix fi",
    "--endpoint fi",
    "--bucket=fi",
    "nonsense fi",
    "nonsense dow",
    "dir nonsense up",
    "dir upload key some fi",
    "dir upload --changed fi",
    "docker upload --docker fi",
    "--no-such-o",
    "-- --js",
)


@pytest.fixture
def room(cacher: Run, tmp_path: Path) -> Path:
    """A directory with files to complete, beside it the scripts."""
    place = tmp_path / "room"
    (place / "some dir").mkdir(parents=True)
    for name in ("file one.txt", "some.txt", "place.txt"):
        (place / name).touch()
    for name in SHELLS:
        printed = cacher("completion", name)
        assert (printed.status, printed.err) == (0, "")
        (tmp_path / name).write_text(printed.text)
    return place


def fish(room: Path, lines: list[str]) -> list[list[str]]:
    """What fish offers for each line.

    Fish 4 also names what has the letters in it somewhere; a tab prefers what begins with them.
    """
    path = require("fish")
    asked = 'while read -l line; complete -C "cacher $line"; echo END; end'
    done = subprocess.run(
        [path, "--no-config", "-c", f"source ../fish; {asked}"],
        input="".join(f"{line}\n" for line in lines),
        cwd=room,
        env={**os.environ, "XDG_DATA_HOME": str(room.parent / "data")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = done.stdout.split("END\n")[:-1]
    offers = [[line.partition("\t")[0] for line in told.splitlines()] for told in answers]
    typed = [line.rpartition(" ")[2] for line in lines]
    begun = [
        [offer for offer in offered if offer.startswith(word)]
        for word, offered in zip(typed, offers, strict=True)
    ]
    return [some or offered for some, offered in zip(begun, offers, strict=True)]


def bash_offers(room: Path, words: list[list[str]], setup: str = "") -> list[set[str]]:
    """What the function offers in a bash that runs it without a terminal."""
    calls = "\n".join(
        f"COMP_WORDS=(cacher {' '.join(line)}) COMP_CWORD={len(line)}; COMP_LINE=${{COMP_WORDS[*]}}"
        "; COMP_POINT=${#COMP_LINE}; _cacher; echo ${COMPREPLY[@]}"
        for line in words
    )
    path = require("bash")
    done = subprocess.run(
        [path, "--norc", "-uc", f". ../bash\n{setup}\n{calls}"],
        cwd=room,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [set(line.split()) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_a_tab_at_a_terminal(room: Path, name: str) -> None:
    path = require(name)
    with shell([path, *ALONE[name]], SETUP[name].format(f"../{name}"), room) as at:
        became = {line: at.complete(line) for line in BECOMES}
        if name == "zsh":  # takes the slash away when the line is ended
            became = {
                line: [*words[:-1], words[-1].replace("some dir", "some dir/")]
                for line, words in became.items()
            }
        assert became == BECOMES
        stayed = {line: at.complete(line) for line in STAYS}
        assert stayed == {line: line.split() for line in STAYS}


@pytest.mark.parametrize(
    ("name", "setup"),
    [
        (
            "zsh",
            "mkdir f; cp ../zsh f/_cacher; fpath=($PWD/f $fpath); "
            "autoload -Uz compinit; compinit -D",
        ),
        ("zsh", 'autoload -Uz compinit; compinit -D; eval "$(cat ../zsh)"'),
        ("bash", 'eval "$(cat ../bash)"'),
    ],
    ids=["fpath", "eval", "bash"],
)
def test_the_other_ways_to_have_it(room: Path, name: str, setup: str) -> None:
    """As the manual tells them."""
    path = require(name)
    told = SETUP[name].format("/dev/null").replace("compinit -D;", ":;")
    with shell([path, *ALONE[name]], f"{setup}; {told}", room) as at:
        assert at.complete("dir up") == ["dir", "upload"]
        assert at.complete("dir upload --changed=w") == ["dir", "upload", "--changed=warn"]


def test_fish_offers_what_a_tab_gives(room: Path) -> None:
    offered = dict(zip(BECOMES, fish(room, list(BECOMES)), strict=True))
    unescaped = {
        line: [word.replace("\\ ", " ") for word in words] for line, words in offered.items()
    }
    assert unescaped == {line: [words[-1]] for line, words in BECOMES.items()}
    refused = dict(zip(STAYS, fish(room, list(STAYS)), strict=True))
    assert refused == {line: [] for line in STAYS}


def test_every_option_of_every_command(room: Path) -> None:
    lines = [command.path.split() for command in COMMANDS]
    flags = [{flag for option in command.options for flag in option.flags} for command in COMMANDS]
    assert all({"--help", "-q", "--config"} <= told for told in flags)
    assert bash_offers(room, [[*line, "-"] for line in lines]) == flags
    told = fish(room, [" ".join([*line, "--"]) for line in lines])
    long = [{flag for flag in some if flag.startswith("--")} for some in flags]
    assert [set(some) for some in told] == long


def test_every_option_of_every_command_in_zsh(room: Path) -> None:
    """Each without its last letter, unless another begins so."""
    path = require("zsh")
    with shell([path, *ALONE["zsh"]], SETUP["zsh"].format("../zsh"), room) as at:
        for command in COMMANDS:
            flags = {flag for option in command.options for flag in option.flags if len(flag) > 2}
            for flag in sorted(flags):
                if sum(other.startswith(flag[:-1]) for other in flags) == 1:
                    assert at.complete(f"{command.path} {flag[:-1]}")[-1] == flag


def test_every_word_of_every_command(room: Path) -> None:
    parents = [command for command in COMMANDS if command.commands]
    words = [{below.name for below in command.commands} for command in parents]
    assert {"dir", "completion", "version"} < words[0]
    assert bash_offers(room, [[*command.path.split(), "''"] for command in parents]) == words
    told = fish(room, [f"{command.path} ".lstrip() for command in parents])
    assert [set(some) for some in told] == words


def test_words_are_whole_where_bash_does_not_split_at_signs(room: Path) -> None:
    (offered,) = bash_offers(room, [["dir", "upload", "--changed=e"]], "COMP_WORDBREAKS=' '")
    assert offered == {"--changed=error"}


def arguments(command: Command) -> Iterator[Argument]:
    yield from command.arguments
    yield from (option.value for option in command.options if option.value)


def test_it_is_known_of_every_argument_whether_it_is_a_file() -> None:
    """A new metavar must be put here, or in the table of those that are completed."""
    told = {arg.metavar: arg.kind for command in COMMANDS for arg in arguments(command)}
    nothing = {name for name, kind in told.items() if kind == NOTHING}
    assert set(KINDS) <= set(told)
    words = "GLOB HEX IMAGE KEY N NAME P PREFIX SECONDS SIZE TEMPLATE URL"
    assert sorted(nothing) == words.split()


def test_a_flag_takes_a_value_everywhere_or_nowhere() -> None:
    """Fish's script walks along the line with one list of those that do."""
    options = [option for command in COMMANDS for option in command.options]
    valued = {flag for option in options if option.value for flag in option.flags}
    assert not valued & {flag for option in options if not option.value for flag in option.flags}


def test_for_machines(cacher: Run) -> None:
    told = cacher("completion", "bash", "--json").json
    assert (told["command"], told["outcome"]) == ("completion", "shown")
    assert told["script"] + "\n" == cacher("completion", "bash").text


@pytest.mark.parametrize("argv", [["completion"], ["completion", "tcsh"]])
def test_another_shell(cacher: Run, argv: list[str]) -> None:
    done = cacher(*argv)
    done.failed(2)
    assert done.out == b""


def test_only_it_loads_what_makes_scripts(tmp_path: Path) -> None:
    for argv in (["--help"], ["key", "k"], ["version"]):
        assert not any("completion" in name for name in start(tmp_path, *argv)[1])
    status, loaded = start(tmp_path, "completion", "zsh")
    assert status == 0
    assert "cacher.cli.completion.zsh" in loaded
    assert not loaded & {"ssl", "tarfile", "urllib3", "zstandard"}
