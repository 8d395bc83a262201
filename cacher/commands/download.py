"""`download`: write an entry to a file or a stream, or on a miss what a URL has."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import NamedTuple

from cacher.commands import check_paths, output_file
from cacher.commands.command_result import CommandResult, entry_fields
from cacher.commands.context import Context
from cacher.commands.output_file import Destination, FileDestination, SpooledDestination
from cacher.commands.read_again import read_again
from cacher.errors import AccessError, IntegrityError, Miss, StoreError, UsageError
from cacher.fileio import BUFFER_SIZE
from cacher.progress import Progress
from cacher.report import transfer_text
from cacher.store.interface import Entry
from cacher.store.verified_reader import VerifiedReader

_STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


class DownloadRequest(NamedTuple):
    """The arguments of `download`; `sha256` is lower case or empty."""

    key: str
    dest: str
    urls: Sequence[str] = ()
    sha256: str = ""
    store_it: bool = True


def download(context: Context, request: DownloadRequest) -> CommandResult:
    """Write the entry to DEST; on a miss, the file of the first URL that has it, and store that.

    Raises `Miss`; DEST stays as it was after any error, unless it is a stream.
    """
    if request.dest in _STDOUT and context.report.as_json:
        raise UsageError(f"--json and DEST {request.dest} both want stdout", "give DEST a name")
    to_stream = output_file.is_stream(request.dest)
    if not to_stream:
        output_file.check(request.dest)
        check_paths.refuse_local_store_file(context, request.dest)
    if not request.urls:
        if to_stream:
            return _write_to_stream(context, request)
        with FileDestination(request.dest) as output:
            result = read_again(_write_to_file, context, request, output)
        if result is None:
            raise Miss(f"miss {request.key}")
        return result
    # Loaded here, since a hit in a local store needs no HTTP.
    from cacher.commands import download_from_url
    from cacher.http.fetch import check_url

    for url in request.urls:
        check_url(url)
    # A stream cannot be taken back, so it gets nothing before all of it is there and proved.
    with SpooledDestination(request.dest) if to_stream else FileDestination(request.dest) as output:
        is_usable = True
        try:
            result = read_again(_write_to_file, context, request, output)
            if result:
                return result
        except IntegrityError as error:
            context.report.warn(f"{error.message}; fetching it from --url", error.hint)
        except (StoreError, AccessError) as error:
            context.report.warn(f"{error.message}; continuing without the cache", error.hint)
            is_usable = False
        store_it = request.store_it and is_usable
        return download_from_url.fetch_and_store(context, request, output, store_it=store_it)


def _write_to_file(
    context: Context, request: DownloadRequest, output: Destination
) -> CommandResult | None:
    """Write the entry to `output`; None if there is no entry.

    `output.fd` is empty again after an error.
    """
    try:
        with Progress(context.report, f"downloading {request.key}") as progress:
            reader = context.store.open(request.key, progress.add)
            if reader is None:
                return None
            with reader:
                _check_recorded(reader.entry, request.sha256)
                progress.total = reader.entry.size
                output.require(reader.entry.size)
                sha256 = reader.save(output.fd)
        if request.sha256 and sha256 != request.sha256:
            raise _another_file(request.key, sha256, request.sha256)
        output.publish()
    except (IntegrityError, StoreError):
        os.ftruncate(output.fd, 0)
        raise
    return _hit(context, request, reader.entry, sha256, progress)


def _write_to_stream(context: Context, request: DownloadRequest) -> CommandResult:
    """Write the entry to a stream as it arrives. Raises `Miss` if there is no entry."""
    with Progress(context.report, f"downloading {request.key}") as progress:
        reader = context.store.open(request.key, progress.add)
        if reader is None:
            raise Miss(f"miss {request.key}")
        with reader:
            _check_recorded(reader.entry, request.sha256)
            progress.total = reader.entry.size
            sha256 = _copy(reader, request.dest)
    if request.sha256 and sha256 != request.sha256:
        raise _another_file(request.key, sha256, request.sha256)
    return _hit(context, request, reader.entry, sha256, progress)


def _copy(reader: VerifiedReader, dest: str) -> str:
    """Write the entry to a stream; return its hex SHA-256."""
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


def _check_recorded(entry: Entry, sha256: str) -> None:
    """Raise `IntegrityError` if the recorded digest is another than the expected one."""
    if sha256 and entry.sha256 and entry.sha256.lower() != sha256:
        raise _another_file(entry.key, entry.sha256, sha256)


def _another_file(key: str, found: str, expected: str) -> IntegrityError:
    return IntegrityError(
        f"{key} has SHA-256 {found}, expected {expected}",
        "check --sha256; if it is right, another file was stored under this key: use another KEY",
    )


def _hit(
    context: Context, request: DownloadRequest, entry: Entry, sha256: str, progress: Progress
) -> CommandResult:
    seconds = progress.seconds
    return CommandResult(
        "hit",
        f"hit {request.key} ({transfer_text(entry.size, seconds)})",
        entry_fields(context.store.name, request.key, entry.size, seconds, sha256)
        | {"dest": request.dest},
    )
