"""`download`: an entry becomes a file or goes to a stream, from the cache or else from a URL."""

from __future__ import annotations

import hashlib
import os

from cacher.commands import output_file as destination
from cacher.commands import protect_local_store as own_store
from cacher.commands.command_result import Outcome, entry_fields
from cacher.commands.context import Run
from cacher.commands.output_file import Destination, FileDestination, SpooledDestination
from cacher.commands.read_again import read_again
from cacher.commands.requests import Download
from cacher.errors import AccessError, IntegrityError, Miss, StoreError
from cacher.report import Progress, transfer_text
from cacher.store.interface import Entry, Reader

PIECE = 256 * 1024
"""Bytes written to a stream at once."""


def download(run: Run, wanted: Download) -> Outcome:
    """The entry to DEST; on a miss from the first URL that delivers, then stored for next time.

    Raises `Miss`, and whatever else makes DEST stay as it was.
    """
    streaming = destination.is_stream(wanted.dest)
    if not streaming:
        destination.check(wanted.dest)
        own_store.refuse_file(run, wanted.dest)
    if not wanted.urls:
        outcome = _stream_hit(run, wanted) if streaming else _plain_hit(run, wanted)
        if outcome is None:
            raise Miss(f"miss {wanted.key}")
        return outcome
    # Loaded here, since a hit in a local store needs no HTTP.
    from cacher.commands import url_fallback as fallback

    fallback.check(wanted)
    # A stream cannot be taken back, so it gets nothing before all of it is there and proved.
    with SpooledDestination(wanted.dest) if streaming else FileDestination(wanted.dest) as place:
        usable = True
        try:
            outcome = _hit(run, wanted, place)
            if outcome:
                return outcome
        except IntegrityError as error:
            run.report.warn(f"{error.message}; fetching it from --url", error.hint)
        except (StoreError, AccessError) as error:
            run.report.warn(f"{error.message}; continuing without the cache", error.hint)
            usable = False
        return fallback.deliver(run, wanted, place, store_it=wanted.store_it and usable)


def _plain_hit(run: Run, wanted: Download) -> Outcome | None:
    with FileDestination(wanted.dest) as place:
        return _hit(run, wanted, place)


def _hit(run: Run, wanted: Download, place: Destination) -> Outcome | None:
    """Deliver the entry to a file; None where there is none.

    `place.fd` is empty again after a failure.
    """

    def read() -> Outcome | None:
        try:
            return _saved(run, wanted, place)
        except (IntegrityError, StoreError):
            os.ftruncate(place.fd, 0)
            raise

    return read_again(read)


def _saved(run: Run, wanted: Download, place: Destination) -> Outcome | None:
    with run.report.progress(f"downloading {wanted.key}") as progress:
        reader = run.store.open(wanted.key, progress.add)
        if reader is None:
            return None
        with reader:
            _expect(reader.entry, wanted.sha256)
            progress.total = reader.entry.size
            place.require(reader.entry.size)
            sha256 = reader.save(place.fd)
    if wanted.sha256 and sha256 != wanted.sha256:
        raise _another(wanted.key, sha256, wanted.sha256)
    place.publish()
    return _outcome(run, wanted, reader.entry, sha256, progress)


def _stream_hit(run: Run, wanted: Download) -> Outcome:
    """Deliver the entry to a stream as it arrives."""
    with run.report.progress(f"downloading {wanted.key}") as progress:
        reader = run.store.open(wanted.key, progress.add)
        if reader is None:
            raise Miss(f"miss {wanted.key}")
        with reader:
            _expect(reader.entry, wanted.sha256)
            progress.total = reader.entry.size
            sha256 = _copy(reader, wanted.dest)
    if wanted.sha256 and sha256 != wanted.sha256:
        raise _another(wanted.key, sha256, wanted.sha256)
    return _outcome(run, wanted, reader.entry, sha256, progress)


def _copy(reader: Reader, dest: str) -> str:
    """Write the entry to a stream; its hex SHA-256."""
    digest = hashlib.sha256(usedforsecurity=False)
    buffer = memoryview(bytearray(PIECE))
    target = destination.open_stream(dest)
    try:
        while count := reader.readinto(buffer):
            digest.update(buffer[:count])
            destination.write_all(target, buffer[:count], dest)
    finally:
        os.close(target)
    return digest.hexdigest()


def _expect(entry: Entry, sha256: str) -> None:
    """Raises `IntegrityError` if the recorded digest already says that it is another file."""
    if sha256 and entry.sha256 and entry.sha256.lower() != sha256:
        raise _another(entry.key, entry.sha256, sha256)


def _another(key: str, found: str, expected: str) -> IntegrityError:
    return IntegrityError(
        f"{key} has SHA-256 {found}, expected {expected}",
        "check --sha256; if it is right, another file was stored under this key: use another KEY",
    )


def _outcome(run: Run, wanted: Download, entry: Entry, sha256: str, progress: Progress) -> Outcome:
    seconds = progress.seconds
    return Outcome(
        "hit",
        f"hit {wanted.key} ({transfer_text(entry.size, seconds)})",
        entry_fields(run.store.name, wanted.key, entry.size, seconds, sha256)
        | {"dest": wanted.dest},
    )
