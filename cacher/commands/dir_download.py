"""`dir download`: an entry becomes a directory, all of it or nothing."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from cacher.archive.detect_format import HEAD, require_zstd
from cacher.archive.read_ahead import Ring
from cacher.archive.seal import Seal
from cacher.archive.sealed_stream import SealedReader
from cacher.commands import open_sealed_entry as sealed
from cacher.commands import protect_local_store as own_store
from cacher.commands.command_result import Outcome, entry_fields
from cacher.commands.context import Run
from cacher.commands.open_sealed_entry import Opened
from cacher.commands.requests import DirDownload
from cacher.errors import IntegrityError, Miss, UsageError
from cacher.replace.staging import Staging
from cacher.replace.stale_work_dirs import sweep
from cacher.report import Progress, counted, size_text, unpacked_text
from cacher.store.interface import Entry
from cacher.tree.unpack import Unpacked, Wanted, unpack

KIND = "dir"

UNSEALED_LIMIT = 100 * 1024**3
"""Bytes that an entry may unpack to which does not tell how many it does."""

_SAY_AFTER, _LOOK_EVERY = 3.0, 0.1
"""Seconds of waiting for another run before that is said, and between two looks."""


DAMAGED = (
    "run it again; if it fails again, use another KEY, or delete the entry if it is certainly yours"
)
"""The hint for an entry that cannot be restored: it may be somebody else's object."""


def dir_download(run: Run, wanted: DirDownload) -> Outcome:
    """The entry to DIR. Raises `Miss`, and whatever else makes DIR stay as it was."""
    _check_directory(wanted.directory)
    own_store.refuse_directory(run, wanted.directory)
    return sealed.read_entry(wanted.key, DAMAGED, lambda: _restored(run, wanted))


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


def _restored(run: Run, wanted: DirDownload) -> Outcome:
    with run.report.progress(f"downloading {wanted.key}") as progress:
        reader = run.store.open(wanted.key, progress.add)
        if reader is None:
            sweep(wanted.directory)
            raise Miss(f"miss {wanted.key}")
        with reader:
            progress.total = reader.entry.size
            opened = sealed.open_entry(reader, KIND)
            limit = _limit(wanted, opened.seal)
            turn = _Turn(run, wanted.directory)
            with Staging(wanted.directory, turn.wait, spare=run.local_directory) as staging:
                staging.require(opened.seal.content if opened.seal else opened.entry.size)
                unpacked = Unpacked()
                progress.files = unpacked.restored_files
                _unpack(run, wanted, opened, staging.fd, limit, unpacked)
                if not unpacked.restored and (wanted.only or wanted.strip):
                    raise _nothing_left(wanted)
                staging.publish(
                    clean=wanted.clean,
                    root_told=b"" not in unpacked.implicit,
                    implicit=unpacked.implicit,
                )
                if staging.spared:
                    run.report.warn(
                        f"{wanted.key}: left out {staging.spared}: DIR has the local store there"
                    )
    return _outcome(run, wanted, opened.entry, unpacked, progress)


class _Turn:
    """Waits for another run that restores into the same directory, and says so."""

    def __init__(self, run: Run, directory: str) -> None:
        self._run = run
        self._directory = directory
        self._start = run.report.monotonic()
        self._is_said = False

    def wait(self) -> None:
        """Wait a moment."""
        report = self._run.report
        if not self._is_said and report.monotonic() - self._start >= _SAY_AFTER:
            report.say(f"waiting for another cacher that restores into {self._directory}")
            self._is_said = True
        self._run.pause(_LOOK_EVERY)


def _limit(wanted: DirDownload, seal: Seal | None) -> int:
    """How many bytes of tar may come out of the entry."""
    if wanted.max_unpacked is None:
        return seal.size if seal else UNSEALED_LIMIT
    if seal and seal.size > wanted.max_unpacked:
        raise IntegrityError(
            f"it unpacks to {size_text(seal.size)}, more than {size_text(wanted.max_unpacked)}",
            "a larger --max-unpacked allows it",
        )
    return wanted.max_unpacked


def _unpack(
    run: Run, wanted: DirDownload, opened: Opened, root: int, limit: int, unpacked: Unpacked
) -> None:
    """Unpack the entry into the directory `root`, and prove that it was all of it."""
    clock = run.report.monotonic
    start = clock()
    choice = Wanted(wanted.strip, wanted.only, wanted.keep_owner, limit)
    with (
        SealedReader(_Recognised(opened.read).readinto, clock) as stream,
        Ring(stream.readinto, opened.cancel, clock) as ring,
    ):
        unpack(ring.next, root, choice, unpacked)
    sealed.require_proof(opened, stream, unpacked.members, unpacked.size)
    seconds = clock() - start
    stages = sealed.stages_of_reading(stream, ring, "writing", seconds)
    sealed.note_bottleneck(run.report, stages, seconds)


class _Recognised:
    """What is read, once its beginning is known to be that of a zstd stream."""

    def __init__(self, read: Callable[[memoryview], int]) -> None:
        self._read = read
        self._is_known = False

    def readinto(self, buffer: memoryview) -> int:
        if self._is_known:
            return self._read(buffer)
        filled = 0
        while filled < HEAD and (count := self._read(buffer[filled:])):
            filled += count
        require_zstd(bytes(buffer[: min(filled, HEAD)]))
        self._is_known = True
        return filled


def _outcome(
    run: Run, wanted: DirDownload, entry: Entry, unpacked: Unpacked, progress: Progress
) -> Outcome:
    if unpacked.skipped:
        run.report.warn(f"{wanted.key}: left out {counted(unpacked.skipped, 'FIFO')}")
    seconds = progress.seconds
    files = counted(unpacked.files(), "file")
    if unpacked.restored != unpacked.members:
        files = f"{unpacked.restored_files():,} of {files}"
    return Outcome(
        "hit",
        f"hit {wanted.key} ({unpacked_text(files, entry.size, unpacked.size, seconds)})",
        entry_fields(run.store.name, wanted.key, entry.size, seconds, "")
        | {
            "dest": wanted.directory,
            "members": unpacked.members,
            "restored": unpacked.restored,
            "unpacked": unpacked.size,
            "skipped": unpacked.skipped,
        },
    )


def _nothing_left(wanted: DirDownload) -> UsageError:
    """The error where the options leave nothing of the entry."""
    if not wanted.only:
        what = f"--strip {wanted.strip} leaves"
        hint = f"no path of the entry has more than {counted(wanted.strip, 'name')}; strip fewer"
    elif not wanted.strip:
        what, hint = "--only leaves", "--only matches paths as the entry has them, below DIR"
    else:
        what, hint = "--only and --strip leave", "--only matches the paths that --strip leaves"
    return UsageError(f"{what} nothing of {wanted.key} to restore", hint)
