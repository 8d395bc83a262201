"""`dir download`: an entry becomes a directory, all of it or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from cacher.commands.outcome import Outcome, entry_fields
from cacher.commands.run import Run
from cacher.commands.wanted import DirDownload
from cacher.errors import EntryChanged, IntegrityError, Miss, UsageError
from cacher.report import Progress, size_text, transfer_text
from cacher.store.base import Entry, Reader
from cacher.stream import seal as seals
from cacher.stream.archive import SealedReader
from cacher.stream.ring import Ring
from cacher.stream.seal import Seal
from cacher.stream.staging import Staging
from cacher.stream.unpack import Unpacked, Wanted, unpack

KIND = "dir"

READ_AGAIN = 2
"""How many times an entry is read anew that was replaced while it was read."""

SMALL = 8 * 1024 * 1024
"""Bytes: an entry that one request brings is kept in memory, since its end is looked at first."""

UNSEALED_LIMIT = 100 * 1024**3
"""Bytes that an entry may unpack to which does not tell how many it does."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """An entry that is being read; `seal` is what its end tells, and not proved yet."""

    entry: Entry
    seal: Seal | None
    read: Callable[[memoryview], int]
    cancel: Callable[[], None]


def dir_download(run: Run, wanted: DirDownload) -> Outcome:
    """The entry to DIR. Raises `Miss`, and whatever else makes DIR stay as it was."""
    if os.path.lexists(wanted.directory) and os.path.isfile(wanted.directory):
        raise UsageError(f"{wanted.directory} is a file; DIR is a directory")
    for attempt in range(READ_AGAIN + 1):
        try:
            return _restored(run, wanted)
        except EntryChanged:
            if attempt == READ_AGAIN:
                raise
        except IntegrityError as error:
            raise _about(wanted.key, error) from error
    raise AssertionError  # the loop ends by one of the above


def _restored(run: Run, wanted: DirDownload) -> Outcome:
    with run.report.progress(f"downloading {wanted.key}") as progress:
        reader = run.store.open(wanted.key, progress.add)
        if reader is None:
            raise Miss(f"miss {wanted.key}")
        with reader:
            progress.total = reader.entry.size
            opened = _open(reader)
            limit = _limit(wanted, opened.seal)
            with Staging(wanted.directory) as staging:
                staging.require(opened.seal.content if opened.seal else opened.entry.size)
                unpacked = _unpack(run, wanted, opened, staging.fd, limit)
                if not unpacked.restored and (wanted.only or wanted.strip):
                    raise UsageError(
                        f"nothing of {wanted.key} is left to be restored",
                        "see --only and --strip",
                    )
                staging.publish(
                    clean=wanted.clean,
                    root_told=b"" not in unpacked.implicit,
                    implicit=unpacked.implicit,
                )
    return _outcome(run, wanted, opened.entry, unpacked, progress)


def _open(reader: Reader) -> _Opened:
    """Look at the end of an entry first: it tells how much room is needed."""
    entry = reader.entry
    if entry.size <= SMALL:
        data = _load(reader, entry.size)
        opened = _Opened(entry, seals.find(data), _Memory(data).readinto, lambda: None)
    else:
        seal = seals.find(reader.tail(seals.SIZE))
        opened = _Opened(entry, seal, reader.readinto, reader.cancel)
    kind = opened.seal.kind if opened.seal else entry.metadata.get("cacher-kind", KIND)
    if kind != KIND:
        raise UsageError(f"{entry.key} is an entry of another kind: {kind}")
    if opened.seal is None and "cacher-kind" in entry.metadata:
        raise IntegrityError("its end is missing: there is no seal")
    return opened


def _limit(wanted: DirDownload, seal: Seal | None) -> int:
    """How many bytes of tar may come out of the entry."""
    if wanted.max_unpacked is None:
        return seal.size if seal else UNSEALED_LIMIT
    if seal and seal.size > wanted.max_unpacked:
        raise IntegrityError(
            f"it unpacks to {size_text(seal.size)}, more than {size_text(wanted.max_unpacked)}",
            "--max-unpacked allows more",
        )
    return wanted.max_unpacked


def _unpack(run: Run, wanted: DirDownload, opened: _Opened, root: int, limit: int) -> Unpacked:
    """Unpack the entry into the directory `root`, and prove that it was all of it."""
    clock = run.report.monotonic
    start = clock()
    choice = Wanted(wanted.strip, wanted.only, wanted.keep_owner, limit)
    with (
        SealedReader(opened.read, clock) as sealed,
        Ring(sealed.readinto, opened.cancel, clock) as ring,
    ):
        unpacked = unpack(ring.next, root, choice)
    seal = sealed.seal
    if seal != opened.seal:
        raise IntegrityError("its seal changed while it was read")
    if seal and (seal.members, seal.content) != (unpacked.members, unpacked.size):
        raise IntegrityError("its seal records other members than it has")
    seconds = clock() - start
    stages = {
        "downloading": sealed.fetching,
        "decompressing": ring.filling - sealed.fetching,
        "writing": seconds - ring.waiting,
    }
    slowest = max(stages, key=lambda name: stages[name])
    run.report.note(f"bottleneck: {slowest} ({stages[slowest]:.1f} of {seconds:.1f} s)")
    return unpacked


def _load(reader: Reader, size: int) -> bytes:
    """All bytes of a small entry."""
    data = bytearray(size + 1)  # one more, so that there is room to be told of the end
    view, filled = memoryview(data), 0
    while count := reader.readinto(view[filled:]):
        filled += count
    return bytes(view[:filled])


class _Memory:
    """Bytes to be read as from a reader."""

    def __init__(self, data: bytes) -> None:
        self._left = memoryview(data)

    def readinto(self, buffer: memoryview) -> int:
        piece, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def _about(key: str, error: IntegrityError) -> IntegrityError:
    """The error with the key in its message, which what unpacks a stream does not know."""
    message = error.message if error.message.startswith(key) else f"{key}: {error.message}"
    return IntegrityError(message, error.hint or "`cacher dir upload --force` replaces the entry")


def _outcome(
    run: Run, wanted: DirDownload, entry: Entry, unpacked: Unpacked, progress: Progress
) -> Outcome:
    if unpacked.skipped:
        run.report.warn(f"{wanted.key}: left out {unpacked.skipped} FIFOs")
    seconds = progress.seconds
    is_part = unpacked.restored != unpacked.members
    members = f"{unpacked.restored} of {unpacked.members}" if is_part else f"{unpacked.members}"
    return Outcome(
        "hit",
        f"hit {wanted.key} ({members} members, {size_text(unpacked.size)}; "
        f"{transfer_text(entry.size, seconds)})",
        entry_fields(run.store.name, wanted.key, entry.size, seconds, "")
        | {
            "dest": wanted.directory,
            "members": unpacked.members,
            "restored": unpacked.restored,
            "unpacked": unpacked.size,
            "skipped": unpacked.skipped,
        },
    )
