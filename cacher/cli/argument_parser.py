"""A parser on argparse that guesses nothing. Every start loads it: argparse, and nothing else."""

from __future__ import annotations

import argparse

from cacher.errors import UsageError

TYPE_CHECKING = False  # importing typing costs more than parsing
if TYPE_CHECKING:
    from typing import Any, NoReturn


class HelpAsked(Exception):
    """`--help` was given: show the page of this parser."""

    def __init__(self, parser: Parser) -> None:
        super().__init__()
        self.parser = parser


class UnknownWord(Exception):
    """`text` is not among the words that `action` of `parser` takes."""

    def __init__(self, parser: Parser, action: argparse.Action, text: str) -> None:
        super().__init__()
        self.parser = parser
        self.action = action
        self.text = text


class _Help(argparse.Action):
    """The action of `-h`: raises, so that layout and printing stay elsewhere."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Raise `HelpAsked`."""
        assert isinstance(parser, Parser)  # noqa: S101 - we make no others
        raise HelpAsked(parser)


class Parser(argparse.ArgumentParser):
    """A parser that guesses nothing, and whose errors are the program's own."""

    def __init__(self, *, has_help: bool = True, **options: Any) -> None:
        super().__init__(allow_abbrev=False, add_help=False, **options)
        if has_help:
            self.add_argument("-h", "--help", action=_Help, nargs=0, help="show this help")

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`."""
        raise UsageError(_reworded(message), f"`{self.prog} --help` shows how")

    @property
    def commands(self) -> dict[str, Parser]:
        """Return the parsers of its commands or verbs by name; empty if it has none."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return dict(action.choices)
        return {}

    @property
    def flags(self) -> list[str]:
        """Return every flag that it takes."""
        return [flag for action in self._actions for flag in action.option_strings]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise UnknownWord(self, action, value)


def _reworded(message: str) -> str:
    """Return a complaint of argparse in the words of this program."""
    missing = message.removeprefix("the following arguments are required: ")
    if missing != message:
        *names, last = missing.split(", ")
        return f"{', '.join(names)} and {last} are missing" if names else f"{last} is missing"
    name, _, complaint = message.removeprefix("argument ").partition(": ")
    if complaint in ("expected one argument", "expected at least one argument"):
        return f"{name} needs a value"
    return message.removeprefix("argument ")
