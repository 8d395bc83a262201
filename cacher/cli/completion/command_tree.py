"""The commands, options and arguments of the parser, for the completion scripts.

Knows no shell, except how to quote.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import NamedTuple

from cacher.cli.arguments import build

FILE, DIRECTORY, PROGRAM, NOTHING = "@file", "@directory", "@program", "@nothing"
"""Kinds of an argument that is not one of a few words."""

TOPIC = "COMMAND"
"""The metavar of the argument of `help`: any command or verb."""

KINDS = {"DEST": FILE, "DIR": DIRECTORY, "FILE": FILE, "PATH": FILE, "PROGRAM": PROGRAM}
"""The kind of an argument by its metavar; NOTHING for all others."""

ENGINES = "docker podman nerdctl"

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*|-[A-Za-z0-9]|--[a-z0-9-]+")
"""A word that needs no quotes in any shell, nor in the tables of the scripts."""


class Argument(NamedTuple):
    """A positional argument, or an option's value."""

    metavar: str
    kind: str
    """FILE, DIRECTORY, PROGRAM, NOTHING, or words with commas between them."""

    nargs: str
    """As in argparse: `?`, `*`, `+`, or empty for exactly one."""


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
        """Yield the command, and all below it."""
        yield self
        for command in self.commands:
            yield from command.walk()

    @property
    def name(self) -> str:
        """Return the last word of its path."""
        return self.path.rpartition(" ")[2]

    def kinds(self) -> str:
        """Return the kinds of its arguments in order, `...` after one that repeats."""
        words = (f"{arg.kind}{'...' * (arg.nargs in ('+', '*'))}" for arg in self.arguments)
        return " ".join(words)


def program() -> Command:
    """Return the program's command line."""
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
    """Return text quoted for bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"
