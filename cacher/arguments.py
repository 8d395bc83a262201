"""The command line as argparse sees it. Imported by every start: argparse, and nothing else."""

from __future__ import annotations

import argparse

from cacher.errors import UsageError
from cacher.options import SETTINGS, SWITCHES
from cacher.parser import Parser

TYPE_CHECKING = False  # importing typing costs more than parsing
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EPILOG = """\
exit status: 0 done, 1 not in the cache, 2 usage or configuration, 3 the store failed,
4 the store refused, 5 damaged or another file, 6 the origin failed, 7 this machine,
70 a bug in cacher, 128+N signal N

Options come before or after the command. Flags win over variables, variables over the
config file. Memory: a download to a file needs little; a stream of an upload N parts."""

KEY_HELP = """\
KEY may hold {hash} (16 hex digits over the --hash-from files), {os}, {arch}, {date} and {week};
{{ and }} are braces. --hash-from without {hash} appends -HASH."""


_LATE = {
    # What each command may still take behind its options, where argparse has given up by then.
    "delete": "keys",
    "docker download": "image",
    "docker exists": "image",
    "docker upload": "images",
    "list": "below",
}


def parse(given: Sequence[str]) -> argparse.Namespace:
    """The options that a command line gives. Raises `UsageError`."""
    options, rest = build().parse_known_args(given)
    name = _LATE.get(options.command or "", "")
    for text in rest:
        if not name or (text.startswith("-") and text != "-"):
            raise _unknown(options.command, text)
        before = getattr(options, name)
        if isinstance(before, list):
            before.append(text)
        elif before:
            raise _unknown(options.command, text)
        else:
            setattr(options, name, text)
    return options


def _unknown(command: str | None, text: str) -> UsageError:
    about = f"cacher {command}" if command else "cacher"
    return UsageError(f"unrecognized argument: {text}", f"`{about} --help` shows how")


def build() -> Parser:
    """The whole command line."""
    # The same options before and after the command: SUPPRESS keeps the command's defaults from
    # undoing what was given before it.
    shared = _shared_options()
    parser = Parser(
        prog="cacher",
        description="An S3-backed cache helper for CI jobs.",
        epilog=EPILOG,
        parents=[shared],
    )
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", prog="cacher", parser_class=Parser
    )

    def command(name: str, summary: str, parent: Parser = shared) -> Parser:
        added: Parser = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            parents=[parent],
        )
        return added

    download = command("download", "the entry KEY to the file DEST, or from a URL on a miss")
    _add_key(download)
    download.add_argument("dest", metavar="DEST", help="a file; - is stdout")
    download.add_argument(
        "--url", action="append", default=[], help="where to fetch it on a miss; tried in turn"
    )
    download.add_argument("--sha256", metavar="HEX", help="the digest it must have")
    download.add_argument(
        "--no-store", action="store_true", help="do not store what was fetched from a URL"
    )

    upload = command("upload", "store FILE under KEY, unless there is an entry already")
    _add_key(upload)
    upload.add_argument("file", metavar="FILE", help="a file; - is stdin")
    upload.add_argument("--force", action="store_true", help="replace an entry that exists")
    upload.add_argument("--sha256", metavar="HEX", help="the digest it must have")

    _add_dir(command, shared)
    _add_docker(command, shared)
    _add_key(command("exists", "exit 0 if there is an entry KEY, 1 if there is none"))

    listing = command("list", "the entries, or those whose key begins with PREFIX")
    listing.add_argument("below", metavar="PREFIX", nargs="?", default="", help="of the keys")
    listing.add_argument(
        "--sort", choices=("key", "age", "size"), default="", help="not as the store has them"
    )
    listing.add_argument("--reverse", action="store_true", help="the other way round")

    # `delete --prefix` is about keys; the global option of that name goes before the command.
    delete = command("delete", "remove entries", _shared_options(leave_out="prefix"))
    delete.add_argument("keys", metavar="KEY", nargs="*", help="what to remove")
    delete.add_argument(
        "--prefix", dest="below", metavar="P", help="remove all keys that begin with P"
    )
    delete.add_argument("--dry-run", action="store_true", help="show what would be removed")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    _add_hash_from(delete)

    key = command("key", "print the key that TEMPLATE resolves to")
    _add_key(key, "TEMPLATE")

    init = command("init", "write the config file, and check that the store works")
    init.add_argument("--no-check", action="store_true", help="write it without the check")
    command("doctor", "check everything, one line each")
    completion = command("completion", "print a script that completes cacher's command line")
    completion.add_argument(
        "shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish"
    )
    command("version", "print the version; of the one file, also what is in it")
    return parser


def _verbs(
    command: Callable[..., Parser], shared: Parser, noun: str, summary: str
) -> Callable[..., Parser]:
    """Adds a command with verbs, `noun`; what is returned adds one verb, which takes a key."""
    verbs = command(noun, summary).add_subparsers(
        dest="verb", metavar="VERB", prog=f"cacher {noun}", parser_class=Parser, required=True
    )

    def verb(name: str, summary: str) -> Parser:
        description = f"{summary[0].upper()}{summary[1:]}."
        added: Parser = verbs.add_parser(
            name, help=summary, description=description, parents=[shared]
        )
        added.set_defaults(command=f"{noun} {name}")
        _add_key(added)
        return added

    return verb


def _add_dir(command: Callable[..., Parser], shared: Parser) -> None:
    """`dir upload` and `dir download`; `command` adds `dir` itself."""
    verbs = _verbs(command, shared, "dir", "a directory as one entry: tar in zstd")

    def verb(name: str, summary: str) -> Parser:
        added = verbs(name, summary)
        added.add_argument("directory", metavar="DIR", help="a directory")
        added.add_argument(
            "--owner", action="store_true", help="keep user and group, as numbers (needs root)"
        )
        return added

    upload = verb("upload", "store what is in DIR under KEY, unless there is an entry already")
    for flag, text in (
        ("--include", "only what matches, below DIR; may be given several times"),
        ("--exclude", "not what matches: a line as in .gitignore; may be given several times"),
    ):
        upload.add_argument(flag, metavar="GLOB", action="append", default=[], help=text)
    upload.add_argument(
        "--exclude-caches", action="store_true", help="not what is tagged by a CACHEDIR.TAG"
    )
    upload.add_argument(
        "--allow-missing", action="store_true", help="an --include may match nothing"
    )
    upload.add_argument(
        "--changed",
        choices=("error", "warn"),
        default="error",
        help="what a file is that changes while it is packed (default error)",
    )
    _add_packing(upload)

    download = verb("download", "the entry KEY into DIR, all of it or nothing")
    download.add_argument(
        "--clean", action="store_true", help="make DIR exactly the entry, nothing else stays"
    )
    download.add_argument(
        "--strip", metavar="N", type=int, default=0, help="leave out N leading directories"
    )
    download.add_argument(
        "--only", metavar="GLOB", action="append", default=[], help="restore only what matches"
    )
    download.add_argument(
        "--max-unpacked",
        metavar="SIZE",
        help="refuse an entry that is larger (default: what it records, else 100GiB)",
    )


def _add_docker(command: Callable[..., Parser], shared: Parser) -> None:
    """`docker upload`, `docker download` and `docker exists`; `command` adds `docker` itself."""
    verb = _verbs(command, shared, "docker", "images as one entry: `docker save` in zstd")

    upload = verb("upload", "store images under KEY, unless there is an entry already")
    upload.add_argument("images", metavar="IMAGE", nargs="+", help="an image's name or id")
    _add_packing(upload)

    download = verb("download", "the entry KEY into the engine, unless IMAGE is there already")
    _add_image(download)
    download.add_argument("--pull", action="store_true", help="on a miss pull IMAGE")
    download.add_argument(
        "--url",
        action="append",
        default=[],
        help="where an archive is on a miss (tar, gzip or zstd); tried in turn, before --pull",
    )
    download.add_argument(
        "--sha256", metavar="HEX", help="the digest that a URL's archive must have"
    )
    download.add_argument(
        "--no-store", action="store_true", help="do not store what was pulled or fetched"
    )
    for parser in (upload, download):
        parser.add_argument(
            "--docker",
            metavar="PROGRAM",
            help="docker, podman or nerdctl, by name or path (CACHER_DOCKER; the first on PATH)",
        )

    exists = verb("exists", "exit 0 if there is an entry KEY (that has IMAGE), 1 if there is none")
    _add_image(exists)


def _add_image(parser: Parser) -> None:
    parser.add_argument("image", metavar="IMAGE", nargs="?", help="an image's name or id")


def _add_packing(parser: Parser) -> None:
    parser.add_argument("--level", metavar="N", type=int, default=3, help="of zstd (default 3)")
    parser.add_argument("--force", action="store_true", help="replace an entry that exists")


def _add_key(parser: Parser, metavar: str = "KEY") -> None:
    parser.epilog = KEY_HELP
    parser.add_argument("key", metavar=metavar, help="the entry's key, or a template of it")
    _add_hash_from(parser)


def _add_hash_from(parser: Parser) -> None:
    parser.add_argument(
        "--hash-from",
        metavar="PATH",
        action="append",
        default=[],
        help="a file, directory or pattern that {hash} is taken over",
    )


def _shared_options(leave_out: str = "") -> Parser:
    parser = Parser(add_help=False)
    group = parser.add_argument_group("options of every command")
    group.add_argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="the config file (CACHER_CONFIG)",
    )
    for name, metavar, variable, text in SETTINGS:
        if name != leave_out:
            group.add_argument(
                f"--{name}",
                metavar=metavar,
                default=argparse.SUPPRESS,
                help=f"{text} ({variable})",
            )
    group.add_argument(
        "--version", action="store_true", default=argparse.SUPPRESS, help="print the version"
    )
    for flags, name, variable, text in SWITCHES:
        group.add_argument(
            *flags,
            dest=name,
            action="store_true",
            default=argparse.SUPPRESS,
            help=f"{text} ({variable})",
        )
    return parser
