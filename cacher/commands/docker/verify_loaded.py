"""Loading into an engine, and whether it has then what was wanted."""

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
    """What was loaded is whole, but has no image of the name that is wanted."""


def load(
    context: Context, engine: Engine, read: Callable[[memoryview], int], cancel: Callable[[], None]
) -> tuple[ArchiveStats, list[str]]:
    """Load an archive that `read` gives, its end once all was read; what the engine tells of.

    `cancel` makes a `read` that waits end soon.
    """
    with (
        ReadAhead(read, cancel, context.report.monotonic, keep=WITHHELD_BUFFERS) as read_ahead,
        engine.load() as loading,
    ):
        passed, rest = copy_to_engine(read_ahead.next, loading)
        return passed, loading.finish(rest)


def verify(
    engine: Engine, names: Sequence[str], loaded: Sequence[str], told: ImageRecord | None
) -> None:
    """Raises `SourceError` unless the engine has these images now, and as they were recorded.

    `loaded` is what it says that it has loaded, where it says that.
    """
    said = {normalize(name): name for name in loaded}
    for name, image in zip(names, engine.inspect(names) if names else [], strict=True):
        expected = told.find(name) if told else None
        if image is None or (expected and image.id != expected.id):
            image = _renamed(engine, name, said) or image
        _verify(engine, name, image, said, expected)


def _renamed(engine: Engine, name: str, said: Mapping[str, str]) -> Image | None:
    """The image after all: what podman saves as localhost/app:1 is not docker's app:1."""
    other = said.get(normalize(name))
    if other is None or other == name:
        return None
    engine.tag(other, name)
    return engine.inspect([name])[0]


def _verify(
    engine: Engine, name: str, image: Image | None, said: Mapping[str, str], expected: Image | None
) -> None:
    # docker does not always tell of images without a tag; but an id says what it is.
    is_said = image is not None and (normalize(name) in said or is_id(name, image))
    if image is None or (expected is None and said and not is_said):
        if not said:
            raise SourceError(
                f"{name} is not there after `{engine.name} load`, which named no image"
            )
        raise AnotherImage(
            f"{engine.name} load has loaded {names_text(said.values())}, not {name}",
            "IMAGE must be named as it was when it was saved",
        )
    if expected is None or image.id == expected.id:
        return
    # An engine with another kind of image store numbers the same image otherwise.
    if not is_said or image.layers != expected.layers:
        raise SourceError(
            f"{name} is {image.id[:12]} after loading, not {expected.id[:12]} as recorded",
            "does something else build or pull it at the same time?",
        )
