"""`docker upload`: images become an entry, as the engine saves them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cacher.archive.sealed_stream import SealedWriter
from cacher.archive.zstd import Compressor
from cacher.commands import open_sealed_entry as sealed
from cacher.commands.command_result import Outcome, entry_fields
from cacher.commands.context import Run
from cacher.commands.docker import image_record as records
from cacher.commands.docker.image_record import Record
from cacher.commands.requests import DockerUpload
from cacher.docker import engine as docker
from cacher.docker.engine import Engine
from cacher.docker.image_archive import Passed, collect
from cacher.docker.image_names import Image, check_name, exact, listed
from cacher.errors import IntegrityError, SourceError, UsageError
from cacher.report import size_text, transfer_text
from cacher.store.interface import Entry

KIND = "image"


class Stored(NamedTuple):
    """What was stored: the entry, its archive, and the seconds that it took."""

    entry: Entry
    passed: Passed
    seconds: float


def docker_upload(run: Run, wanted: DockerUpload) -> Outcome:
    """The images under KEY, unless there is an entry already: then none is saved."""
    for name in wanted.images:
        check_name(name)
    compressor = Compressor(wanted.level)
    engine = docker.find(wanted.program, run.environ)
    with engine.ask(wanted.images) as inquiry:
        existing = None if wanted.force else run.existing(wanted.key)
        images = _require(engine, wanted.images, inquiry.images())
    if existing:
        _compare(run, wanted, existing, images)
        return Outcome(
            "exists",
            f"exists {wanted.key}, not saved again",
            entry_fields(run.store.name, wanted.key, existing.size, 0.0, "")
            | {"images": _ids(wanted.images, images)},
        )
    stored = store_images(run, wanted.key, engine, wanted.images, images, compressor)
    return Outcome(
        "stored",
        f"stored {wanted.key} ({listed(wanted.images)}, {size_text(stored.passed.content)}; "
        f"{transfer_text(stored.entry.size, stored.seconds)})",
        entry_fields(run.store.name, wanted.key, stored.entry.size, stored.seconds, "")
        | {"images": _ids(wanted.images, images), "unpacked": stored.passed.content},
    )


def save(run: Run, key: str, engine: Engine, names: Sequence[str]) -> Stored:
    """Save and store images that the engine has, whatever entry there is."""
    images = _require(engine, names, engine.inspect(names))
    return store_images(run, key, engine, names, images, Compressor())


def store_images(
    run: Run,
    key: str,
    engine: Engine,
    names: Sequence[str],
    images: Sequence[Image],
    compressor: Compressor,
) -> Stored:
    """Save images and store the archive. Nothing is stored unless all of it went well."""
    told = sealed.metadata(KIND) | records.record(names, images).metadata()
    saved = [exact(*pair) for pair in zip(names, images, strict=True)]
    with (
        run.report.progress(f"uploading {key}", waits_for="docker or the store") as progress,
        engine.save(saved) as saving,  # first: it takes its time before the first byte
        run.store.create(key, told, progress.add) as writer,
        SealedWriter(writer, compressor, run.report.monotonic) as stream,
    ):
        progress.passed = lambda: stream.size
        passed = collect(saving, stream.write)
        if engine.inspect(names) != list(images):
            raise SourceError(
                f"{listed(names)} changed while it was saved; nothing was stored",
                "does something else build or pull it at the same time?",
            )
        created = sealed.created(run)
        stream.finish(KIND, members=passed.members, content=passed.content, created=created)
        entry = writer.commit()
    seconds = progress.seconds
    stages = {"compressing": stream.compressing, "storing": stream.storing}
    stages["saving"] = seconds - sum(stages.values())
    sealed.note_bottleneck(run.report, stages, seconds)
    return Stored(entry, passed, seconds)


def _require(engine: Engine, names: Sequence[str], found: Sequence[Image | None]) -> list[Image]:
    """The images that were found by these names, all of which must be there."""
    for name in names:
        if "@" in name:
            raise UsageError(
                f"{name} is named by a digest, which engines drop when they load an image",
                f"`{engine.name} tag {name} NAME:TAG`, and store that",
            )
    missing = [name for name, image in zip(names, found, strict=True) if image is None]
    if missing:
        raise SourceError(
            f"{engine.name} has no image {listed(missing)}", f"`{engine.name} images` lists them"
        )
    return [image for image in found if image is not None]


def _compare(run: Run, wanted: DockerUpload, existing: Entry, images: Sequence[Image]) -> None:
    """Warn if the entry that stays is about other images."""
    kind = existing.metadata.get(sealed.KIND, KIND)
    if kind != KIND:
        run.report.warn(f"{wanted.key} is stored already, as an entry of another kind: {kind}")
        return
    version = existing.metadata.get(sealed.FORMAT, sealed.FORMATS[-1])
    if version not in sealed.FORMATS:
        run.report.warn(f"{wanted.key} is stored already, in format {version}, which is newer")
        return
    try:
        told = Record.of(existing.metadata)
    except IntegrityError as error:
        run.report.warn(f"{wanted.key}: {error.message}", error.hint)
        return
    for name, image in zip(wanted.images, images, strict=True):
        found = told.find(name) if told else image
        if found is None and not (told and told.more):
            run.report.warn(f"{wanted.key} is stored already, without {name}")
        elif found is not None and found.id != image.id:
            run.report.warn(f"{wanted.key} is stored already, with another {name}: {found.id[:12]}")


def _ids(names: Sequence[str], images: Sequence[Image]) -> dict[str, str]:
    return {name: f"sha256:{image.id}" for name, image in zip(names, images, strict=True)}
