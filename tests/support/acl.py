"""Access control lists, set without the programs that do it."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

_USER, _GROUP, _OTHER = 0x01, 0x04, 0x20
_NOBODY_IN_PARTICULAR = 2**32 - 1


def set_default_acl(directory: Path, user: int, group: int, other: int) -> None:
    """`setfacl -d -m u::…,g::…,o::…`, in the form of Linux (posix_acl_xattr.h)."""
    entries = ((_USER, user), (_GROUP, group), (_OTHER, other))
    packed = [struct.pack("<HHI", tag, bits, _NOBODY_IN_PARTICULAR) for tag, bits in entries]
    try:
        os.setxattr(directory, "system.posix_acl_default", struct.pack("<I", 2) + b"".join(packed))
    except (AttributeError, OSError) as error:
        pytest.skip(f"no default ACLs in {directory}: {error}; mount it with -o acl")
