"""AWS Signature Version 4, as arithmetic: no clock, no socket.

Source: "Authenticating Requests: Using the Authorization Header" in the Amazon S3 API reference.
The canonical form is the wire form: names are encoded once, so that both rules of servers (sign
what was received; decode and encode again) give the same string.
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
    # Proxies add, drop and rewrite these after the signature.
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
    """Return `path` percent-encoded once for request line and signature, `/` kept."""
    return quote(path, safe="/" + _SAFE)


def encode_query(query: Mapping[str, str]) -> str:
    """Return the canonical query string: encoded, sorted, `name=` for a flag, `%20` for a space."""
    pairs = sorted((quote(k, safe=_SAFE), quote(v, safe=_SAFE)) for k, v in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def timestamp(now: float) -> str:
    """Format POSIX seconds for `x-amz-date`: `YYYYMMDDTHHMMSSZ`."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


def canonical_request(
    method: str, path: str, query: str, headers: Mapping[str, str], payload_sha256: str
) -> tuple[str, str]:
    """Return the canonical request and its `SignedHeaders` list.

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
    """Derive the key for one day (`YYYYMMDD`), region and service."""
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
    """Return `headers` (names lower case, with `host`) with those that authenticate the request.

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
    """Strip outer blanks and collapse inner ones.

    Not all servers collapse before they verify, so collapse before sending.
    """
    return " ".join(value.split())
