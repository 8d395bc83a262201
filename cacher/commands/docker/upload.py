"""`docker upload`: store images as an entry, as the engine saves them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cacher.archive.sealed_stream import SealedWriter
from cacher.archive.zstd import Compressor
from cacher.commands import open_sealed_entry
from cacher.commands.command_result import CommandResult, entry_fields
from cacher.commands.context import Context
from cacher.commands.docker.image_record import make_record, read_record
from cacher.docker import engine as docker
from cacher.docker.engine import Engine
from cacher.docker.image_archive import ArchiveStats, copy_from_engine
from cacher.docker.image_names import Image, check_name, exact_name, names_text
from cacher.errors import IntegrityError, SourceError, UsageError
from cacher.progress import Progress
from cacher.report import size_text, transfer_text
from cacher.store.interface import Entry


class DockerUploadRequest(NamedTuple):
    """The arguments of `docker upload`; `program` is that of the engine, None for the first."""

    key: str
    images: Sequence[str]
    program: str | None = None
    level: int = 3
    force: bool = False


class Stored(NamedTuple):
    """A stored entry, its archive, and the seconds that storing took."""

    entry: Entry
    stats: ArchiveStats
    seconds: float


def docker_upload(context: Context, request: DockerUploadRequest) -> CommandResult:
    """Store images under KEY, unless there is an entry already: then none is saved."""
    for name in request.images:
        check_name(name)
    compressor = Compressor(request.level)
    engine = docker.find_engine(request.program, context.environ)
    with engine.start_inspect(request.images) as pending:
        existing = None if request.force else context.existing(request.key)
        images = _require(engine, request.images, pending.images())
    if existing:
        _compare(context, request, existing, images)
        return CommandResult(
            "exists",
            f"exists {request.key}, not saved again",
            entry_fields(context.store.name, request.key, existing.size, 0.0, "")
            | {"images": _ids(request.images, images)},
        )
    stored = store_images(context, request.key, engine, request.images, images, compressor)
    return CommandResult(
        "stored",
        f"stored {request.key} ({names_text(request.images)}, {size_text(stored.stats.content)}; "
        f"{transfer_text(stored.entry.size, stored.seconds)})",
        entry_fields(context.store.name, request.key, stored.entry.size, stored.seconds, "")
        | {"images": _ids(request.images, images), "unpacked": stored.stats.content},
    )


def save(context: Context, key: str, engine: Engine, names: Sequence[str]) -> Stored:
    """Save and store images that the engine has; replace an entry that is stored."""
    images = _require(engine, names, engine.inspect(names))
    return store_images(context, key, engine, names, images, Compressor())


def store_images(
    context: Context,
    key: str,
    engine: Engine,
    names: Sequence[str],
    images: Sequence[Image],
    compressor: Compressor,
) -> Stored:
    """Save images and store the archive. Nothing is stored unless all of it went well."""
    recorded = (
        open_sealed_entry.metadata(open_sealed_entry.IMAGE) | make_record(names, images).metadata()
    )
    saved = [exact_name(*pair) for pair in zip(names, images, strict=True)]
    with (
        Progress(context.report, f"uploading {key}", waits_for="docker or the store") as progress,
        engine.save(saved) as saving,  # first: it takes its time before the first byte
        context.store.create(key, recorded, progress.add) as writer,
        SealedWriter(writer.write, compressor, context.report.monotonic) as stream,
    ):
        progress.passed = lambda: stream.size
        stats = copy_from_engine(saving, stream.write)
        if engine.inspect(names) != list(images):
            raise SourceError(
                f"{names_text(names)} changed while it was saved; nothing was stored",
                "does something else build or pull it at the same time?",
            )
        created = open_sealed_entry.created(context)
        stream.finish(
            open_sealed_entry.IMAGE, members=stats.members, content=stats.content, created=created
        )
        entry = writer.commit()
    seconds = progress.seconds
    stages = {"compressing": stream.compressing, "storing": stream.storing}
    stages["saving"] = seconds - sum(stages.values())
    open_sealed_entry.note_bottleneck(context.report, stages, seconds)
    return Stored(entry, stats, seconds)


def _require(engine: Engine, names: Sequence[str], found: Sequence[Image | None]) -> list[Image]:
    """Return the images that were found by these names. Raises `SourceError` if one was not."""
    for name in names:
        if "@" in name:
            raise UsageError(
                f"{name} is named by a digest, which engines drop when they load an image",
                f"`{engine.name} tag {name} NAME:TAG`, and store that",
            )
    missing = [name for name, image in zip(names, found, strict=True) if image is None]
    if missing:
        raise SourceError(
            f"{engine.name} has no image {names_text(missing)}",
            f"`{engine.name} images` lists them",
        )
    return [image for image in found if image is not None]


def _compare(
    context: Context, request: DockerUploadRequest, existing: Entry, images: Sequence[Image]
) -> None:
    """Warn if the entry that stays has other images."""
    kind = existing.metadata.get(open_sealed_entry.KIND_NAME, open_sealed_entry.IMAGE)
    if kind != open_sealed_entry.IMAGE:
        context.report.warn(f"{request.key} is stored already, as an entry of another kind: {kind}")
        return
    version = existing.metadata.get(open_sealed_entry.FORMAT_NAME, open_sealed_entry.FORMATS[-1])
    if version not in open_sealed_entry.FORMATS:
        context.report.warn(f"{request.key} is stored already, in format {version}, which is newer")
        return
    try:
        recorded = read_record(existing)
    except IntegrityError as error:
        context.report.warn(error.message, error.hint)
        return
    for name, image in zip(request.images, images, strict=True):
        found = recorded.find(name) if recorded else image
        if found is None and not (recorded and recorded.more):
            context.report.warn(f"{request.key} is stored already, without {name}")
        elif found is not None and found.id != image.id:
            context.report.warn(
                f"{request.key} is stored already, with another {name}: {found.id[:12]}"
            )


def _ids(names: Sequence[str], images: Sequence[Image]) -> dict[str, str]:
    return {name: f"sha256:{image.id}" for name, image in zip(names, images, strict=True)}
