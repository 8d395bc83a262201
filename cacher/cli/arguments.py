"""The commands, flags and arguments: their names, defaults and help; and how they are parsed.

Imported by every start: argparse, and nothing else.
"""

from __future__ import annotations

import argparse

from cacher.errors import UsageError
from cacher.settings.options import SETTINGS, SWITCHES

TYPE_CHECKING = False  # importing typing costs more than parsing
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

_TRAILING_ARGUMENT = {
    # The argument that a command takes after its options, too, where argparse does not accept it.
    "delete": "keys",
    "docker download": "image",
    "docker exists": "image",
    "docker upload": "images",
    "list": "below",
}


def parse(given: Sequence[str]) -> argparse.Namespace:
    """Return the options of a command line. Raises `UsageError`.

    `--help` becomes the command `help`, whose `page` is the parser to show, or "options".
    """
    root = build()
    try:
        options, rest = root.parse_known_args(_without_delimiter(given))
    except HelpAsked as asked:
        return argparse.Namespace(command="help", page=asked.parser, json=False)
    except UnknownWord as error:
        raise _unknown_word_error(root, error, given) from error
    parser = _find_parser(root, (options.command or "").split())
    _take_trailing(parser, options, rest)
    if parser.commands and options.command:
        *verbs, last = parser.commands
        parser.error(f"{options.command} needs a verb: {', '.join(verbs)} or {last}")
    if options.command == "help":
        is_options = options.topic == ["options"]
        options.page = "options" if is_options else _find_parser(root, options.topic)
    return options


def _without_delimiter(given: Sequence[str]) -> list[str]:
    """Return the words without the `/` of `--delimiter /` and `--delimiter=/` (as in `aws s3api`).

    Raises `UsageError` for another delimiter.
    """
    words: list[str] = []
    ended = False
    for word in given:
        ended = ended or word == "--"
        if ended or not (word.startswith("--delimiter=") or words[-1:] == ["--delimiter"]):
            words.append(word)
        elif word.startswith("--delimiter="):
            value = word.partition("=")[2]
            if value != "/":
                raise UsageError(f"--delimiter {value!r}: it is always /", "leave the value out")
            words.append("--delimiter")
        elif word != "/":
            words.append(word)
    return words


def _take_trailing(parser: Parser, options: argparse.Namespace, rest: Sequence[str]) -> None:
    """Take the words after the options as an argument. Raises `UsageError`."""
    name = _TRAILING_ARGUMENT.get(options.command or "", "")
    for text in rest:
        if text.startswith("-") and text != "-":
            from cacher.cli import suggestions

            raise suggestions.no_such_flag(parser, text)
        before = getattr(options, name, "taken")
        if isinstance(before, list):
            before.append(text)
        elif before:
            parser.error(f"unexpected argument {text!r}")
        else:
            setattr(options, name, text)


def _find_parser(root: Parser, words: Sequence[str]) -> Parser:
    """Return the parser of a command or a verb. Raises `UsageError` if there is none."""
    parser = root
    for word in words:
        if not parser.commands:
            parser.error(f"unexpected argument {word!r}")
        if word not in parser.commands:
            from cacher.cli import suggestions

            raise suggestions.no_such_command(root, parser, word)
        parser = parser.commands[word]
    return parser


def _unknown_word_error(root: Parser, error: UnknownWord, given: Sequence[str]) -> UsageError:
    """Return the error for an unknown word, or for an unknown flag that it is the value of."""
    from cacher.cli import suggestions

    if error.action.nargs != argparse.PARSER:
        return suggestions.no_such_choice(error.parser, error.action, error.text)
    for flag in given[: given.index(error.text)]:
        if flag.startswith("--") and flag.partition("=")[0] not in error.parser.flags:
            return suggestions.no_such_flag(root, flag)
    return suggestions.no_such_command(root, error.parser, error.text)


def build() -> Parser:
    """Return the parser of the whole command line."""
    # The same options before and after the command: SUPPRESS keeps the command's defaults from
    # replacing values given before it.
    shared = _shared_options()
    parser = Parser(prog="cacher", parents=[shared])
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", prog="cacher", parser_class=Parser
    )

    def command(name: str, summary: str, parent: Parser = shared) -> Parser:
        added: Parser = commands.add_parser(name, help=summary, parents=[parent])
        return added

    download = command("download", "write the entry to DEST; on a miss, use --url")
    _add_key(download)
    download.add_argument("dest", metavar="DEST", help="write to this file; - is stdout")
    _add_urls(download, "fetch the file from URL on a miss; repeatable, in order")
    download.add_argument(
        "--sha256", metavar="HEX", help="require this SHA-256, of a hit and of a URL's file"
    )
    _add_no_store(download, "do not store what was fetched from a URL")

    upload = command("upload", "store FILE, unless KEY is stored already")
    _add_key(upload)
    upload.add_argument("file", metavar="FILE", help="store this file; - is stdin")
    upload.add_argument("--sha256", metavar="HEX", help="require this SHA-256 of FILE")
    _add_force(upload)

    _add_dir(command, shared)
    _add_docker(command, shared)
    _add_key(command("exists", "exit 0 if KEY is stored, else 1"))

    listing = command("list", "print all entries, or those that begin with PREFIX")
    listing.add_argument(
        "below", metavar="PREFIX", nargs="?", default="", help="print only keys that begin so"
    )
    listing.add_argument(
        "--sort",
        choices=("key", "age", "size"),
        default="",
        help="sort by key, age (youngest first) or size (largest first); default: as stored",
    )
    listing.add_argument("--reverse", action="store_true", help="reverse the order")
    listing.add_argument(
        "--delimiter", action="store_true", help="show keys up to their next slash, as groups"
    )
    listing.add_argument(
        "--root", action="store_true", help="list the whole bucket, whatever --prefix is set"
    )
    listing.add_argument(
        "--recursive", action="store_true", help="do nothing: all levels are listed anyway"
    )

    # `delete --prefix` is about keys; the global option of that name goes before the command.
    delete = command("delete", "delete entries", _shared_options(leave_out="prefix"))
    delete.add_argument("keys", metavar="KEY", nargs="*", help="delete this entry; repeatable")
    delete.add_argument(
        "--prefix", dest="below", metavar="P", help="delete all entries whose key begins with P"
    )
    delete.add_argument(
        "--stdin", action="store_true", help="read keys from stdin, one per line, as with --literal"
    )
    delete.add_argument(
        "-0", "--null", action="store_true", help="expect a NUL byte after each key of --stdin"
    )
    delete.add_argument("--dry-run", action="store_true", help="show what would be deleted")
    delete.add_argument("--yes", action="store_true", help="delete without asking")
    _add_hash_from(delete)

    key = command("key", "print the key that TEMPLATE resolves to")
    _add_key(key, "TEMPLATE", "resolve this template")

    init = command("init", "write the config file, once the store works")
    init.add_argument(
        "--no-check", dest="check", action="store_false", help="write it without the check"
    )
    command("doctor", "check the settings and the store")
    completion = command("completion", "print a completion script for a shell")
    completion.add_argument(
        "shell",
        metavar="SHELL",
        choices=("bash", "zsh", "fish"),
        help="complete in bash, zsh or fish",
    )
    version = command("version", "print the version")
    version.add_argument(
        "--verify", action="store_true", help="check cacher.pyz against the SHA-256 recorded in it"
    )
    help_ = command("help", "show the options and examples of a command")
    help_.add_argument(
        "topic",
        metavar="COMMAND",
        nargs="*",
        help="show this command's help; `options` shows the options of all commands",
    )
    return parser


def _verbs(
    command: Callable[..., Parser], shared: Parser, noun: str, summary: str
) -> Callable[..., Parser]:
    """Add a command with verbs, `noun`; return a function that adds a verb, which takes a key."""
    verbs = command(noun, summary).add_subparsers(
        dest="verb", metavar="VERB", prog=f"cacher {noun}", parser_class=Parser
    )

    def verb(name: str, summary: str) -> Parser:
        added: Parser = verbs.add_parser(name, help=summary, parents=[shared])
        added.set_defaults(command=f"{noun} {name}")
        _add_key(added)
        return added

    return verb


def _add_dir(command: Callable[..., Parser], shared: Parser) -> None:
    """Add `dir download` and `dir upload`; `command` adds `dir` itself."""
    verb = _verbs(command, shared, "dir", "store and restore directories")

    download = verb("download", "restore the entry into DIR, all or nothing")
    download.add_argument("directory", metavar="DIR", help="restore into this directory")
    download.add_argument(
        "--clean", action="store_true", help="delete everything in DIR that is not in the entry"
    )
    _add_list(download, "--only", "GLOB", "restore only paths that match GLOB; repeatable")
    _add_number(download, "--strip", 0, "drop N leading directories of each path (default 0)")
    _add_owner(download, "restore the stored users and groups (needs root)")
    download.add_argument(
        "--max-unpacked",
        metavar="SIZE",
        help="refuse an entry that unpacks to more (default: the size it records, else 100GiB)",
    )

    upload = verb("upload", "store what is in DIR, unless KEY is stored")
    upload.add_argument("directory", metavar="DIR", help="store what is in this directory")
    _add_list(upload, "--include", "GLOB", "store only paths in DIR that match GLOB; repeatable")
    upload.add_argument(
        "--allow-missing", action="store_true", help="allow an --include that matches nothing"
    )
    _add_list(
        upload, "--exclude", "GLOB", "leave out paths that match GLOB, as in .gitignore; repeatable"
    )
    upload.add_argument(
        "--exclude-caches",
        action="store_true",
        help="leave out the content of directories with a CACHEDIR.TAG",
    )
    upload.add_argument(
        "--changed",
        choices=("error", "warn"),
        default="error",
        help="treat a file that changes while it is packed as this (default error)",
    )
    _add_owner(upload, "store users and groups, as numbers")
    _add_packing(upload)


def _add_docker(command: Callable[..., Parser], shared: Parser) -> None:
    """Add `docker download`, `upload` and `exists`; `command` adds `docker` itself."""
    verb = _verbs(command, shared, "docker", "store and load docker images")

    download = verb("download", "load the entry; on a miss, use --url or --pull")
    _add_image(download, "expect this image, by its name or id")
    download.add_argument("--pull", action="store_true", help="pull IMAGE on a miss, and store it")
    _add_urls(
        download,
        "fetch an archive (tar, gzip or zstd) from URL on a miss, before --pull; repeatable, "
        "in order",
    )
    download.add_argument("--sha256", metavar="HEX", help="require this SHA-256 of a URL's archive")
    _add_no_store(download, "do not store what was pulled or fetched")
    _add_engine(download)

    upload = verb("upload", "store images, unless KEY is stored already")
    upload.add_argument(
        "images", metavar="IMAGE", nargs="+", help="store this image, by its name or id; repeatable"
    )
    _add_packing(upload)
    _add_engine(upload)

    exists = verb("exists", "exit 0 if KEY is stored and holds IMAGE, else 1")
    _add_image(exists, "look for this image in the entry")


def _add_image(parser: Parser, text: str) -> None:
    parser.add_argument("image", metavar="IMAGE", nargs="?", help=text)


def _add_engine(parser: Parser) -> None:
    parser.add_argument(
        "--docker",
        dest="program",
        metavar="PROGRAM",
        help="use docker, podman or nerdctl, by name or path (CACHER_DOCKER; default: the first "
        "on PATH)",
    )


def _add_packing(parser: Parser) -> None:
    _add_number(parser, "--level", 3, "compress at zstd's level N, 1 to 19 (default 3)")
    _add_force(parser)


def _add_force(parser: Parser) -> None:
    parser.add_argument("--force", action="store_true", help="replace an entry that is stored")


def _add_urls(parser: Parser, text: str) -> None:
    parser.add_argument("--url", dest="urls", metavar="URL", action="append", default=[], help=text)


def _add_no_store(parser: Parser, text: str) -> None:
    parser.add_argument("--no-store", dest="store_it", action="store_false", help=text)


def _add_owner(parser: Parser, text: str) -> None:
    parser.add_argument("--owner", dest="keep_owner", action="store_true", help=text)


def _add_key(
    parser: Parser, metavar: str = "KEY", text: str = "name the entry; may be a template"
) -> None:
    parser.add_argument("key", metavar=metavar, help=text)
    _add_hash_from(parser)


def _add_hash_from(parser: Parser) -> None:
    _add_list(parser, "--hash-from", "PATH", "hash a file, directory or quoted pattern; repeatable")
    parser.add_argument(
        "--literal", action="store_true", help="use KEY as it is, not as a template"
    )


def _add_list(parser: Parser, flag: str, metavar: str, text: str) -> None:
    parser.add_argument(flag, metavar=metavar, action="append", default=[], help=text)


def _add_number(parser: Parser, flag: str, default: int, text: str) -> None:
    parser.add_argument(flag, metavar="N", type=_number, default=default, help=text)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _shared_options(leave_out: str = "") -> Parser:
    parser = Parser(has_help=False)
    group = parser.add_argument_group("options of every command")

    def add(*flags: str, **how: Any) -> None:
        group.add_argument(*flags, default=argparse.SUPPRESS, **how)

    add("--config", metavar="FILE", help="read settings from this file (CACHER_CONFIG)")
    for name, metavar, variable, text in SETTINGS:
        if name != leave_out:
            add(f"--{name}", metavar=metavar, help=f"{text} ({variable})")
    for flags, name, variable, text in SWITCHES:
        add(*flags, dest=name, action="store_true", help=f"{text} ({variable})")
    add("-V", "--version", action="store_true", help="print the version")
    return parser


# --- argparse, without guesses -------------------------------------------------------------------


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
