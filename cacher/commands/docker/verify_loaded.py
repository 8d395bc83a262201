"""Load an archive into an engine, and verify that it has the images then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cacher.archive.read_ahead import ReadAhead
from cacher.commands.context import Context
from cacher.commands.docker.image_record import ImageRecord
from cacher.docker.engine import Engine
from cacher.docker.image_archive import WITHHELD_BUFFERS, ArchiveStats, copy_to_engine
from cacher.docker.image_names import Image, is_id, names_text, normalize
from cacher.errors import SourceError


class AnotherImage(SourceError):
    """The archive was loaded whole, but has no image of that name."""


def load(
    context: Context, engine: Engine, read: Callable[[memoryview], int], cancel: Callable[[], None]
) -> tuple[ArchiveStats, list[str]]:
    """Load the archive that `read` gives; return its size, and the names that the engine reports.

    The engine gets its end only after all of it was read. `cancel` ends a `read` that waits.
    """
    with (
        ReadAhead(read, cancel, context.report.monotonic, keep=WITHHELD_BUFFERS) as read_ahead,
        engine.load() as loading,
    ):
        stats, rest = copy_to_engine(read_ahead.next, loading.write)
        return stats, loading.finish(rest)


def verify(
    engine: Engine, names: Sequence[str], loaded: Sequence[str], recorded: ImageRecord | None
) -> None:
    """Raise `SourceError` unless the engine has these images now, as they were recorded.

    `loaded` are the names that it reported, if it did.
    """
    reported = {normalize(name): name for name in loaded}
    for name, image in zip(names, engine.inspect(names) if names else [], strict=True):
        expected = recorded.find(name) if recorded else None
        if image is None or (expected and image.id != expected.id):
            image = _renamed(engine, name, reported) or image
        _verify(engine, name, image, reported, expected)


def _renamed(engine: Engine, name: str, reported: Mapping[str, str]) -> Image | None:
    """Return the image by its other name, tagged: podman saves app:1 as localhost/app:1."""
    other = reported.get(normalize(name))
    if other is None or other == name:
        return None
    engine.tag(other, name)
    return engine.inspect([name])[0]


def _verify(
    engine: Engine,
    name: str,
    image: Image | None,
    reported: Mapping[str, str],
    expected: Image | None,
) -> None:
    # docker does not always report images without a tag; but an id identifies one.
    is_reported = image is not None and (normalize(name) in reported or is_id(name, image))
    if image is None or (expected is None and reported and not is_reported):
        if not reported:
            raise SourceError(
                f"{name} is not there after `{engine.name} load`, which named no image"
            )
        raise AnotherImage(
            f"{engine.name} load has loaded {names_text(reported.values())}, not {name}",
            "IMAGE must be named as it was when it was saved",
        )
    if expected is None or image.id == expected.id:
        return
    # An engine with another kind of image store gives the same image another id.
    if not is_reported or image.layers != expected.layers:
        raise SourceError(
            f"{name} is {image.id[:12]} after loading, not {expected.id[:12]} as recorded",
            "does something else build or pull it at the same time?",
        )
