"""Patterns that select paths: globs to include, lines of a .gitignore to exclude.

Paths are bytes, relative, with single slashes and none at either end. Knows no files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from cacher.errors import UsageError

_NAMES = rb"(?:[^/]+/)*"
"""Any number of names."""

_END = rb"(?:/|\Z)"

_WITHIN, _BELOW, _REST = rb"[^/]*", rb"(?:.*/)?", rb".*"
"""Regular expressions for asterisks: a part of a name, any number of directories, anything."""


class IncludePatterns:
    """Globs of paths below a root: `*` and `?` within a name, `**` for any number of names.

    A glob also includes everything below a path that it matches. `[` and `\\` are as in .gitignore.
    Raises `UsageError` for a pattern that is not a path below the root.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._globs = [_Glob.of(pattern) for pattern in patterns]

    def matches(self, path: bytes) -> bool:
        """Return whether the path, or a directory that it is in, matches any pattern."""
        found = False
        for glob in self._globs:
            if glob.below.match(path):
                glob.used = found = True
        return found

    def may_contain(self, directory: bytes) -> bool:
        """Return whether a path below a directory that does not match may match."""
        names = directory.split(b"/")
        return any(glob.may_contain(names) for glob in self._globs)

    def unmatched(self) -> list[str]:
        """Return the patterns that have matched nothing so far."""
        return [glob.pattern for glob in self._globs if not glob.used]


class _Glob:
    """One pattern; `segments` has an expression for each name, None for `**`."""

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
        expressions = [None if name == b"**" else _translated(name) for name in names]
        segments = [None if name is None else _compiled(name) for name in expressions]
        return cls(pattern, re.compile(_below(expressions), re.DOTALL), segments)

    def may_contain(self, names: list[bytes]) -> bool:
        """Return whether a path that begins with these names, and has more, may match."""
        for name, segment in zip(names, self.segments, strict=False):
            if segment is None:
                return True
            if not segment.match(name):
                return False
        return len(names) < len(self.segments)


def _below(names: Sequence[bytes | None]) -> bytes:
    """Return the expression of a path of these names, or one below; None: any number of names."""
    *above, last = names
    found = b"".join(_NAMES if name is None else name + b"/" for name in above)
    return found + (b"." if last is None else last + _END)


class GitignorePatterns:
    """Lines of a .gitignore at the root (gitignore(5)).

    The last line that matches decides, and `!` includes again. The caller must not enter a
    directory that is excluded.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        rules = [rule for pattern in patterns if (rule := _rule(pattern))]
        self._rules = rules[::-1]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def ignores(self, path: bytes, *, is_directory: bool) -> bool:
        """Return whether the last line that matches the path excludes it."""
        for rule in self._rules:
            if (is_directory or not rule.directories_only) and rule.whole.match(path):
                return not rule.includes_again
        return False


class _Rule(NamedTuple):
    whole: re.Pattern[bytes]
    includes_again: bool
    directories_only: bool


def _rule(pattern: str) -> _Rule | None:
    text = os.fsencode(pattern)
    text = _without_trailing_spaces(text)
    if not text or text.startswith(b"#"):
        return None
    includes_again = text.startswith(b"!")
    text = text[includes_again:]
    directories_only = text.endswith(b"/")
    text = text[: -1 if directories_only else None]
    if b"/" in text:
        whole = _translated(text.removeprefix(b"/"), is_path=True)
    else:
        whole = rb"(?>%b)%b" % (_NAMES, _translated(text))
    return _Rule(_compiled(whole), includes_again, directories_only)


def _without_trailing_spaces(text: bytes) -> bytes:
    """gitignore(5): "Trailing spaces are ignored unless they are quoted with backslash"."""
    while text.endswith(b" ") and not re.search(rb"(?<!\\)(?:\\\\)*\\ \Z", text):
        text = text[:-1]
    return text


def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern + rb"\Z", re.DOTALL)


def _translated(glob: bytes, *, is_path: bool = False) -> bytes:
    """Return the regular expression of a name or a path, read as git's wildmatch reads it.

    No wildcard matches a slash, but `**` in a path where no name has more to it.
    """
    parts = []
    position = 0
    plain = True
    while position < len(glob):
        byte = glob[position : position + 1]
        position += 1
        if byte == b"*":
            # Git compares the part before the first wildcard by itself. So `**` behind that is
            # alone, too, though gitignore(5) says "considered regular asterisks".
            alone = is_path and (plain or glob[position - 2 : position - 1] == b"/")
            part, position = _stars(glob, position, alone=alone)
            parts.append(part)
        elif byte == b"?":
            parts.append(rb"[^/]")
        elif byte == b"[":
            part, position = _class(glob, position)
            parts.append(part)
        elif byte == b"\\":
            escaped = glob[position : position + 1]
            parts.append(re.escape(escaped) if escaped else _NOTHING)
            position += 1
        else:
            parts.append(re.escape(byte))
        plain = plain and byte not in b"*?[\\"
    return b"".join(parts)


def _stars(glob: bytes, position: int, *, alone: bool) -> tuple[bytes, int]:
    """Return the expression of asterisks, the first before `position`, and their end."""
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
    """Translate the bracket expression after `[`; return it and its end. Unclosed: no match."""
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
