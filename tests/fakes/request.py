"""A request as it came over the wire, taken apart, and the name of what it asks for.

Knows HTTP's framing and S3's path-style addresses as Garage's router reads them; no state, no
keys, no answers. The raw target is kept: signatures are about the bytes that were sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote_to_bytes

MAX_LINE = 65_536
MAX_HEADERS = 100  # hyper's limit, which Garage inherits


class BadHead(Exception):
    """What arrived is not the head of an HTTP/1.1 request."""


class Head(NamedTuple):
    """The request line and the header lines, in order; text is latin-1, so bytes survive."""

    method: str
    target: str
    lines: tuple[tuple[str, str], ...]


def read_head(stream: BinaryIO) -> Head | None:
    """The next head on a connection, None where the client has gone."""
    line = stream.readline(MAX_LINE)
    if not line:
        return None
    words = line.decode("latin-1").rstrip("\r\n").split(" ")
    if len(words) != 3 or words[2] != "HTTP/1.1" or not words[1].startswith("/"):
        raise BadHead(f"not a request line: {line[:80]!r}")
    lines: list[tuple[str, str]] = []
    while True:
        line = stream.readline(MAX_LINE)
        if not line:
            return None
        if line in (b"\r\n", b"\n"):
            return Head(words[0], words[1], tuple(lines))
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or name != name.strip() or len(lines) == MAX_HEADERS:
            raise BadHead(f"not a header line, or one too many: {line[:80]!r}")
        lines.append((name.lower(), value.strip(" \t\r\n")))


class Route(NamedTuple):
    """An operation: its method, its level, the query names that select it, the permission."""

    method: str
    level: str
    names: tuple[str, ...]
    operation: str
    permission: str


# The first that fits counts. Permissions as in Garage's router: listing parts is reading.
ROUTES = (
    Route("GET", "bucket", ("location",), "GetBucketLocation", "read"),
    Route("GET", "bucket", ("list-type",), "ListObjectsV2", "read"),
    Route("HEAD", "bucket", (), "HeadBucket", "read"),
    Route("POST", "bucket", ("delete",), "DeleteObjects", "write"),
    Route("PUT", "bucket", (), "CreateBucket", ""),
    Route("GET", "object", ("uploadId",), "ListParts", "read"),
    Route("GET", "object", (), "GetObject", "read"),
    Route("HEAD", "object", (), "HeadObject", "read"),
    Route("PUT", "object", ("partNumber", "uploadId"), "UploadPart", "write"),
    Route("PUT", "object", (), "PutObject", "write"),
    Route("POST", "object", ("uploads",), "CreateMultipartUpload", "write"),
    Route("POST", "object", ("uploadId",), "CompleteMultipartUpload", "write"),
    Route("DELETE", "object", ("uploadId",), "AbortMultipartUpload", "write"),
    Route("DELETE", "object", (), "DeleteObject", "write"),
)

UNKNOWN = Route("", "", (), "Unknown", "")

FLAGS = {"uploads", "delete", "location"}

# Features that Garage answers with 501. Any other unknown query name it ignores.
UNSUPPORTED = {"acl", "policy", "tagging", "versions", "versioning", "object-lock", "retention"}


@dataclass(frozen=True)
class Request:
    """One request. `headers` has lower-case names; repeated ones are joined with a comma."""

    method: str
    target: str
    raw_path: str
    raw_query: str
    bucket: str
    key: str
    query: dict[str, str]
    lines: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    route: Route
    malformed: str
    """Why no operation can be made of it, else empty."""

    @property
    def operation(self) -> str:
        """The operation's name in S3's documentation, `Unknown` where there is none."""
        return self.route.operation

    @property
    def length(self) -> int:
        """The length of the body in bytes; without a Content-Length there is none."""
        value = self.headers.get("content-length", "0")
        return int(value) if value.isdecimal() else 0


def parse(head: Head) -> Request:
    """Take a head apart. Never fails: what is wrong with it is in `malformed`."""
    raw_path, _, raw_query = head.target.partition("?")
    query, trouble = _parse_query(raw_query)
    bucket, key, bad_path = _parse_path(raw_path)
    headers: dict[str, str] = {}
    for name, value in head.lines:
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    route = UNKNOWN if UNSUPPORTED & query.keys() else _route(head.method, bucket, key, query)
    return Request(
        method=head.method,
        target=head.target,
        raw_path=raw_path,
        raw_query=raw_query,
        bucket=bucket,
        key=key,
        query=query,
        lines=head.lines,
        headers=headers,
        route=route,
        malformed=trouble or bad_path,
    )


def _parse_path(raw: str) -> tuple[str, str, str]:
    """Bucket, key, and what is wrong. All `/` between the two are lost, as in Garage's router."""
    bucket, _, rest = raw[1:].partition("/")
    try:
        key = unquote_to_bytes(rest.lstrip("/")).decode("utf-8")
        return unquote_to_bytes(bucket).decode("utf-8"), key, ""
    except UnicodeDecodeError:
        return "", "", "Invalid UTF-8 in path"


def _parse_query(raw: str) -> tuple[dict[str, str], str]:
    """Form data: `+` is a space, and a name that comes twice is an error."""
    query: dict[str, str] = {}
    for item in filter(None, raw.split("&")):
        pair = [unquote_to_bytes(half.replace("+", " ")) for half in item.split("=", 1)]
        try:
            name = pair[0].decode("utf-8")
            value = pair[1].decode("utf-8") if len(pair) == 2 else ""
        except UnicodeDecodeError:
            return query, "Invalid UTF-8 in query"
        if name in query:
            return query, f"Query parameter `{name}` is given twice"
        query[name] = value
    return query, ""


def _route(method: str, bucket: str, key: str, query: dict[str, str]) -> Route:
    level = "object" if key else "bucket" if bucket else "service"
    for route in ROUTES:
        # A parameter with an empty value counts as absent, save for those that are only flags.
        chosen = all(n in query if n in FLAGS else query.get(n) for n in route.names)
        if route.method == method and route.level == level and chosen:
            return route
    return UNKNOWN
