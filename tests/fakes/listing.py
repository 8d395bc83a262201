"""Pages of sorted names, and the two listings made of them.

Knows how Garage pages, encodes and continues; takes snapshots, so no lock and no state.
"""

from __future__ import annotations

import base64
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from tests.fakes.answers import document, invalid, node, text, timestamp
from tests.fakes.objects import StoredObject, Upload
from tests.fakes.profile import Profile

MAX_PAGE = 1000  # S3's limit, and Garage's clamp

# Bytes whose base64 is `++//`: every token then holds all of `+`, `/` and `=`.
TOKEN_SALT = b"\xfb\xef\xff"


class Page(NamedTuple):
    """Indices of the entries on a page, common prefixes, where the next page starts (or None)."""

    entries: list[int]
    prefixes: list[str]
    next: int | None


def page_of(names: Sequence[str], start: int, prefix: str, delimiter: str, limit: int) -> Page:
    """The page that begins at index `start` of the sorted `names`."""
    entries: list[int] = []
    prefixes: list[str] = []
    at = max(start, bisect_left(names, prefix))
    while at < len(names) and names[at].startswith(prefix):
        if len(entries) + len(prefixes) == limit:
            return Page(entries, prefixes, at)
        cut = names[at].find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            entries.append(at)
            at += 1
            continue
        prefixes.append(names[at][: cut + len(delimiter)])
        while at < len(names) and names[at].startswith(prefixes[-1]):
            at += 1
    return Page(entries, prefixes, None)


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
    """`ListObjectsV2`: the document. A token wins over `start-after`."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    token, after = query.get("continuation-token", ""), query.get("start-after", "")
    limit = limit_of(query, "max-keys", profile)
    last = decode_token(token) if token else after
    page = page_of(keys, bisect_right(keys, last) if last else 0, prefix, delimiter, limit)
    spell = encoder(query, profile)
    spell_prefix = spell if profile.encode_common_prefixes else str
    children = [text("Name", bucket), text("Prefix", spell(prefix))]
    children += [text("Delimiter", spell(delimiter))] if delimiter else []
    children += [text("StartAfter", spell(after))] if after else []
    children += [text("EncodingType", "url")] if query.get("encoding-type") == "url" else []
    children += [text("MaxKeys", limit)]
    children += [text("KeyCount", len(page.entries) + len(page.prefixes))]
    children += [text("IsTruncated", str(page.next is not None).lower())]
    children += [text("ContinuationToken", token)] if token else []
    if page.next is not None:
        children.append(text("NextContinuationToken", encode_token(keys[page.next - 1])))
    for index in page.entries:
        children.append(_contents(spell(keys[index]), objects.get(keys[index])))
    children += [node("CommonPrefixes", text("Prefix", spell_prefix(p))) for p in page.prefixes]
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


def list_uploads(
    bucket: str, uploads: Sequence[Upload], query: Mapping[str, str], profile: Profile
) -> bytes:
    """`ListMultipartUploads`: the document.

    Garage's oddities: common prefixes are never url-encoded, and the next upload-id marker may be
    the literal `include`, which makes the key marker inclusive.
    """
    ordered = sorted(uploads, key=lambda upload: (upload.key, upload.id))
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    key_marker, id_marker = query.get("key-marker", ""), query.get("upload-id-marker", "")
    limit = limit_of(query, "max-uploads", profile)
    start = _upload_start(ordered, key_marker, id_marker)
    page = page_of([upload.key for upload in ordered], start, prefix, delimiter, limit)
    spell = encoder(query, profile)
    children = [
        text("Bucket", bucket),
        text("Prefix", spell(prefix)),
        text("KeyMarker", spell(key_marker)),
        text("UploadIdMarker", id_marker),
        text("MaxUploads", limit),
        text("IsTruncated", str(page.next is not None).lower()),
    ]
    children += [text("Delimiter", spell(delimiter))] if delimiter else []
    children += [text("EncodingType", "url")] if query.get("encoding-type") == "url" else []
    if page.next is not None:
        last, following = ordered[page.next - 1], ordered[page.next]
        same = last.key == following.key
        children.append(text("NextKeyMarker", spell(following.key)))
        children.append(text("NextUploadIdMarker", last.id if same else "include"))
    for index in page.entries:
        upload = ordered[index]
        fields = (
            text("Key", spell(upload.key)),
            text("UploadId", upload.id),
            text("Initiated", timestamp(upload.initiated)),
            text("StorageClass", "STANDARD"),
        )
        children.append(node("Upload", *fields))
    children += [node("CommonPrefixes", text("Prefix", p)) for p in page.prefixes]
    return document("ListMultipartUploadsResult", *children)


def _upload_start(ordered: Sequence[Upload], key: str, upload_id: str) -> int:
    places = [(upload.key, upload.id) for upload in ordered]
    if not key:
        return 0
    if upload_id == "include":
        return bisect_left(places, (key, ""))
    return bisect_right(places, (key, upload_id or "\U0010ffff"))
