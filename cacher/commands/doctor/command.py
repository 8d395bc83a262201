"""`doctor`: every check in turn, one line each, and `init`'s smaller smoke test of the same checks.

Goes on after a failed check, and always removes what it wrote.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from cacher.commands.command_result import Outcome
from cacher.commands.context import Run
from cacher.commands.doctor.checklist import FAIL, WARN, Chart, Check, Skipped, canary_key
from cacher.errors import CacherError, IntegrityError, StoreError
from cacher.report import size_text
from cacher.settings import environment
from cacher.settings.config import Settings
from cacher.store.local.cleanup import none_left
from cacher.unforeseen import translated

_CANARY = b"\n"


def doctor(run: Run) -> Outcome:
    """All checks. The outcome's status is the first failure's."""
    report = run.report

    def show(check: Check) -> None:
        if not report.as_json and (not report.quiet or check.state in (WARN, FAIL)):
            report.line(f"{check.state:<4}  {check.name:<12} {check.text}")
            report.flush()

    chart = Chart(show)
    chart.run("zstd", _zstd)
    examine(run, chart)
    error = chart.first_error
    fields: dict[str, Any] = {
        "checks": [
            {"name": check.name, "state": check.state, "text": check.text} for check in chart.checks
        ]
    }
    if error is None:
        warnings = sum(check.state == WARN for check in chart.checks)
        more = f", {warnings} warning{'s' * (warnings != 1)}" if warnings else ""
        return Outcome("healthy", f"everything works{more}", fields)
    failures = sum(check.state == FAIL for check in chart.checks)
    text = f"{failures} of {len(chart.checks)} checks failed; the first: {error.message}"
    hint = _hint(error) or "fix this first; other failures may come from it"
    return Outcome("unhealthy", fields=fields, error=type(error)(text, hint))


def _hint(error: CacherError) -> str:
    """The error's hint without those to run what runs already."""
    return "; ".join(hint for hint in error.hint.split("; ") if "`cacher doctor`" not in hint)


def _zstd() -> str:
    """What directories and images need; files do without."""
    try:
        from cacher.archive.zstd import LIBRARY
    except ImportError as error:
        raise translated(error) from error
    return LIBRARY


def examine(run: Run, chart: Chart) -> None:
    """Fill the chart."""
    settings: list[Settings] = []

    def look() -> str:
        settings.append(run.settings)
        return run.settings.config_file or "no config file; defaults, variables and flags"

    if not chart.run("config", look):
        return
    for name, source in run.settings.sources.items():
        value = getattr(run.settings, name)
        if name in ("key_file", "secret_file") and value and not os.path.isfile(value):
            value = "no such file"  # not named: it may be the secret itself, by mistake
        if name == "endpoint" and environment.is_default(run.settings):
            where = run.settings.directory
            chart.note(name, f"no endpoint is set: using the local store {where}", WARN)
        elif value not in ("", None):
            chart.note(name.replace("_", "-"), f"{value} (from {source})")
    if run.settings.is_local:
        examine_directory(run, chart)
        return
    from cacher.commands.doctor.bucket_checks import examine_bucket

    examine_bucket(run, chart)


def examine_directory(run: Run, chart: Chart) -> None:
    """The checks of a local store, which they do not make where there was none."""
    with none_left(run.settings.directory):
        _examine_directory(run, chart)


def _examine_directory(run: Run, chart: Chart) -> None:
    key = canary_key()

    def if_written(look: Callable[[Run, str], str]) -> str:
        if chart.failed("write"):
            raise Skipped("nothing was written")
        return look(run, key)

    chart.run("directory", lambda: _directory(run))
    try:
        chart.run("write", lambda: _write(run, key))
        chart.run("read", lambda: if_written(_read))
    finally:
        chart.run("delete", lambda: if_written(_delete))
    chart.run("list", lambda: _list(run))


def _directory(run: Run) -> str:
    _ = run.store  # raises `UsageError` for what is no directory
    path = run.settings.directory
    if not os.path.isdir(path):
        return f"{path} (created when something is stored)"
    room = os.statvfs(path)
    return f"{path}, {size_text(room.f_bavail * room.f_frsize)} free"


def _write(run: Run, key: str) -> str:
    with run.store.create(key, {}) as writer:
        writer.write(_CANARY)
        writer.commit()
    return "a test entry was written"


def _list(run: Run) -> str:
    count = sum(1 for _ in run.store.list())
    return f"{count} {'entry' if count == 1 else 'entries'}"


def _read(run: Run, key: str) -> str:
    reader = run.store.open(key)
    if reader is None:
        raise StoreError("what was just written is not there")
    with reader:
        buffer = bytearray(16)
        if buffer[: reader.readinto(memoryview(buffer))] != _CANARY:
            raise IntegrityError("what was read is not what was written")
    return "it was read back"


def _delete(run: Run, key: str) -> str:
    for answer in run.store.delete([key]):
        if answer.error:
            raise answer.error
    return "it was deleted"
