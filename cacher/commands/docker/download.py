"""`docker download`: load an entry's images unless the engine has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cacher.archive.decompress import open_decompressed
from cacher.archive.read_ahead import ReadAhead
from cacher.archive.sealed_stream import SealedReader
from cacher.commands import open_sealed_entry
from cacher.commands.command_result import CommandResult, entry_fields
from cacher.commands.context import Context
from cacher.commands.docker.image_record import ImageRecord, read_record
from cacher.commands.docker.verify_loaded import AnotherImage, load, verify
from cacher.commands.open_sealed_entry import OpenedEntry
from cacher.commands.read_again import read_again
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
from cacher.progress import Progress
from cacher.report import size_text, transfer_text
from cacher.store.interface import Entry

_DAMAGED = "run it again; if it fails again, use another KEY"
"""The hint for an entry that cannot be loaded."""


class DockerDownloadRequest(NamedTuple):
    """The arguments of `docker download`; `sha256` is of what a URL gives, or empty."""

    key: str
    image: str | None = None
    program: str | None = None
    pull: bool = False
    urls: Sequence[str] = ()
    sha256: str = ""
    store_it: bool = True


def docker_download(context: Context, request: DockerDownloadRequest) -> CommandResult:
    """Load the entry's images; on a miss, get them from a URL or a registry, and store them.

    Raises `Miss` if there is no entry and no fallback.
    """
    if request.image is not None:
        check_name(request.image)
    elif request.pull:
        raise UsageError("--pull needs IMAGE", "cacher docker download KEY IMAGE --pull")
    engine = docker.find_engine(request.program, context.environ)
    if not request.pull and not request.urls:
        result = _hit(context, request, engine)
        if result is None:
            raise Miss(f"miss {request.key}")
        return result
    from cacher.commands.docker.fetch_or_pull import fetch_or_pull
    from cacher.http.fetch import check_url

    for url in request.urls:
        check_url(url)
    is_usable, is_miss = True, False
    try:
        result = _hit(context, request, engine)
        if result:
            return result
        is_miss = True
    except (IntegrityError, AnotherImage) as error:
        context.report.warn(f"{error.message}; getting it again", error.hint)
    except (StoreError, AccessError) as error:
        context.report.warn(f"{error.message}; continuing without the cache", error.hint)
        is_usable = False
    except (SourceError, NewerFormat) as error:
        # The entry may be good: it is not replaced.
        context.report.warn(f"{error.message}; continuing without it", error.hint)
        is_usable = False
    engine.require()
    lead = f"miss {request.key}, " if is_miss else f"{request.key}: "
    return fetch_or_pull(context, request, engine, lead, store_it=request.store_it and is_usable)


def _hit(context: Context, request: DockerDownloadRequest, engine: Engine) -> CommandResult | None:
    """Load the entry unless the engine has its images; return None if there is no entry."""
    if request.image is None:
        return _hit_of_all(context, request, engine)
    with engine.start_inspect([request.image]) as pending:
        entry, recorded = _look_up(context, request)
        if entry is None:
            return None
        found = pending.images()
    if recorded and _has(recorded, [request.image], found):
        return _present(context, request, entry, [request.image])
    return _load_entry(context, request, engine)


def _hit_of_all(
    context: Context, request: DockerDownloadRequest, engine: Engine
) -> CommandResult | None:
    entry, recorded = _look_up(context, request)
    if entry is None:
        return None
    if recorded is None or not recorded.images:
        engine.require()
        return _load_entry(context, request, engine)
    names = list(recorded.images)
    if _has(recorded, names, engine.inspect(names)) and not recorded.more:
        return _present(context, request, entry, names)
    return _load_entry(context, request, engine)


def _look_up(
    context: Context, request: DockerDownloadRequest
) -> tuple[Entry | None, ImageRecord | None]:
    """Return the entry, if there is one, and its record of images, if it has one."""
    entry = context.store.head(request.key)
    if entry is None:
        return None, None
    open_sealed_entry.check_kind(entry, open_sealed_entry.IMAGE)
    recorded = read_record(entry)
    _require_inside(request, recorded)
    return entry, recorded


def _load_entry(
    context: Context, request: DockerDownloadRequest, engine: Engine
) -> CommandResult | None:
    """Load the entry and verify the images; return None if there is no entry."""
    with open_sealed_entry.naming_entry(request.key, _DAMAGED):
        return read_again(_load_entry_once, context, request, engine)


def _load_entry_once(
    context: Context, request: DockerDownloadRequest, engine: Engine
) -> CommandResult | None:
    doing = f"downloading {request.key}"
    with Progress(context.report, doing, waits_for="docker or the store") as progress:
        reader = context.store.open(request.key, progress.add)
        if reader is None:
            return None
        with reader:
            progress.total = reader.entry.size
            opened = open_sealed_entry.open_entry(reader, open_sealed_entry.IMAGE)
            recorded = read_record(opened.entry)
            _require_inside(request, recorded)
            stats, loaded = _load(context, engine, opened)
    names = _names(request, recorded)
    verify(engine, names, loaded, recorded)
    return _loaded(context, request, opened.entry, stats, names or loaded, progress)


def _load(context: Context, engine: Engine, opened: OpenedEntry) -> tuple[ArchiveStats, list[str]]:
    """Load an entry; the engine gets its last bytes only after all of it is verified."""
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
        stats, rest = copy_to_engine(read_ahead.next, loading.write, opened.seal.size)
        open_sealed_entry.require_proof(opened, stream, stats.members, stats.content)
        loaded = loading.finish(rest)
    seconds = clock() - start
    stages = open_sealed_entry.stages_of_reading(stream, read_ahead, "loading", seconds)
    open_sealed_entry.note_bottleneck(context.report, stages, seconds)
    return stats, loaded


def _has(recorded: ImageRecord, names: Sequence[str], found: Sequence[Image | None]) -> bool:
    """Return whether the engine has all of these images, as they were recorded."""
    for name, image in zip(names, found, strict=True):
        expected = recorded.find(name)
        if image is None or expected is None or image.id != expected.id:
            return False
    return True


def _names(request: DockerDownloadRequest, recorded: ImageRecord | None) -> list[str]:
    """Return the images to verify after loading, as far as they are known."""
    if request.image is not None:
        return [request.image]
    return list(recorded.images) if recorded else []


def _require_inside(request: DockerDownloadRequest, recorded: ImageRecord | None) -> None:
    """Raise `AnotherImage` for an entry that certainly has no such image."""
    if request.image is None or recorded is None or recorded.more or recorded.find(request.image):
        return
    raise AnotherImage(
        f"{request.key} holds {names_text(recorded.images)}, not {request.image}",
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


def _loaded(
    context: Context,
    request: DockerDownloadRequest,
    entry: Entry,
    stats: ArchiveStats,
    names: Sequence[str],
    progress: Progress,
) -> CommandResult:
    seconds = progress.seconds
    inside = names_text(names) or "no name"
    return CommandResult(
        "hit",
        f"hit {request.key} ({inside}, {size_text(stats.content)}; "
        f"{transfer_text(entry.size, seconds)})",
        entry_fields(context.store.name, request.key, entry.size, seconds, "")
        | {"images": list(names), "unpacked": stats.content},
    )
