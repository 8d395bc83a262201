"""What an entry tells of the images in it, so that an engine which has them need not load them.

Knows metadata (docs/formats.md); must not know stores and engines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cacher.errors import IntegrityError
from cacher.stream.names import Image, is_id, normal

IMAGES, MORE = "cacher-images", "cacher-images-more"
"""Names of the metadata: the images, and how many more there are than could be told of."""

LIMIT = 1400
"""Bytes of what is told: S3 takes 2 KB of metadata, all names and values together (Amazon S3 User
Guide, "Working with object metadata")."""


@dataclass(frozen=True, slots=True)
class Record:
    """Images by their normal names, in the order given; `more` were not told of."""

    images: Mapping[str, Image]
    more: int = 0

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Record | None:
        """What an entry's metadata tells; None where it tells nothing, as after a shell's upload.

        Raises `IntegrityError` for what was not written by us.
        """
        text = metadata.get(IMAGES)
        if text is None:
            return None
        try:
            told = [line.split(" ") for line in text.split(";") if line]
            images = {name: _image(id_, layers) for name, id_, layers in told}
            return cls(images, int(metadata.get(MORE, "0")))
        except ValueError:
            raise IntegrityError("its record of images is damaged") from None

    def metadata(self) -> dict[str, str]:
        """The record as an entry keeps it: as many images as there is room for."""
        lines: list[str] = []
        for name, image in self.images.items():
            line = f"{name} {image.id} {image.layers}"
            if len(";".join([*lines, line])) > LIMIT:
                break
            lines.append(line)
        more = len(self.images) - len(lines)
        return {IMAGES: ";".join(lines)} | ({MORE: str(more)} if more else {})

    def find(self, name: str) -> Image | None:
        """The image of that name, or whose id begins with it."""
        image = self.images.get(normal(name))
        if image is not None:
            return image
        return next((one for one in self.images.values() if is_id(name, one)), None)


def record(names: Sequence[str], images: Sequence[Image]) -> Record:
    """A record of images that were asked for by these names."""
    told = {}
    for name, image in zip(names, images, strict=True):
        told[f"sha256:{image.id}" if is_id(name, image) else normal(name)] = image
    return Record(told)


def _image(id_: str, layers: str) -> Image:
    if not all(re.fullmatch(r"[0-9a-f]{64}", text) for text in (id_, layers)):
        raise ValueError
    return Image(id_, layers)
