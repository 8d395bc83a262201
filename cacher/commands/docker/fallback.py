"""What `docker download` does on a miss: a URL or a registry delivers, then it is stored."""

from __future__ import annotations

from collections.abc import Sequence

from cacher.archive.decompress import unwrapped
from cacher.commands import open_sealed_entry as sealed
from cacher.commands.command_result import Outcome, entry_fields
from cacher.commands.context import Run
from cacher.commands.docker.upload import save
from cacher.commands.docker.url_stream import Fetching
from cacher.commands.docker.verify_loaded import load, verify
from cacher.commands.requests import DockerDownload
from cacher.commands.store_or_warn import seeded
from cacher.docker.engine import Engine
from cacher.docker.image_names import listed
from cacher.errors import CacherError, IntegrityError, SourceError, TimedOut
from cacher.http import fetch as origin
from cacher.http.redact_url import shown
from cacher.report import Progress, transfer_text


def check(wanted: DockerDownload) -> None:
    """Raises `UsageError` for URLs that cannot be fetched, before anything else happens."""
    for url in wanted.urls:
        origin.check_url(url)


def deliver(
    run: Run, wanted: DockerDownload, engine: Engine, lead: str, *, store_it: bool
) -> Outcome:
    """From the first URL that has the image, or else the registry; then it is stored.

    `lead` begins what people are told. Raises `SourceError` if none has, `IntegrityError` if one
    has another archive.
    """
    failures: list[CacherError] = []
    for url in wanted.urls:
        try:
            return _fetched(run, wanted, engine, lead, url, store_it=store_it)
        except (SourceError, IntegrityError) as error:
            failures.append(error)
            if wanted.pull or wanted.urls[1:]:
                run.report.warn(error.message, error.hint)
        except TimedOut as error:
            raise _late(f"fetching {shown(url)}", error) from error
    if wanted.pull and wanted.image is not None:
        return _pulled(run, wanted, engine, lead, wanted.image, store_it=store_it)
    # A wrong digest is the graver news than a server that does not answer.
    failures.sort(key=lambda error: not isinstance(error, IntegrityError))
    raise failures[0]


def _pulled(
    run: Run, wanted: DockerDownload, engine: Engine, lead: str, image: str, *, store_it: bool
) -> Outcome:
    run.report.say(f"{lead}pulling {image}")
    start = run.report.monotonic()
    try:
        engine.pull(image)
    except TimedOut as error:
        raise _late(f"pulling {image}", error) from error
    if engine.inspect([image])[0] is None:
        raise SourceError(f"{image} is not there after `{engine.name} pull`")
    seconds = run.report.monotonic() - start
    stored = store_it and _store(run, wanted, engine, [image])
    return Outcome(
        "pulled",
        f"{lead}pulled {image}" + (", stored" if stored else ""),
        entry_fields(run.store.name, wanted.key, 0, seconds, "")
        | {"size": None, "images": [image], "stored": stored},
    )


def _fetched(
    run: Run, wanted: DockerDownload, engine: Engine, lead: str, url: str, *, store_it: bool
) -> Outcome:
    source = shown(url)
    doing = f"fetching {wanted.key}"
    with run.report.progress(doing, waits_for="docker or the origin") as progress:
        try:
            loaded = _load(run, wanted, engine, url, progress)
        except IntegrityError as error:
            raise sealed.about(
                source, error, "is it an archive as `docker save` makes it?"
            ) from error
    names = [wanted.image] if wanted.image else loaded
    verify(engine, [wanted.image] if wanted.image else [], loaded, None)
    seconds, size = progress.seconds, progress.count
    stored = store_it and _store(run, wanted, engine, names)
    return Outcome(
        "fetched",
        f"{lead}fetched {source} ({listed(names) or 'no name'}; "
        f"{transfer_text(size, seconds)})" + (", stored" if stored else ""),
        entry_fields(run.store.name, wanted.key, size, seconds, wanted.sha256)
        | {"images": list(names), "url": source, "stored": stored},
    )


def _load(
    run: Run, wanted: DockerDownload, engine: Engine, url: str, progress: Progress
) -> list[str]:
    """Load what is at a URL; its end is given away only when all of it was proved."""

    def sized(size: int) -> None:
        progress.total = size

    with (
        Fetching(run, url, wanted.sha256, meter=progress.add, sized=sized) as fetching,
        unwrapped(fetching.readinto, run.report.monotonic) as read,
    ):
        return load(run, engine, read, fetching.cancel)[1]


def _store(run: Run, wanted: DockerDownload, engine: Engine, names: Sequence[str]) -> bool:
    """Store what was delivered; whatever goes wrong with that is only a warning."""
    if not names:
        run.report.warn("not stored for next time: the loaded image has no name; give IMAGE")
        return False
    return seeded(run, lambda: save(run, wanted.key, engine, names))


def _late(doing: str, error: TimedOut) -> SourceError:
    return SourceError(f"{doing}: not done after {error.seconds:g} s (--timeout)")
