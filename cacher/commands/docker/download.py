"""`docker download` and `docker exists`: an entry's images into the engine, unless it has them."""

from __future__ import annotations

from collections.abc import Sequence

from cacher.archive.decompress import unwrapped
from cacher.archive.read_ahead import Ring
from cacher.archive.sealed_stream import SealedReader
from cacher.commands import open_sealed_entry as sealed
from cacher.commands.command_result import Outcome, entry_fields
from cacher.commands.context import Run
from cacher.commands.docker.image_record import Record
from cacher.commands.docker.verify_loaded import AnotherImage, load, verify
from cacher.commands.open_sealed_entry import Opened
from cacher.commands.requests import DockerDownload
from cacher.docker import engine as docker
from cacher.docker.engine import Engine
from cacher.docker.image_archive import HELD, Passed, relay
from cacher.docker.image_names import Image, check_name, listed
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


def docker_download(run: Run, wanted: DockerDownload) -> Outcome:
    """The entry's images to the engine; on a miss from a URL or a registry, then stored.

    Raises `Miss`, and whatever else keeps them from being there.
    """
    if wanted.image is not None:
        check_name(wanted.image)
    elif wanted.pull:
        raise UsageError("--pull needs IMAGE", "cacher docker download KEY IMAGE --pull")
    engine = docker.find(wanted.program, run.environ)
    if not wanted.pull and not wanted.urls:
        outcome = _hit(run, wanted, engine)
        if outcome is None:
            raise Miss(f"miss {wanted.key}")
        return outcome
    from cacher.commands.docker import fallback as docker_fallback

    docker_fallback.check(wanted)
    usable, missed = True, False
    try:
        outcome = _hit(run, wanted, engine)
        if outcome:
            return outcome
        missed = True
    except (IntegrityError, AnotherImage) as error:
        run.report.warn(f"{error.message}; getting it again", error.hint)
    except (StoreError, AccessError) as error:
        run.report.warn(f"{error.message}; continuing without the cache", error.hint)
        usable = False
    except (SourceError, NewerFormat) as error:
        # The entry may be good: it is not replaced.
        run.report.warn(f"{error.message}; continuing without it", error.hint)
        usable = False
    engine.require()
    lead = f"miss {wanted.key}, " if missed else f"{wanted.key}: "
    return docker_fallback.deliver(run, wanted, engine, lead, store_it=wanted.store_it and usable)


def docker_exists(run: Run, key: str, image: str | None) -> Outcome:
    """Whether there is an entry, and whether `image` is in it. Raises `Miss` if certainly not."""
    if image is not None:
        check_name(image)
    entry = run.store.head(key)
    if entry is None:
        raise Miss(f"miss {key}")
    sealed.check_kind(entry, KIND)
    told = _record(entry)
    if image is not None and told is None:
        run.report.note(f"{key} does not record which images are in it")
    if image is not None and told and not told.more and told.find(image) is None:
        raise Miss(f"miss {key}: it holds {listed(told.images)}, not {image}")
    images = {name: f"sha256:{one.id}" for name, one in told.images.items()} if told else {}
    inside = f"{listed(images)}; " if images else ""
    return Outcome(
        "hit",
        f"hit {key} ({inside}{size_text(entry.size)})",
        {"store": run.store.name, "key": key, "size": entry.size, "images": images},
    )


def _hit(run: Run, wanted: DockerDownload, engine: Engine) -> Outcome | None:
    """See to it that the engine has what the entry has; None where there is no entry."""
    if wanted.image is None:
        return _hit_of_all(run, wanted, engine)
    with engine.ask([wanted.image]) as inquiry:
        entry, told = _look_up(run, wanted)
        if entry is None:
            return None
        found = inquiry.images()
    if told and _has(told, [wanted.image], found):
        return _present(run, wanted, entry, [wanted.image])
    return _read(run, wanted, engine)


def _hit_of_all(run: Run, wanted: DockerDownload, engine: Engine) -> Outcome | None:
    entry, told = _look_up(run, wanted)
    if entry is None:
        return None
    if told is None or not told.images:
        engine.require()
        return _read(run, wanted, engine)
    names = list(told.images)
    if _has(told, names, engine.inspect(names)) and not told.more:
        return _present(run, wanted, entry, names)
    return _read(run, wanted, engine)


def _look_up(run: Run, wanted: DockerDownload) -> tuple[Entry | None, Record | None]:
    """The entry, if there is one, and what it tells of its images."""
    entry = run.store.head(wanted.key)
    if entry is None:
        return None, None
    sealed.check_kind(entry, KIND)
    told = _record(entry)
    _require_inside(wanted, told)
    return entry, told


def _read(run: Run, wanted: DockerDownload, engine: Engine) -> Outcome | None:
    hint = "run it again; if it fails again, use another KEY"
    return sealed.read_entry(wanted.key, hint, lambda: _loaded(run, wanted, engine))


def _loaded(run: Run, wanted: DockerDownload, engine: Engine) -> Outcome | None:
    doing = f"downloading {wanted.key}"
    with run.report.progress(doing, waits_for="docker or the store") as progress:
        reader = run.store.open(wanted.key, progress.add)
        if reader is None:
            return None
        with reader:
            progress.total = reader.entry.size
            opened = sealed.open_entry(reader, KIND)
            told = _record(opened.entry)
            _require_inside(wanted, told)
            passed, loaded = _load(run, engine, opened)
    names = _names(wanted, told)
    verify(engine, names, loaded, told)
    return _outcome(run, wanted, opened.entry, passed, names or loaded, progress)


def _load(run: Run, engine: Engine, opened: Opened) -> tuple[Passed, list[str]]:
    """Load an entry, whose last bytes are given away only when all before were proved."""
    if opened.seal is None:
        # A shell may have used gzip, or nothing.
        with unwrapped(opened.read, run.report.monotonic) as read:
            return load(run, engine, read, opened.cancel)
    clock = run.report.monotonic
    start = clock()
    with (
        SealedReader(opened.read, clock) as stream,
        Ring(stream.readinto, opened.cancel, clock, keep=HELD) as ring,
        engine.load() as loading,
    ):
        passed, rest = relay(ring.next, loading, opened.seal.size)
        sealed.require_proof(opened, stream, passed.members, passed.content)
        loaded = loading.finish(rest)
    seconds = clock() - start
    stages = sealed.stages_of_reading(stream, ring, "loading", seconds)
    sealed.note_bottleneck(run.report, stages, seconds)
    return passed, loaded


def _has(told: Record, names: Sequence[str], found: Sequence[Image | None]) -> bool:
    """Whether the engine has all of these images, as they were recorded."""
    for name, image in zip(names, found, strict=True):
        expected = told.find(name)
        if image is None or expected is None or image.id != expected.id:
            return False
    return True


def _names(wanted: DockerDownload, told: Record | None) -> list[str]:
    """The images that are to be there afterwards, as far as that is known."""
    if wanted.image is not None:
        return [wanted.image]
    return list(told.images) if told else []


def _record(entry: Entry) -> Record | None:
    try:
        return Record.of(entry.metadata)
    except IntegrityError as error:
        raise sealed.about(entry.key, error, "") from error


def _require_inside(wanted: DockerDownload, told: Record | None) -> None:
    """Raises `AnotherImage` for an entry that certainly has no such image."""
    if wanted.image is None or told is None or told.more or told.find(wanted.image):
        return
    raise AnotherImage(
        f"{wanted.key} holds {listed(told.images)}, not {wanted.image}",
        "name an image that it holds, or use another KEY, with the tag in it",
    )


def _present(run: Run, wanted: DockerDownload, entry: Entry, names: Sequence[str]) -> Outcome:
    verb = "is" if len(names) == 1 else "are"
    return Outcome(
        "present",
        f"hit {wanted.key}, {listed(names)} {verb} here already",
        entry_fields(run.store.name, wanted.key, entry.size, 0.0, "") | {"images": list(names)},
    )


def _outcome(
    run: Run,
    wanted: DockerDownload,
    entry: Entry,
    passed: Passed,
    names: Sequence[str],
    progress: Progress,
) -> Outcome:
    seconds = progress.seconds
    inside = listed(names) or "no name"
    return Outcome(
        "hit",
        f"hit {wanted.key} ({inside}, {size_text(passed.content)}; "
        f"{transfer_text(entry.size, seconds)})",
        entry_fields(run.store.name, wanted.key, entry.size, seconds, "")
        | {"images": list(names), "unpacked": passed.content},
    )
