"""Key templates, and the rules for legal keys.

Knows placeholders and the rules for names in a store; knows no store, no clock and no machine:
the time and `uname` are arguments. Files are hashed by `cacher.keys.file_hash`.

`cacher key` must start as fast as Python itself, so this module loads nothing that argparse has
not loaded already.
"""

from __future__ import annotations

import time

from cacher.errors import UsageError, quoted
from cacher.keys.file_hash import hash_paths

TYPE_CHECKING = False  # importing typing costs more than everything else here
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PLACEHOLDERS: Mapping[str, str] = {
    "hash": "16 hex digits over the --hash-from files",
    "os": "operating system: linux, darwin",
    "arch": "processor, by its Go name: amd64, arm64",
    "date": "today in UTC: YYYY-MM-DD",
    "week": "the ISO week in UTC: YYYY-Www",
}
"""Every placeholder of a template (without its braces), and its meaning in one line."""

MAX_NAME_BYTES = 479
"""The longest object name, PREFIX/KEY, in bytes of UTF-8.

Set by Garage with its default engine, LMDB (Garage's configuration reference, `db_engine`); AWS,
MinIO and R2 stop at 1024.
"""

_GO_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    **dict.fromkeys(("i386", "i486", "i586", "i686"), "386"),
    **dict.fromkeys(("armv5tel", "armv5tejl", "armv6l", "armv7l", "armv8l"), "arm"),
}
"""`uname -m` to GOARCH, where they differ; armv8l is a 32-bit process on a 64-bit kernel."""


# --- templates -----------------------------------------------------------------------------------


def resolve_template(
    template: str, hash_from: Sequence[str], *, now: float, system: str, machine: str
) -> str:
    """Return the key a template stands for.

    `hash_from` are the files, directories and patterns of `{hash}`, which is appended as `-HASH`
    where the template does not place it. `now` is POSIX seconds, `system` and `machine` are as
    `os.uname()` has them. `{{` and `}}` stand for braces.

    Raises `UsageError` for a bad template, a bad pattern or a key `check_key` refuses, and
    `LocalError` for files that cannot be hashed.
    """
    pieces = list(_parse(template))
    names = {text for text, is_placeholder in pieces if is_placeholder}
    if "hash" in names and not hash_from:
        raise UsageError(
            f"the template {_quoted(template)} has {{hash}}, but there is nothing to hash",
            "name the files the key depends on: --hash-from PATH",
        )
    if hash_from and "hash" not in names:
        pieces += [("-", False), ("hash", True)]
    today = time.gmtime(now)
    values = {
        "hash": hash_paths(hash_from) if hash_from else "",
        "os": system.lower(),
        "arch": _GO_ARCHITECTURES.get(machine, machine),
        "date": time.strftime("%Y-%m-%d", today),
        "week": time.strftime("%G-W%V", today),  # the ISO year: 2024-12-30 is in 2025-W01
    }
    key = "".join(values[text] if is_placeholder else text for text, is_placeholder in pieces)
    check_key(key)
    return key


def brace_warning(key: str) -> tuple[str, str] | None:
    """Return a warning and its hint, if a template resolved to a key that holds braces."""
    if "{" not in key and "}" not in key:
        return None
    return (
        f"the key {_quoted(key)} holds braces",
        "{{ and }} stand for braces, {hash} is a placeholder; --literal takes KEY as it is",
    )


def prefix_warning(prefix: str) -> tuple[str, str] | None:
    """Return a warning and its hint, if a prefix is probably a mistake."""
    if "{" in prefix or "}" in prefix:
        return (
            f"the prefix {_quoted(prefix)} holds braces, and a prefix is not a template",
            "placeholders stand in KEY; write their values into the prefix",
        )
    for start in ("/", "./", "s3://"):
        if prefix.startswith(start):
            hint = "begin PREFIX as `cacher list` shows the keys"
            return f"no key begins with '{start}': {_quoted(prefix)} matches nothing", hint
    return None


def check_literal(key: str, hash_from: Sequence[str], prefix: str = "") -> str:
    """Return a key that is not a template. Raises `UsageError` as `check_key` does."""
    if hash_from:
        raise UsageError(
            "--literal and --hash-from exclude each other",
            "a template has {hash}, a literal KEY is taken as it is",
        )
    check_key(key, prefix)
    return key


def _parse(template: str) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a template in order: literal text, or (True) a placeholder's name."""
    at = 0
    while at < len(template):
        if template.startswith(("{{", "}}"), at):
            yield template[at], False
            at += 2
        elif template[at] == "{":
            name, closed, _ = template[at + 1 :].partition("}")
            if not closed or "{" in name:
                raise _lone_brace_error(template, at)
            if name not in PLACEHOLDERS:
                raise _unknown_placeholder(template, name)
            yield name, True
            at += len(name) + 2
        elif template[at] == "}":
            raise _lone_brace_error(template, at)
        else:
            yield template[at], False
            at += 1


def _lone_brace_error(template: str, at: int) -> UsageError:
    brace = template[at]
    if brace == "{":
        near = _suggestion(template[at + 1 :].partition("{")[0])
    else:
        near = _suggestion(template[:at].rpartition("}")[2])
    return UsageError(
        f"the template {_quoted(template)} has a lone '{brace}' at character {at + 1}",
        f"{near}for a brace itself, write {brace * 2}",
    )


def _unknown_placeholder(template: str, name: str) -> UsageError:
    known = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
    return UsageError(
        f"the template {_quoted(template)} has an unknown placeholder {_quoted('{' + name + '}')}",
        f"{_suggestion(name)}the placeholders are {known}",
    )


def _suggestion(name: str) -> str:
    """Return the start of a hint with the placeholder nearest to `name`; empty if none is near."""
    from difflib import get_close_matches  # takes long to load, and only an error needs it

    near = get_close_matches(name.strip().lower(), PLACEHOLDERS, n=1, cutoff=0.5)
    return f"did you mean {{{near[0]}}}? " if near else ""


# --- legal keys ----------------------------------------------------------------------------------


def check_key(key: str, prefix: str = "") -> None:
    """Raise `UsageError` for a key that some store or file system would lose, rename or mix up.

    A key is UTF-8 text of segments between single slashes, none of them `.` or `..`, without
    backslashes and control characters, and with the prefix at most 479 bytes. `prefix` is as
    `check_prefix` gives it. Where the rules come from: Garage trims leading slashes; MinIO refuses
    `//`, `.`, `..` and, on Windows, a backslash; HTTP clients and proxies fold `//` and dot
    segments; a directory as a store has them all, and cannot have a trailing slash.

    The error names the rule and the part that breaks it.
    """
    _check_name("key", key)
    size = len(key.encode())
    whole = len(prefix.encode()) + 1 + size if prefix else size
    if whole > MAX_NAME_BYTES:
        with_prefix = f" with the prefix {_quoted(prefix)}" if prefix else ""
        raise UsageError(
            f"key {_quoted(key)} is too long: {whole} bytes{with_prefix}, "
            f"at most {MAX_NAME_BYTES} are allowed",
            "shorten the key; {hash} stands for any number of files in 16 characters",
        )


def check_prefix(prefix: str) -> str:
    """Return the prefix without the slashes around it, which may be empty.

    Raises `UsageError` for one that no key could follow, by the rules of `check_key`.
    """
    bare = prefix.strip("/")
    if not bare:
        return ""
    _check_name("prefix", bare)
    size = len(bare.encode())
    room = MAX_NAME_BYTES - len("/k")
    if size > room:
        raise UsageError(
            f"prefix {_quoted(bare)} is too long: {size} bytes, "
            f"at most {room} leave room for a key",
            "shorten the prefix",
        )
    return bare


def _check_name(kind: str, name: str) -> None:
    """Raise `UsageError` for a name that breaks any rule but that of the length."""
    if not name:
        raise UsageError(f"the {kind} is empty", f"is the variable that holds the {kind} set?")
    fault = _character_fault(name) or _segment_fault(name)
    if fault:
        raise UsageError(
            f"{kind} {_quoted(name)} {fault}",
            f"a {kind} is made of segments between single slashes, like deps/linux/2024-W31",
        )


def _character_fault(name: str) -> str:
    """Return how the characters of a name break a rule; empty if they do not."""
    for character in name:
        code = ord(character)
        if 0xD800 <= code <= 0xDFFF:  # also how Python passes on bytes that are not UTF-8
            return f"is not valid UTF-8 at {quoted(character)}"
        if code < 0x20 or 0x7F <= code <= 0x9F:
            return f"holds the control character {character!r}"
        if character == "\\":
            return "holds a backslash '\\'"
    return ""


def _segment_fault(name: str) -> str:
    """Return how the segments of a name break a rule; empty if they do not."""
    if name.startswith("/"):
        return "starts with '/'"
    if name.endswith("/"):
        return "ends with '/'"
    if "//" in name:
        return "holds '//'"
    for segment in name.split("/"):
        if segment in (".", ".."):
            return f"has the segment '{segment}'"
    return ""


def _quoted(text: str) -> str:
    """Return text for a message: quoted, escaped, shortened in the middle."""
    shown = quoted(text)
    return shown if len(shown) <= 80 else f"{shown[:40]}...{shown[-30:]}"
