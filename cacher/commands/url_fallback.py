"""What `download` does on a miss: deliver from a URL, then store it for next time."""

from __future__ import annotations

import os
from functools import partial

from cacher.commands.command_result import Outcome, entry_fields
from cacher.commands.context import Run
from cacher.commands.output_file import Destination
from cacher.commands.requests import Download
from cacher.commands.store_or_warn import seeded
from cacher.errors import CacherError, IntegrityError, LocalError, SourceError, TimedOut
from cacher.http import fetch as origin
from cacher.http.redact_url import shown
from cacher.http.sinks import FileSink
from cacher.report import Progress, transfer_text
from cacher.store.interface import SHA256
from cacher.store.source_file import Content


class _TooLarge(LocalError):
    """An origin announces more bytes than this machine has room for."""


def check(wanted: Download) -> None:
    """Raises `UsageError` for URLs that cannot be fetched, before anything else happens."""
    for url in wanted.urls:
        origin.check_url(url)


def deliver(run: Run, wanted: Download, place: Destination, *, store_it: bool) -> Outcome:
    """Deliver from the first URL that has the file, then store it.

    Raises `SourceError` if none has, `IntegrityError` if one has another file.
    """
    with run.report.progress(f"fetching {wanted.key}", waits_for="the origin") as progress:
        url, fetched = _fetch(run, wanted, place, progress)
    place.publish()
    seconds = progress.seconds
    stored = store_it and _store(run, wanted, place.fd, fetched)
    source = shown(url)
    return Outcome(
        "fetched",
        f"miss {wanted.key}, fetched {source} ({transfer_text(fetched.size, seconds)})"
        + (", stored" if stored else ""),
        entry_fields(run.store.name, wanted.key, fetched.size, seconds, fetched.sha256)
        | {"dest": wanted.dest, "url": source, "stored": stored},
    )


def _fetch(
    run: Run, wanted: Download, place: Destination, progress: Progress
) -> tuple[str, origin.Fetched]:
    """Return the URL that delivered, and the file; raise one error for all URLs if none did."""
    clockwork = run.clockwork()
    failures: list[CacherError] = []
    for url in wanted.urls:
        progress.add(-progress.count)
        os.ftruncate(place.fd, 0)
        try:
            return url, origin.fetch(
                url,
                FileSink(place.fd),
                run.transport,
                clockwork,
                sha256=wanted.sha256,
                meter=progress.add,
                sized=partial(_sized, place, progress, url),
            )
        except (SourceError, IntegrityError, _TooLarge) as error:
            failures.append(error)
            if len(wanted.urls) > 1:
                run.report.warn(error.message, error.hint)
        except TimedOut as error:
            raise SourceError(
                f"fetching {shown(url)}: not done after {error.seconds:g} s (--timeout)"
            ) from error
    raise _gravest(failures)


def _sized(place: Destination, progress: Progress, url: str, size: int) -> None:
    """The file that is fetched has `size` bytes."""
    progress.total = size
    try:
        place.require(size)
    except LocalError as error:
        # Another URL may have another file: this size may be nonsense.
        raise _TooLarge(f"fetching {shown(url)}: {error.message}", error.hint) from error


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


def _store(run: Run, wanted: Download, fd: int, fetched: origin.Fetched) -> bool:
    """Store the delivered file; a failure is only a warning."""
    if not fetched.whole:
        # A cut would be a hit for everybody, for good.
        run.report.warn(
            "not stored for next time: the origin did not send the length, so the file may be cut "
            "off; --sha256 proves that it is whole"
        )
        return False

    def store() -> None:
        content = Content.of(fd, wanted.dest)
        with run.report.progress(f"storing {wanted.key}", content.size) as progress:
            run.store.put(wanted.key, content, {SHA256: fetched.sha256}, progress.add)

    return seeded(run, store)
