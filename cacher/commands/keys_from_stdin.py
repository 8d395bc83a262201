"""Keys from a stream, one a line, each taken as it is: what `list` prints, `delete` can read."""

from __future__ import annotations

import os
from collections.abc import Iterator

from cacher.errors import LocalError, UsageError, os_reason
from cacher.keys.template import check_key

_CHUNK = 65536


def read_keys(fd: int, end: bytes, prefix: str) -> Iterator[str]:
    """The keys that `fd` gives, each ended by `end`; empty ones are skipped.

    Never holds more than a chunk. Raises `UsageError` for one that is not legal under `prefix`.
    """
    number = 0
    rest = b""
    while chunk := _read(fd):
        *lines, rest = (rest + chunk).split(end)
        for line in lines:
            number += 1
            if line:
                yield _checked(line, number, prefix)
        if rest:
            _checked(rest, number + 1, prefix, whole=False)
    if rest:
        yield _checked(rest, number + 1, prefix)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except OSError as error:
        raise LocalError(f"cannot read stdin: {os_reason(error)}") from error


def _checked(line: bytes, number: int, prefix: str, *, whole: bool = True) -> str:
    """The key in a line; of one that is not whole yet, only its length is looked at."""
    key = os.fsdecode(line)
    try:
        check_key(key if whole else "x" * len(line), prefix)
    except UsageError as error:
        raise UsageError(f"key {number} from stdin: {error.message}", error.hint) from error
    return key
