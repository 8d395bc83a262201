"""zstandard's C for every Python and platform, made small: without symbols, as differences.

The symbols go by our own hand, since tools of two versions leave two results: everything after
the last segment that is loaded is cut off. An ELF file without section headers is one that the
dynamic loader is content with. Mach-O files have no symbols to speak of, and are signed.

One zstd compiled four times for four Pythons differs in little but addresses. So of the files of
one platform the first is kept whole, and of the others what is to be XORed to pieces of it. This
is what makes room for compiled modules (`bytecode.py`): 4 MB would hold no more than the files.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_KEY = 16
"""Bytes that two files have in common where a piece begins."""

_STEP = 32
"""Bytes compared at a time."""

_PATIENCE = 48
"""How much worse a piece may get before it has ended: a byte that differs counts as one that does
not, the other way round."""

_SHORTEST = 24
"""Bytes of a piece, which takes 12 to tell."""


def stripped(content: bytes) -> bytes:
    """A 64-bit little-endian ELF file without its symbols; any other file as it is."""
    if content[:6] != b"\x7fELF\x02\x01":
        return content
    (start,) = struct.unpack_from("<Q", content, 32)
    (count,) = struct.unpack_from("<H", content, 56)
    end = 64
    for number in range(count):
        at = start + 56 * number
        (offset,) = struct.unpack_from("<Q", content, at + 8)
        (size,) = struct.unpack_from("<Q", content, at + 32)
        end = max(end, offset + size)
    rest = bytearray(content[:end])
    struct.pack_into("<Q", rest, 40, 0)  # e_shoff
    struct.pack_into("<HH", rest, 60, 0, 0)  # e_shnum, e_shstrndx
    return bytes(rest)


def packed(files: dict[str, bytes]) -> Iterator[tuple[str, dict[str, object], bytes]]:
    """The files of one platform by their tag: each with what the index tells of it.

    What `bundled.patched` undoes. A file that would not gain much is whole, too.
    """
    whole: list[str] = []
    for tag, content in files.items():
        entry: dict[str, object] = {"crc32": zlib.crc32(content), "size": len(content)}
        best, base = content, ""
        for other in whole:
            delta = difference(files[other], content)
            if _weight(delta) < 0.8 * _weight(best):
                best, base = delta, other
        if base:
            yield tag, {**entry, "base": base}, best
        else:
            whole.append(tag)
            yield tag, entry, content


def difference(base: bytes, content: bytes) -> bytes:
    """How many pieces; source, target and length of each; `content` XOR the pieces."""
    pieces = _pieces(base, content)
    copied = bytearray(len(content))
    for source, target, length in pieces:
        copied[target : target + length] = base[source : source + length]
    rest = int.from_bytes(copied, "little") ^ int.from_bytes(content, "little")
    head = b"".join(struct.pack("<III", *piece) for piece in pieces)
    return struct.pack("<I", len(pieces)) + head + rest.to_bytes(len(content), "little")


def _pieces(base: bytes, content: bytes) -> list[tuple[int, int, int]]:
    index = {base[at : at + _KEY]: at for at in range(len(base) - _KEY, -1, -1)}
    pieces: list[tuple[int, int, int]] = []
    target = end = 0
    while target < len(content):
        source = index.get(content[target : target + _KEY])
        length = 0 if source is None else _alike(base, content, source, target)
        if source is None or length < _SHORTEST:
            target += 1
            continue
        start = target
        while start > end and source and base[source - 1] == content[start - 1]:
            start, source = start - 1, source - 1
        target += length
        pieces.append((source, start, target - start))
        end = target
    return pieces


def _alike(base: bytes, content: bytes, source: int, target: int) -> int:
    """For how many bytes from there they are alike more than not."""
    limit = min(len(base) - source, len(content) - target)
    at = length = score = best = 0
    while at < limit and score > best - _PATIENCE:
        step = min(_STEP, limit - at)
        ours = content[target + at : target + at + step]
        theirs = base[source + at : source + at + step]
        same = step if ours == theirs else sum(map(int.__eq__, ours, theirs))
        at += step
        score += 2 * same - step
        if score >= best:
            best, length = score, at
    return length


def _weight(content: bytes) -> int:
    return len(zlib.compress(content, 6))
