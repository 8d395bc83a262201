"""`docker download` and `docker exists`: an entry's images into the engine, unless it has them."""

from __future__ import annotations

from collections.abc import Sequence

from cacher.archive.decompress import open_decompressed
from cacher.archive.read_ahead import ReadAhead
from cacher.archive.sealed_stream import SealedReader
from cacher.commands import open_sealed_entry
from cacher.commands.command_result import CommandResult, entry_fields
from cacher.commands.context import Context
from cacher.commands.docker.image_record import ImageRecord
from cacher.commands.docker.verify_loaded import AnotherImage, load, verify
from cacher.commands.open_sealed_entry import OpenedEntry
from cacher.commands.requests import DockerDownloadRequest
from cacher.docker import engine as docker
from cacher.docker.engine import Engine
from cacher.docker.image_archive import WITHHELD_BUFFERS, ArchiveStats, copy_to_engine
from cacher.docker.image_names import Image, check_name, names_text
from cacher.errors import (
    AccessError,
    IntegrityError,
    Miss,
    NewerFormat,
    SourceError,
    StoreError,
    UsageError,
)
from cacher.report import Progress, size_text, transfer_text
from cacher.store.interface import Entry

KIND = "image"


def docker_download(context: Context, request: DockerDownloadRequest) -> CommandResult:
    """The entry's images to the engine; on a miss from a URL or a registry, then stored.

    Raises `Miss`, and whatever else keeps them from being there.
    """
    if request.image is not None:
        check_name(request.image)
    elif request.pull:
        raise UsageError("--pull needs IMAGE", "cacher docker download KEY IMAGE --pull")
    engine = docker.find_engine(request.program, context.environ)
    if not request.pull and not request.urls:
        outcome = _hit(context, request, engine)
        if outcome is None:
            raise Miss(f"miss {request.key}")
        return outcome
    from cacher.commands.docker import fallback

    fallback.check(request)
    usable, missed = True, False
    try:
        outcome = _hit(context, request, engine)
        if outcome:
            return outcome
        missed = True
    except (IntegrityError, AnotherImage) as error:
        context.report.warn(f"{error.message}; getting it again", error.hint)
    except (StoreError, AccessError) as error:
        context.report.warn(f"{error.message}; continuing without the cache", error.hint)
        usable = False
    except (SourceError, NewerFormat) as error:
        # The entry may be good: it is not replaced.
        context.report.warn(f"{error.message}; continuing without it", error.hint)
        usable = False
    engine.require()
    lead = f"miss {request.key}, " if missed else f"{request.key}: "
    return fallback.deliver(context, request, engine, lead, store_it=request.store_it and usable)


def docker_exists(context: Context, key: str, image: str | None) -> CommandResult:
    """Whether there is an entry, and whether `image` is in it. Raises `Miss` if certainly not."""
    if image is not None:
        check_name(image)
    entry = context.store.head(key)
    if entry is None:
        raise Miss(f"miss {key}")
    open_sealed_entry.check_kind(entry, KIND)
    told = _record(entry)
    if image is not None and told is None:
        context.report.note(f"{key} does not record which images are in it")
    if image is not None and told and not told.more and told.find(image) is None:
        raise Miss(f"miss {key}: it holds {names_text(told.images)}, not {image}")
    images = {name: f"sha256:{one.id}" for name, one in told.images.items()} if told else {}
    inside = f"{names_text(images)}; " if images else ""
    return CommandResult(
        "hit",
        f"hit {key} ({inside}{size_text(entry.size)})",
        {"store": context.store.name, "key": key, "size": entry.size, "images": images},
    )


def _hit(context: Context, request: DockerDownloadRequest, engine: Engine) -> CommandResult | None:
    """See to it that the engine has what the entry has; None where there is no entry."""
    if request.image is None:
        return _hit_of_all(context, request, engine)
    with engine.start_inspect([request.image]) as pending:
        entry, told = _look_up(context, request)
        if entry is None:
            return None
        found = pending.images()
    if told and _has(told, [request.image], found):
        return _present(context, request, entry, [request.image])
    return _read(context, request, engine)


def _hit_of_all(
    context: Context, request: DockerDownloadRequest, engine: Engine
) -> CommandResult | None:
    entry, told = _look_up(context, request)
    if entry is None:
        return None
    if told is None or not told.images:
        engine.require()
        return _read(context, request, engine)
    names = list(told.images)
    if _has(told, names, engine.inspect(names)) and not told.more:
        return _present(context, request, entry, names)
    return _read(context, request, engine)


def _look_up(
    context: Context, request: DockerDownloadRequest
) -> tuple[Entry | None, ImageRecord | None]:
    """The entry, if there is one, and what it tells of its images."""
    entry = context.store.head(request.key)
    if entry is None:
        return None, None
    open_sealed_entry.check_kind(entry, KIND)
    told = _record(entry)
    _require_inside(request, told)
    return entry, told


def _read(context: Context, request: DockerDownloadRequest, engine: Engine) -> CommandResult | None:
    hint = "run it again; if it fails again, use another KEY"
    return open_sealed_entry.read_entry(
        request.key, hint, lambda: _loaded(context, request, engine)
    )


def _loaded(
    context: Context, request: DockerDownloadRequest, engine: Engine
) -> CommandResult | None:
    doing = f"downloading {request.key}"
    with context.report.progress(doing, waits_for="docker or the store") as progress:
        reader = context.store.open(request.key, progress.add)
        if reader is None:
            return None
        with reader:
            progress.total = reader.entry.size
            opened = open_sealed_entry.open_entry(reader, KIND)
            told = _record(opened.entry)
            _require_inside(request, told)
            passed, loaded = _load(context, engine, opened)
    names = _names(request, told)
    verify(engine, names, loaded, told)
    return _outcome(context, request, opened.entry, passed, names or loaded, progress)


def _load(context: Context, engine: Engine, opened: OpenedEntry) -> tuple[ArchiveStats, list[str]]:
    """Load an entry, whose last bytes are given away only when all before were proved."""
    if opened.seal is None:
        # A shell may have used gzip, or nothing.
        with open_decompressed(opened.read, context.report.monotonic) as read:
            return load(context, engine, read, opened.cancel)
    clock = context.report.monotonic
    start = clock()
    with (
        SealedReader(opened.read, clock) as stream,
        ReadAhead(stream.readinto, opened.cancel, clock, keep=WITHHELD_BUFFERS) as read_ahead,
        engine.load() as loading,
    ):
        passed, rest = copy_to_engine(read_ahead.next, loading, opened.seal.size)
        open_sealed_entry.require_proof(opened, stream, passed.members, passed.content)
        loaded = loading.finish(rest)
    seconds = clock() - start
    stages = open_sealed_entry.stages_of_reading(stream, read_ahead, "loading", seconds)
    open_sealed_entry.note_bottleneck(context.report, stages, seconds)
    return passed, loaded


def _has(told: ImageRecord, names: Sequence[str], found: Sequence[Image | None]) -> bool:
    """Whether the engine has all of these images, as they were recorded."""
    for name, image in zip(names, found, strict=True):
        expected = told.find(name)
        if image is None or expected is None or image.id != expected.id:
            return False
    return True


def _names(request: DockerDownloadRequest, told: ImageRecord | None) -> list[str]:
    """The images that are to be there afterwards, as far as that is known."""
    if request.image is not None:
        return [request.image]
    return list(told.images) if told else []


def _record(entry: Entry) -> ImageRecord | None:
    try:
        return ImageRecord.of(entry.metadata)
    except IntegrityError as error:
        raise open_sealed_entry.about(entry.key, error, "") from error


def _require_inside(request: DockerDownloadRequest, told: ImageRecord | None) -> None:
    """Raises `AnotherImage` for an entry that certainly has no such image."""
    if request.image is None or told is None or told.more or told.find(request.image):
        return
    raise AnotherImage(
        f"{request.key} holds {names_text(told.images)}, not {request.image}",
        "name an image that it holds, or use another KEY, with the tag in it",
    )


def _present(
    context: Context, request: DockerDownloadRequest, entry: Entry, names: Sequence[str]
) -> CommandResult:
    verb = "is" if len(names) == 1 else "are"
    return CommandResult(
        "present",
        f"hit {request.key}, {names_text(names)} {verb} here already",
        entry_fields(context.store.name, request.key, entry.size, 0.0, "")
        | {"images": list(names)},
    )


def _outcome(
    context: Context,
    request: DockerDownloadRequest,
    entry: Entry,
    passed: ArchiveStats,
    names: Sequence[str],
    progress: Progress,
) -> CommandResult:
    seconds = progress.seconds
    inside = names_text(names) or "no name"
    return CommandResult(
        "hit",
        f"hit {request.key} ({inside}, {size_text(passed.content)}; "
        f"{transfer_text(entry.size, seconds)})",
        entry_fields(context.store.name, request.key, entry.size, seconds, "")
        | {"images": list(names), "unpacked": passed.content},
    )
