"""`dir download`: restore an entry as a directory, all of it or nothing."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cacher.archive.detect_format import HEAD_SIZE, require_zstd
from cacher.archive.read_ahead import ReadAhead
from cacher.archive.seal import Seal
from cacher.archive.sealed_stream import SealedReader
from cacher.commands import check_paths, open_sealed_entry
from cacher.commands.command_result import CommandResult, entry_fields
from cacher.commands.context import Context
from cacher.commands.open_sealed_entry import OpenedEntry
from cacher.commands.read_again import read_again
from cacher.errors import IntegrityError, Miss, UsageError
from cacher.fileio import read_full
from cacher.progress import Progress
from cacher.replace.staging import Staging
from cacher.replace.work_dirs import remove_stale
from cacher.report import counted, size_text, unpacked_text
from cacher.store.interface import Entry
from cacher.tree.unpack import Unpacked, UnpackOptions, unpack

UNSEALED_LIMIT = 100 * 1024**3
"""Bytes that an entry without a seal may unpack to."""

_REPORT_AFTER, _POLL_INTERVAL = 3.0, 0.1
"""Seconds of waiting for another run before that is reported, and between two tries."""


DAMAGED = (
    "run it again; if it fails again, use another KEY, or delete the entry if it is certainly yours"
)
"""The hint for an entry that cannot be restored. It may be somebody else's object."""


class DirDownloadRequest(NamedTuple):
    """The arguments of `dir download`; `max_unpacked` is bytes, or None for the default."""

    key: str
    directory: str
    clean: bool = False
    strip: int = 0
    only: Sequence[str] = ()
    keep_owner: bool = False
    max_unpacked: int | None = None


def dir_download(context: Context, request: DirDownloadRequest) -> CommandResult:
    """Restore the entry in DIR. Raises `Miss`; DIR stays as it was after any error."""
    if request.strip < 0:
        raise UsageError(f"--strip {request.strip}: less than 0")
    _check_directory(request.directory)
    check_paths.refuse_local_store_directory(context, request.directory)
    with open_sealed_entry.naming_entry(request.key, DAMAGED):
        return read_again(_restore, context, request)


def _check_directory(directory: str) -> None:
    """Refuse a path that cannot be a directory, before the store is asked for anything."""
    if not directory:
        raise UsageError("DIR is an empty string", "is the variable set?")
    try:
        is_directory = stat.S_ISDIR(os.stat(directory).st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            return  # if there is an entry, writing it fails with more to say
        is_directory = False
    if not is_directory:
        existing = directory
        while existing and not os.path.lexists(existing):
            existing = os.path.dirname(existing)
        raise UsageError(
            f"{existing or directory} is not a directory", "remove it, or name another DIR"
        )


def _restore(context: Context, request: DirDownloadRequest) -> CommandResult:
    with Progress(context.report, f"downloading {request.key}") as progress:
        reader = context.store.open(request.key, progress.add)
        if reader is None:
            remove_stale(request.directory)
            raise Miss(f"miss {request.key}")
        with reader:
            progress.total = reader.entry.size
            opened = open_sealed_entry.open_entry(reader, open_sealed_entry.DIR)
            limit = _limit(request, opened.seal)
            turn = _WaitForTurn(context, request.directory)
            with Staging(request.directory, turn.wait, keep=context.local_directory) as staging:
                staging.require(opened.seal.content if opened.seal else opened.entry.size)
                unpacked = Unpacked()
                progress.files = unpacked.restored_files
                _unpack(context, request, opened, staging.fd, limit, unpacked)
                if not unpacked.restored and (request.only or request.strip):
                    raise _nothing_left(request)
                staging.commit(
                    clean=request.clean,
                    root_in_archive=b"" not in unpacked.implicit,
                    implicit=unpacked.implicit,
                )
                if staging.left_out:
                    context.report.warn(
                        f"{request.key}: left out {staging.left_out}: DIR has the local store there"
                    )
    return _hit(context, request, opened.entry, unpacked, progress)


class _WaitForTurn:
    """Waits for another run that restores into the same directory, and says so."""

    def __init__(self, context: Context, directory: str) -> None:
        self._context = context
        self._directory = directory
        self._start = context.report.monotonic()
        self._is_reported = False

    def wait(self) -> None:
        """Wait a moment."""
        report = self._context.report
        if not self._is_reported and report.monotonic() - self._start >= _REPORT_AFTER:
            report.say(f"waiting for another cacher that restores into {self._directory}")
            self._is_reported = True
        self._context.clocks.pause(_POLL_INTERVAL)


def _limit(request: DirDownloadRequest, seal: Seal | None) -> int:
    """Return how many bytes of tar may come out of the entry."""
    if request.max_unpacked is None:
        return seal.size if seal else UNSEALED_LIMIT
    if seal and seal.size > request.max_unpacked:
        raise IntegrityError(
            f"it unpacks to {size_text(seal.size)}, more than {size_text(request.max_unpacked)}",
            "a larger --max-unpacked allows it",
        )
    return request.max_unpacked


def _unpack(
    context: Context,
    request: DirDownloadRequest,
    opened: OpenedEntry,
    root: int,
    limit: int,
    unpacked: Unpacked,
) -> None:
    """Unpack the entry into the directory `root`, and prove that all of it was read."""
    clock = context.report.monotonic
    start = clock()
    options = UnpackOptions(request.strip, request.only, request.keep_owner, limit)
    with (
        SealedReader(_RequireZstd(opened.read).readinto, clock) as stream,
        ReadAhead(stream.readinto, opened.cancel, clock) as read_ahead,
    ):
        unpack(read_ahead.next, root, options, unpacked)
    open_sealed_entry.require_proof(opened, stream, unpacked.members, unpacked.size)
    seconds = clock() - start
    stages = open_sealed_entry.stages_of_reading(stream, read_ahead, "writing", seconds)
    open_sealed_entry.note_bottleneck(context.report, stages, seconds)


class _RequireZstd:
    """A reader whose first bytes must be those of a zstd stream."""

    def __init__(self, read: Callable[[memoryview], int]) -> None:
        self._read = read
        self._is_checked = False

    def readinto(self, buffer: memoryview) -> int:
        if self._is_checked:
            return self._read(buffer)
        count = read_full(self._read, buffer[:HEAD_SIZE])
        require_zstd(bytes(buffer[:count]))
        self._is_checked = True
        return count


def _hit(
    context: Context,
    request: DirDownloadRequest,
    entry: Entry,
    unpacked: Unpacked,
    progress: Progress,
) -> CommandResult:
    if unpacked.skipped:
        context.report.warn(f"{request.key}: left out {counted(unpacked.skipped, 'FIFO')}")
    seconds = progress.seconds
    files = counted(unpacked.files(), "file")
    if unpacked.restored != unpacked.members:
        files = f"{unpacked.restored_files():,} of {files}"
    return CommandResult(
        "hit",
        f"hit {request.key} ({unpacked_text(files, entry.size, unpacked.size, seconds)})",
        entry_fields(context.store.name, request.key, entry.size, seconds, "")
        | {
            "dest": request.directory,
            "members": unpacked.members,
            "restored": unpacked.restored,
            "unpacked": unpacked.size,
            "skipped": unpacked.skipped,
        },
    )


def _nothing_left(request: DirDownloadRequest) -> UsageError:
    """Return the error for options that leave nothing of the entry."""
    if not request.only:
        what = f"--strip {request.strip} leaves"
        hint = f"no path of the entry has more than {counted(request.strip, 'name')}; strip fewer"
    elif not request.strip:
        what, hint = "--only leaves", "--only matches paths as the entry has them, below DIR"
    else:
        what, hint = "--only and --strip leave", "--only matches the paths that --strip leaves"
    return UsageError(f"{what} nothing of {request.key} to restore", hint)
