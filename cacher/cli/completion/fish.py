"""Completion in fish: one `complete` for each word and option, and where it applies."""

from __future__ import annotations

from collections.abc import Iterator

from cacher.cli.completion.command_tree import (
    DIRECTORY,
    ENGINES,
    FILE,
    NOTHING,
    PROGRAM,
    Command,
    Option,
)

_FISH = """\
# fish completion for cacher, printed by `cacher completion fish`.

# The command on the line so far, and how many arguments it has been given.
function __cacher_place
    set -l path ''
    set -l count 0
    set -l value ''
    set -l ended ''
    set -l words (commandline -opc)
    set -e words[1]
    for word in $words
        if test -n "$value"
            set value ''
        else if test -z "$ended"; and string match -qr -- '^-.' "$word"
            if test "$word" = --
                set ended 1
            else if contains -- "$word" @VALUED@
                set value 1
            end
        else if contains -- (string trim -- "$path $word") @COMMANDS@
            set path (string trim -- "$path $word")
        else
            set count (math $count + 1)
        end
    end
    printf '%s\\n' "$path" $count
end

# Whether it is one of these commands.
function __cacher_at
    set -l place (__cacher_place)
    contains -- "$place[1]" $argv
end

# Whether its argument number $argv[1] is next, at this command; 2+ is any from the second on.
function __cacher_next
    set -l place (__cacher_place)
    test "$place[1]" = "$argv[2]"; or return 1
    set -l next (math $place[2] + 1)
    if string match -q -- '*+' $argv[1]
        test $next -ge (string trim -c + -- $argv[1])
    else
        test $next -eq $argv[1]
    end
end

complete -c cacher -e
complete -c cacher -f
@COMPLETES@
"""

_FISH_KINDS = {
    FILE: "-r -F",
    DIRECTORY: "-x -a '(__fish_complete_directories (commandline -ct))'",
    PROGRAM: f"-x -a '{ENGINES}'",
    NOTHING: "-x",
}


def script(root: Command) -> str:
    """Return the script for fish."""
    commands = list(root.walk())
    paths: dict[Option, list[str]] = {}
    lines: list[str] = []
    for command in commands:
        for option in command.options:
            paths.setdefault(option, []).append(command.path)
        lines += _fish_words(command)
    for option, places in paths.items():
        everywhere = len(places) == len(commands)
        lines.append(_fish_option(option, [] if everywhere else places))
    valued = {flag for option in paths if option.value for flag in option.flags}
    filled = {
        "@VALUED@": " ".join(sorted(valued)),
        "@COMMANDS@": " ".join(f"'{command.path}'" for command in commands if command.path),
        "@COMPLETES@": "\n".join(lines),
    }
    made = _FISH
    for name, text in filled.items():
        made = made.replace(name, text)
    return made


def _fish_words(command: Command) -> Iterator[str]:
    """Yield a line for each verb and argument of a command."""
    for below in command.commands:
        yield (
            f"complete -c cacher -n \"__cacher_next 1 '{command.path}'\" "
            f"-a {below.name} -d {_fish_quoted(below.text)}"
        )
    for number, argument in enumerate(command.arguments, 1):
        if argument.kind != NOTHING:
            place = f"{number}{'+' if argument.nargs in ('+', '*') else ''}"
            kind = _fish_kind(argument.kind).removeprefix("-r ").removeprefix("-x ")
            yield f"complete -c cacher -n \"__cacher_next {place} '{command.path}'\" {kind}"


def _fish_option(option: Option, places: list[str]) -> str:
    words = ["complete -c cacher"]
    if places:
        words.append('-n "__cacher_at ' + " ".join(f"'{path}'" for path in places) + '"')
    words += [f"-l {f[2:]}" if f.startswith("--") else f"-s {f[1:]}" for f in option.flags]
    if option.value:
        words.append(_fish_kind(option.value.kind))
    return " ".join([*words, f"-d {_fish_quoted(option.text)}"])


def _fish_kind(kind: str) -> str:
    return _FISH_KINDS.get(kind) or f"-x -a '{kind.replace(',', ' ')}'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
