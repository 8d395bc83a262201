"""Entries that are sealed streams: their kinds, and the proof that all of one was read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from cacher.archive.read_ahead import ReadAhead
from cacher.archive.seal import SEAL_SIZE, Seal, find_seal
from cacher.archive.sealed_stream import SealedReader
from cacher.commands.context import Context
from cacher.errors import IntegrityError, NewerFormat, UsageError
from cacher.fileio import read_full
from cacher.report import Report
from cacher.store.interface import Entry
from cacher.store.verified_reader import VerifiedReader

DIR, IMAGE = "dir", "image"
"""The kinds of entries that are sealed streams."""

KIND_NAME, FORMAT_NAME = "cacher-kind", "cacher-format"
"""Names in an entry's metadata: its kind, and the version of its format (docs/formats.md)."""

FORMATS = ("1",)
"""The versions of the format that are read."""

SMALL = 8 * 1024 * 1024
"""Bytes: a smaller entry, which one request brings, is kept in memory: its end is read first."""

_COMMANDS = {
    DIR: "`cacher dir download` restores it",
    IMAGE: "`cacher docker download` loads it",
}


class OpenedEntry(NamedTuple):
    """An entry that is being read; `seal` is at its end, and not proved yet."""

    entry: Entry
    seal: Seal | None
    read: Callable[[memoryview], int]
    cancel: Callable[[], None]


def metadata(kind: str) -> dict[str, str]:
    """Return the metadata of an entry of that kind."""
    return {KIND_NAME: kind, FORMAT_NAME: FORMATS[-1]}


def check_kind(entry: Entry, kind: str) -> None:
    """Raise `UsageError` for an entry of another kind, `NewerFormat` for an unknown format.

    An entry that a shell has stored records neither, and is taken to be of the kind.
    """
    _require(entry.key, kind, entry.metadata.get(KIND_NAME, kind))
    version = entry.metadata.get(FORMAT_NAME, FORMATS[-1])
    if version not in FORMATS:
        raise NewerFormat(
            f"{entry.key} has format {version}, which this cacher does not know",
            "a newer cacher reads it",
        )


def open_entry(reader: VerifiedReader, kind: str) -> OpenedEntry:
    """Read the seal at the end of an entry first: it has the sizes of what comes before."""
    entry = reader.entry
    check_kind(entry, kind)
    if entry.size <= SMALL:
        data = _load(reader, entry.size)
        opened = OpenedEntry(entry, find_seal(data), _MemoryReader(data).readinto, lambda: None)
    else:
        seal = find_seal(reader.tail(SEAL_SIZE))
        opened = OpenedEntry(entry, seal, reader.readinto, reader.cancel)
    if opened.seal:
        _require(entry.key, kind, opened.seal.kind)
    elif KIND_NAME in entry.metadata:
        raise IntegrityError("its end is missing: there is no seal")
    return opened


def require_proof(opened: OpenedEntry, sealed: SealedReader, members: int, content: int) -> None:
    """Raise `IntegrityError` unless the members and bytes that were read are those of the seal."""
    seal = sealed.seal
    if seal != opened.seal:
        raise IntegrityError("its seal changed while it was read")
    if seal and (seal.members, seal.content) != (members, content):
        raise IntegrityError("its seal records other members than it has")


def created(context: Context) -> int:
    """Return the time for a seal. With SOURCE_DATE_EPOCH, two runs give the same bytes."""
    fixed = context.environ.get("SOURCE_DATE_EPOCH", "")
    return int(fixed) if fixed.isdecimal() and fixed.isascii() else int(context.clocks.clock())


def note_bottleneck(report: Report, stages: Mapping[str, float], seconds: float) -> None:
    """Report with `--verbose` which stage took longest."""
    slowest = max(stages, key=lambda name: stages[name])
    report.note(f"bottleneck: {slowest} ({stages[slowest]:.1f} of {seconds:.1f} s)")


def stages_of_reading(
    sealed: SealedReader, read_ahead: ReadAhead, last: str, seconds: float
) -> dict[str, float]:
    """Return the seconds of each stage of reading; `last` names the one that uses the bytes."""
    return {
        "downloading": sealed.fetching,
        "decompressing": read_ahead.filling - sealed.fetching,
        last: seconds - read_ahead.waiting,
    }


@contextmanager
def naming_entry(key: str, hint: str) -> Iterator[None]:
    """Raise an `IntegrityError` with the key in its message, and with `hint` if it has none."""
    try:
        yield
    except IntegrityError as error:
        raise with_subject(key, error, hint) from error


def with_subject(key: str, error: IntegrityError, hint: str) -> IntegrityError:
    """Return the error with the key in its message, which the readers of streams do not know."""
    message = error.message if error.message.startswith(key) else f"{key}: {error.message}"
    return IntegrityError(message, error.hint or hint)


def _require(key: str, kind: str, found: str) -> None:
    if found != kind:
        raise UsageError(f"{key} is an entry of another kind: {found}", _COMMANDS.get(found, ""))


def _load(reader: VerifiedReader, size: int) -> bytes:
    """Return all bytes of a small entry."""
    data = bytearray(size + 1)  # one more, so that the end is read, too
    view = memoryview(data)
    return bytes(view[: read_full(reader.readinto, view)])


class _MemoryReader:
    """A reader of bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._left = memoryview(data)

    def readinto(self, buffer: memoryview) -> int:
        piece, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)
