"""`--hash-from`: the hash of files that goes into a key, as a shell computes it.

Knows files, directories and patterns; knows nothing of keys, templates or stores. A job that
cannot run `cacher` must be able to find the same entry, so every hash is the first 16 hex digits
of something `sha256sum` (GNU coreutils 9) prints:

* one file: `sha256sum FILE | cut -c1-16`;
* one directory: `(cd DIR && find . -type f | LC_ALL=C sort | xargs -d '\\n' sha256sum) |
  sha256sum | cut -c1-16`, whatever the directory is called;
* several paths: the `sha256sum` lines of each, in the order given, through `sha256sum |
  cut -c1-16`. A directory among them stands for its files, as `find DIR/` names and
  `LC_ALL=C sort` orders them.

Patterns are expanded before any of this, as by a shell, and the rules apply to the resulting list:
a pattern that matches one file hashes like that file. The details:

* A symlink inside a directory is one more line, sorted in with the files, over its target's text
  (`printf %s "$(readlink LINK)" | sha256sum`). It is never followed. Other special files in there
  are skipped, as by `find -type f`.
* A named or matched path that is a symlink is followed, as by `sha256sum`. Anything but a file or a
  directory behind it is refused: reading a FIFO could wait for ever.
* `~` and `~user` at the start of a path are home directories, as in a shell.
* A path that exists is taken literally, even with `*` or `?` in its name.
* `*` and `?` match within a name, `**` as a whole segment any number of directories, through no
  symlink (bash's `globstar` goes one link deep after a prefix). None of them matches a leading
  dot, so `**` keeps out of `.git`; a segment that starts with a dot does. `[` and `\\` are literal.
* A pattern matches files and symlinks to files, never directories: `src/*` is the files right in
  `src`, `src/**` those below it as well. Its matches come in C order, each once. A path given
  twice counts twice.
* A single file's name is not part of its hash, nor is the backslash `sha256sum` prints before the
  line of a name it had to escape. A file called `-` is that file, not standard input.
* Names are bytes (`os.fsencode`): they need not be UTF-8.

No file, no match and no permission are errors: there is no hash of nothing. A file or a directory
that cannot be read is never skipped, not even while a pattern is expanded.
"""

from __future__ import annotations

import os
import re
import stat

from cacher.errors import CacherError, LocalError, UsageError, os_reason, quoted

TYPE_CHECKING = False  # importing typing costs more than everything else here
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIGITS = 16
"""Hex digits of a hash in a key: 64 bits, where a chance collision takes billions of entries."""

_BUFFER_BYTES = 1 << 20  # past this, larger reads no longer help


def hash_paths(paths: Sequence[str]) -> str:
    """Return the 16 hex digits for `paths` (files, directories, patterns), in the order given.

    Raises `UsageError` for no path, an empty one or a pattern that matches nothing, and
    `LocalError` for a path that is missing, unreadable, neither a file nor a directory, or a
    directory without files.
    """
    named = [os.fsencode(os.path.expanduser(path)) for path in paths or [""]]
    targets = [target for path in named for target in _expand(path)]
    alone = len(targets) == 1
    sha256sum = _Sha256Sum()
    for target in targets:
        if _is_directory(target):
            _add_directory(sha256sum, target, shown_as=b"./" if alone else _with_slash(target))
        elif alone:
            return sha256sum.file(target)[:DIGITS]
        else:
            sha256sum.add(target, sha256sum.file(target))
    return sha256sum.total()[:DIGITS]


class _Sha256Sum:
    """Digests as `sha256sum` prints them, and the digest of its lines; one buffer for all files."""

    def __init__(self) -> None:
        # Loads OpenSSL, which a key without --hash-from does not need.
        from hashlib import sha256

        self._new = sha256
        self._lines = sha256()
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))

    def file(self, path: bytes) -> str:
        """Return the hex SHA-256 of a regular file's bytes."""
        digest = self._new()
        try:
            # A file may have been replaced by a FIFO: O_NONBLOCK never waits for one.
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise _special_file_error(path)
                while count := os.readv(fd, [self._buffer]):
                    digest.update(self._buffer[:count])
            finally:
                os.close(fd)
        except OSError as error:
            raise _read_error(path, error) from error
        return digest.hexdigest()

    def link(self, path: bytes) -> str:
        """Return the hex SHA-256 of a symlink's target text."""
        try:
            return self._new(os.readlink(path)).hexdigest()
        except OSError as error:
            raise _read_error(path, error) from error

    def add(self, name: bytes, hexdigest: str) -> None:
        """Add one line of `sha256sum` output."""
        self._lines.update(_line(name, hexdigest))

    def total(self) -> str:
        """Return the hex SHA-256 of the lines so far."""
        return self._lines.hexdigest()


def _line(name: bytes, hexdigest: str) -> bytes:
    r"""Return one line as `sha256sum` prints it.

    GNU coreutils manual, "md5sum invocation": a name with a backslash, newline or carriage return
    is escaped, and the line then starts with a backslash. (`\r` since coreutils 9.0.)
    """
    escaped = name.replace(b"\\", rb"\\").replace(b"\n", rb"\n").replace(b"\r", rb"\r")
    mark = b"\\" if escaped != name else b""
    return b"%b%b  %b\n" % (mark, hexdigest.encode("ascii"), escaped)


def _add_directory(sha256sum: _Sha256Sum, directory: bytes, shown_as: bytes) -> None:
    """Add a line for every file and symlink below `directory`, under names after `shown_as`."""
    root = _with_slash(directory)
    found = sorted(_walk(root))
    if not found:
        raise LocalError(
            f"cannot hash {_quoted_path(directory)}: it is a directory without files",
            "an empty hash would make one key of every state; name the files a key depends on",
        )
    for name, is_link in found:
        path = root + name
        sha256sum.add(shown_as + name, sha256sum.link(path) if is_link else sha256sum.file(path))


def _walk(root: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield the relative name of each file and symlink below `root`, and whether it is a link."""
    pending = [b""]
    while pending:
        below = pending.pop()
        for entry in _scan(root + below):
            name = below + entry.name
            if entry.is_symlink():
                yield name, True
            elif entry.is_dir(follow_symlinks=False):
                pending.append(name + b"/")
            elif entry.is_file(follow_symlinks=False):
                yield name, False


def _scan(directory: bytes, *, missing_ok: bool = False) -> list[os.DirEntry[bytes]]:
    """Return a directory's entries: none for a missing one or a file, if `missing_ok`."""
    try:
        with os.scandir(directory or b".") as entries:  # a pattern begins in b""
            return list(entries)
    except OSError as error:
        if missing_ok and isinstance(error, FileNotFoundError | NotADirectoryError):
            return []
        raise _read_error(directory, error) from error


def _with_slash(directory: bytes) -> bytes:
    """Return `directory` with a slash at its end; like `find`, without doubling one."""
    return directory if directory.endswith(b"/") else directory + b"/"


def _is_directory(path: bytes) -> bool:
    """Return whether this is a directory rather than a file; anything else is an error."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise _read_error(path, error) from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise _special_file_error(path)
    return stat.S_ISDIR(mode)


def _expand(path: bytes) -> list[bytes]:
    """Return the path itself or, for a pattern, at least one file it matches, in C order."""
    if not path or b"\0" in path:
        raise UsageError(
            f"cannot hash from {_quoted_path(path)}: not a path",
            "is the variable that holds the path set?",
        )
    if not _is_pattern(path) or os.path.lexists(path):
        return [path]
    matches = sorted(match for match in _candidates(path) if _is_file(match))
    if not matches:
        raise UsageError(
            f"the pattern {_quoted_path(path)} matches no file",
            "patterns match files only, and hidden names only by a segment that starts with a dot",
        )
    return matches


def _candidates(pattern: bytes) -> set[bytes]:
    """Return the paths that a pattern matches, of any kind; some may not exist."""
    *parents, last = pattern.split(b"/")
    if last == b"**":
        parents, last = [*parents, b"**"], b"*"
    directories = {b""}
    for segment in parents:
        if segment == b"**":
            directories = {found for start in directories for found in _directories_below(start)}
        else:
            directories = {found + b"/" for found in _matches(directories, segment)}
    return _matches(directories, last)


def _matches(directories: set[bytes], segment: bytes) -> set[bytes]:
    """Return each directory joined with each name in it that `segment` matches."""
    if not _is_pattern(segment):
        return {directory + segment for directory in directories}
    # Text, since `?` stands for a character; undecodable bytes are one each (surrogateescape).
    text = os.fsdecode(segment)
    matcher = re.compile(_expression(text), re.DOTALL)
    hidden_too = text.startswith(".")
    return {
        directory + entry.name
        for directory in directories
        for entry in _scan(directory, missing_ok=True)
        if hidden_too or not entry.name.startswith(b".")
        if matcher.fullmatch(os.fsdecode(entry.name))
    }


def _directories_below(start: bytes) -> Iterator[bytes]:
    """Yield `start`, which need not exist, and each directory below, except hidden and linked."""
    pending = [start]
    while pending:
        directory = pending.pop()
        yield directory
        pending += [
            directory + entry.name + b"/"
            for entry in _scan(directory, missing_ok=True)
            if not entry.name.startswith(b".") and entry.is_dir(follow_symlinks=False)
        ]


def _expression(segment: str) -> str:
    """Return a segment of a pattern as a regular expression."""
    return re.escape(segment).replace(r"\*", ".*").replace(r"\?", ".")


def _is_pattern(path: bytes) -> bool:
    return b"*" in path or b"?" in path


def _is_file(path: bytes) -> bool:
    """Return whether a pattern matches `path`: a file, or a symlink to one.

    A symlink to nowhere may have been meant as one: an error, as it would be for `sha256sum`.
    """
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        absent = isinstance(error, FileNotFoundError | NotADirectoryError)
        if absent and not os.path.islink(path):
            return False
        raise _read_error(path, error) from error


def _quoted_path(path: bytes) -> str:
    """Return a path for a message, quoted, with control characters and stray bytes escaped."""
    return quoted(os.fsdecode(path))


def _read_error(path: bytes, error: OSError) -> CacherError:
    if not isinstance(error, FileNotFoundError):
        hint = "every file of a hash must be readable, or the key would not depend on it"
    elif os.path.islink(path):
        hint = "it is a symlink to nowhere: remove it, or leave it out of the hash"
    else:
        hint = "--hash-from paths start at the current directory; does the file exist yet?"
    reason = os_reason(error)
    return LocalError(f"cannot read {_quoted_path(path or b'.')}: {reason}", hint)


def _special_file_error(path: bytes) -> CacherError:
    return LocalError(
        f"cannot hash {_quoted_path(path)}: neither a regular file nor a directory",
        "write what should be hashed to a file first",
    )
