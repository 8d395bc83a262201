"""`init`: write the config file, once it is known to work."""

from __future__ import annotations

import os

from cacher import config
from cacher.commands.chart import Chart
from cacher.commands.doctor import examine_directory
from cacher.commands.outcome import Outcome
from cacher.commands.run import Run
from cacher.config import Settings
from cacher.errors import CacherError, UsageError
from cacher.options import SETTINGS, attribute

_FILES = ("key-file", "secret-file", "ca-file")


def init(run: Run, *, check: bool) -> Outcome:
    """Write what was given over what is there; a setting that does not work is not written.

    Without an endpoint from anywhere it is the local store's. Raises what the check raises.
    """
    path, _ = config.config_path(run.config_file, run.environ)
    file = config.read_file(path, required=False)
    given = {
        name: value
        for name, *_ in SETTINGS
        if (value := run.flags.get(attribute(name))) is not None
    }
    for name in _FILES:
        if given.get(name):
            path_given = os.path.expanduser(given[name])
            if not os.path.isfile(path_given):
                # Not named here: it may be the secret itself, by mistake.
                raise UsageError(f"init: --{name} names no file", "it takes a file's name")
            # It is read from other directories later.
            given[name] = os.path.abspath(path_given)
    merged = {name: value for name, value in (file | given).items() if value}
    if "endpoint" not in merged and not run.environ.get("CACHER_ENDPOINT"):
        merged["endpoint"] = config.default_endpoint(run.environ)
    settings = config.resolve(run.flags, run.environ, merged, path)
    run.use(settings)
    if check:
        region = _check(run, settings)
        if region:
            if "region" in given:
                run.report.warn(f"the store's region is {region}, not {given['region']}")
            merged["region"] = region
    config.write_file(path, merged)
    where = settings.directory if settings.is_local else run.store.name if check else ""
    return Outcome(
        "written",
        f"wrote {path}" + (f"; {where} works" if check else ", unchecked"),
        {"config": path, "settings": merged, "checked": check},
    )


def _check(run: Run, settings: Settings) -> str:
    """The smoke test; the region that the store wants in place of the one that was assumed."""
    try:
        if settings.is_local:
            chart = Chart(lambda _check: None)
            examine_directory(run, chart)
            if chart.first_error:
                raise chart.first_error
            return ""
        from cacher.commands.bucket_doctor import smoke

        return smoke(run)
    except CacherError as error:
        hint = error.hint or "`cacher doctor` tells more"
        raise type(error)(
            f"init: {error.message}; nothing was written",
            f"{hint}; --no-check writes the config all the same",
        ) from error
