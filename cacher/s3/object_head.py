"""The properties of an object from its HTTP headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from cacher.http.retry import http_date
from cacher.http.transport import Answer
from cacher.s3 import store_quirks

MAX_OBJECT = 50 * 1024**4
"""Bytes: S3 takes 10 000 parts of 5 GiB, so no object is larger."""

_YEAR_9999 = 253_370_764_800

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})$", re.ASCII)
_LENGTH = re.compile(r"\d{1,19}", re.ASCII)


class ObjectHead(NamedTuple):
    """An object's size in bytes, time in POSIX seconds and metadata, names without prefix."""

    size: int
    """-1 if unknown: through some proxies a HEAD has no length (Ceph behind Apache, and networks
    that send everything in chunks)."""
    etag: str
    modified: float | None
    metadata: Mapping[str, str] = MappingProxyType({})

    @property
    def validator(self) -> str:
        """The ETag if it is strong and so identifies a version; else empty.

        A weak one (made by a proxy that compresses) never matches `If-Match` (RFC 9110, section
        13.1.1), and two versions may share it, or have an empty one.
        """
        return "" if self.etag == '""' or self.etag.startswith("W/") else self.etag


def read_head(headers: Mapping[str, str]) -> ObjectHead:
    """Parse the headers of a HEAD or of a whole GET."""
    metadata = {
        name.lower().removeprefix(store_quirks.METADATA_PREFIX): value
        for name, value in headers.items()
        if name.lower().startswith(store_quirks.METADATA_PREFIX)
    }
    modified = store_date(headers.get("last-modified", ""))
    length = headers.get("content-length", "")
    size = int(length) if _LENGTH.fullmatch(length) else -1
    return ObjectHead(size, headers.get("etag", ""), modified, metadata)


def content_range(answer: Answer) -> tuple[int, int, int] | None:
    """Return the first byte, the last byte and the whole size of a 206; else None."""
    return _content_range(answer) if answer.status == 206 else None


def is_whole(answer: Answer) -> bool:
    """Return whether an answer is the whole object: 200, and no contrary Content-Range."""
    if answer.status != 200 or "content-range" not in answer.headers:
        return answer.status == 200
    part, length = _content_range(answer), read_head(answer.headers).size
    return part is not None and part[:2] == (0, part[2] - 1) and length in (-1, part[2])


def whole_size(answer: Answer) -> int:
    """Return the size of the whole object from an answer with all or a part of it; or -1."""
    if part := _content_range(answer):
        return part[2]
    # The length of a part is not that of the whole.
    return read_head(answer.headers).size if is_whole(answer) else -1


def _content_range(answer: Answer) -> tuple[int, int, int] | None:
    match = _CONTENT_RANGE.match(answer.headers.get("content-range", ""))
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def store_date(text: str) -> float | None:
    """Return POSIX seconds, or None for anything but a date from 1970 to 9998.

    No store's clock is outside of that, and calendar functions fail there.
    """
    seconds = http_date(text)
    return seconds if seconds is not None and 0 <= seconds < _YEAR_9999 else None
