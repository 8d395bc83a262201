"""`dir download`: an entry becomes a directory, all of it or nothing."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from cacher.archive.detect_format import HEAD_SIZE, require_zstd
from cacher.archive.read_ahead import ReadAhead
from cacher.archive.seal import Seal
from cacher.archive.sealed_stream import SealedReader
from cacher.commands import open_sealed_entry, protect_local_store
from cacher.commands.command_result import CommandResult, entry_fields
from cacher.commands.context import Context
from cacher.commands.open_sealed_entry import OpenedEntry
from cacher.commands.requests import DirDownloadRequest
from cacher.errors import IntegrityError, Miss, UsageError
from cacher.fileio import read_full
from cacher.replace.staging import Staging
from cacher.replace.work_dirs import remove_stale
from cacher.report import Progress, counted, size_text, unpacked_text
from cacher.store.interface import Entry
from cacher.tree.unpack import Unpacked, UnpackOptions, unpack

KIND = "dir"

UNSEALED_LIMIT = 100 * 1024**3
"""Bytes that an entry may unpack to which does not tell how many it does."""

_SAY_AFTER, _LOOK_EVERY = 3.0, 0.1
"""Seconds of waiting for another run before that is said, and between two looks."""


DAMAGED = (
    "run it again; if it fails again, use another KEY, or delete the entry if it is certainly yours"
)
"""The hint for an entry that cannot be restored: it may be somebody else's object."""


def dir_download(context: Context, request: DirDownloadRequest) -> CommandResult:
    """The entry to DIR. Raises `Miss`, and whatever else makes DIR stay as it was."""
    _check_directory(request.directory)
    protect_local_store.refuse_directory(context, request.directory)
    return open_sealed_entry.read_entry(request.key, DAMAGED, lambda: _restored(context, request))


def _check_directory(directory: str) -> None:
    """Refuse what can be no directory before anything is asked for, whatever comes of that."""
    if not directory:
        raise UsageError("DIR is an empty string", "is the variable set?")
    try:
        is_directory = stat.S_ISDIR(os.stat(directory).st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            return  # should there be an entry, what writes it tells more
        is_directory = False
    if not is_directory:
        place = directory
        while place and not os.path.lexists(place):
            place = os.path.dirname(place)
        raise UsageError(
            f"{place or directory} is not a directory", "remove it, or name another DIR"
        )


def _restored(context: Context, request: DirDownloadRequest) -> CommandResult:
    with context.report.progress(f"downloading {request.key}") as progress:
        reader = context.store.open(request.key, progress.add)
        if reader is None:
            remove_stale(request.directory)
            raise Miss(f"miss {request.key}")
        with reader:
            progress.total = reader.entry.size
            opened = open_sealed_entry.open_entry(reader, KIND)
            limit = _limit(request, opened.seal)
            turn = _Turn(context, request.directory)
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
    return _outcome(context, request, opened.entry, unpacked, progress)


class _Turn:
    """Waits for another run that restores into the same directory, and says so."""

    def __init__(self, context: Context, directory: str) -> None:
        self._context = context
        self._directory = directory
        self._start = context.report.monotonic()
        self._is_said = False

    def wait(self) -> None:
        """Wait a moment."""
        report = self._context.report
        if not self._is_said and report.monotonic() - self._start >= _SAY_AFTER:
            report.say(f"waiting for another cacher that restores into {self._directory}")
            self._is_said = True
        self._context.pause(_LOOK_EVERY)


def _limit(request: DirDownloadRequest, seal: Seal | None) -> int:
    """How many bytes of tar may come out of the entry."""
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
    """Unpack the entry into the directory `root`, and prove that it was all of it."""
    clock = context.report.monotonic
    start = clock()
    choice = UnpackOptions(request.strip, request.only, request.keep_owner, limit)
    with (
        SealedReader(_Recognised(opened.read).readinto, clock) as stream,
        ReadAhead(stream.readinto, opened.cancel, clock) as read_ahead,
    ):
        unpack(read_ahead.next, root, choice, unpacked)
    open_sealed_entry.require_proof(opened, stream, unpacked.members, unpacked.size)
    seconds = clock() - start
    stages = open_sealed_entry.stages_of_reading(stream, read_ahead, "writing", seconds)
    open_sealed_entry.note_bottleneck(context.report, stages, seconds)


class _Recognised:
    """What is read, once its beginning is known to be that of a zstd stream."""

    def __init__(self, read: Callable[[memoryview], int]) -> None:
        self._read = read
        self._is_known = False

    def readinto(self, buffer: memoryview) -> int:
        if self._is_known:
            return self._read(buffer)
        filled = read_full(self._read, buffer)
        require_zstd(bytes(buffer[: min(filled, HEAD_SIZE)]))
        self._is_known = True
        return filled


def _outcome(
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
    """The error where the options leave nothing of the entry."""
    if not request.only:
        what = f"--strip {request.strip} leaves"
        hint = f"no path of the entry has more than {counted(request.strip, 'name')}; strip fewer"
    elif not request.strip:
        what, hint = "--only leaves", "--only matches paths as the entry has them, below DIR"
    else:
        what, hint = "--only and --strip leave", "--only matches the paths that --strip leaves"
    return UsageError(f"{what} nothing of {request.key} to restore", hint)
