"""The pages that `--help` and `help` show, laid out for a width.

Loaded only to show one. Flags and their texts come from the parser; all other texts are here.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing costs more than parsing
if TYPE_CHECKING:
    from argparse import Action
    from collections.abc import Iterable, Iterator

    from cacher.cli.arguments import Parser

WIDEST = 80
"""Columns: longer lines are harder to read, on any terminal."""

GROUPS = (
    ("files", ("download", "upload")),
    ("directories (tar in zstd)", ("dir download", "dir upload")),
    ("docker images", ("docker download", "docker upload", "docker exists")),
    ("entries", ("exists", "list", "delete", "key")),
    ("setup", ("init", "doctor", "completion", "version", "help")),
)

ABOUT = {
    "": "Keep files, directories and docker images of CI jobs in an S3 bucket.",
    "download": (
        "Write the entry KEY to the file DEST. On a miss, fetch the file from the first --url that "
        "delivers it, and store it for next time. DEST is complete and verified, or it stays as "
        "it was."
    ),
    "upload": (
        "Store FILE under KEY. If KEY is stored already, nothing is uploaded and the exit status "
        "is 0: the same key means the same content."
    ),
    "dir": "Store and restore directories, each as one entry: a tar archive in zstd.",
    "dir download": (
        "Restore the entry KEY into DIR. DIR stays as it was until all of the entry is verified. "
        "Other files in DIR stay, unless --clean is given."
    ),
    "dir upload": (
        "Pack what is in DIR and store it under KEY. If KEY is stored already, DIR is not read "
        "and the exit status is 0."
    ),
    "docker": "Store docker images as one entry, and load them: `docker save` in zstd.",
    "docker download": (
        "Load the images of the entry KEY into the engine, unless it has IMAGE (or all images of "
        "the entry) already. On a miss, fetch an archive from --url or pull IMAGE, and store it "
        "for next time."
    ),
    "docker upload": (
        "Save the images and store them under KEY as one entry. If KEY is stored already, nothing "
        "is saved and the exit status is 0."
    ),
    "docker exists": "Tell whether KEY is stored, and whether IMAGE is in it. Needs no engine.",
    "exists": "Tell whether KEY is stored.",
    "list": (
        "Print the entries, or those whose key begins with PREFIX: a table on a terminal, "
        "lines of KEY, SIZE and TIME with tabs between them elsewhere."
    ),
    "delete": (
        "Delete the entries of these keys, or of all keys that begin with P. A key that is not "
        "stored is named, which is not an error. The --prefix that all commands take goes before "
        "`delete`."
    ),
    "key": "Print the key that TEMPLATE resolves to. Needs no settings and no store.",
    "init": (
        "Check that the store works, and write the settings in force to the config file, wherever "
        "they came from. Credentials are never written."
    ),
    "doctor": "Check the settings, the credentials and the store; print one line for each check.",
    "completion": (
        "Print a script that completes commands, options and files in bash, zsh or fish."
    ),
    "version": (
        "Print the version; cacher.pyz also prints what is bundled in it. With --verify, check "
        "that cacher.pyz is intact."
    ),
    "help": "Show the help of a command, or `cacher help options`: the options of all commands.",
}

FAILED = (
    ("3", "the store failed"),
    ("4", "the store refused: credentials, permission"),
)

STATUSES = {
    "": (
        ("0", "done"),
        ("1", "not in the cache"),
        ("2", "wrong usage or settings"),
        ("3", "the store could not be reached, or failed"),
        ("4", "the store refused: credentials, permission, region, clock, quota"),
        ("5", "damaged, or not the file that was stored or expected"),
        ("6", "the origin failed: no --url delivered, docker failed"),
        ("7", "this machine failed: disk full, permission, a missing program"),
        ("70", "a bug in cacher"),
        ("128+N", "ended by signal N, after cleaning up"),
    ),
    "download": (
        ("0", "DEST is written, from the cache or from a URL"),
        ("1", "KEY is not in the cache, and no --url is given"),
        ("5", "the entry is damaged, or its digest is not --sha256"),
        ("6", "no --url delivered the file"),
    ),
    "upload": (
        ("0", "FILE is stored, or KEY was stored already"),
        *FAILED,
        ("7", "FILE cannot be read, or changed while it was read"),
    ),
    "dir download": (
        ("0", "DIR is restored"),
        ("1", "KEY is not in the cache; DIR stays as it was"),
        ("5", "the entry is damaged or unsafe; DIR stays as it was"),
        ("7", "DIR cannot be written; it stays as it was"),
    ),
    "dir upload": (
        ("0", "DIR is stored, or KEY was stored already"),
        *FAILED,
        ("7", "DIR cannot be read, or a file changed while it was packed"),
    ),
    "docker download": (
        ("0", "the engine has the images"),
        ("1", "KEY is not in the cache, and neither --url nor --pull is given"),
        ("6", "docker failed, or no --url delivered the archive"),
        ("7", "docker is missing, or its daemon cannot be reached"),
    ),
    "docker upload": (
        ("0", "the images are stored, or KEY was stored already"),
        *FAILED,
        ("6", "docker failed, or has no such image"),
        ("7", "docker is missing, or its daemon cannot be reached"),
    ),
    "docker exists": (
        ("0", "KEY is stored, with IMAGE as far as the entry records it"),
        ("1", "it is not"),
        ("other", "it is not known"),
    ),
    "exists": (("0", "KEY is stored"), ("1", "it is not"), ("other", "it is not known")),
    "list": (("0", "all entries are printed"), *FAILED),
    "delete": (("0", "none of the entries is stored any more"), *FAILED),
    "key": (
        ("0", "the key is printed"),
        ("2", "TEMPLATE is not a legal template"),
        ("7", "a --hash-from PATH cannot be read, or matches nothing"),
    ),
    "doctor": (("0", "everything works"), ("other", "the status of the first check that failed")),
}

EXAMPLES = {
    "": (
        'cacher download go.tgz go.tgz --url "$URL" --sha256 "$SHA256"',
        "cacher dir upload 'npm-{os}-{hash}' node_modules --hash-from package-lock.json",
    ),
    "download": (
        'cacher download go.tgz go.tgz --url "$URL" --sha256 "$SHA256"',
        "cacher download 'report-{week}.json' - | jq .summary",
    ),
    "upload": (
        "cacher upload app-1.2.tar.gz dist/app.tar.gz",
        "pg_dump app | cacher upload 'dump-{date}.sql' -",
    ),
    "dir download": (
        "key=$(cacher key 'npm-{os}-{hash}' --hash-from package-lock.json)",
        'cacher dir download "$key" node_modules || {',
        "    npm ci || exit",
        '    cacher dir upload "$key" node_modules || true',
        "}",
    ),
    "dir upload": (
        "cacher dir upload 'npm-{os}-{hash}' node_modules --hash-from package-lock.json",
        "cacher dir upload go-{week} ~ --include .cache/go-build --include go/pkg/mod",
    ),
    "docker download": ("cacher docker download tools-12 registry.example.org/tools:12 --pull",),
    "docker upload": ("cacher docker upload 'app-{hash}' app:ci --hash-from Dockerfile",),
    "docker exists": ("cacher docker exists app-1.2 app:1.2 || docker build -t app:1.2 .",),
    "exists": ("cacher exists app-1.2.tar.gz || make dist",),
    "list": ("cacher list npm- --sort size",),
    "delete": (
        "cacher delete app-1.2.tar.gz",
        "cacher delete --prefix npm-linux- --dry-run",
    ),
    "key": ("cacher key 'npm-{os}-{hash}' --hash-from package-lock.json",),
    "init": ("cacher init --endpoint https://s3.example.org --bucket ci-cache",),
    "completion": (
        'eval "$(cacher completion bash)"',
        "cacher completion fish >~/.config/fish/completions/cacher.fish",
    ),
    "help": ("cacher help dir upload", "cacher help options"),
}

KEYS = (
    "A key may be a template: {hash} becomes 16 hex digits over the --hash-from files; {os}, "
    "{arch}, {date} and {week} are filled in, too; {{ and }} are braces. Without {hash}, "
    "--hash-from appends -HASH."
)

PRECEDENCE = (
    "These options belong to every command, and come before or after it. A flag wins over its "
    "variable, the variable over the config file, the config file over the default. The config "
    'file has the same names: `bucket = "ci-cache"`.'
)

CREDENTIALS = (
    ("1.", "CACHER_S3_KEY_ID and CACHER_S3_SECRET"),
    ("2.", "--key-file and --secret-file, their variables, or the config file"),
    ("3.", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
)

SETTING_SOURCES = (
    ("store", "CACHER_ENDPOINT and CACHER_BUCKET, or flags, or the config file"),
    (
        "credentials",
        "CACHER_S3_KEY_ID and CACHER_S3_SECRET, or --key-file and --secret-file, or "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
)

MORE = "More: `cacher help COMMAND`; the options of all commands: `cacher help options`"

MORE_OF_ALL = "Options of all commands (the store, --json, -q, ...): `cacher help options`"

USAGES = {
    # Commands whose arguments exclude each other, which argparse does not know.
    "delete": ("KEY...", "--prefix P", "--stdin"),
    "help": ("[COMMAND [VERB]]", "options"),
}


def page(parser: Parser, columns: int) -> str:
    """Return the page of the program, a command or a verb, without a newline at its end."""
    return "\n\n".join(
        _program_page(parser, columns) if _path(parser) == "" else _command_page(parser, columns)
    )


def options_page(root: Parser, columns: int) -> str:
    """Return the page of the options that every command takes."""
    width = _width(columns)
    shared = root._action_groups[-1]._group_actions
    blocks = [_wrapped(PRECEDENCE, width), _table("options", _option_rows(shared), width)]
    return "\n\n".join([*blocks, _table("credentials (the first that is set)", CREDENTIALS, width)])


def _program_page(root: Parser, columns: int) -> Iterator[str]:
    width = _width(columns)
    yield _usage(root)
    yield _wrapped(ABOUT[""], width)
    groups = [(title, [_row(root, path) for path in paths]) for title, paths in GROUPS]
    longest = max(len(left) for _, rows in groups for left, _ in rows)
    for title, rows in groups:
        yield _table(title, rows, width, longest)
    yield _table("settings", SETTING_SOURCES, width)
    yield _table("exit status", STATUSES[""], width)
    yield _block("examples", EXAMPLES[""])
    yield _wrapped(MORE, width)


def _command_page(parser: Parser, columns: int) -> Iterator[str]:
    width, path = _width(columns), _path(parser)
    yield _usage(parser)
    yield _wrapped(ABOUT[path], width)
    if parser.commands:
        rows = [(_synopsis(verb), _summary(parser, name)) for name, verb in parser.commands.items()]
        yield _table("verbs", rows, width)
    else:
        arguments = [(_argument_text(action), action.help or "") for action in _arguments(parser)]
        options = list(_option_rows(sorted(parser._optionals._group_actions, key=_sort_key)))
        longest = max(len(left) for left, _ in (*arguments, *options))
        if arguments:
            yield _table("arguments", arguments, width, longest)
        yield _table("options", options, width, longest)
    if "--hash-from" in parser.flags:
        yield _wrapped(KEYS, width)
    if path in STATUSES:
        yield _table("exit status", STATUSES[path], width)
    if path in EXAMPLES:
        yield _block("examples", EXAMPLES[path])
    yield _wrapped(MORE_OF_ALL, width)


def _sort_key(action: Action) -> int:
    """Return the sort key that puts options of several commands after a command's own."""
    late = ("hash_from", "literal", "help")
    return 1 + late.index(action.dest) if action.dest in late else 0


def _path(parser: Parser) -> str:
    return parser.prog.partition(" ")[2]


def _synopsis(parser: Parser) -> str:
    """Return a command with its arguments: `dir download KEY DIR`."""
    return f"{_path(parser)} {_argument_forms(parser)[0]}".rstrip()


def _argument_forms(parser: Parser) -> tuple[str, ...]:
    """Return its arguments, once for each way to call it."""
    return USAGES.get(_path(parser)) or (" ".join(map(_argument_text, _arguments(parser))),)


def _row(root: Parser, path: str) -> tuple[str, str]:
    parser, summary = root, ""
    for name in path.split():
        parser, summary = parser.commands[name], _summary(parser, name)
    return _synopsis(parser), summary


def _summary(parser: Parser, name: str) -> str:
    for action in _arguments(parser):
        for choice in getattr(action, "_choices_actions", ()):
            if choice.dest == name:
                return str(choice.help)
    raise KeyError(name)


def _arguments(parser: Parser) -> list[Action]:
    return parser._positionals._group_actions


def _argument_text(action: Action) -> str:
    """Return an argument as a usage line has it: `KEY`, `[IMAGE]`, `KEY...`."""
    name = str(action.metavar)
    return {"?": f"[{name}]", "*": f"{name}...", "+": f"{name}...", "A...": f"{name} ..."}.get(
        str(action.nargs), name
    )


def _option_rows(actions: Iterable[Action]) -> Iterator[tuple[str, str]]:
    for action in actions:
        value = "" if action.nargs == 0 else f" {_value(action)}"
        yield ", ".join(action.option_strings) + value, action.help or ""


def _value(action: Action) -> str:
    return str(action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper())


def _usage(parser: Parser) -> str:
    ways = _argument_forms(parser)
    lines = [f"{parser.prog} [options] {way}".rstrip() for way in ways]
    return "usage: " + "\n       ".join(lines)


def _width(columns: int) -> int:
    return max(min(columns, WIDEST) - 1, 20)


def _wrapped(text: str, width: int) -> str:
    return "\n".join(_lines(text, width))


def _block(title: str, lines: Iterable[str]) -> str:
    """Return lines to type, which are not wrapped."""
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)])


def _table(title: str, rows: Iterable[tuple[str, str]], width: int, longest: int = 0) -> str:
    """Return names and their texts, side by side where there is room."""
    rows = list(rows)
    start = min((longest or max(len(left) for left, _ in rows)) + 4, width * 2 // 5)
    out = [f"{title}:"]
    for left, right in rows:
        first, *others = _lines(right, width - start)
        if len(left) + 4 > start:
            out.append(f"  {left}")
            others.insert(0, first)
        else:
            out.append(f"  {left:<{start - 2}}{first}")
        out += [" " * start + line for line in others]
    return "\n".join(out)


def _lines(text: str, width: int) -> list[str]:
    from textwrap import wrap

    return wrap(text, width, break_long_words=False, break_on_hyphens=False)
