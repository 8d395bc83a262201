"""`doctor`: run every check in turn and show a line for each.

Goes on after a failed check, and always removes the test entry.
"""

from __future__ import annotations

import os
from typing import Any

from cacher.commands.command_result import CommandResult
from cacher.commands.context import Context
from cacher.commands.doctor.checklist import FAIL, WARN, Check, Checklist
from cacher.commands.doctor.directory_checks import examine_directory
from cacher.errors import CacherError, unexpected
from cacher.settings import environment
from cacher.settings.config import Settings


def doctor(context: Context) -> CommandResult:
    """Run all checks. The status of the result is that of the first failure."""
    report = context.report

    def show(check: Check) -> None:
        if not report.as_json and (not report.quiet or check.state in (WARN, FAIL)):
            report.line(f"{check.state:<4}  {check.name:<12} {check.text}")
            report.flush()

    checklist = Checklist(show)
    checklist.run("zstd", _zstd)
    examine(context, checklist)
    error = checklist.first_error
    fields: dict[str, Any] = {
        "checks": [
            {"name": check.name, "state": check.state, "text": check.text}
            for check in checklist.checks
        ]
    }
    if error is None:
        warnings = sum(check.state == WARN for check in checklist.checks)
        more = f", {warnings} warning{'s' * (warnings != 1)}" if warnings else ""
        return CommandResult("healthy", f"everything works{more}", fields)
    failures = sum(check.state == FAIL for check in checklist.checks)
    text = f"{failures} of {len(checklist.checks)} checks failed; the first: {error.message}"
    hint = _hint(error) or "fix this first; other failures may come from it"
    return CommandResult("unhealthy", fields=fields, error=type(error)(text, hint))


def _hint(error: CacherError) -> str:
    """Return the error's hint without the advice to run doctor."""
    return "; ".join(hint for hint in error.hint.split("; ") if "`cacher doctor`" not in hint)


def _zstd() -> str:
    """Check the library that directories and images need; files do not need it."""
    try:
        from cacher.archive.zstd import LIBRARY
    except ImportError as error:
        raise unexpected(error) from error
    return LIBRARY


def examine(context: Context, checklist: Checklist) -> None:
    """Run the checks of the settings and of their store."""
    settings: list[Settings] = []

    def look() -> str:
        settings.append(context.settings)
        return context.settings.config_file or "no config file; defaults, variables and flags"

    if not checklist.run("config", look):
        return
    for name, source in context.settings.sources.items():
        value = getattr(context.settings, name)
        if name in ("key_file", "secret_file") and value and not os.path.exists(value):
            # Not named: it may be the secret itself, by mistake.
            checklist.note(name.replace("_", "-"), f"no such file (from {source})", WARN)
        elif name == "endpoint" and environment.is_default(context.settings):
            where = context.settings.directory
            checklist.note(name, f"no endpoint is set: using the local store {where}", WARN)
        elif value not in ("", None):
            checklist.note(name.replace("_", "-"), f"{value} (from {source})")
    if context.settings.is_local:
        examine_directory(context, checklist)
        return
    from cacher.commands.doctor.bucket_checks import examine_bucket

    examine_bucket(context, checklist)
