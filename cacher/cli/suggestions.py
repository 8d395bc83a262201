"""Errors for a command, a verb, a flag or a word that does not exist, with the nearest that does.

Loaded only once such an error is certain.
"""

from __future__ import annotations

from cacher.errors import UsageError

TYPE_CHECKING = False  # importing typing costs more than parsing
if TYPE_CHECKING:
    from argparse import Action
    from collections.abc import Iterable, Sequence

    from cacher.cli.arguments import Parser

COMMAND_ALIASES = {
    # Words of other tools; also for the verbs of `dir` and `docker`.
    "add": "upload",
    "cat": "download",
    "check": "doctor",
    "clear": "delete",
    "config": "init",
    "configure": "init",
    "del": "delete",
    "diagnose": "doctor",
    "extract": "download",
    "fetch": "download",
    "get": "download",
    "has": "exists",
    "hash": "key",
    "head": "exists",
    "image": "docker",
    "images": "docker",
    "info": "exists",
    "load": "download",
    "login": "init",
    "ls": "list",
    "pack": "upload",
    "podman": "docker",
    "pull": "download",
    "purge": "delete",
    "push": "upload",
    "put": "upload",
    "read": "download",
    "remove": "delete",
    "restore": "download",
    "rm": "delete",
    "save": "upload",
    "setup": "init",
    "stat": "exists",
    "store": "upload",
    "test": "exists",
    "unpack": "download",
    "untar": "download",
    "write": "upload",
}

NOUN_ALIASES = {
    # Words for a directory or an image only.
    "extract": "dir download",
    "load": "docker download",
    "pack": "dir upload",
    "restore": "dir download",
    "unpack": "dir download",
    "untar": "dir download",
}

AMBIGUOUS_ALIASES = {
    # Words that may mean either of two commands.
    "copy": ("download", "upload"),
    "cp": ("download", "upload"),
    "move": ("download", "upload"),
    "mv": ("download", "upload"),
    "pull": ("download", "docker download"),
    "push": ("upload", "docker upload"),
    "sync": ("dir download", "dir upload"),
}

FLAG_ALIASES = {
    "-f": "--force",
    "-j": "--jobs",
    "-n": "--dry-run",
    "-y": "--yes",
    "--ca-bundle": "--ca-file",
    "--checksum": "--sha256",
    "--delete": "--clean",
    "--digest": "--sha256",
    "--endpoint-url": "--endpoint",
    "--exact": "--clean",
    "--filter": "--only",
    "--from": "--url",
    "--overwrite": "--force",
    "--parallel": "--jobs",
    "--replace": "--force",
    "--strip-components": "--strip",
}


FLAG_ALIASES_OF_COMMAND = {
    # Flags of other tools that mean something else in one command; empty if it has nothing alike.
    "delete": {
        "-R": "--prefix",
        "-f": "--yes",
        "-r": "--prefix",
        "--force": "--yes",
        "--recursive": "--prefix",
    },
    "dir upload": {"--clean": "", "--delete": ""},
}


def no_such_command(root: Parser, parser: Parser, text: str) -> UsageError:
    """Return the error for a command, or a verb of `parser`, that does not exist."""
    noun = parser.prog.partition(" ")[2]
    found = _verb(root, parser, text) if noun else _command(root, text)
    hint = f"`{parser.prog} --help` lists the commands"
    if found:
        hint = f"did you mean {' or '.join(f'`cacher {path}`' for path in found)}? {hint}"
    return UsageError(f"there is no command {f'{noun} {text}'.lstrip()!r}", hint)


def no_such_flag(parser: Parser, text: str) -> UsageError:
    """Return the error for a flag that `parser` does not take; `text` may end in `=VALUE`."""
    flag = text.partition("=")[0]
    command = parser.prog.partition(" ")[2]
    meant = FLAG_ALIASES_OF_COMMAND.get(command, {}).get(flag)
    if meant is None:
        meant = FLAG_ALIASES.get(flag, "")
        meant = meant if meant in parser.flags else _nearest(flag, parser.flags)
    hint = f"`{parser.prog} --help` shows how"
    if meant:
        hint = f"did you mean {meant}? {hint}"
    who = f"{command} has" if command else "there is"
    return UsageError(f"{who} no option {flag}", hint)


def no_such_choice(parser: Parser, action: Action, text: str) -> UsageError:
    """Return the error for a value that is not one of the few that an argument takes."""
    name = action.option_strings[-1] if action.option_strings else str(action.metavar)
    choices = list(map(str, action.choices or ()))
    found = _nearest(text, choices)
    return UsageError(
        f"{name} {text!r}: not {', '.join(choices[:-1])} or {choices[-1]}",
        f"did you mean {found}?" if found else f"`{parser.prog} --help` shows how",
    )


def _command(root: Parser, text: str) -> Sequence[str]:
    if text.lower() in AMBIGUOUS_ALIASES:
        return AMBIGUOUS_ALIASES[text.lower()]
    word = _nearest(text.lower(), (*root.commands, *COMMAND_ALIASES))
    found = NOUN_ALIASES.get(word) or COMMAND_ALIASES.get(word, word)
    return [found] if found else []


def _verb(root: Parser, parser: Parser, text: str) -> Sequence[str]:
    noun = parser.prog.partition(" ")[2]
    word = text.lower()
    if word in AMBIGUOUS_ALIASES and word not in COMMAND_ALIASES:
        return [f"{noun} {path.split()[-1]}" for path in AMBIGUOUS_ALIASES[word]]
    word = _nearest(word, (*parser.commands, *root.commands, *COMMAND_ALIASES))
    word = COMMAND_ALIASES.get(word, word)
    found = f"{noun} {word}" if word in parser.commands else word
    return [found] if found else []


def _nearest(text: str, known: Iterable[str]) -> str:
    """Return the known word nearest to `text`, dashes aside; empty if none is near."""
    from difflib import get_close_matches

    words = {word.lstrip("-"): word for word in known}
    return next((words[word] for word in get_close_matches(text.lstrip("-"), words, 1)), "")
