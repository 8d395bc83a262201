"""`dir upload`: a directory becomes an entry, tar in zstd, as it is read."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from cacher.archive.sealed_stream import SealedWriter
from cacher.archive.zstd import Compressor
from cacher.commands import open_sealed_entry as sealed
from cacher.commands import protect_local_store as own_store
from cacher.commands.command_result import Outcome, entry_fields
from cacher.commands.context import Run
from cacher.commands.requests import DirUpload
from cacher.commands.unreadable import unreadable
from cacher.errors import UsageError
from cacher.report import Progress, counted, packed_text
from cacher.store.interface import Entry
from cacher.tree.pack import Packed, Selection, pack

KIND = "dir"


def dir_upload(run: Run, wanted: DirUpload) -> Outcome:
    """DIR under KEY, unless there is an entry already: then nothing of DIR is read."""
    _check_directory(wanted.directory)
    own_store.refuse_directory(run, wanted.directory)
    compressor = Compressor(wanted.level)
    existing = None if wanted.force else run.existing(wanted.key)
    if existing:
        return Outcome(
            "exists",
            f"exists {wanted.key}, not packed again",
            entry_fields(run.store.name, wanted.key, existing.size, 0.0, ""),
        )
    with (
        run.report.progress(f"uploading {wanted.key}") as progress,
        run.store.create(wanted.key, sealed.metadata(KIND), progress.add) as writer,
        SealedWriter(writer, compressor, run.report.monotonic) as stream,
    ):
        packed = Packed()
        progress.files, progress.passed = packed.files, lambda: stream.size
        _pack(run, wanted, stream, packed)
        created = sealed.created(run)
        stream.finish(KIND, members=packed.members, content=packed.size, created=created)
        entry = writer.commit()
    _tell(run, wanted, packed, stream, progress)
    return _stored(run, wanted, entry, packed, progress.seconds)


def _check_directory(directory: str) -> None:
    if not directory:
        raise UsageError("DIR is an empty string", "is the variable set?")
    try:
        status = os.stat(directory)
    except OSError as error:
        raise unreadable(directory, error) from error
    if not stat.S_ISDIR(status.st_mode):
        is_file = stat.S_ISREG(status.st_mode)
        raise UsageError(
            f"{directory} is not a directory",
            "`cacher upload KEY FILE` stores a file" if is_file else "name the directory to store",
        )


def _identity(directory: str | None) -> tuple[int, int] | None:
    """The device and inode of a directory; None if it is not there."""
    with suppress(OSError):
        if directory is not None:
            status = os.stat(directory)
            return status.st_dev, status.st_ino
    return None


def _pack(run: Run, wanted: DirUpload, stream: SealedWriter, packed: Packed) -> None:
    selection = Selection(
        wanted.include,
        wanted.exclude,
        wanted.exclude_caches,
        wanted.allow_missing,
        _identity(run.local_directory),
    )
    pack(
        wanted.directory,
        stream.write,
        selection,
        keep_owner=wanted.keep_owner,
        tolerate_changes=wanted.tolerate_changes,
        packed=packed,
    )


def _tell(
    run: Run, wanted: DirUpload, packed: Packed, stream: SealedWriter, progress: Progress
) -> None:
    if packed.skipped:
        run.report.warn(f"{wanted.key}: left out {_special(packed.skipped)}")
    if packed.spared:
        run.report.warn(
            f"{wanted.key}: left out {os.fsdecode(packed.spared)}: it is the local store"
        )
    if packed.vanished:
        vanished = counted(packed.vanished, "file")
        run.report.warn(f"{wanted.key}: left out {vanished} that vanished during packing")
    if packed.changed:
        run.report.warn(f"{wanted.key}: {counted(packed.changed, 'file')} changed during packing")
    stages = {"compressing": stream.compressing, "storing": stream.storing}
    stages["reading"] = progress.seconds - sum(stages.values())
    sealed.note_bottleneck(run.report, stages, progress.seconds)


def _special(count: int) -> str:
    return counted(count, "socket, FIFO or device", "sockets, FIFOs or devices")


def _stored(run: Run, wanted: DirUpload, entry: Entry, packed: Packed, seconds: float) -> Outcome:
    files = counted(packed.files(), "file")
    return Outcome(
        "stored",
        f"stored {wanted.key} ({packed_text(files, packed.size, entry.size, seconds)})",
        entry_fields(run.store.name, wanted.key, entry.size, seconds, "")
        | {
            "members": packed.members,
            "unpacked": packed.size,
            "skipped": packed.skipped,
            "vanished": packed.vanished,
            "changed": packed.changed,
        },
    )
