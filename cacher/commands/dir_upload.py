"""`dir upload`: store a directory as an entry, tar in zstd, while it is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from cacher.archive.sealed_stream import SealedWriter
from cacher.archive.zstd import Compressor
from cacher.commands import check_paths, open_sealed_entry
from cacher.commands.command_result import CommandResult, entry_fields
from cacher.commands.context import Context
from cacher.errors import UsageError
from cacher.progress import Progress
from cacher.report import counted, packed_text
from cacher.store.interface import Entry
from cacher.tree.pack import Packed, Selection, pack


class DirUploadRequest(NamedTuple):
    """The arguments of `dir upload`."""

    key: str
    directory: str
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    exclude_caches: bool = False
    allow_missing: bool = False
    level: int = 3
    keep_owner: bool = False
    changed: str = "error"
    force: bool = False


def dir_upload(context: Context, request: DirUploadRequest) -> CommandResult:
    """Store DIR under KEY, unless there is an entry already: then nothing of DIR is read."""
    _check_directory(request.directory)
    check_paths.refuse_local_store_directory(context, request.directory)
    compressor = Compressor(request.level)
    existing = None if request.force else context.existing(request.key)
    if existing:
        return CommandResult(
            "exists",
            f"exists {request.key}, not packed again",
            entry_fields(context.store.name, request.key, existing.size, 0.0, ""),
        )
    with (
        Progress(context.report, f"uploading {request.key}") as progress,
        context.store.create(
            request.key, open_sealed_entry.metadata(open_sealed_entry.DIR), progress.add
        ) as writer,
        SealedWriter(writer.write, compressor, context.report.monotonic) as stream,
    ):
        packed = Packed()
        progress.files, progress.passed = packed.files, lambda: stream.size
        _pack(context, request, stream, packed)
        created = open_sealed_entry.created(context)
        stream.finish(
            open_sealed_entry.DIR, members=packed.members, content=packed.size, created=created
        )
        entry = writer.commit()
    _warn_of_left_out(context, request, packed)
    _note_bottleneck(context, stream, progress.seconds)
    return _stored(context, request, entry, packed, progress.seconds)


def _check_directory(directory: str) -> None:
    if not directory:
        raise UsageError("DIR is an empty string", "is the variable set?")
    try:
        status = os.stat(directory)
    except OSError as error:
        raise check_paths.unreadable(directory, error) from error
    if not stat.S_ISDIR(status.st_mode):
        is_file = stat.S_ISREG(status.st_mode)
        raise UsageError(
            f"{directory} is not a directory",
            "`cacher upload KEY FILE` stores a file" if is_file else "name the directory to store",
        )


def _identity(directory: str | None) -> tuple[int, int] | None:
    """Return the device and inode of a directory; None if it is not there."""
    with suppress(OSError):
        if directory is not None:
            status = os.stat(directory)
            return status.st_dev, status.st_ino
    return None


def _pack(
    context: Context, request: DirUploadRequest, stream: SealedWriter, packed: Packed
) -> None:
    selection = Selection(
        request.include,
        request.exclude,
        request.exclude_caches,
        request.allow_missing,
        _identity(context.local_directory),
    )
    pack(
        request.directory,
        stream.write,
        selection,
        keep_owner=request.keep_owner,
        tolerate_changes=request.changed == "warn",
        packed=packed,
    )


def _warn_of_left_out(context: Context, request: DirUploadRequest, packed: Packed) -> None:
    if packed.skipped:
        context.report.warn(f"{request.key}: left out {_special(packed.skipped)}")
    if packed.omitted_path:
        context.report.warn(
            f"{request.key}: left out {os.fsdecode(packed.omitted_path)}: it is the local store"
        )
    if packed.vanished:
        vanished = counted(packed.vanished, "file")
        context.report.warn(f"{request.key}: left out {vanished} that vanished during packing")
    if packed.changed:
        context.report.warn(
            f"{request.key}: {counted(packed.changed, 'file')} changed during packing"
        )


def _note_bottleneck(context: Context, stream: SealedWriter, seconds: float) -> None:
    stages = {"compressing": stream.compressing, "storing": stream.storing}
    stages["reading"] = seconds - sum(stages.values())
    open_sealed_entry.note_bottleneck(context.report, stages, seconds)


def _special(count: int) -> str:
    return counted(count, "socket, FIFO or device", "sockets, FIFOs or devices")


def _stored(
    context: Context, request: DirUploadRequest, entry: Entry, packed: Packed, seconds: float
) -> CommandResult:
    files = counted(packed.files(), "file")
    return CommandResult(
        "stored",
        f"stored {request.key} ({packed_text(files, packed.size, entry.size, seconds)})",
        entry_fields(context.store.name, request.key, entry.size, seconds, "")
        | {
            "members": packed.members,
            "unpacked": packed.size,
            "skipped": packed.skipped,
            "vanished": packed.vanished,
            "changed": packed.changed,
        },
    )
