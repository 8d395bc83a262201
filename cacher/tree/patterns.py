"""Which paths are meant: globs for what is wanted, .gitignore's lines for what is not.

Paths are bytes, relative, with single slashes and none at either end. Knows no files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cacher.errors import UsageError

_NAMES = rb"(?:[^/]+/)*"
"""Any number of names, as many as can be; with a `?` behind as few."""

_END = rb"(?:/|\Z)"

_WITHIN, _BELOW, _REST = rb"[^/]*", rb"(?:.*/)?", rb".*"
"""What asterisks match: some of a name, any directories, anything."""

_LAZY = {_WITHIN: rb"[^/]*?", _BELOW: rb"(?:.*?/)??", _REST: rb".*?"}


class IncludePatterns:
    """Paths, and globs of paths, below a root: `*` and `?` within a name, `**` any number of names.

    What is below a path that matches is meant, too. `[` and `\\` are as in .gitignore.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._globs = [_Glob.of(pattern) for pattern in patterns]

    def matches(self, path: bytes) -> bool:
        """Whether the path, or a directory that it is in, matches any pattern."""
        found = False
        for glob in self._globs:
            if glob.below.match(path):
                glob.used = found = True
        return found

    def may_contain(self, directory: bytes) -> bool:
        """Whether something below a directory that does not match may match."""
        names = directory.split(b"/")
        return any(glob.leads(names) for glob in self._globs)

    def unmatched(self) -> list[str]:
        """The patterns that have matched nothing so far."""
        return [glob.pattern for glob in self._globs if not glob.used]


class _Glob:
    """One pattern. `segments` has one for each name; None is `**`."""

    __slots__ = ("below", "pattern", "segments", "used")

    def __init__(
        self, pattern: str, below: re.Pattern[bytes], segments: list[re.Pattern[bytes] | None]
    ) -> None:
        self.pattern = pattern
        self.below = below
        self.segments = segments
        self.used = False

    @classmethod
    def of(cls, pattern: str) -> _Glob:
        text = os.fsencode(pattern)
        while text.startswith(b"./"):
            text = text[2:].lstrip(b"/")
        names = [name for name in text.rstrip(b"/").split(b"/") if name not in (b"", b".")]
        if not names or text.startswith(b"/") or b".." in names:
            raise UsageError(
                f"the pattern {pattern!r} is not a path below DIR",
                "paths are relative to DIR, without ..",
            )
        told = [None if name == b"**" else _translated(name) for name in names]
        segments = [None if name is None else _compiled(name) for name in told]
        return cls(pattern, re.compile(_below(told), re.DOTALL), segments)

    def leads(self, names: list[bytes]) -> bool:
        """Whether a path that begins with these names, and has more, may match."""
        for name, segment in zip(names, self.segments, strict=False):
            if segment is None:
                return True
            if not segment.match(name):
                return False
        return len(names) < len(self.segments)


def _below(names: Sequence[bytes | None]) -> bytes:
    """What matches a path of these names, or one below it; None is any number of names."""
    runs: list[list[bytes]] = [[]]
    for name in names:
        if name is None:
            runs.append([])
        else:
            runs[-1].append(name)
    first, *later = [b"".join(name + b"/" for name in run) for run in runs]
    if not later:
        return first[:-1] + _END
    *between, last = later
    # Looked for from the left, as in `_joined`.
    found = first + b"".join(rb"(?>%b?%b)" % (_NAMES, run) for run in between if run)
    return found + (_NAMES + b"?" + last[:-1] + _END if last else b".")


class GitignorePatterns:
    """What lines of a .gitignore at the root leave out (gitignore(5)).

    The last that matches decides, `!` takes back. A directory that is left out is not looked into:
    that is for the caller to keep.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        rules = [rule for pattern in patterns if (rule := _rule(pattern))]
        self._rules = rules[::-1]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def ignores(self, path: bytes, *, is_directory: bool) -> bool:
        """Whether the last line that matches the path leaves it out."""
        for rule in self._rules:
            if (is_directory or not rule.directories_only) and rule.whole.match(path):
                return not rule.takes_back
        return False


class _Rule(NamedTuple):
    whole: re.Pattern[bytes]
    takes_back: bool
    directories_only: bool


def _rule(pattern: str) -> _Rule | None:
    text = os.fsencode(pattern)
    text = _without_trailing_spaces(text)
    if not text or text.startswith(b"#"):
        return None
    takes_back = text.startswith(b"!")
    text = text[takes_back:]
    directories_only = text.endswith(b"/")
    text = text[: -1 if directories_only else None]
    if b"/" in text:
        whole = _translated(text.removeprefix(b"/"), is_path=True)
    else:
        whole = rb"(?>%b)%b" % (_NAMES, _translated(text))
    return _Rule(_compiled(whole), takes_back, directories_only)


def _without_trailing_spaces(text: bytes) -> bytes:
    """gitignore(5): "Trailing spaces are ignored unless they are quoted with backslash"."""
    while text.endswith(b" ") and not re.search(rb"(?<!\\)(?:\\\\)*\\ \Z", text):
        text = text[:-1]
    return text


def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern + rb"\Z", re.DOTALL)


def _translated(glob: bytes, *, is_path: bool = False) -> bytes:
    """The regular expression of one name, or of a path, as git's wildmatch reads it."""
    return _joined(_pieces(glob, is_path=is_path))


def _joined(pieces: Iterable[bytes]) -> bytes:
    """One regular expression, which takes time polynomial in the length of the path.

    What is between asterisks has a fixed length. So it is enough to find it once, as far left as
    can be: what follows then has all the room that it would have further right. Only the last of
    a name, which must be at its end, is looked for on. The same goes for what is between `**`,
    which ends with a slash.
    """
    runs: list[tuple[bytes, list[bytes]]] = [(b"", [b""])]
    for piece in pieces:
        if piece == _WITHIN:
            runs[-1][1].append(b"")
        elif piece in _LAZY:
            runs.append((piece, [b""]))
        else:
            runs[-1][1][-1] += piece
    (_, first), *later = runs
    told = _run(first)
    for gap, run in later[:-1]:
        told += rb"(?>%b%b)" % (_LAZY[gap], _run(run))
    for gap, run in later[-1:]:
        told += gap + _run(run)
    return told


def _run(segments: Sequence[bytes]) -> bytes:
    """What is between `**`, of segments between asterisks."""
    first, *later = segments
    # Not with `*?+` and the like: before 3.11.5 those match too much (python/cpython#106052).
    between = [rb"(?>%b%b)" % (_LAZY[_WITHIN], segment) for segment in later[:-1]]
    return b"".join([first, *between, *(_WITHIN + segment for segment in later[-1:])])


def _pieces(glob: bytes, *, is_path: bool) -> list[bytes]:
    """Regular expressions of one byte each, and those in `_LAZY`.

    No wildcard matches a slash, but `**` in a path where no name has more to it.
    """
    parts = []
    position = 0
    plain = True
    while position < len(glob):
        byte = glob[position : position + 1]
        position += 1
        if byte == b"*":
            # Git compares what is before the first wildcard by itself. So that is also a place
            # where `**` is alone, though gitignore(5) says "considered regular asterisks".
            alone = is_path and (plain or glob[position - 2 : position - 1] == b"/")
            told, position = _stars(glob, position, alone=alone)
            parts.append(told)
        elif byte == b"?":
            parts.append(rb"[^/]")
        elif byte == b"[":
            told, position = _class(glob, position)
            parts.append(told)
        elif byte == b"\\":
            escaped = glob[position : position + 1]
            parts.append(re.escape(escaped) if escaped else _NOTHING)
            position += 1
        else:
            parts.append(re.escape(byte))
        plain = plain and byte not in b"*?[\\"
    return parts


def _stars(glob: bytes, position: int, *, alone: bool) -> tuple[bytes, int]:
    """The asterisks of which the first is before `position`, and where they end."""
    end = position
    while glob[end : end + 1] == b"*":
        end += 1
    if alone and end > position:
        if glob[end : end + 1] == b"/":
            return _BELOW, end + 1
        if end == len(glob) or glob.startswith(b"\\/", end):
            return _REST, end
    return _WITHIN, end


_POSIX = {
    b"alnum": rb"a-zA-Z0-9",
    b"alpha": rb"a-zA-Z",
    b"blank": rb" \t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": rb"0-9",
    b"graph": rb"!-~",
    b"lower": rb"a-z",
    b"print": rb" -~",
    b"punct": rb"!-/:-@\[-`{-~",
    b"space": rb" \t-\r",
    b"upper": rb"A-Z",
    b"xdigit": rb"0-9a-fA-F",
}

_NAMED = re.compile(rb"\[:([^\]]*):\]")

_NOTHING = rb"(?!)"


def _class(glob: bytes, position: int) -> tuple[bytes, int]:
    """The bracket expression after `[`, and where it ends; one that does not matches nothing."""
    negated = glob[position : position + 1] in (b"!", b"^")
    position += negated
    members: list[bytes] = []
    first = True
    while position < len(glob):
        byte = glob[position : position + 1]
        if byte == b"]" and not first:
            body = b"".join(members)
            sign = rb"^/" if negated else b""
            inner = rb"[%b%b]" % (sign, body) if body or negated else _NOTHING
            return (inner if negated else rb"(?!/)" + inner), position + 1
        first = False
        if named := _NAMED.match(glob, position):
            posix = _POSIX.get(named[1])
            if posix is None:
                return _NOTHING, len(glob)
            members.append(posix)
            position = named.end()
            continue
        low, position = _member(glob, position)
        members.append(re.escape(low))
        if glob.startswith(b"-", position) and glob[position + 1 : position + 2] not in b"]":
            high, position = _member(glob, position + 1)
            if low <= high:
                members.append(re.escape(low) + b"-" + re.escape(high))
    return _NOTHING, len(glob)


def _member(glob: bytes, position: int) -> tuple[bytes, int]:
    if glob[position : position + 1] == b"\\" and position + 1 < len(glob):
        position += 1
    return glob[position : position + 1], position + 1
