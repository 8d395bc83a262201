"""`dir upload`: a directory becomes an entry, tar in zstd, as it is read."""

from __future__ import annotations

import os

from cacher.commands.outcome import Outcome, entry_fields
from cacher.commands.run import Run
from cacher.commands.wanted import DirUpload
from cacher.errors import LocalError, UsageError
from cacher.report import Progress, size_text, transfer_text
from cacher.store.base import Entry
from cacher.stream.archive import SealedWriter
from cacher.stream.pack import Packed, Selection, pack
from cacher.stream.zstd import Compressor

KIND = "dir"
METADATA = {"cacher-kind": KIND, "cacher-format": "1"}


def dir_upload(run: Run, wanted: DirUpload) -> Outcome:
    """DIR under KEY, unless there is an entry already: then nothing of DIR is read."""
    _check_directory(wanted.directory)
    compressor = Compressor(wanted.level)
    existing = None if wanted.force else run.existing(wanted.key)
    if existing:
        return Outcome(
            "exists",
            f"exists {wanted.key}, not packed again (--force replaces it)",
            entry_fields(run.store.name, wanted.key, existing.size, 0.0, ""),
        )
    with (
        run.report.progress(f"uploading {wanted.key}") as progress,
        run.store.create(wanted.key, METADATA, progress.add) as writer,
        SealedWriter(writer, compressor, run.report.monotonic) as sealed,
    ):
        packed = _pack(wanted, sealed)
        sealed.finish(KIND, members=packed.members, content=packed.size, created=_created(run))
        entry = writer.commit()
    _tell(run, wanted, packed, sealed, progress)
    return _stored(run, wanted, entry, packed, progress.seconds)


def _check_directory(directory: str) -> None:
    if not os.path.lexists(directory):
        raise LocalError(f"cannot read {directory}: no such file or directory")
    if not os.path.isdir(directory):
        raise UsageError(f"{directory} is not a directory", "`cacher upload` stores one file")


def _pack(wanted: DirUpload, sealed: SealedWriter) -> Packed:
    selection = Selection(
        wanted.include, wanted.exclude, wanted.exclude_caches, wanted.allow_missing
    )
    return pack(
        wanted.directory,
        sealed.write,
        selection,
        keep_owner=wanted.keep_owner,
        tolerate_changes=wanted.tolerate_changes,
    )


def _created(run: Run) -> int:
    """The time of the seal. SOURCE_DATE_EPOCH makes two runs give the same bytes, seal included."""
    told = run.environ.get("SOURCE_DATE_EPOCH", "")
    return int(told) if told.isdecimal() and told.isascii() else int(run.clock())


def _tell(
    run: Run, wanted: DirUpload, packed: Packed, sealed: SealedWriter, progress: Progress
) -> None:
    if packed.skipped:
        run.report.warn(f"{wanted.key}: left out {packed.skipped} sockets, FIFOs or devices")
    if packed.vanished:
        run.report.warn(f"{wanted.key}: left out {packed.vanished} that vanished meanwhile")
    if packed.changed:
        run.report.warn(f"{wanted.key}: {packed.changed} files changed while they were packed")
    stages = {
        "compressing": sealed.compressing,
        "storing": sealed.storing,
        "reading": progress.seconds - sealed.compressing - sealed.storing,
    }
    slowest = max(stages, key=lambda name: stages[name])
    run.report.note(f"bottleneck: {slowest} ({stages[slowest]:.1f} of {progress.seconds:.1f} s)")


def _stored(run: Run, wanted: DirUpload, entry: Entry, packed: Packed, seconds: float) -> Outcome:
    return Outcome(
        "stored",
        f"stored {wanted.key} ({packed.members} members, {size_text(packed.size)}; "
        f"{transfer_text(entry.size, seconds)})",
        entry_fields(run.store.name, wanted.key, entry.size, seconds, "")
        | {
            "members": packed.members,
            "unpacked": packed.size,
            "skipped": packed.skipped,
            "vanished": packed.vanished,
            "changed": packed.changed,
        },
    )
