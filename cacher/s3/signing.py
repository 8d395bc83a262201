"""AWS Signature Version 4, as arithmetic: no clock, no socket.

Source: "Authenticating Requests: Using the Authorization Header" in the Amazon S3 API reference.
Canonical and wire form are one and the same here: names are encoded once, the way both rules that
servers use (sign what was received; decode and encode again) give the same string.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

_SAFE = "-_.~"  # with letters and digits, RFC 3986's unreserved characters

_UNSIGNED = frozenset(
    # Proxies add, drop and rewrite these after we have signed.
    ["accept-encoding", "connection", "content-length", "expect", "user-agent"]
)


class Keys(NamedTuple):
    """An access key pair. The secret parts are not in its repr."""

    key_id: str
    secret: str
    token: str = ""

    def __repr__(self) -> str:
        return f"Keys(key_id={self.key_id!r})"


def encode_path(path: str) -> str:
    """`path` percent-encoded once for request line and signature, `/` kept."""
    return quote(path, safe="/" + _SAFE)


def encode_query(query: Mapping[str, str]) -> str:
    """The canonical query string: encoded, sorted, `name=` for a flag, `%20` for a space."""
    pairs = sorted((quote(k, safe=_SAFE), quote(v, safe=_SAFE)) for k, v in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def timestamp(now: float) -> str:
    """POSIX seconds as `x-amz-date` wants them: `YYYYMMDDTHHMMSSZ`."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


def canonical_request(
    method: str, path: str, query: str, headers: Mapping[str, str], payload_sha256: str
) -> tuple[str, str]:
    """The canonical request and its `SignedHeaders` list.

    `path` and `query` are encoded already; header names are lower case. Every header is signed
    but those that proxies rewrite.
    """
    names = sorted(name for name in headers if name not in _UNSIGNED)
    signed = ";".join(names)
    lines = [method, path, query]
    # Runs of blanks are collapsed before sending (see `sign`), so this is what is on the wire.
    lines += [f"{name}:{_collapsed(headers[name])}" for name in names]
    lines += ["", signed, payload_sha256]
    return "\n".join(lines), signed


def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The key derived for one day (`YYYYMMDD`), region and service."""
    key = b"AWS4" + secret.encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def sign(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    payload_sha256: str,
    keys: Keys,
    region: str,
    now: float,
    service: str = "s3",
) -> dict[str, str]:
    """`headers` (names lower case, `host` among them) with all that authenticates the request.

    `path` and `query` must be sent exactly as given. `now` is in POSIX seconds.
    """
    date = timestamp(now)
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    signed = {name: _collapsed(value) for name, value in headers.items()}
    signed["x-amz-date"] = date
    signed["x-amz-content-sha256"] = payload_sha256
    if keys.token:
        signed["x-amz-security-token"] = keys.token
    request, names = canonical_request(method, path, query, signed, payload_sha256)
    to_sign = "\n".join([ALGORITHM, date, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = signing_key(keys.secret, date[:8], region, service)
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    credential = f"{keys.key_id}/{scope}"
    signed["authorization"] = (
        f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
    )
    return signed


def _collapsed(value: str) -> str:
    """Outer blanks gone and inner runs made one.

    Servers differ in whether they collapse before they verify, so we collapse before we send.
    """
    return " ".join(value.split())
