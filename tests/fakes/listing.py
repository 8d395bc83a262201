"""Pages of sorted names, and the listing made of them.

Knows how Garage pages, encodes and continues; takes snapshots, so no lock and no state.
"""

from __future__ import annotations

import base64
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from tests.fakes.answers import document, invalid, node, text, timestamp
from tests.fakes.objects import StoredObject
from tests.fakes.profile import Profile

MAX_PAGE = 1000  # S3's limit, and Garage's clamp

# Bytes whose base64 is `++//`: every token then holds all of `+`, `/` and `=`.
TOKEN_SALT = b"\xfb\xef\xff"


class Page(NamedTuple):
    """Indices of the entries on a page, where the next page starts (or None)."""

    entries: range
    next: int | None


def page_of(names: Sequence[str], start: int, prefix: str, limit: int) -> Page:
    """The page that begins at index `start` of the sorted `names`."""
    first = end = max(start, bisect_left(names, prefix))
    while end < len(names) and names[end].startswith(prefix):
        if end - first == limit:
            return Page(range(first, end), end)
        end += 1
    return Page(range(first, end), None)


def limit_of(query: Mapping[str, str], name: str, profile: Profile) -> int:
    """`max-keys` and its like, clamped as Garage clamps (0 is 1)."""
    value = query.get(name) or str(MAX_PAGE)
    if not value.isdecimal():
        raise invalid(f"Bad request: invalid {name}")
    return min(max(int(value), 1), MAX_PAGE, profile.page_size)


def encode_token(key: str) -> str:
    """An opaque continuation token: the next page starts after `key`."""
    payload = TOKEN_SALT + key.encode()
    if len(payload) % 3 == 0:
        payload += b"\0"
    return "]" + base64.b64encode(payload).decode()


def decode_token(token: str) -> str:
    """The key in a token; one that was tampered with is refused."""
    try:
        if not token.startswith("]"):
            raise ValueError
        payload = base64.b64decode(token[1:], validate=True)
        if not payload.startswith(TOKEN_SALT):
            raise ValueError
        return payload[len(TOKEN_SALT) :].removesuffix(b"\0").decode()
    except ValueError:
        raise invalid("Bad request: Invalid continuation token") from None


def encoder(query: Mapping[str, str], profile: Profile) -> Callable[[str], str]:
    """How names are written: `encoding-type` counts only as exactly `url`, then `/` is `%2F`."""
    if query.get("encoding-type") != "url":
        return lambda name: name
    if profile.list_space_as_plus:
        return lambda name: quote(name, safe="-_.~").replace("%20", "+")
    return lambda name: quote(name, safe="-_.~")


def list_objects(
    bucket: str,
    keys: Sequence[str],
    objects: Mapping[str, StoredObject],
    query: Mapping[str, str],
    profile: Profile,
) -> bytes:
    """`ListObjectsV2`: the document."""
    prefix, token = query.get("prefix", ""), query.get("continuation-token", "")
    limit = limit_of(query, "max-keys", profile)
    start = bisect_right(keys, decode_token(token)) if token else 0
    page = page_of(keys, start, prefix, limit)
    spell = encoder(query, profile)
    children = [text("Name", bucket), text("Prefix", spell(prefix))]
    children += [text("EncodingType", "url")] if query.get("encoding-type") == "url" else []
    children += [text("MaxKeys", limit)]
    children += [text("KeyCount", len(page.entries))]
    children += [text("IsTruncated", str(page.next is not None).lower())]
    children += [text("ContinuationToken", token)] if token else []
    if page.next is not None:
        children.append(text("NextContinuationToken", encode_token(keys[page.next - 1])))
    for index in page.entries:
        children.append(_contents(spell(keys[index]), objects.get(keys[index])))
    return document("ListBucketResult", *children)


def _contents(name: str, stored: StoredObject | None) -> str:
    if stored is None:  # deleted since the snapshot of the keys
        return ""
    return node(
        "Contents",
        text("Key", name),
        text("LastModified", timestamp(stored.modified)),
        text("ETag", f'"{stored.etag}"'),
        text("Size", len(stored.body)),
        text("StorageClass", "STANDARD"),
    )
