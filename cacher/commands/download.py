"""`download`: an entry becomes a file or goes to a stream, from the cache or else from a URL."""

from __future__ import annotations

import hashlib
import os

from cacher.commands import output_file, protect_local_store
from cacher.commands.command_result import CommandResult, entry_fields
from cacher.commands.context import Context
from cacher.commands.output_file import Destination, FileDestination, SpooledDestination
from cacher.commands.read_again import read_again
from cacher.commands.requests import DownloadRequest
from cacher.errors import AccessError, IntegrityError, Miss, StoreError
from cacher.fileio import BUFFER_SIZE
from cacher.report import Progress, transfer_text
from cacher.store.interface import Entry, Reader


def download(context: Context, request: DownloadRequest) -> CommandResult:
    """The entry to DEST; on a miss from the first URL that delivers, then stored for next time.

    Raises `Miss`, and whatever else makes DEST stay as it was.
    """
    streaming = output_file.is_stream(request.dest)
    if not streaming:
        output_file.check(request.dest)
        protect_local_store.refuse_file(context, request.dest)
    if not request.urls:
        outcome = _stream_hit(context, request) if streaming else _plain_hit(context, request)
        if outcome is None:
            raise Miss(f"miss {request.key}")
        return outcome
    # Loaded here, since a hit in a local store needs no HTTP.
    from cacher.commands import url_fallback

    url_fallback.check(request)
    # A stream cannot be taken back, so it gets nothing before all of it is there and proved.
    with SpooledDestination(request.dest) if streaming else FileDestination(request.dest) as place:
        usable = True
        try:
            outcome = _hit(context, request, place)
            if outcome:
                return outcome
        except IntegrityError as error:
            context.report.warn(f"{error.message}; fetching it from --url", error.hint)
        except (StoreError, AccessError) as error:
            context.report.warn(f"{error.message}; continuing without the cache", error.hint)
            usable = False
        return url_fallback.deliver(context, request, place, store_it=request.store_it and usable)


def _plain_hit(context: Context, request: DownloadRequest) -> CommandResult | None:
    with FileDestination(request.dest) as place:
        return _hit(context, request, place)


def _hit(context: Context, request: DownloadRequest, place: Destination) -> CommandResult | None:
    """Deliver the entry to a file; None where there is none.

    `place.fd` is empty again after a failure.
    """

    def read() -> CommandResult | None:
        try:
            return _saved(context, request, place)
        except (IntegrityError, StoreError):
            os.ftruncate(place.fd, 0)
            raise

    return read_again(read)


def _saved(context: Context, request: DownloadRequest, place: Destination) -> CommandResult | None:
    with context.report.progress(f"downloading {request.key}") as progress:
        reader = context.store.open(request.key, progress.add)
        if reader is None:
            return None
        with reader:
            _expect(reader.entry, request.sha256)
            progress.total = reader.entry.size
            place.require(reader.entry.size)
            sha256 = reader.save(place.fd)
    if request.sha256 and sha256 != request.sha256:
        raise _another(request.key, sha256, request.sha256)
    place.publish()
    return _outcome(context, request, reader.entry, sha256, progress)


def _stream_hit(context: Context, request: DownloadRequest) -> CommandResult:
    """Deliver the entry to a stream as it arrives."""
    with context.report.progress(f"downloading {request.key}") as progress:
        reader = context.store.open(request.key, progress.add)
        if reader is None:
            raise Miss(f"miss {request.key}")
        with reader:
            _expect(reader.entry, request.sha256)
            progress.total = reader.entry.size
            sha256 = _copy(reader, request.dest)
    if request.sha256 and sha256 != request.sha256:
        raise _another(request.key, sha256, request.sha256)
    return _outcome(context, request, reader.entry, sha256, progress)


def _copy(reader: Reader, dest: str) -> str:
    """Write the entry to a stream; its hex SHA-256."""
    digest = hashlib.sha256(usedforsecurity=False)
    buffer = memoryview(bytearray(BUFFER_SIZE))
    target = output_file.open_stream(dest)
    try:
        while count := reader.readinto(buffer):
            digest.update(buffer[:count])
            output_file.write_stream(target, buffer[:count], dest)
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


def _outcome(
    context: Context, request: DownloadRequest, entry: Entry, sha256: str, progress: Progress
) -> CommandResult:
    seconds = progress.seconds
    return CommandResult(
        "hit",
        f"hit {request.key} ({transfer_text(entry.size, seconds)})",
        entry_fields(context.store.name, request.key, entry.size, seconds, sha256)
        | {"dest": request.dest},
    )
