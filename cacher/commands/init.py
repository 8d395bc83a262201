"""`init`: write the config file, after a check that it works."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from cacher.commands.command_result import CommandResult
from cacher.commands.context import Context
from cacher.commands.doctor.checklist import Checklist
from cacher.commands.doctor.directory_checks import examine_directory
from cacher.errors import CacherError, UsageError
from cacher.settings import config
from cacher.settings.config import Settings
from cacher.settings.options import attribute

_FILES = ("key-file", "secret-file", "ca-file")

_UNWRITTEN = ("default", "SSL_CERT_FILE")
"""Sources of settings that are not written. SSL_CERT_FILE belongs to the machine."""


class InitRequest(NamedTuple):
    """The arguments of `init`."""

    check: bool = True


def init(context: Context, request: InitRequest) -> CommandResult:
    """Write the settings in force to the config file, if the check of the store succeeds.

    Without an endpoint, that of the local store is written. Raises the errors of the check.
    """
    path, _ = config.config_path(context.config_file, context.environ)
    if not path:
        raise UsageError("init: there is no home directory for the config file", "use --config")
    file = config.read_file(path, required=False)
    settings = context.use(config.make_settings(context.flags, context.environ, file, path))
    written = _written(context, file, path)
    if request.check:
        region = _check(context, settings)
        if region:
            if settings.sources["region"] not in (path, "default"):
                context.report.warn(f"the store's region is {region}, not {settings.region}")
            written["region"] = region
    config.write_file(path, written)
    where = settings.directory if settings.is_local else context.store.name if request.check else ""
    return CommandResult(
        "written",
        f"wrote {path}" + (f"; {where} works" if request.check else ", unchecked"),
        {"config": path, "settings": written, "checked": request.check},
    )


def _written(context: Context, file: Mapping[str, str], path: str) -> dict[str, str]:
    """Return the settings to write. Raises `UsageError` for a file that is not there."""
    values, sources = config.gather(context.flags, context.environ, file, path)
    written = {
        name: value
        for name, value in values.items()
        if value and (name == "endpoint" or sources[attribute(name)] not in _UNWRITTEN)
    }
    for name in _FILES:
        source = sources[attribute(name)]
        if name in written and source != path:
            given = os.path.expanduser(written[name])
            if not os.path.isfile(given):
                # Not shown here: it may be the secret itself, by mistake.
                raise UsageError(f"init: {source} names no file", "give the name of a file")
            # It is read from other directories later.
            written[name] = os.path.abspath(given)
    return written


def _check(context: Context, settings: Settings) -> str:
    """Test the store; return its region if it is not the one that was assumed, or empty."""
    try:
        if settings.is_local:
            checklist = Checklist()
            examine_directory(context, checklist)
            if checklist.first_error:
                raise checklist.first_error
            return ""
        from cacher.commands.doctor.bucket_checks import smoke

        return smoke(context)
    except CacherError as error:
        hint = error.hint or "`cacher doctor` shows more"
        raise type(error)(
            f"init: {error.message}; nothing was written",
            f"{hint}; --no-check writes the config without the check",
        ) from error
