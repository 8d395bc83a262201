"""The listing of a local store, in the order in which S3 lists keys.

Knows file names, and nothing of metadata, locks or writing. Raises `OSError`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from cacher.store.local.files import regular_status
from cacher.store.local.paths import RESERVED, is_segment, meta_directory

_LOST_AND_FOUND = b"lost+found/"
"""A directory at the root of many file systems, never an entry, and closed to all but root."""


def walk(
    root: bytes, prefix: bytes, left_out: Callable[[bytes], None] = lambda _path: None
) -> Iterator[tuple[bytes, os.stat_result]]:
    """Yield the entries whose path under `root` begins with `prefix`, as (path, status).

    In UTF-8 byte order of the whole path, which is S3's ("List results are always returned in
    UTF-8 binary order", ListObjectsV2). Memory is bounded by the names of one directory at each
    level. Symbolic links, special files and names no key can have are left out, and so are
    files that vanish meanwhile and other users' directories that may not be read (`_is_foreign`);
    `left_out` is called with the paths of these. A directory that `prefix` names is never left out.
    """
    *parents, stem = prefix.split(b"/")
    if not all(map(is_segment, parents)) or parents[:1] == [RESERVED]:
        return
    above = b"".join(name + b"/" for name in parents)
    top = [name for name in _children(root, above) if name.startswith(stem)]
    stack = [(above, top)]
    while stack:
        above, names = stack[-1]
        if not names:
            stack.pop()
            continue
        path = above + names.pop()
        try:
            if path.endswith(b"/"):
                stack.append((path, _children(root, path)))
            elif (status := regular_status(os.path.join(root, path))) is not None:
                yield path, status
        except PermissionError:
            directory = path if path.endswith(b"/") else above
            if not _is_foreign(root, directory):
                raise
            if directory != _LOST_AND_FOUND:
                left_out(directory)


def _is_foreign(root: bytes, path: bytes) -> bool:
    """Whether a directory belongs to another user and holds no entries, as `lost+found`.

    A directory with entries has metadata under the same path.
    """
    directory = os.path.join(root, path)
    if os.lstat(directory).st_uid == os.geteuid():
        return False
    return not os.path.lexists(meta_directory(root, path.rstrip(b"/").split(b"/")))


def _children(root: bytes, above: bytes) -> list[bytes]:
    """Return the names in a directory, the last first; those of subdirectories with a slash.

    The slash makes the order that of the keys: `a-b` < `a/b` < `a0`.
    """
    names = []
    try:
        with os.scandir(os.path.join(root, above)) as entries:
            for entry in entries:
                if not is_segment(entry.name) or (not above and entry.name == RESERVED):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    names.append(entry.name + b"/")
                elif entry.is_file(follow_symlinks=False):
                    names.append(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    names.sort(reverse=True)
    return names
