"""The command line as the scripts need it, read off the parser.

Knows what arguments look like, and no shell.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import NamedTuple

from cacher.cli.arguments import build

FILE, DIRECTORY, PROGRAM, NOTHING = "@file", "@directory", "@program", "@nothing"
"""What stands in an argument's place, if it is not one of several words."""

TOPIC = "COMMAND"
"""The metavar of what `help` takes: any command or verb."""

KINDS = {"DEST": FILE, "DIR": DIRECTORY, "FILE": FILE, "PATH": FILE, "PROGRAM": PROGRAM}
"""By its metavar; nothing is offered for all others."""

ENGINES = "docker podman nerdctl"

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*|-[A-Za-z0-9]|--[a-z0-9-]+")
"""What needs no quotes in any shell, nor in the tables of the scripts."""


class Argument(NamedTuple):
    """A positional argument, or an option's value."""

    metavar: str
    kind: str
    """FILE, DIRECTORY, PROGRAM, NOTHING, or words with commas between them."""

    nargs: str
    """As argparse has it: `?`, `*`, `+`, or nothing for exactly one."""


class Option(NamedTuple):
    """An option; `value` is None for a switch."""

    flags: tuple[str, ...]
    text: str
    value: Argument | None
    repeated: bool


class Command(NamedTuple):
    """A command, or one of its verbs; the program itself has the path ''."""

    path: str
    text: str
    options: tuple[Option, ...]
    arguments: tuple[Argument, ...]
    commands: tuple[Command, ...]

    def walk(self) -> Iterator[Command]:
        """It, and all below it."""
        yield self
        for command in self.commands:
            yield from command.walk()

    @property
    def name(self) -> str:
        """The last word of its path."""
        return self.path.rpartition(" ")[2]

    def kinds(self) -> str:
        """The kinds of its arguments in order, `...` after one that may come again."""
        words = (f"{arg.kind}{'...' * (arg.nargs in ('+', '*'))}" for arg in self.arguments)
        return " ".join(words)


def program() -> Command:
    """The program's command line."""
    root = build()
    verbs = [verb for command in root.commands.values() for verb in command.commands]
    topics = dict.fromkeys([*root.commands, *verbs, "options"])
    return _command(root, "", "", ",".join(topics))


def _command(parser: argparse.ArgumentParser, path: str, text: str, topics: str) -> Command:
    options, arguments, commands = [], [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                below = f"{path} {choice.dest}".lstrip()
                found = _command(action.choices[choice.dest], below, choice.help or "", topics)
                commands.append(found)
        elif action.option_strings:
            flags = tuple(_checked(flag) for flag in action.option_strings)
            value = None if action.nargs == 0 else _argument(action)
            repeated = isinstance(action, argparse._AppendAction)
            options.append(Option(flags, action.help or "", value, repeated))
        else:
            argument = _argument(action)
            is_topic = argument.metavar == TOPIC
            arguments.append(argument._replace(kind=topics) if is_topic else argument)
    _checked(*path.split())
    return Command(path, text, tuple(options), tuple(arguments), tuple(commands))


def _argument(action: argparse.Action) -> Argument:
    metavar = str(action.metavar or action.dest.upper())
    kind = KINDS.get(metavar, NOTHING)
    if action.choices:
        kind = ",".join(_checked(str(choice)) for choice in action.choices)
    return Argument(metavar, kind, str(action.nargs or ""))


def _checked(*words: str) -> str:
    for word in words:
        if not _WORD.fullmatch(word):
            raise ValueError(f"{word!r} would need quotes")
    return " ".join(words)


def shell_quoted(text: str) -> str:
    """Text as bash and zsh read it."""
    return "'" + text.replace("'", "'\\''") + "'"
