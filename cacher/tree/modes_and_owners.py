"""Modes and owners of extracted files and directories, and the errors where they are refused.

Knows descriptors and members; must not know paths.
"""

from __future__ import annotations

import os

from cacher.errors import IntegrityError, LocalError, os_reason
from cacher.tar.header_fields import printable
from cacher.tar.reader import Member

_ID_LIMIT = 2**32 - 1
"""The numbers of users and groups end below it; as an argument it means "unchanged"."""


def withheld_mode_bits(directory: int) -> int:
    """Return the permission bits that new files in an empty, private directory do not get.

    Those of the umask; or, where the directory has a default ACL, those that the ACL withholds
    instead of the umask (acl(5)). Raises `OSError`.
    """
    name = b"mode"
    fd = os.open(name, os.O_CREAT | os.O_EXCL, 0o777, dir_fd=directory)
    try:
        return 0o777 & ~os.fstat(fd).st_mode
    finally:
        os.close(fd)
        os.unlink(name, dir_fd=directory)


def set_mode(fd: int, mode: int, name: bytes) -> None:
    """Set the mode of an open file or directory, which a message calls `name`.

    Raises `LocalError` where it is refused, and `OSError`.
    """
    try:
        os.fchmod(fd, mode)
    except PermissionError as error:
        raise LocalError(
            f"setting the mode of {printable(name)} to {mode:04o}: {os_reason(error)}",
            "the file system of DIR may not keep modes: restore to another one",
        ) from error


def give_owner(fd: int, member: Member) -> None:
    """Give an open file or directory to the member's user and group.

    Call it before `set_mode`: giving a file away clears its setuid bit. Raises `IntegrityError`
    for an owner that cannot exist, `LocalError` where it is refused, and `OSError`.
    """
    _require_owner(member)
    try:
        os.fchown(fd, member.uid, member.gid)
    except PermissionError as error:
        raise _not_given(member, error) from error


def give_link_owner(name: bytes, directory: int, member: Member) -> None:
    """Give a symbolic link in an open directory to the member's user and group.

    Raises as `give_owner`.
    """
    _require_owner(member)
    try:
        os.chown(name, member.uid, member.gid, dir_fd=directory, follow_symlinks=False)
    except PermissionError as error:
        raise _not_given(member, error) from error


def _require_owner(member: Member) -> None:
    if not (0 <= member.uid < _ID_LIMIT and 0 <= member.gid < _ID_LIMIT):
        raise IntegrityError(f"{printable(member.name)}: the owner is not a user or group number")


def _not_given(member: Member, error: OSError) -> LocalError:
    return LocalError(
        f"giving {printable(member.name)} to user {member.uid} and group {member.gid}: "
        f"{os_reason(error)}",
        "leave out --owner: then everything belongs to the user who restores it",
    )
