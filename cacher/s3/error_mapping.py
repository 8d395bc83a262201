"""Refusals and connection failures as errors with a message and a hint.

Knows no socket. Every error names the operation, the store's answer and the next step; none holds a
secret, markup or a page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit

from cacher.errors import (
    AccessError,
    CacherError,
    IntegrityError,
    Silent,
    StoreError,
    Unanswered,
)
from cacher.http.exceptions import (
    FailureKind,
    TransportError,
    common_hint,
    describe_failure,
    status_text,
)
from cacher.http.proxies import login_hint
from cacher.http.retry import Attempts
from cacher.s3 import store_quirks
from cacher.s3.xml import ErrorDocument, plain

_LONGEST_TITLE = 100
"""Characters of a page's title in a message."""

_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)

_MEDIA_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}", re.ASCII)

_WANTS_TLS = re.compile(
    # Go's net/http; nginx; Apache; Tomcat.
    rb"HTTP request to an HTTPS|sent to HTTPS port|plain HTTP to an SSL|requires TLS"
)

_NEVER_BARE = frozenset([*range(300, 400), 400, 404, 405, 501, 511])
"""Statuses that S3 stores send only with an error document, or with the bucket's region."""

_OF_PROXIES = frozenset([407, 408, 413, 425, 429])
"""Refusals that a proxy before a store gives with a page of its own: a login, a body that is too
large, and those that pass."""


_LOGIN_STATUSES = (401, 403)
"""Statuses of proxies that want a login. A store explains its refusal in a document."""


class NotAStore(StoreError):
    """The server is not an S3 store."""


class Refusal(NamedTuple):
    """A refusal: the status, the error document and the answer's headers."""

    status: int
    error: ErrorDocument = ErrorDocument()
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes | None = None
    """The beginning of an answer that is not an error document, such as a proxy's page."""

    broken: str = ""
    """Why the requested document could not be read, if it came."""

    came_as: int = 0
    """The status of the answer, where `status` is the one that its error document means."""

    @property
    def summary(self) -> str:
        """The refusal in a few words."""
        what = f"HTTP {self.came_as or self.status} {self.error.code}".rstrip()
        if self.error.message:
            return f"{self.error.message.rstrip('.')} ({what})"
        if self.error.code:
            return what
        if self.broken:
            return f"its answer is damaged: {self.broken}"
        return describe_answer(self.status, self.headers, self.body)


def describe_answer(status: int, headers: Mapping[str, str], body: bytes | None) -> str:
    """Describe an answer by its status, media type and title.

    `body` is the beginning of its body, None if it cannot have one (HEAD).
    """
    parts = [status_text(status)]
    if 300 <= status < 400 and (target := _scheme_and_host(headers.get("location", ""))):
        parts[0] += f" to {target}"
    if match := _MEDIA_TYPE.match(headers.get("content-type", "")):
        parts.append(match[0])
    if body == b"":
        parts.append("empty")
    elif body and (title := _title(body)):
        parts.append(f'title "{title}"')
    return ", ".join(parts)


def not_a_store(
    doing: str, host: str, status: int, headers: Mapping[str, str], body: bytes | None
) -> NotAStore:
    """Return the error for an answer of `host` that no S3 store gives."""
    came = describe_answer(status, headers, body)
    hint = "check --endpoint: it must be the address of the S3 API"
    if status == 400 and body and _WANTS_TLS.search(body):
        hint = f"is it {host.replace('http:', 'https:')}?"
    elif status in _LOGIN_STATUSES:
        hint += ", and no login may stand before it"
    elif status == 511:
        hint = "this is the login page of the network: log in there, or use another network"
    return NotAStore(f"{doing}: {host} answered, but not as an S3 store does: {came}", hint)


_UNREACHABLE = "check --endpoint; is the store running and reachable from this machine?"

_FAILURE_HINTS = {
    FailureKind.NAME: "check the host name in --endpoint, and whether this machine has a network",
    FailureKind.CONNECT: _UNREACHABLE,
    FailureKind.REFUSED: _UNREACHABLE,
    FailureKind.EXPIRED: "renew the store's certificate, or set this machine's clock",
    FailureKind.NOT_YET_VALID: "set this machine's clock, or renew the store's certificate",
    FailureKind.WRONG_HOST: "check the host name in --endpoint",
    FailureKind.PLAIN_HTTP: "is it an http:// endpoint?",
    FailureKind.UNEXPECTED_TLS: "is it an https:// endpoint?",
    FailureKind.OUTDATED_TLS: "the store, or a proxy before it, must speak TLS 1.2 or newer",
    FailureKind.MALFORMED: (
        "check --endpoint: does an S3 store answer there, and no proxy before it?"
    ),
    FailureKind.TIMEOUT: "the store or the network hangs; a later run may succeed",
    FailureKind.SLOW: "the store or the network hangs; a later run may succeed",
    FailureKind.BROKEN: "a later run may succeed; `cacher doctor` shows more",
}

_ACCESS_HINTS = (
    # Words in the refusal's code or message (lower case), and the hint for them.
    (("no such key", "invalidaccesskeyid"), "the store does not know this key id; check it"),
    (
        ("invalid signature", "signaturedoesnotmatch"),
        "check the secret key; a proxy that rewrites Host or the path breaks signatures, too",
    ),
    (
        ("operation is not allowed",),
        "this key lacks the permission on the bucket; `cacher doctor` shows which it has",
    ),
    (("expiredtoken", "expired"), "get new credentials"),
    (("invalidobjectstate",), "the object is archived; restore it in the store first"),
)


def refusal_error(
    refusal: Refusal, doing: str, bucket: str, host: str, *, sent: int = 0
) -> CacherError:
    """Return the error for a refusal; `doing` is the operation ("reading go.tar.gz").

    `sent` is the size of the request's body.
    """
    code, status = refusal.error.code, refusal.status
    if is_not_a_store(refusal):
        return not_a_store(doing, host, status, refusal.headers, refusal.body)
    if code == "NoSuchBucket":
        return AccessError(
            f"{doing}: the bucket {bucket!r} does not exist",
            "check --bucket, or make the bucket; cacher does not make buckets",
        )
    if store_quirks.is_quota_refusal(status, refusal.error):
        return AccessError(
            f"{doing}: the store is full: {refusal.summary}",
            "delete entries (`cacher delete --prefix`), or raise the quota",
        )
    if store_quirks.is_clock_refusal(refusal.error):
        return AccessError(
            f"{doing}: the store refused this machine's clock: {refusal.summary}",
            "set the clock of this machine",
        )
    if code in store_quirks.REDIRECT_CODES or (_names_region(refusal) and not code):
        return AccessError(
            f"{doing}: the store wants another region or endpoint: {refusal.summary}",
            "set --region to the store's (Garage: s3_region), or --endpoint to its own address",
        )
    if status in (401, 403):
        return AccessError(f"{doing}: the store refused: {refusal.summary}", _access_hint(refusal))
    if code in store_quirks.CORRUPTED_CODES:
        return IntegrityError(
            f"{doing}: the body arrived damaged: {refusal.summary}",
            "something between here and the store changes bytes: a proxy, or bad memory",
        )
    if status == 407:
        return StoreError(
            f"{doing}: the proxy refused: {refusal.summary}", login_hint(host.partition(":")[0])
        )
    if status in (405, 501):
        return StoreError(f"{doing}: the store cannot do this: {refusal.summary}")
    return StoreError(
        f"{doing}: the store failed: {refusal.summary}", _store_failure_hint(refusal, sent)
    )


def is_not_a_store(refusal: Refusal) -> bool:
    """Return whether no S3 store refuses like this: a redirect, or no error document."""
    if any(refusal.error) or refusal.broken or _names_region(refusal):
        return False
    if refusal.status in _LOGIN_STATUSES:
        # The answer to a HEAD has no document, and one with a store's headers may be cut short.
        return refusal.body is not None and not store_quirks.has_s3_header(refusal.headers)
    if refusal.body and 400 <= refusal.status < 500 and refusal.status not in _OF_PROXIES:
        return not store_quirks.has_s3_header(refusal.headers)
    return refusal.status in _NEVER_BARE


def unanswered_error(
    error: TransportError, doing: str, where: str, attempts: Attempts
) -> Unanswered:
    """Return the error for a request without an answer; `where` is the host."""
    error_class = (
        Unanswered if error.kind in (FailureKind.BROKEN, FailureKind.MALFORMED) else Silent
    )
    text = f"{doing}: {where}: {describe_failure(error, attempts)}"
    return error_class(text, failure_hint(error.kind))


def unknown_size_error(doing: str, host: str) -> StoreError:
    """Return the error for an object whose size is in no answer, not even to a range."""
    return StoreError(
        f"{doing}: the store does not say how large it is",
        f"a proxy or a CDN at {host} hides sizes: let it pass Content-Length and Range on, or give "
        "--endpoint the address of the store behind it",
    )


def failure_hint(kind: FailureKind) -> str:
    """Return the next step if a store does not answer."""
    return _FAILURE_HINTS.get(kind) or common_hint(kind)


def _names_region(refusal: Refusal) -> bool:
    return refusal.status in (301, 307, 400) and "x-amz-bucket-region" in refusal.headers


def _store_failure_hint(refusal: Refusal, sent: int) -> str:
    if store_quirks.is_retryable(refusal.status, refusal.error.code):
        return "a later run may succeed"
    if refusal.status == 413 and sent:
        limit = "a proxy limits what may be sent (nginx: client_max_body_size)"
        return (
            f"{limit}; try --part-size 5MiB"
            if sent > store_quirks.MIN_PART
            else f"{limit}: raise it"
        )
    return "`cacher doctor` shows what works"


def _access_hint(refusal: Refusal) -> str:
    said = f"{refusal.error.code} {refusal.error.message}".lower()
    for words, hint in _ACCESS_HINTS:
        if any(word in said for word in words):
            return hint
    return "check the credentials and their permissions; `cacher doctor` shows more"


def _title(body: bytes) -> str:
    match = _TITLE.search(body.decode(errors="replace"))
    if not match:
        return ""
    from html import unescape  # large, and rarely needed

    return plain(unescape(match[1]).replace('"', "'"), _LONGEST_TITLE)


def _scheme_and_host(url: str) -> str:
    """Return scheme and host of a URL, without possible secrets; empty if it has none."""
    try:
        parts = urlsplit(url)
        name = parts.hostname or ""
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[\w.:-]{1,253}", name, re.ASCII):
        return ""
    return f"{parts.scheme}://{name}"
