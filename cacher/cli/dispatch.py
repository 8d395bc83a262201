"""From the parsed command line to a command: its module is loaded, and no other.

A request takes the options that have the names of its fields. The few whose text must be parsed
are parsed here.
"""

from __future__ import annotations

import os
from argparse import Namespace
from importlib import import_module
from typing import Any

from cacher.commands.command_result import CommandResult, check_sha256
from cacher.commands.context import Context
from cacher.errors import UsageError
from cacher.settings.config import parse_size

COMMANDS: dict[str, tuple[str, str, str | None]] = {
    # The module below cacher.commands, the function in it, and its request if it has one.
    "delete": ("delete", "delete", "DeleteRequest"),
    "dir download": ("dir_download", "dir_download", "DirDownloadRequest"),
    "dir upload": ("dir_upload", "dir_upload", "DirUploadRequest"),
    "docker download": ("docker.download", "docker_download", "DockerDownloadRequest"),
    "docker exists": ("docker.exists", "docker_exists", "DockerExistsRequest"),
    "docker upload": ("docker.upload", "docker_upload", "DockerUploadRequest"),
    "doctor": ("doctor.command", "doctor", None),
    "download": ("download", "download", "DownloadRequest"),
    "exists": ("exists", "exists", "ExistsRequest"),
    "init": ("init", "init", "InitRequest"),
    "list": ("list", "list_entries", "ListRequest"),
    "upload": ("upload", "upload", "UploadRequest"),
}


def run_command(context: Context, options: Namespace) -> CommandResult:
    """Run the command of the options. Raises `UsageError` for a value that is not legal.

    The key that a template resolves to replaces it in the options, for the JSON of a failure.
    """
    module_name, function, request = COMMANDS[options.command]
    module = import_module(f"cacher.commands.{module_name}")
    given = []
    if request:
        kind = getattr(module, request)
        given.append(kind(**{name: _value(context, options, name) for name in kind._fields}))
    result: CommandResult = getattr(module, function)(context, *given)
    return result


def _value(context: Context, options: Namespace, name: str) -> Any:
    """Return an option as the request takes it."""
    value = getattr(options, name)
    if name == "key":
        options.key = context.key(value, options.hash_from, literal=options.literal)
        return options.key
    if name in ("dest", "directory", "file"):
        # YAML's lists quote what a shell would expand. For a name with `~` there is `./~name`.
        return os.path.expanduser(value)
    if name == "sha256":
        return check_sha256(value)
    if name == "max_unpacked":
        return _parse_size("--max-unpacked", value)
    if name == "program":
        if value == "":
            raise UsageError("--docker is empty", "is the variable set?")
        return os.path.expanduser(value or context.environ.get("CACHER_DOCKER") or "") or None
    return value


def _parse_size(flag: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f"{flag} {text!r}: {error}") from error
