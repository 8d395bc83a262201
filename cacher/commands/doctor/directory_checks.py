"""The checks of a local store, which always remove their test entry."""

from __future__ import annotations

import errno
import os

from cacher.commands.context import Context
from cacher.commands.doctor.checklist import Checklist, Skipped, test_entry_key
from cacher.errors import (
    AccessError,
    IntegrityError,
    StoreError,
    UsageError,
    os_reason,
    writing_hint,
)
from cacher.report import size_text
from cacher.store.local.paths import StorePaths

_TEST_BYTES = b"\n"


def examine_directory(context: Context, checklist: Checklist) -> None:
    """Check a local store; where there is none yet, only whether it can be created."""
    checklist.run("directory", _directory, context)
    if not _has_store(context.settings.directory):
        return
    key = test_entry_key()

    try:
        checklist.run("write", _write, context, key)
        checklist.run("read", _read, context, key, checklist)
    finally:
        checklist.run("delete", _delete, context, key, checklist)
    checklist.run("list", _list, context)


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


def _read(context: Context, key: str, checklist: Checklist) -> str:
    _require_written(checklist)
    reader = context.store.open(key)
    if reader is None:
        raise StoreError("what was just written is not there")
    with reader:
        buffer = bytearray(16)
        if buffer[: reader.readinto(memoryview(buffer))] != _TEST_BYTES:
            raise IntegrityError("what was read is not what was written")
    return "it was read back"


def _delete(context: Context, key: str, checklist: Checklist) -> str:
    _require_written(checklist)
    for answer in context.store.delete([key]):
        if answer.error:
            raise answer.error
    return "it was deleted"


def _require_written(checklist: Checklist) -> None:
    if checklist.failed("write"):
        raise Skipped("nothing was written")
