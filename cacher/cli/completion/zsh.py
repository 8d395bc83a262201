"""Completion in zsh: one function for each command, by zsh's own `_arguments`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cacher.cli.completion.command_tree import (
    DIRECTORY,
    ENGINES,
    FILE,
    NOTHING,
    PROGRAM,
    Argument,
    Command,
    Option,
    shell_quoted,
)

_ZSH = """\
#compdef cacher
# zsh completion for cacher, printed by `cacher completion zsh`.

# Only says what is wanted.
_cacher_place() {
    [[ $PREFIX == -* ]] || _message "$1"
}

@FUNCTIONS@

if [[ $funcstack[1] == _cacher ]]; then
    _cacher "$@"
else
    compdef _cacher cacher
fi
"""

_ZSH_ACTIONS = {
    FILE: "_files",
    DIRECTORY: "_files -/",
    PROGRAM: f"({ENGINES})",
    NOTHING: " ",
}


def script(root: Command) -> str:
    """Return the script for zsh."""
    shared = root.options
    functions = [_zsh_function(command, shared) for command in root.walk()]
    return _ZSH.replace("@FUNCTIONS@", "\n\n".join(functions))


def _zsh_function(command: Command, shared: tuple[Option, ...]) -> str:
    own = command.options
    lines = []
    if not command.path:
        lines += ["local -a shared=(", *(f"    {s}" for o in shared for s in _zsh_option(o)), ")"]
    specs = []
    if set(shared) <= set(own):
        specs.append('"$shared[@]"')
        own = tuple(option for option in own if option not in shared)
    specs += [spec for option in own for spec in _zsh_option(option)]
    specs += [shell_quoted(_zsh_positional(argument)) for argument in command.arguments]
    if command.commands:
        lines += ["local context state state_descr line", "typeset -A opt_args"]
        specs += ["': :->command'", "'*:: :->rest'"]
    # -A: options after a command are the command's.
    start = "_arguments -s -S -C -A '-*'" if command.commands else "_arguments -s -S"
    lines.append(f"{start} \\\n        " + " \\\n        ".join(specs))
    if command.commands:
        lines += _zsh_choice(command)
    body = "\n".join(f"    {line}" for line in lines)
    return f"{_zsh_name(command)}() {{\n{body}\n}}"


def _zsh_choice(command: Command) -> Iterator[str]:
    """Yield the lines after `_arguments` where the next word is one of `command.commands`."""
    yield "case $state in"
    yield "    command)"
    yield "        local -a commands=("
    for below in command.commands:
        yield f"            {shell_quoted(f'{below.name}:{below.text}')}"
    yield "        )"
    yield "        _describe -t commands command commands"
    yield "        ;;"
    yield "    rest)"
    yield "        case $line[1] in"
    for below in command.commands:
        yield f"            {below.name}) {_zsh_name(below)} ;;"
    yield "        esac"
    yield "        ;;"
    yield "esac"


def _zsh_name(command: Command) -> str:
    return "_cacher" + "".join(f"_{word}" for word in command.path.split())


def _zsh_option(option: Option) -> Iterator[str]:
    """Yield one specification for each of its flags, which exclude each other."""
    text = re.sub(r"([][\\:])", r"\\\1", option.text)
    for flag in option.flags:
        before = "*" if option.repeated else f"({' '.join(option.flags)})"
        after = _zsh_argument(option.value) if option.value else ""
        yield shell_quoted(f"{before}{flag}{'=' if after else ''}[{text}]{after}")


def _zsh_positional(argument: Argument) -> str:
    # A message would keep an option that is being typed from being inserted.
    message = f" _cacher_place {argument.metavar}"
    return _zsh_argument(argument, message if argument.kind == NOTHING else "")


def _zsh_argument(argument: Argument, action: str = "") -> str:
    action = action or _ZSH_ACTIONS.get(argument.kind) or f"({argument.kind.replace(',', ' ')})"
    start = {"?": "::", "*": "*:", "+": "*:"}.get(argument.nargs, ":")
    return f"{start}{argument.metavar}:{action}"
