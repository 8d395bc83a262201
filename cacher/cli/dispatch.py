"""From the parsed command line to a command: one function for each, which makes its request.

A request takes the options that have the names of its fields as they are; the others are parsed
here. Loads the module of the command that runs, and no other.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from cacher.commands import requests
from cacher.commands.command_result import CommandResult, check_sha256
from cacher.commands.context import Context
from cacher.errors import UsageError
from cacher.settings.config import parse_size

# YAML's lists quote what a shell would expand. A name that begins with `~` is given as `./~name`.
_expanded = os.path.expanduser

_Request = TypeVar("_Request")

_STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def _request(kind: type[_Request], options: Namespace, **parsed: Any) -> _Request:
    """Return a request of the `parsed` values, and of the options for its other fields."""
    fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    return kind(**{name: getattr(options, name) for name in fields if name not in parsed}, **parsed)


def _key(context: Context, options: Namespace) -> str:
    """Return the key of the options, and keep it there for the JSON of a failure."""
    options.key = context.key(options.key, options.hash_from, literal=options.literal)
    return str(options.key)


def _download(context: Context, options: Namespace) -> CommandResult:
    from cacher.commands.download import download

    if options.dest in _STDOUT and options.json:
        raise UsageError(f"--json and DEST {options.dest} both want stdout", "give DEST a name")
    request = _request(
        requests.DownloadRequest,
        options,
        dest=_expanded(options.dest),
        key=_key(context, options),
        urls=options.url,
        sha256=check_sha256(options.sha256),
        store_it=not options.no_store,
    )
    return download(context, request)


def _upload(context: Context, options: Namespace) -> CommandResult:
    from cacher.commands.upload import upload

    request = _request(
        requests.UploadRequest,
        options,
        file=_expanded(options.file),
        key=_key(context, options),
        sha256=check_sha256(options.sha256),
    )
    return upload(context, request)


def _dir_upload(context: Context, options: Namespace) -> CommandResult:
    from cacher.commands.dir_upload import dir_upload

    request = _request(
        requests.DirUploadRequest,
        options,
        key=_key(context, options),
        directory=_expanded(options.directory),
        tolerate_changes=options.changed == "warn",
        keep_owner=options.owner,
    )
    return dir_upload(context, request)


def _dir_download(context: Context, options: Namespace) -> CommandResult:
    from cacher.commands.dir_download import dir_download

    if options.strip < 0:
        raise UsageError(f"--strip {options.strip}: less than 0")
    request = _request(
        requests.DirDownloadRequest,
        options,
        key=_key(context, options),
        directory=_expanded(options.directory),
        max_unpacked=_size("--max-unpacked", options.max_unpacked),
        keep_owner=options.owner,
    )
    return dir_download(context, request)


def _docker_upload(context: Context, options: Namespace) -> CommandResult:
    from cacher.commands.docker.upload import docker_upload

    request = _request(
        requests.DockerUploadRequest,
        options,
        key=_key(context, options),
        program=_program(context, options),
    )
    return docker_upload(context, request)


def _docker_download(context: Context, options: Namespace) -> CommandResult:
    from cacher.commands.docker.download import docker_download

    request = _request(
        requests.DockerDownloadRequest,
        options,
        key=_key(context, options),
        program=_program(context, options),
        urls=options.url,
        sha256=check_sha256(options.sha256),
        store_it=not options.no_store,
    )
    return docker_download(context, request)


def _docker_exists(context: Context, options: Namespace) -> CommandResult:
    from cacher.commands.docker.download import docker_exists

    return docker_exists(context, _key(context, options), options.image)


def _program(context: Context, options: Namespace) -> str | None:
    """Return the engine that was chosen; None for the first on PATH."""
    if options.docker == "":
        raise UsageError("--docker is empty", "is the variable set?")
    return _expanded(options.docker or context.environ.get("CACHER_DOCKER") or "") or None


def _size(flag: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f"{flag} {text!r}: {error}") from error


def _exists(context: Context, options: Namespace) -> CommandResult:
    from cacher.commands.exists import exists

    return exists(context, _key(context, options))


def _list(context: Context, options: Namespace) -> CommandResult:
    from cacher.commands.list import list_entries

    return list_entries(context, _request(requests.ListRequest, options))


def _delete(context: Context, options: Namespace) -> CommandResult:
    from cacher.commands.delete import delete, read_keys

    if bool(options.keys) + (options.below is not None) + options.stdin != 1:
        raise UsageError(
            "delete takes one of KEY..., --prefix P and --stdin", "`cacher delete --help` shows how"
        )
    if options.null and not options.stdin:
        raise UsageError("-0 says how keys end on stdin", "add --stdin")
    if options.stdin and options.hash_from:
        raise UsageError("--hash-from and --stdin exclude each other", "stdin has literal keys")
    keys: Iterable[str]
    if options.stdin:
        keys = read_keys(0, b"\0" if options.null else b"\n", context.settings.prefix)
    else:
        once = dict.fromkeys(options.keys)
        keys = [context.key(text, options.hash_from, literal=options.literal) for text in once]
    at_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    request = _request(requests.DeleteRequest, options, keys=keys)
    return delete(context, request, _ask if at_terminal else None)


def _init(context: Context, options: Namespace) -> CommandResult:
    from cacher.commands.init import init

    return init(context, check=not options.no_check)


def _doctor(context: Context, _options: Namespace) -> CommandResult:
    from cacher.commands.doctor.command import doctor

    return doctor(context)


COMMANDS: dict[str, Callable[[Context, Namespace], CommandResult]] = {
    "delete": _delete,
    "dir download": _dir_download,
    "dir upload": _dir_upload,
    "docker download": _docker_download,
    "docker exists": _docker_exists,
    "docker upload": _docker_upload,
    "doctor": _doctor,
    "download": _download,
    "exists": _exists,
    "init": _init,
    "list": _list,
    "upload": _upload,
}


def _ask(question: str) -> bool:
    sys.stderr.write(f"cacher: {question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
