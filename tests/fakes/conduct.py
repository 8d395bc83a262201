"""What a well-behaved client never sends, although one store or another would take it.

The request profile under which every S3 store works, turned around: each function gives the
violations in one request as short sentences. Knows neither keys nor objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.fakes.request import Request
from tests.fakes.signatures import canonical_uri

# Refused or misread by at least one store (R2, B2, GCS, older Garage, Ceph or Swift).
FORBIDDEN_HEADERS = re.compile(
    r"expect|transfer-encoding|x-amz-(?:checksum-.*|sdk-checksum-algorithm|trailer"
    r"|decoded-content-length|acl|grant-.*|tagging|tagging-directive|storage-class)"
)

# Proxies rewrite them on the way, and the signature breaks.
NEVER_SIGNED = frozenset(
    {"accept-encoding", "user-agent", "content-length", "expect", "connection"}
)

MAX_BULK_DELETE = 1000  # AWS, MinIO, SeaweedFS

_BLANKS = re.compile(r"\s{2,}|[^\S ]", re.ASCII)
_SIGNED_HEADERS = re.compile(r"SignedHeaders=([^,\s]*)")
_XML_BLANKS = re.compile(rb"^\s|>\s+<|\s$")


def head_violations(request: Request, port: int, secure: bool) -> list[str]:
    """What is wrong with a request before its body: `secure` tells whether it came over TLS."""
    return [
        *_framing(request),
        *_header_names(request),
        *_header_values(request, port),
        *_payload(request, secure),
        *_target(request),
    ]


def body_violations(request: Request, body: bytes) -> list[str]:
    """What is wrong with a request's XML: blanks between elements are an error before 2.3."""
    found = []
    if request.operation in {"DeleteObjects", "CompleteMultipartUpload"}:
        if _XML_BLANKS.search(body):
            found.append("whitespace between XML elements")
        if body.count(b"<Object>") > MAX_BULK_DELETE:
            found.append(f"more than {MAX_BULK_DELETE} keys in one DeleteObjects")
    return found


def _framing(request: Request) -> Iterator[str]:
    if request.method in {"PUT", "POST"} and "content-length" not in request.headers:
        yield f"{request.method} without Content-Length"
    if "aws-chunked" in request.headers.get("content-encoding", ""):
        yield "Content-Encoding: aws-chunked"


def _header_names(request: Request) -> Iterator[str]:
    names = [name for name, _ in request.lines]
    for name in sorted(set(names)):
        if FORBIDDEN_HEADERS.fullmatch(name):
            yield f"header {name}"
        if names.count(name) > 1:
            yield f"header {name} sent twice"
    match = _SIGNED_HEADERS.search(request.headers.get("authorization", ""))
    for name in sorted(NEVER_SIGNED.intersection(match[1].split(";") if match else ())):
        yield f"header {name} signed"


def _header_values(request: Request, port: int) -> Iterator[str]:
    for name, value in request.lines:
        if _BLANKS.search(value):
            yield f"a run of blanks in header {name}"
        if not value.isascii():
            yield f"header {name} is not ASCII"
    if not request.headers.get("host", "").endswith(f":{port}"):
        yield "Host without the port"


def _payload(request: Request, secure: bool) -> Iterator[str]:
    claimed = request.headers.get("x-amz-content-sha256", "")
    if claimed.startswith("STREAMING-"):
        yield f"x-amz-content-sha256: {claimed}"
    if claimed == "UNSIGNED-PAYLOAD" and not secure:
        yield "UNSIGNED-PAYLOAD without TLS"


def _target(request: Request) -> Iterator[str]:
    if "versionId" in request.query:
        yield "versionId"  # Garage ignores it, and deletes the current object
    if request.raw_path != canonical_uri(request.raw_path):
        yield "path not in canonical encoding"  # up to 2.2 Garage signs the path as received
    if "+" in request.raw_query:
        yield "+ in the query"
