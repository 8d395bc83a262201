"""`doctor`: run every check in turn and show a line for each; `init` runs some of them.

Goes on after a failed check, and always removes the test entry.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from cacher.commands.command_result import CommandResult
from cacher.commands.context import Context
from cacher.commands.doctor.checklist import FAIL, WARN, Check, Checklist, Skipped, test_entry_key
from cacher.errors import (
    AccessError,
    CacherError,
    IntegrityError,
    StoreError,
    UsageError,
    os_reason,
    unexpected,
    writing_hint,
)
from cacher.report import size_text
from cacher.settings import environment
from cacher.settings.config import Settings
from cacher.store.local.paths import StorePaths

_TEST_BYTES = b"\n"


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


def examine_directory(context: Context, checklist: Checklist) -> None:
    """Check a local store; where there is none yet, only whether it can be created."""
    checklist.run("directory", lambda: _directory(context))
    if not _has_store(context.settings.directory):
        return
    key = test_entry_key()

    def if_written(look: Callable[[Context, str], str]) -> str:
        if checklist.failed("write"):
            raise Skipped("nothing was written")
        return look(context, key)

    try:
        checklist.run("write", lambda: _write(context, key))
        checklist.run("read", lambda: if_written(_read))
    finally:
        checklist.run("delete", lambda: if_written(_delete))
    checklist.run("list", lambda: _list(context))


def _directory(context: Context) -> str:
    _ = context.store  # raises `UsageError` for a file
    path = context.settings.directory
    if not _has_store(path):
        _require_creatable(path)
    if not os.path.isdir(path):
        return f"{path} would be created"
    room = os.statvfs(path)
    text = f"{path}, {size_text(room.f_bavail * room.f_frsize)} free"
    return text if _has_store(path) else f"{text}; the store in it would be created"


def _has_store(directory: str) -> bool:
    """Whether something was stored in the directory, which may hold other files."""
    return os.path.lexists(StorePaths(directory).own)


def _require_creatable(directory: str) -> None:
    """Raise `AccessError` unless the nearest existing parent of the store can be written."""
    parent = StorePaths(directory).own
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        raise UsageError(f"{os.fsdecode(parent)} is not a directory", "name another --endpoint")
    can_be_written = os.access(
        parent, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
    )
    if not can_be_written:
        refusal = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        raise AccessError(
            f"could not create {directory}: {os_reason(refusal)}",
            writing_hint(refusal, directory, "--endpoint"),
        )


def _write(context: Context, key: str) -> str:
    with context.store.create(key, {}) as writer:
        writer.write(_TEST_BYTES)
        writer.commit()
    return "a test entry was written"


def _list(context: Context) -> str:
    count = sum(1 for _ in context.store.list())
    return f"{count} {'entry' if count == 1 else 'entries'}"


def _read(context: Context, key: str) -> str:
    reader = context.store.open(key)
    if reader is None:
        raise StoreError("what was just written is not there")
    with reader:
        buffer = bytearray(16)
        if buffer[: reader.readinto(memoryview(buffer))] != _TEST_BYTES:
            raise IntegrityError("what was read is not what was written")
    return "it was read back"


def _delete(context: Context, key: str) -> str:
    for answer in context.store.delete([key]):
        if answer.error:
            raise answer.error
    return "it was deleted"
