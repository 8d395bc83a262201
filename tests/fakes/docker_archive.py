"""The bytes of `docker save`: made from nothing but a seed and a size, and read and checked.

What is made is an archive that docker itself loads, laid out as docker 20.10 does.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Protocol

from tests.fakes.docker_state import ImageState, tags

_CREATED = "2024-01-01T00:00:00Z"
_BLOCK = 1024 * 1024  # bytes made at a time
_LABEL = "cacher-tests"
_UNPACKED = "/var/lib/docker/tmp/docker-import-123456789"

CUT = "Error processing tar file(exit status 1): unexpected EOF"


class ArchiveError(Exception):
    """What docker says of an archive that it does not load."""


class Source(Protocol):
    """Where an archive is read from."""

    def read(self, size: int) -> bytes: ...


def image(names: Iterable[str], seed: str, size: int) -> ImageState:
    """The image that this seed and size make; another seed or size, another id."""
    config = _config(seed, size)
    return ImageState(
        id=_named(config),
        names=sorted(names),
        seed=seed,
        size=size,
        layers=json.loads(config)["rootfs"]["diff_ids"],
    )


def archive(images: list[ImageState]) -> Iterator[bytes]:
    """What `docker save` of these images writes, in pieces."""
    ordered = sorted(images, key=lambda one: one["id"])
    manifest: list[dict[str, Any]] = []
    repositories: dict[str, dict[str, str]] = {}
    for one in ordered:
        name = hashlib.sha256(one["id"].encode()).hexdigest()
        yield _header(f"{name}/", kind=tarfile.DIRTYPE)
        yield from _member(f"{name}/VERSION", b"1.0")
        yield from _member(f"{name}/json", json.dumps({"id": name}).encode())
        yield _header(f"{name}/layer.tar", _layer_size(one["size"]))
        yield from _layer(one["seed"], one["size"])
        config = f"{one['id'].removeprefix('sha256:')}.json"
        yield from _member(config, _config(one["seed"], one["size"]))
        layers = [f"{name}/layer.tar"]
        manifest.append({"Config": config, "RepoTags": tags(one) or None, "Layers": layers})
        for tag in tags(one):
            repository, _, version = tag.rpartition(":")
            repositories.setdefault(repository, {})[version] = name
    yield from _member("manifest.json", json.dumps(manifest).encode() + b"\n")
    if repositories:
        yield from _member("repositories", json.dumps(repositories).encode() + b"\n")
    yield bytes(2 * tarfile.BLOCKSIZE)


def loaded(source: Source) -> list[ImageState]:
    """The images of an archive, which is read to its end and proved. Raises `ArchiveError`."""
    texts: dict[str, bytes] = {}
    digests: dict[str, str] = {}
    while (member := _next(source)) is not None:
        if not member.isfile():
            _drop(source, member.size)
        elif member.name.endswith((".json", "/json", "repositories")):
            texts[member.name] = b"".join(_content(source, member.size))
        else:
            digest = hashlib.sha256()
            for piece in _content(source, member.size):
                digest.update(piece)
            digests[member.name] = digest.hexdigest()
    while source.read(_BLOCK):
        pass  # what follows the end of a tar is no business of docker's
    if "manifest.json" not in texts:
        raise ArchiveError(f"open {_UNPACKED}/repositories: no such file or directory")
    return [_proved(entry, texts, digests) for entry in json.loads(texts["manifest.json"])]


def _next(source: Source) -> tarfile.TarInfo | None:
    """The next member; None at the end marker, or where docker takes the end for it.

    Not by `tarfile.open`, which takes junk for the end.
    """
    block = _exactly(source, tarfile.BLOCKSIZE, or_none=True)
    if not block or not any(block):
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        reason = "archive/tar: invalid tar header"
        raise ArchiveError(f"Error processing tar file(exit status 1): {reason}") from error


def _content(source: Source, size: int) -> Iterator[bytes]:
    for start in range(0, size, _BLOCK):
        yield _exactly(source, min(_BLOCK, size - start))
    _exactly(source, -size % tarfile.BLOCKSIZE)


def _drop(source: Source, size: int) -> None:
    for _piece in _content(source, size):
        pass


def _exactly(source: Source, size: int, *, or_none: bool = False) -> bytes:
    pieces: list[bytes] = []
    left = size
    while left:
        piece = source.read(left)
        if not piece:
            if or_none and left == size:
                return b""
            raise ArchiveError(CUT)
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _proved(entry: dict[str, Any], texts: dict[str, bytes], digests: dict[str, str]) -> ImageState:
    if entry["Config"] not in texts:
        raise ArchiveError(f"open {_UNPACKED}/{entry['Config']}: no such file or directory")
    config = json.loads(texts[entry["Config"]])
    for index, layer in enumerate(entry["Layers"]):
        if layer not in digests:
            raise ArchiveError(f"open {_UNPACKED}/{layer}: no such file or directory")
        wanted, got = config["rootfs"]["diff_ids"][index], f"sha256:{digests[layer]}"
        if got != wanted:
            raise ArchiveError(
                f"invalid diffID for layer {index}: expected {wanted!r}, got {got!r}"
            )
    label = json.loads(((config.get("config") or {}).get("Labels") or {}).get(_LABEL, "{}"))
    return ImageState(
        id=_named(texts[entry["Config"]]),
        names=sorted(entry["RepoTags"] or ()),
        seed=label.get("seed", ""),
        size=label.get("size", 0),
        layers=config["rootfs"]["diff_ids"],
    )


def _named(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@cache
def _config(seed: str, size: int) -> bytes:
    digest = hashlib.sha256()
    for piece in _layer(seed, size):
        digest.update(piece)
    content = {
        "architecture": "amd64",
        "config": {"Labels": {_LABEL: json.dumps({"seed": seed, "size": size})}},
        "created": _CREATED,
        "history": [{"created": _CREATED}],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest.hexdigest()}"]},
    }
    return json.dumps(content).encode()


def _layer(seed: str, size: int) -> Iterator[bytes]:
    """A tar with one file of `size` bytes which do not compress."""
    yield _header("data", size)
    for number, start in enumerate(range(0, size, _BLOCK)):
        yield hashlib.shake_128(f"{seed} {number}".encode()).digest(min(_BLOCK, size - start))
    yield bytes(-size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def _layer_size(size: int) -> int:
    return tarfile.BLOCKSIZE * 3 + size + -size % tarfile.BLOCKSIZE


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield _header(name, len(content))
    yield content + bytes(-len(content) % tarfile.BLOCKSIZE)


def _header(name: str, size: int = 0, *, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mode = size, kind, 0o755 if kind == tarfile.DIRTYPE else 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)
