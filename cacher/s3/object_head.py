"""What the headers of an object tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import NamedTuple

from cacher.http.transport import Answer
from cacher.s3 import store_quirks

MAX_OBJECT = 50 * 1024**4
"""Bytes: S3 takes 10 000 parts of 5 GiB, so no store has an object that is larger."""

_YEAR_9999 = 253_370_764_800

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})$", re.ASCII)
_LENGTH = re.compile(r"\d{1,19}", re.ASCII)


class ObjectHead(NamedTuple):
    """What the headers of an object tell: bytes, POSIX seconds, metadata without its prefix."""

    size: int
    """-1 where no header says it: through some proxies a HEAD has no length (Ceph behind Apache,
    and networks that send everything in chunks)."""
    etag: str
    modified: float | None
    metadata: Mapping[str, str] = MappingProxyType({})

    @property
    def validator(self) -> str:
        """The ETag, if ranges of one version can be told by it from another's; or empty.

        A weak one (a proxy that compresses makes it so) never matches `If-Match` (RFC 9110,
        section 13.1.1), and two versions may have the same, or an empty one.
        """
        return "" if self.etag == '""' or self.etag.startswith("W/") else self.etag


def read_head(headers: Mapping[str, str]) -> ObjectHead:
    """An object's size, ETag, time and metadata from the headers of a HEAD or a whole GET."""
    metadata = {
        name.lower().removeprefix(store_quirks.METADATA_PREFIX): value
        for name, value in headers.items()
        if name.lower().startswith(store_quirks.METADATA_PREFIX)
    }
    modified = http_date(headers.get("last-modified", ""))
    length = headers.get("content-length", "")
    size = int(length) if _LENGTH.fullmatch(length) else -1
    return ObjectHead(size, headers.get("etag", ""), modified, metadata)


def content_range(answer: Answer) -> tuple[int, int, int] | None:
    """The first byte, the last byte and the whole size that a 206 tells; None for all else."""
    return _content_range(answer) if answer.status == 206 else None


def is_whole(answer: Answer) -> bool:
    """Whether an answer is all of the object: 200, and no Content-Range that says otherwise."""
    if answer.status != 200 or "content-range" not in answer.headers:
        return answer.status == 200
    part, length = _content_range(answer), read_head(answer.headers).size
    return part is not None and part[:2] == (0, part[2] - 1) and length in (-1, part[2])


def whole_size(answer: Answer) -> int:
    """The size of the object that an answer is about, whole or a part of it; -1 if unknown."""
    if part := _content_range(answer):
        return part[2]
    # The length of a part says nothing of the whole.
    return read_head(answer.headers).size if is_whole(answer) else -1


def _content_range(answer: Answer) -> tuple[int, int, int] | None:
    match = _CONTENT_RANGE.match(answer.headers.get("content-range", ""))
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def http_date(text: str) -> float | None:
    """POSIX seconds, or None for anything but a date from 1970 to 9998.

    Beyond that there is no store's clock, and calendars fail.
    """
    try:
        seconds = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < _YEAR_9999 else None
