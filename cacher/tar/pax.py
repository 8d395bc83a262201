"""Records of PAX extended headers (POSIX.1-2017, pax, "pax Extended Header"), read."""

from __future__ import annotations

from cacher.errors import IntegrityError

Records = dict[bytes, bytes]

_KNOWN = frozenset([b"path", b"linkpath", b"size", b"mtime", b"uid", b"gid"])
_SPARSE = b"GNU.sparse."


def read_records(data: bytes) -> Records:
    """The records that matter here, except for empty ones, which say nothing.

    Raises `IntegrityError` for what is not `LENGTH KEY=VALUE\\n` from end to end.
    """
    records: Records = {}
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        told = data[position:space] if space > 0 else b""
        if not told.isdigit():
            raise _malformed()
        end = position + int(told)
        if not space < end <= len(data) or data[end - 1] != 0x0A:
            raise _malformed()
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals:
            raise _malformed()
        if key in _KNOWN or key.startswith(_SPARSE):
            if 0 in value:
                raise IntegrityError(f"a NUL in the {key.decode(errors='replace')} of a member")
            records[key] = value
            if not value:
                del records[key]
        position = end
    return records


def _malformed() -> IntegrityError:
    return IntegrityError("an extended header of the archive is malformed")
