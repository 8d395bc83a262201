"""The record of the images in an entry: an engine that has them need not load them.

Knows metadata (docs/formats.md); must not know stores and engines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cacher.docker.image_names import Image, check_name, exact_name, is_id, normalize
from cacher.errors import IntegrityError, UsageError
from cacher.store.interface import Entry

IMAGES, MORE = "cacher-images", "cacher-images-more"
"""Names of the metadata: the images, and the number of those that did not fit."""

LIMIT = 1400
"""Bytes of a record: S3 takes 2 KB of metadata, all names and values together (Amazon S3 User
Guide, "Working with object metadata")."""


class ImageRecord(NamedTuple):
    """Images by their names, in the order given; `more` did not fit."""

    images: Mapping[str, Image]
    more: int = 0

    def metadata(self) -> dict[str, str]:
        """Return the metadata for an entry, with as many images as there is room for."""
        lines: list[str] = []
        for name, image in self.images.items():
            line = f"{name} {image.id} {image.layers}"
            if len(";".join([*lines, line])) > LIMIT:
                break
            lines.append(line)
        more = len(self.images) - len(lines)
        return {IMAGES: ";".join(lines)} | ({MORE: str(more)} if more else {})

    def find(self, name: str) -> Image | None:
        """Return the image with that id or name, or with the name that another engine gives it."""
        for one, image in self.images.items():
            if name == one or is_id(name, image):
                return image
        wanted = normalize(name)
        exactly = [image for one, image in self.images.items() if one == wanted]
        alike = [image for one, image in self.images.items() if normalize(one) == wanted]
        return next(iter(exactly + alike), None)


def read_record(entry: Entry) -> ImageRecord | None:
    """Return the record of an entry; None if it has none, as after a shell's upload.

    Raises `IntegrityError` for a record that cannot be read.
    """
    text = entry.metadata.get(IMAGES)
    if text is None:
        return None
    try:
        recorded = [line.split(" ") for line in text.split(";") if line]
        images = {name: _image(id_, layers) for name, id_, layers in recorded}
        for name in images:
            check_name(name)
        return ImageRecord(images, int(entry.metadata.get(MORE, "0")))
    except (ValueError, UsageError):
        raise IntegrityError(f"{entry.key}: its record of images is damaged") from None


def make_record(names: Sequence[str], images: Sequence[Image]) -> ImageRecord:
    """Return the record of images that are stored by these names."""
    pairs = zip(names, images, strict=True)
    return ImageRecord({exact_name(name, image): image for name, image in pairs})


def _image(id_: str, layers: str) -> Image:
    if not all(re.fullmatch(r"[0-9a-f]{64}", text) for text in (id_, layers)):
        raise ValueError
    return Image(id_, layers)
