"""Members of archives that are refused, in the words that people know them by."""

from __future__ import annotations

from cacher.errors import IntegrityError
from cacher.tar.header_fields import shown

_TYPES = {
    # GNU tar manual, "Basic Tar Format"; star(5) for those of Solaris and star.
    b"A": "an access control list of Solaris",
    b"D": "a directory of `tar --listed-incremental`",
    b"I": "a name of star without content",
    b"M": "a part of an archive on several volumes",
    b"N": "a list of long names of an old GNU tar",
    b"X": "an extended header of Solaris",
}


def refused(name: bytes, kind: bytes) -> IntegrityError:
    """A member of a type that is not understood."""
    what = _TYPES.get(kind) or f"of the unknown type {kind!r}"
    return IntegrityError(
        f"{shown(name)}: it is {what}, which is not supported", "pack it again with plain `tar c`"
    )


def sparse(name: bytes) -> IntegrityError:
    """A member whose holes are left out."""
    return IntegrityError(
        f"{shown(name)}: sparse members are not supported", "pack it without --sparse"
    )
