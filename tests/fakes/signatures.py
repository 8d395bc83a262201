"""AWS Signature Version 4, verified the way Garage does it (its api/common/signature/payload.rs).

Written from the protocol, independently of the client: imports nothing of `cacher`. Knows the
`Authorization` header only; presigned URLs count as anonymous.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from tests.fakes.answers import S3Error, invalid
from tests.fakes.profile import AccessKey, Profile
from tests.fakes.request import Request

ALGORITHM = "AWS4-HMAC-SHA256"
UNRESERVED = "-_.~"
DAY = 86_400.0

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} +Credential=([^,\s]+), *SignedHeaders=([^,\s]+), *Signature=([0-9a-f]{{64}})"
)
_BLANKS = re.compile("[ \t]+")


class Authorization(NamedTuple):
    """The three fields of the header; `scope` is everything after the key id."""

    key_id: str
    scope: str
    signed: tuple[str, ...]
    signature: str


def authorization_of(request: Request) -> Authorization:
    """The request's `Authorization`, taken apart."""
    value = request.headers.get("authorization")
    if value is None:
        message = "Forbidden: Garage does not support anonymous access yet"
        raise S3Error(403, "AccessDenied", message)
    match = _AUTHORIZATION.fullmatch(value)
    if match is None:
        raise invalid("Bad request: malformed Authorization header")
    key_id, slash, scope = match[1].partition("/")
    if not slash:
        raise invalid("Bad request: malformed Credential")
    return Authorization(key_id, scope, tuple(match[2].split(";")), match[3])


def verify(
    request: Request, keys: Mapping[str, AccessKey], profile: Profile, now: float
) -> AccessKey:
    """The key that signed the request; raises the `S3Error` Garage would answer with.

    `now` is the server's time. The region is checked before the key, so the one hides the other.
    """
    auth = authorization_of(request)
    if "x-amz-content-sha256" not in request.headers:
        raise invalid("Bad request: Missing X-Amz-Content-Sha256 field")
    date = request.headers.get("x-amz-date", "")
    _check_clock(date, profile, now)
    _check_signed_headers(request, auth.signed)
    _check_scope(auth.scope, date, profile)
    key = keys.get(auth.key_id)
    if key is None:
        code = "InvalidAccessKeyId" if profile.aws_style_auth_codes else "AccessDenied"
        raise S3Error(403, code, f"Forbidden: No such key: {auth.key_id}")
    expected = sign(key.secret, auth.scope, string_to_sign(request, auth, date))
    if not hmac.compare_digest(expected, auth.signature):
        code = "SignatureDoesNotMatch" if profile.aws_style_auth_codes else "AccessDenied"
        raise S3Error(403, code, "Forbidden: Invalid signature")
    return key


def _check_clock(date: str, profile: Profile, now: float) -> None:
    if not date:
        raise invalid("Bad request: Missing X-Amz-Date field")
    try:
        sent = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise invalid("Bad request: Invalid date") from None
    if profile.max_skew is None:
        if now - sent > DAY:
            raise invalid("Bad request: Date is too old")
    elif abs(now - sent) > profile.max_skew:
        message = "The difference between the request time and the server's time is too large."
        raise S3Error(403, "RequestTimeTooSkewed", message)


def _check_signed_headers(request: Request, signed: tuple[str, ...]) -> None:
    if list(signed) != sorted({name.lower() for name in signed}):
        raise invalid("Bad request: SignedHeaders are not sorted, lower-case and distinct")
    for name in signed:
        if name not in request.headers:
            raise invalid(f"Bad request: Header `{name}` is signed and not there")
    for name in request.headers:
        if (name == "host" or name.startswith("x-amz-")) and name not in signed:
            raise invalid(f"Bad request: Header `{name}` should be signed")
    if "host" not in signed:
        raise invalid("Bad request: Header `host` should be signed")


def _check_scope(scope: str, date: str, profile: Profile) -> None:
    parts = scope.split("/")
    region = profile.region if profile.require_region else parts[min(1, len(parts) - 1)]
    expected = f"{date[:8]}/{region}/s3/aws4_request"
    if scope != expected:
        message = f"Authorization header malformed, unexpected scope: {scope}, expected {expected}"
        raise S3Error(400, "AuthorizationHeaderMalformed", message)


def canonical_uri(raw_path: str) -> str:
    """Percent-decoded and encoded again, once; `/` stays, nothing is normalised."""
    return quote(unquote_to_bytes(raw_path.encode("latin-1")), safe="/" + UNRESERVED)


def canonical_query(query: Mapping[str, str]) -> str:
    """Whole `name=value` strings, encoded, in order."""
    pairs = (f"{quote(k, safe=UNRESERVED)}={quote(v, safe=UNRESERVED)}" for k, v in query.items())
    return "&".join(sorted(pairs))


def canonical_request(request: Request, signed: tuple[str, ...]) -> bytes:
    """The canonical request; header values are latin-1 here, so the bytes sent are signed."""
    values = ((name, _BLANKS.sub(" ", request.headers[name])) for name in signed)
    headers = "".join(f"{name}:{value}\n" for name, value in values)
    payload = request.headers.get("x-amz-content-sha256", "")
    uri, query = canonical_uri(request.raw_path), canonical_query(request.query)
    parts = (request.method, uri, query, headers, ";".join(signed), payload)
    return "\n".join(parts).encode("latin-1")


def string_to_sign(request: Request, auth: Authorization, date: str) -> str:
    """What the signature is about."""
    digest = hashlib.sha256(canonical_request(request, auth.signed)).hexdigest()
    return "\n".join((ALGORITHM, date, auth.scope, digest))


def sign(secret: str, scope: str, message: str) -> str:
    """The hex signature of `message` under the key derived for `scope`."""
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), message):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()
