"""`cli/dispatch`: the requests take what the parser gives."""

from __future__ import annotations

import argparse
from importlib import import_module

import pytest

from cacher.cli.arguments import build
from cacher.cli.dispatch import COMMANDS
from cacher.settings.options import SETTINGS, SWITCHES, attribute

_OF_THE_KEY = {"hash_from", "literal"}
_SHARED = {"help", "version", "config", *(attribute(name) for name, *_ in SETTINGS)}
_SHARED |= {name for _, name, *_ in SWITCHES}


@pytest.mark.parametrize("command", COMMANDS)
def test_request_has_a_field_for_each_argument_of_the_command(command: str) -> None:
    parser: argparse.ArgumentParser = build()
    for word in command.split():
        parser = parser.commands[word]  # type: ignore[attr-defined]
    given = {action.dest for action in parser._actions} - _SHARED
    module, function, request = COMMANDS[command]
    loaded = import_module(f"cacher.commands.{module}")
    assert callable(getattr(loaded, function))
    fields = set(getattr(loaded, request)._fields) if request else set()
    assert fields - given == set()
    # `list --recursive` does nothing.
    assert given - fields - {"recursive"} <= (_OF_THE_KEY if "key" in fields else set())
