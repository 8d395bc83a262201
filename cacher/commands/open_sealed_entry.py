"""Entries that are sealed streams: what kind they are, and whether what was read is all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from cacher.archive.read_ahead import ReadAhead
from cacher.archive.seal import SEAL_SIZE, Seal, find_seal
from cacher.archive.sealed_stream import SealedReader
from cacher.commands.context import Context
from cacher.commands.read_again import read_again
from cacher.errors import IntegrityError, NewerFormat, UsageError
from cacher.fileio import read_full
from cacher.report import Report
from cacher.store.interface import Entry, Reader

KIND, FORMAT = "cacher-kind", "cacher-format"
"""Names of an entry's metadata: what it is, and the version of its form (docs/formats.md)."""

FORMATS = ("1",)
"""The forms that are read."""

SMALL = 8 * 1024 * 1024
"""Bytes: an entry that one request brings is kept in memory, since its end is looked at first."""

_Read = TypeVar("_Read")

_COMMANDS = {
    "dir": "`cacher dir download` restores it",
    "image": "`cacher docker download` loads it",
}


class OpenedEntry(NamedTuple):
    """An entry that is being read; `seal` is what its end tells, and not proved yet."""

    entry: Entry
    seal: Seal | None
    read: Callable[[memoryview], int]
    cancel: Callable[[], None]


def metadata(kind: str) -> dict[str, str]:
    """What is recorded of an entry of that kind."""
    return {KIND: kind, FORMAT: FORMATS[-1]}


def check_kind(entry: Entry, kind: str) -> None:
    """Raises `UsageError` for an entry of another kind, `NewerFormat` for a form not known yet.

    What a shell has stored tells neither: it is taken for what is wanted.
    """
    _require(entry.key, kind, entry.metadata.get(KIND, kind))
    version = entry.metadata.get(FORMAT, FORMATS[-1])
    if version not in FORMATS:
        raise NewerFormat(
            f"{entry.key} has format {version}, which this cacher does not know",
            "a newer cacher reads it",
        )


def open_entry(reader: Reader, kind: str) -> OpenedEntry:
    """Look at the end of an entry first: it tells what is to come."""
    entry = reader.entry
    check_kind(entry, kind)
    if entry.size <= SMALL:
        data = _load(reader, entry.size)
        opened = OpenedEntry(entry, find_seal(data), _Memory(data).readinto, lambda: None)
    else:
        seal = find_seal(reader.tail(SEAL_SIZE))
        opened = OpenedEntry(entry, seal, reader.readinto, reader.cancel)
    if opened.seal:
        _require(entry.key, kind, opened.seal.kind)
    elif KIND in entry.metadata:
        raise IntegrityError("its end is missing: there is no seal")
    return opened


def require_proof(opened: OpenedEntry, sealed: SealedReader, members: int, content: int) -> None:
    """Raises `IntegrityError` unless what was read, to its end, is what the seal tells of."""
    seal = sealed.seal
    if seal != opened.seal:
        raise IntegrityError("its seal changed while it was read")
    if seal and (seal.members, seal.content) != (members, content):
        raise IntegrityError("its seal records other members than it has")


def created(context: Context) -> int:
    """The time of a seal. SOURCE_DATE_EPOCH makes two runs give the same bytes, seal included."""
    told = context.environ.get("SOURCE_DATE_EPOCH", "")
    return int(told) if told.isdecimal() and told.isascii() else int(context.clock())


def note_bottleneck(report: Report, stages: Mapping[str, float], seconds: float) -> None:
    """Tell which stage took longest, for those who ask for more."""
    slowest = max(stages, key=lambda name: stages[name])
    report.note(f"bottleneck: {slowest} ({stages[slowest]:.1f} of {seconds:.1f} s)")


def stages_of_reading(
    sealed: SealedReader, read_ahead: ReadAhead, last: str, seconds: float
) -> dict[str, float]:
    """The seconds that each stage of reading took; `last` is what is done with what was read."""
    return {
        "downloading": sealed.fetching,
        "decompressing": read_ahead.filling - sealed.fetching,
        last: seconds - read_ahead.waiting,
    }


def read_entry(key: str, hint: str, read: Callable[[], _Read]) -> _Read:
    """Return what `read` returns, which is called again if the entry changed or arrived damaged.

    An `IntegrityError` is raised with the key in its message, and `hint` if it has none.
    """
    try:
        return read_again(read)
    except IntegrityError as error:
        raise about(key, error, hint) from error


def about(key: str, error: IntegrityError, hint: str) -> IntegrityError:
    """The error with the key in its message, which what reads a stream does not know."""
    message = error.message if error.message.startswith(key) else f"{key}: {error.message}"
    return IntegrityError(message, error.hint or hint)


def _require(key: str, kind: str, found: str) -> None:
    if found != kind:
        raise UsageError(f"{key} is an entry of another kind: {found}", _COMMANDS.get(found, ""))


def _load(reader: Reader, size: int) -> bytes:
    """All bytes of a small entry."""
    data = bytearray(size + 1)  # one more, so that there is room to be told of the end
    view = memoryview(data)
    return bytes(view[: read_full(reader.readinto, view)])


class _Memory:
    """Bytes to be read as from a reader."""

    def __init__(self, data: bytes) -> None:
        self._left = memoryview(data)

    def readinto(self, buffer: memoryview) -> int:
        piece, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)
