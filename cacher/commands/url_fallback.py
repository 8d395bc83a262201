"""What `download` does on a miss: deliver from a URL, then store it for next time."""

from __future__ import annotations

import os
from functools import partial

from cacher.commands.command_result import CommandResult, entry_fields
from cacher.commands.context import Context
from cacher.commands.output_file import Destination
from cacher.commands.requests import DownloadRequest
from cacher.commands.store_or_warn import store_or_warn
from cacher.errors import CacherError, IntegrityError, LocalError, SourceError, TimedOut
from cacher.http import fetch
from cacher.http.redact_url import redacted
from cacher.http.sinks import FileSink
from cacher.report import Progress, transfer_text
from cacher.store.interface import SHA256
from cacher.store.source_file import SourceFile


class _TooLarge(LocalError):
    """An origin announces more bytes than this machine has room for."""


def check(request: DownloadRequest) -> None:
    """Raises `UsageError` for URLs that cannot be fetched, before anything else happens."""
    for url in request.urls:
        fetch.check_url(url)


def deliver(
    context: Context, request: DownloadRequest, place: Destination, *, store_it: bool
) -> CommandResult:
    """Deliver from the first URL that has the file, then store it.

    Raises `SourceError` if none has, `IntegrityError` if one has another file.
    """
    with context.report.progress(f"fetching {request.key}", waits_for="the origin") as progress:
        url, fetched = _fetch(context, request, place, progress)
    place.publish()
    seconds = progress.seconds
    stored = store_it and _store(context, request, place.fd, fetched)
    source = redacted(url)
    return CommandResult(
        "fetched",
        f"miss {request.key}, fetched {source} ({transfer_text(fetched.size, seconds)})"
        + (", stored" if stored else ""),
        entry_fields(context.store.name, request.key, fetched.size, seconds, fetched.sha256)
        | {"dest": request.dest, "url": source, "stored": stored},
    )


def _fetch(
    context: Context, request: DownloadRequest, place: Destination, progress: Progress
) -> tuple[str, fetch.Fetched]:
    """Return the URL that delivered, and the file; raise one error for all URLs if none did."""
    clocks = context.clocks()
    failures: list[CacherError] = []
    for url in request.urls:
        progress.add(-progress.count)
        os.ftruncate(place.fd, 0)
        try:
            return url, fetch.fetch(
                url,
                FileSink(place.fd),
                context.transport,
                clocks,
                sha256=request.sha256,
                on_progress=progress.add,
                on_size=partial(_sized, place, progress, url),
            )
        except (SourceError, IntegrityError, _TooLarge) as error:
            failures.append(error)
            if len(request.urls) > 1:
                context.report.warn(error.message, error.hint)
        except TimedOut as error:
            raise SourceError(
                f"fetching {redacted(url)}: not done after {error.seconds:g} s (--timeout)"
            ) from error
    raise _gravest(failures)


def _sized(place: Destination, progress: Progress, url: str, size: int) -> None:
    """The file that is fetched has `size` bytes."""
    progress.total = size
    try:
        place.require(size)
    except LocalError as error:
        # Another URL may have another file: this size may be nonsense.
        raise _TooLarge(f"fetching {redacted(url)}: {error.message}", error.hint) from error


def _gravest(failures: list[CacherError]) -> CacherError:
    """One error for all URLs.

    A wrong digest is graver news than a server that does not answer; a file that is too large
    counts only if nothing else was found after it.
    """
    for error in failures:
        if isinstance(error, IntegrityError):
            return error
    if isinstance(failures[-1], _TooLarge):
        return failures[-1]
    return next(error for error in failures if not isinstance(error, _TooLarge))


def _store(context: Context, request: DownloadRequest, fd: int, fetched: fetch.Fetched) -> bool:
    """Store the delivered file; a failure is only a warning."""
    if not fetched.is_complete:
        # A cut would be a hit for everybody, for good.
        context.report.warn(
            "not stored for next time: the origin did not send the length, so the file may be cut "
            "off; --sha256 proves that it is whole"
        )
        return False

    def store() -> None:
        content = SourceFile.of(fd, request.dest)
        with context.report.progress(f"storing {request.key}", content.size) as progress:
            context.store.put(request.key, content, {SHA256: fetched.sha256}, progress.add)

    return store_or_warn(context, store)
