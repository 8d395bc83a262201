"""What went wrong with a request, and how to say it: refusals and dead connections become errors.

Knows no socket. Every error names what was being done, says what the store said, and hints at the
next step; none holds a secret, nor markup, nor a page.
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
from cacher.http.exceptions import TransportError, Trouble, status_text, tried
from cacher.http.proxies import LOGIN_HINT, PROXY_HINT
from cacher.http.retry import CORRUPTED_CODES, Attempts, worth_retrying
from cacher.http.tls import advice
from cacher.s3 import store_quirks
from cacher.s3.xml import ErrorDocument, plain

_LONGEST_TITLE = 100
"""Characters of a page's title that go into a message."""

_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)

_MEDIA_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}", re.ASCII)

_WANTS_TLS = re.compile(
    # Go's net/http; nginx; Apache; Tomcat.
    rb"HTTP request to an HTTPS|sent to HTTPS port|plain HTTP to an SSL|requires TLS"
)

_BARE = frozenset([*range(300, 400), 400, 404, 405, 501, 511])
"""Statuses that S3 stores give only with an error document, or with the region of the bucket."""


_LOGINS = (401, 403)
"""Statuses of proxies that want a login. A store says in a document why it refuses."""


class NotAStore(StoreError):
    """What answers is not an S3 store."""


class Fault(NamedTuple):
    """A refusal: the status, what the error document says, and the answer's headers."""

    status: int
    error: ErrorDocument = ErrorDocument()
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes | None = None
    """The beginning of an answer that is not an error document: a proxy's page, say."""

    broken: str = ""
    """Why the document that was asked for could not be read, if it came."""

    came_as: int = 0
    """The status that it came with, where `status` is the one that was meant."""

    @property
    def said(self) -> str:
        """The refusal in a few words."""
        what = f"HTTP {self.came_as or self.status} {self.error.code}".rstrip()
        if self.error.message:
            return f"{self.error.message.rstrip('.')} ({what})"
        if self.error.code:
            return what
        if self.broken:
            return f"its answer is damaged: {self.broken}"
        return described(self.status, self.headers, self.body)


def described(status: int, headers: Mapping[str, str], body: bytes | None) -> str:
    """What came, in a few words: status, media type and title, and no more of what it holds.

    `body` is its beginning, None where it has none to be seen (a HEAD).
    """
    parts = [status_text(status)]
    if 300 <= status < 400 and (target := _site(headers.get("location", ""))):
        parts[0] += f" to {target}"
    if match := _MEDIA_TYPE.match(headers.get("content-type", "")):
        parts.append(match[0])
    if body == b"":
        parts.append("empty")
    elif body and (title := _title(body)):
        parts.append(f'title "{title}"')
    return ", ".join(parts)


def foreign(
    doing: str, host: str, status: int, headers: Mapping[str, str], body: bytes | None
) -> NotAStore:
    """The error for an answer that no S3 store gives; `host` is where it came from."""
    came = described(status, headers, body)
    hint = "check --endpoint: it must be the address of the S3 API"
    if status == 400 and body and _WANTS_TLS.search(body):
        hint = f"is it {host.replace('http:', 'https:')}?"
    elif status in _LOGINS:
        hint += ", and no login may stand before it"
    elif status == 511:
        hint = "this is the login page of the network: log in there, or use another network"
    return NotAStore(f"{doing}: {host} answered, but not as an S3 store does: {came}", hint)


_UNREACHABLE = "check --endpoint; is the store running and reachable from this machine?"

_TROUBLE_HINTS = {
    Trouble.NAME: "check the host name in --endpoint, and whether this machine has a network",
    Trouble.CONNECT: _UNREACHABLE,
    Trouble.REFUSED: _UNREACHABLE,
    Trouble.EXPIRED: "renew the store's certificate, or set this machine's clock",
    Trouble.EARLY: "set this machine's clock, or renew the store's certificate",
    Trouble.MISMATCH: "check the host name in --endpoint",
    Trouble.PLAIN: "is it an http:// endpoint?",
    Trouble.ENCRYPTED: "is it an https:// endpoint?",
    Trouble.MALFORMED: "check --endpoint: does an S3 store answer there, and no proxy before it?",
    Trouble.PROXY: PROXY_HINT,
    Trouble.TUNNEL: PROXY_HINT,
    Trouble.LOGIN: LOGIN_HINT,
    Trouble.SILENCE: "the store or the network hangs; a later run may succeed",
    Trouble.SLOW: "the store or the network hangs; a later run may succeed",
    Trouble.BROKEN: "a later run may succeed; `cacher doctor` shows more",
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
        "this key lacks the permission on the bucket; `cacher doctor` shows which it has",
    ),
    (("expiredtoken", "expired"), "get new credentials"),
    (("invalidobjectstate",), "the object is archived; restore it in the store first"),
)


def explained(fault: Fault, doing: str, bucket: str, host: str, *, sent: int = 0) -> CacherError:
    """The refusal as an error: `doing` is what was tried ("reading go.tar.gz").

    `sent` is the size of the request's body.
    """
    code, status = fault.error.code, fault.status
    if is_foreign(fault):
        return foreign(doing, host, status, fault.headers, fault.body)
    if code == "NoSuchBucket":
        return AccessError(
            f"{doing}: the bucket {bucket!r} does not exist",
            "check --bucket, or make the bucket; cacher does not make buckets",
        )
    if store_quirks.quota_is_reached(status, fault.error):
        return AccessError(
            f"{doing}: the store is full: {fault.said}",
            "delete entries (`cacher delete --prefix`), or raise the quota",
        )
    if store_quirks.clock_is_off(fault.error):
        return AccessError(
            f"{doing}: the store refused this machine's clock: {fault.said}",
            "set the clock of this machine",
        )
    if code in store_quirks.REDIRECTIONS or (_names_region(fault) and not code):
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
    if status == 407:
        return StoreError(f"{doing}: the proxy refused: {fault.said}", _proxy_hint(host))
    if status in (405, 501):
        return StoreError(f"{doing}: the store cannot do this: {fault.said}")
    return StoreError(f"{doing}: the store failed: {fault.said}", _failure_hint(fault, sent))


def is_foreign(fault: Fault) -> bool:
    """Whether no S3 store refuses like that: a redirection, or a refusal without a document."""
    if any(fault.error) or fault.broken or _names_region(fault):
        return False
    if fault.status in _LOGINS:
        # The answer to a HEAD has no document, and one with a store's headers may be cut short.
        return fault.body is not None and not store_quirks.is_marked(fault.headers)
    return fault.status in _BARE


def unanswered(error: TransportError, doing: str, where: str, attempts: Attempts) -> Unanswered:
    """A dead connection as an error: `where` is the host."""
    kind = Unanswered if error.trouble in (Trouble.BROKEN, Trouble.MALFORMED) else Silent
    hint = trouble_hint(error.trouble)
    if error.trouble is Trouble.PROXY and " 407" in error.detail:
        hint = _proxy_hint(where)
    return kind(f"{doing}: {where}: {tried(error, attempts)}", hint)


def sizeless(doing: str, host: str) -> StoreError:
    """The error for an object whose size no answer tells, not even with a range."""
    return StoreError(
        f"{doing}: the store does not say how large it is",
        f"a proxy or a CDN at {host} hides sizes: let it pass Content-Length and Range on, or give "
        "--endpoint the address of the store behind it",
    )


def trouble_hint(trouble: Trouble) -> str:
    """The next step where a store does not answer."""
    return _TROUBLE_HINTS.get(trouble) or advice()


def _names_region(fault: Fault) -> bool:
    return fault.status in (301, 307, 400) and "x-amz-bucket-region" in fault.headers


def _proxy_hint(host: str) -> str:
    name = "HTTPS_PROXY" if host.startswith("https:") else "HTTP_PROXY"
    return f"the proxy needs credentials: {name}=http://USER:PASSWORD@HOST:PORT"


def _failure_hint(fault: Fault, sent: int) -> str:
    if worth_retrying(fault.status, fault.error.code):
        return "a later run may succeed"
    if fault.status == 413 and sent:
        limit = "a proxy limits what may be sent (nginx: client_max_body_size)"
        return (
            f"{limit}; try --part-size 5MiB"
            if sent > store_quirks.MIN_PART
            else f"{limit}: raise it"
        )
    return "`cacher doctor` shows what works"


def _access_hint(fault: Fault) -> str:
    said = f"{fault.error.code} {fault.error.message}".lower()
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


def _site(url: str) -> str:
    """Scheme and host of a URL, without what may be secret in it; empty where it has none."""
    try:
        parts = urlsplit(url)
        name = parts.hostname or ""
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[\w.:-]{1,253}", name, re.ASCII):
        return ""
    return f"{parts.scheme}://{name}"
