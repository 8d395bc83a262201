"""`docker exists`: whether there is an entry, and whether an image is in it. Needs no engine."""

from __future__ import annotations

from typing import NamedTuple

from cacher.commands import open_sealed_entry
from cacher.commands.command_result import CommandResult
from cacher.commands.context import Context
from cacher.commands.docker.image_record import read_record
from cacher.docker.image_names import check_name, names_text
from cacher.errors import Miss
from cacher.report import size_text


class DockerExistsRequest(NamedTuple):
    """The arguments of `docker exists`."""

    key: str
    image: str | None = None


def docker_exists(context: Context, request: DockerExistsRequest) -> CommandResult:
    """Look for an entry, and for IMAGE in it. Raises `Miss` if it is certainly not there."""
    key, image = request.key, request.image
    if image is not None:
        check_name(image)
    entry = context.store.head(key)
    if entry is None:
        raise Miss(f"miss {key}")
    open_sealed_entry.check_kind(entry, open_sealed_entry.IMAGE)
    recorded = read_record(entry)
    if image is not None and recorded is None:
        context.report.note(f"{key} does not record which images are in it")
    if image is not None and recorded and not recorded.more and recorded.find(image) is None:
        raise Miss(f"miss {key}: it holds {names_text(recorded.images)}, not {image}")
    images = {name: f"sha256:{one.id}" for name, one in recorded.images.items()} if recorded else {}
    inside = f"{names_text(images)}; " if images else ""
    return CommandResult(
        "hit",
        f"hit {key} ({inside}{size_text(entry.size)})",
        {"store": context.store.name, "key": key, "size": entry.size, "images": images},
    )
