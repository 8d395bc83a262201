"""The fallback of `download` on a miss: fetch from a URL, then store it for next time."""

from __future__ import annotations

import os
from functools import partial

from cacher.commands.command_result import CommandResult, entry_fields
from cacher.commands.context import Context
from cacher.commands.download import DownloadRequest
from cacher.commands.output_file import Destination
from cacher.errors import CacherError, IntegrityError, LocalError, SourceError, TimedOut
from cacher.http import fetch
from cacher.http.redact_url import redacted
from cacher.http.sinks import FileSink
from cacher.progress import Progress
from cacher.report import transfer_text
from cacher.store.interface import SHA256
from cacher.store.source_file import SourceFile


class _TooLarge(LocalError):
    """An origin announces a file that this machine has no room for."""


def fetch_and_store(
    context: Context, request: DownloadRequest, output: Destination, *, store_it: bool
) -> CommandResult:
    """Write the file of the first URL that has it, then store it.

    Raises `SourceError` if none has, `IntegrityError` if one has another file.
    """
    with Progress(context.report, f"fetching {request.key}", waits_for="the origin") as progress:
        url, fetched = _fetch(context, request, output, progress)
    output.publish()
    seconds = progress.seconds
    stored = store_it and _store(context, request, output.fd, fetched)
    source = redacted(url)
    return CommandResult(
        "fetched",
        f"miss {request.key}, fetched {source} ({transfer_text(fetched.size, seconds)})"
        + (", stored" if stored else ""),
        entry_fields(context.store.name, request.key, fetched.size, seconds, fetched.sha256)
        | {"dest": request.dest, "url": source, "stored": stored},
    )


def _fetch(
    context: Context, request: DownloadRequest, output: Destination, progress: Progress
) -> tuple[str, fetch.Fetched]:
    """Return the first URL that has the file, and the file. Raises one error if none has it."""
    failures: list[CacherError] = []
    for url in request.urls:
        progress.add(-progress.count)
        os.ftruncate(output.fd, 0)
        try:
            return url, fetch.Fetch(
                url,
                FileSink(output.fd),
                context.transport,
                context.clocks,
                context.limits,
                sha256=request.sha256,
                on_progress=progress.add,
                on_size=partial(_on_size, output, progress, url),
            ).run()
        except (SourceError, IntegrityError, _TooLarge) as error:
            failures.append(error)
            if len(request.urls) > 1:
                context.report.warn(error.message, error.hint)
        except TimedOut as error:
            raise SourceError(
                f"fetching {redacted(url)}: not done after {error.seconds:g} s (--timeout)"
            ) from error
    raise _worst_failure(failures)


def _on_size(output: Destination, progress: Progress, url: str, size: int) -> None:
    """Require space for a file of `size` bytes."""
    progress.total = size
    try:
        output.require(size)
    except LocalError as error:
        # Another URL may have another file; this size may be wrong.
        raise _TooLarge(f"fetching {redacted(url)}: {error.message}", error.hint) from error


def _worst_failure(failures: list[CacherError]) -> CacherError:
    """Return one error for all URLs.

    A wrong digest comes before a server that does not answer; a file that is too large counts only
    if it is the last failure.
    """
    for error in failures:
        if isinstance(error, IntegrityError):
            return error
    if isinstance(failures[-1], _TooLarge):
        return failures[-1]
    return next(error for error in failures if not isinstance(error, _TooLarge))


def _store(context: Context, request: DownloadRequest, fd: int, fetched: fetch.Fetched) -> bool:
    """Store the fetched file; a failure is only a warning."""
    if not fetched.is_complete:
        # A file that is cut off would be a hit for everybody, for ever.
        context.report.warn(
            "not stored for next time: the origin did not send the length, so the file may be cut "
            "off; --sha256 proves that it is whole"
        )
        return False

    def store() -> None:
        content = SourceFile.of(fd, request.dest)
        with Progress(context.report, f"storing {request.key}", content.size) as progress:
            context.store.put(request.key, content, {SHA256: fetched.sha256}, progress.add)

    return context.store_or_warn(store)
