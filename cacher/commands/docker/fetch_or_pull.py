"""The fallback of `docker download` on a miss: fetch from a URL or pull, then store it."""

from __future__ import annotations

from collections.abc import Sequence

from cacher.archive.decompress import open_decompressed
from cacher.commands import open_sealed_entry
from cacher.commands.command_result import CommandResult, entry_fields
from cacher.commands.context import Context
from cacher.commands.docker.download import DockerDownloadRequest
from cacher.commands.docker.upload import save
from cacher.commands.docker.url_stream import UrlStream
from cacher.commands.docker.verify_loaded import load, verify
from cacher.docker.engine import Engine
from cacher.docker.image_names import names_text
from cacher.errors import CacherError, IntegrityError, SourceError, TimedOut
from cacher.http.redact_url import redacted
from cacher.progress import Progress
from cacher.report import transfer_text


def fetch_or_pull(
    context: Context, request: DockerDownloadRequest, engine: Engine, lead: str, *, store_it: bool
) -> CommandResult:
    """Load the image from the first URL that has it, or else pull it; then store it.

    `lead` begins the messages. Raises `SourceError` if no URL delivers it, `IntegrityError` if one
    delivers another archive.
    """
    failures: list[CacherError] = []
    for url in request.urls:
        try:
            return _fetched(context, request, engine, lead, url, store_it=store_it)
        except (SourceError, IntegrityError) as error:
            failures.append(error)
            if request.pull or request.urls[1:]:
                context.report.warn(error.message, error.hint)
        except TimedOut as error:
            raise _late(f"fetching {redacted(url)}", error) from error
    if request.pull and request.image is not None:
        return _pulled(context, request, engine, lead, request.image, store_it=store_it)
    # A wrong digest comes before a server that does not answer.
    failures.sort(key=lambda error: not isinstance(error, IntegrityError))
    raise failures[0]


def _pulled(
    context: Context,
    request: DockerDownloadRequest,
    engine: Engine,
    lead: str,
    image: str,
    *,
    store_it: bool,
) -> CommandResult:
    context.report.say(f"{lead}pulling {image}")
    start = context.report.monotonic()
    try:
        engine.pull(image)
    except TimedOut as error:
        raise _late(f"pulling {image}", error) from error
    if engine.inspect([image])[0] is None:
        raise SourceError(f"{image} is not there after `{engine.name} pull`")
    seconds = context.report.monotonic() - start
    stored = store_it and _store(context, request, engine, [image])
    return CommandResult(
        "pulled",
        f"{lead}pulled {image}" + (", stored" if stored else ""),
        entry_fields(context.store.name, request.key, 0, seconds, "")
        | {"size": None, "images": [image], "stored": stored},
    )


def _fetched(
    context: Context,
    request: DockerDownloadRequest,
    engine: Engine,
    lead: str,
    url: str,
    *,
    store_it: bool,
) -> CommandResult:
    source = redacted(url)
    doing = f"fetching {request.key}"
    with Progress(context.report, doing, waits_for="docker or the origin") as progress:
        try:
            loaded = _load(context, request, engine, url, progress)
        except IntegrityError as error:
            raise open_sealed_entry.with_subject(
                source, error, "is it an archive as `docker save` makes it?"
            ) from error
    names = [request.image] if request.image else loaded
    verify(engine, [request.image] if request.image else [], loaded, None)
    seconds, size = progress.seconds, progress.count
    stored = store_it and _store(context, request, engine, names)
    return CommandResult(
        "fetched",
        f"{lead}fetched {source} ({names_text(names) or 'no name'}; "
        f"{transfer_text(size, seconds)})" + (", stored" if stored else ""),
        entry_fields(context.store.name, request.key, size, seconds, request.sha256)
        | {"images": list(names), "url": source, "stored": stored},
    )


def _load(
    context: Context, request: DockerDownloadRequest, engine: Engine, url: str, progress: Progress
) -> list[str]:
    """Load the archive at a URL; the engine gets its end only after all of it is verified."""

    def on_size(size: int) -> None:
        progress.total = size

    with (
        UrlStream(
            context, url, request.sha256, on_progress=progress.add, on_size=on_size
        ) as fetching,
        open_decompressed(fetching.readinto, context.report.monotonic) as read,
    ):
        return load(context, engine, read, fetching.cancel)[1]


def _store(
    context: Context, request: DockerDownloadRequest, engine: Engine, names: Sequence[str]
) -> bool:
    """Store the images; a failure is only a warning."""
    if not names:
        context.report.warn("not stored for next time: the loaded image has no name; give IMAGE")
        return False
    return context.store_or_warn(save, context, request.key, engine, names)


def _late(doing: str, error: TimedOut) -> SourceError:
    return SourceError(f"{doing}: not done after {error.seconds:g} s (--timeout)")
