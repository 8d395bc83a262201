"""`upload`: store a file or a stream as an entry, unless there is one already."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import stat
from collections.abc import Iterator
from typing import IO, NamedTuple

from cacher.commands import check_paths, output_file
from cacher.commands.command_result import CommandResult, entry_fields
from cacher.commands.context import Context
from cacher.errors import IntegrityError, LocalError, UsageError, os_reason
from cacher.fileio import BUFFER_SIZE, write_all_at
from cacher.progress import Progress
from cacher.report import transfer_text
from cacher.store.interface import SHA256, Entry
from cacher.store.source_file import SourceFile

IN_MEMORY = 16 * 1024 * 1024
"""Bytes of a stream that are kept in memory; a longer one goes to a temporary file."""

_MORE_SPACE = "set TMPDIR to a disk with more space; with --sha256 no temporary file is needed"


class UploadRequest(NamedTuple):
    """The arguments of `upload`; `sha256` is lower case or empty."""

    key: str
    file: str
    sha256: str = ""
    force: bool = False


def upload(context: Context, request: UploadRequest) -> CommandResult:
    """Store FILE under KEY, unless there is an entry already."""
    with _open_source(request.file) as source:
        existing = None if request.force else context.existing(request.key)
        regular = _is_plain_file(source.fileno())
        if existing:
            return _already_stored(context, request, existing, source.fileno(), regular=regular)
        if regular:
            return _put(context, request, SourceFile.of(source.fileno(), request.file))
        return _put_stream(context, request, source.fileno())


def _open_source(file: str) -> IO[bytes]:
    if not file:
        raise UsageError("FILE is an empty string", "is the variable set?")
    try:
        if file == "-":
            return open(os.dup(0), "rb", buffering=0)
        if os.path.isdir(file):
            raise UsageError(
                f"{file} is a directory", "`cacher dir upload KEY DIR` stores a directory"
            )
        return open(file, "rb", buffering=0)
    except OSError as error:
        if file == "-":
            raise LocalError(f"cannot read stdin: {os_reason(error)}") from error
        raise check_paths.unreadable(file, error) from error


def _is_plain_file(fd: int) -> bool:
    """Return whether `fd` is a regular file at its beginning, whose size is right.

    Files in /proc have the size 0, and of a stdin a part may be read already.
    """
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or os.lseek(fd, 0, os.SEEK_CUR):
        return False
    try:
        return status.st_size > 0 or not os.pread(fd, 1, 0)
    except OSError:
        return False  # reading it as a stream gives the reason


def _put(context: Context, request: UploadRequest, content: SourceFile) -> CommandResult:
    context.store.prepare(content)
    sha256 = content.sha256()
    _check_sha256(request, sha256)
    with Progress(context.report, f"uploading {request.key}", content.size) as progress:
        context.store.put(request.key, content, {SHA256: sha256}, progress.add)
    return _stored(context, request, content.size, sha256, progress.seconds)


def _put_stream(context: Context, request: UploadRequest, fd: int) -> CommandResult:
    """Store a stream. Its digest is sent before its bytes, so it must be known first."""
    if request.sha256:
        return _put_known_stream(context, request, _chunks(fd), request.sha256)
    beginning = bytearray()
    chunks = _chunks(fd)
    for chunk in chunks:
        beginning += chunk
        if len(beginning) >= IN_MEMORY:
            return _put_spooled(context, request, beginning, chunks)
    sha256 = hashlib.sha256(beginning, usedforsecurity=False).hexdigest()
    return _put_known_stream(context, request, iter([memoryview(beginning)]), sha256)


def _put_spooled(
    context: Context, request: UploadRequest, beginning: bytearray, rest: Iterator[memoryview]
) -> CommandResult:
    with output_file.spool() as spool:
        position = 0
        for chunk in itertools.chain([memoryview(beginning)], rest):
            _spool(spool.fileno(), chunk, position)
            position += len(chunk)
        return _put(context, request, SourceFile.of(spool.fileno(), "the temporary file"))


def _put_known_stream(
    context: Context, request: UploadRequest, chunks: Iterator[memoryview], sha256: str
) -> CommandResult:
    """Store a stream whose digest is known before: no temporary file is needed."""
    digest = hashlib.sha256(usedforsecurity=False)
    size = 0
    with (
        Progress(
            context.report, f"uploading {request.key}", waits_for="stdin or the store"
        ) as progress,
        context.store.create(request.key, {SHA256: sha256}, progress.add) as writer,
    ):
        for chunk in chunks:
            digest.update(chunk)
            writer.write(chunk)
            size += len(chunk)
        _check_sha256(request, digest.hexdigest())
        writer.commit()
    return _stored(context, request, size, sha256, progress.seconds)


def _already_stored(
    context: Context, request: UploadRequest, existing: Entry, fd: int, *, regular: bool
) -> CommandResult:
    """Keep the stored entry; warn if FILE has other bytes."""
    if regular:
        content = SourceFile.of(fd, request.file)
        size = content.size
        is_compared = size == existing.size and existing.sha256
        sha256 = content.sha256() if is_compared or request.sha256 else ""
    else:
        # Read to its end, so that the program that writes it does not fail.
        size, sha256 = _drain(fd)
    _check_sha256(request, sha256)
    if size != existing.size:
        context.report.warn(
            f"{request.key} is stored already, with {existing.size} bytes instead of {size}; "
            "another file needs another KEY"
        )
    elif existing.sha256 and sha256 and existing.sha256.lower() != sha256:
        context.report.warn(
            f"{request.key} is stored already, with another SHA-256; another file needs another KEY"
        )
    return CommandResult(
        "exists",
        f"exists {request.key}, not uploaded again",
        entry_fields(context.store.name, request.key, existing.size, 0.0, existing.sha256),
    )


def _drain(fd: int) -> tuple[int, str]:
    digest = hashlib.sha256(usedforsecurity=False)
    size = 0
    for chunk in _chunks(fd):
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def _check_sha256(request: UploadRequest, sha256: str) -> None:
    if request.sha256 and sha256 != request.sha256:
        name = "stdin" if request.file == "-" else request.file
        raise IntegrityError(
            f"{name} has SHA-256 {sha256}, expected {request.sha256}; nothing was stored"
        )


def _stored(
    context: Context, request: UploadRequest, size: int, sha256: str, seconds: float
) -> CommandResult:
    return CommandResult(
        "stored",
        f"stored {request.key} ({transfer_text(size, seconds)})",
        entry_fields(context.store.name, request.key, size, seconds, sha256),
    )


def _chunks(fd: int) -> Iterator[memoryview]:
    """Yield a stream to its end, in views of one buffer: each is valid until the next."""
    buffer = memoryview(bytearray(BUFFER_SIZE))
    while True:
        try:
            count = os.readv(fd, [buffer])
        except OSError as error:
            raise LocalError(f"cannot read the stream: {os_reason(error)}") from error
        if not count:
            return
        yield buffer[:count]


def _spool(fd: int, data: memoryview, position: int) -> None:
    try:
        write_all_at(fd, data, position)
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise LocalError(
            f"writing a temporary file: {os_reason(error)}", _MORE_SPACE if is_full else ""
        ) from error
