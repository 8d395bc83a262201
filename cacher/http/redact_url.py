"""URLs for messages, without possible secrets.

A password that is not percent-encoded moves the borders of a URL's parts: `urlsplit` takes the
host of `http://user:12/secret@host/f` for `user`, and `secret@host/f` for a path. So everything
before an `@` is removed first, and only then the rest is parsed.
"""

from __future__ import annotations

import re

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,6})://")

_HOST = re.compile(r"[\w.~-]+|\[[0-9A-Fa-f:.]+\]")

_AUTHORITY = re.compile(rf"(?:{_HOST.pattern})(?::\d{{0,5}})?(?=[/?#]|\Z)")

_NO_USER = re.compile(r"[\w-]+(?:\.[\w-]+)+(?:/[^:?#@]*)?(?:[?#]|(?<=/)@[^@]*\Z)", re.DOTALL)
"""A host with a dot, and no `@` before the query but that of a path such as `/@scope/package`."""


_MAX_LENGTH = 200
"""Characters of a URL that go into a message."""


def redacted(url: str) -> str:
    """Return the URL without user, password, query and fragment, cut if it is very long.

    If it cannot be parsed, only the scheme and the host are left, or less.
    """
    text = _without_secrets(url)
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"


def _without_secrets(url: str) -> str:
    url = re.sub(r"[\x00-\x1f\x7f]", "", url)
    match = _SCHEME.match(url)
    scheme = match[0] if match else ""
    rest = url[len(scheme) :]
    if scheme.lower() == "file://" and rest.startswith("/"):
        return scheme + _without_query(rest)
    before, at, after = rest.rpartition("@")
    if at and _NO_USER.match(rest):
        before, after = "", rest
    elif re.search("[?#]", before) and _AUTHORITY.match(before):
        # The @ may end a password, or be a part of the query, and what follows a secret.
        return f"{scheme}…"
    # Where the border is uncertain, that something was left out must be seen.
    mark = "…@" if re.search("[/?#]", before) else ""
    if _AUTHORITY.match(after):
        return scheme + mark + _without_query(after)
    host = _HOST.match(after)
    return f"{scheme}{mark}{host[0] if host else ''}…"


def _without_query(text: str) -> str:
    bare = re.split("[?#]", text, maxsplit=1)[0]
    return text[: len(bare) + 1] + "…" if len(bare) < len(text) else text
