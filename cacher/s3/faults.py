"""What went wrong with a request, and how to say it: refusals and dead connections become errors.

Knows no socket. Every error names what was being done, says what the store said, and hints at the
next step; none holds a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from cacher.errors import AccessError, CacherError, IntegrityError, StoreError
from cacher.s3.documents import ErrorDocument
from cacher.s3.quirks import clock_is_off, quota_is_reached
from cacher.s3.retry import CORRUPTED_CODES, Attempts
from cacher.s3.tls import advice
from cacher.s3.troubles import TransportError, Trouble, tried

_MOST_SAID = 500
"""Characters of what a store says that go into a message: some send pages."""


class Fault(NamedTuple):
    """A refusal: the status, what the error document says, and the answer's headers."""

    status: int
    error: ErrorDocument = ErrorDocument()
    headers: Mapping[str, str] = MappingProxyType({})
    excerpt: str = ""
    """The beginning of an answer that is no error document: a proxy's page, say."""

    @property
    def said(self) -> str:
        """The refusal in a few words."""
        text = " ".join((self.error.message or self.excerpt).split())
        if len(text) > _MOST_SAID:
            text = f"{text[:_MOST_SAID]}…"
        what = " ".join(part for part in (str(self.status), self.error.code) if part)
        return f"{text.rstrip('.')} ({what})" if text else what


_UNREACHABLE = "check --endpoint; is the store running and reachable from this machine?"

_TROUBLE_HINTS = {
    Trouble.NAME: "check the host name in --endpoint, and whether this machine has a network",
    Trouble.CONNECT: _UNREACHABLE,
    Trouble.REFUSED: _UNREACHABLE,
    Trouble.PLAIN: "is it an http:// endpoint?",
    Trouble.ENCRYPTED: "is it an https:// endpoint?",
    Trouble.MALFORMED: "check --endpoint: does an S3 store answer there, and no proxy before it?",
    Trouble.PROXY: "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
    Trouble.SILENCE: "the store or the network hangs; a later run may succeed",
    Trouble.BROKEN: "a later run may succeed; `cacher doctor` tells more",
}

_ACCESS_HINTS = (
    # What the refusal's code or message holds (lower case), and the hint it gets.
    (("no such key", "invalidaccesskeyid"), "the store does not know this key id; check it"),
    (
        ("invalid signature", "signaturedoesnotmatch"),
        "check the secret key; a proxy that rewrites Host or the path breaks signatures, too",
    ),
    (
        ("operation is not allowed",),
        "this key lacks the permission on the bucket; `cacher doctor` tells which it has",
    ),
    (("expiredtoken", "expired"), "get new credentials"),
    (("invalidobjectstate",), "the object is archived; restore it in the store first"),
)


def explained(fault: Fault, doing: str, bucket: str) -> CacherError:
    """The refusal as an error: `doing` is what was tried ("reading go.tar.gz")."""
    code, status = fault.error.code, fault.status
    if code == "NoSuchBucket":
        return AccessError(
            f"{doing}: the bucket {bucket!r} does not exist",
            "check --bucket, or make the bucket; cacher does not make buckets",
        )
    if quota_is_reached(status, fault.error):
        return AccessError(
            f"{doing}: the store is full: {fault.said}",
            "delete entries (`cacher delete --prefix`), or raise the quota",
        )
    if clock_is_off(fault.error):
        return AccessError(
            f"{doing}: the store refused this machine's clock: {fault.said}",
            "set the clock of this machine",
        )
    if code == "AuthorizationHeaderMalformed" or status in (301, 307):
        return AccessError(
            f"{doing}: the store wants another region or endpoint: {fault.said}",
            "set --region to the store's (Garage: s3_region), or --endpoint to its own address",
        )
    if status in (401, 403):
        return AccessError(f"{doing}: the store refused: {fault.said}", _access_hint(fault))
    if code in CORRUPTED_CODES:
        return IntegrityError(
            f"{doing}: the body arrived damaged: {fault.said}",
            "something between here and the store changes bytes: a proxy, or bad memory",
        )
    if status in (405, 501):
        return StoreError(f"{doing}: the store cannot do this: {fault.said}")
    return StoreError(f"{doing}: the store failed: {fault.said}", "a later run may succeed")


def unanswered(error: TransportError, doing: str, where: str, attempts: Attempts) -> StoreError:
    """A dead connection as an error: `where` is the host."""
    hint = _TROUBLE_HINTS.get(error.trouble) or advice()
    return StoreError(f"{doing}: {where}: {tried(error, attempts)}", hint)


def _access_hint(fault: Fault) -> str:
    said = f"{fault.error.code} {fault.error.message}".lower()
    for words, hint in _ACCESS_HINTS:
        if any(word in said for word in words):
            return hint
    return "check the credentials and their permissions; `cacher doctor` tells more"
