"""How Garage and the other stores differ, as data, each line with its source.

What is the same everywhere (path style, hashed bodies, equal parts, `encoding-type=url`) is not
here: it is simply what the client does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cacher.s3.xml import ErrorDocument

MIB = 1024 * 1024

DEFAULT_REGION = "garage"
"""Garage is the first store. The others here take any region or name their own in the refusal."""

REGIONS_BY_HOST = (
    # Endpoints that hold their region, from the stores' own documentation.
    (re.compile(r"s3(?:-fips|\.dualstack)*[.-]([a-z]+-[a-z-]+-\d)\.amazonaws\.com(\.cn)?$"), None),
    (re.compile(r"s3\.amazonaws\.com$"), "us-east-1"),
    (re.compile(r"s3\.([a-z0-9-]+)\.backblazeb2\.com$"), None),
    (re.compile(r"s3\.([a-z0-9-]+)\.wasabisys\.com$"), None),
    (re.compile(r"s3\.([a-z0-9-]+)\.scw\.cloud$"), None),
    (re.compile(r"\.r2\.cloudflarestorage\.com$"), "auto"),
    (re.compile(r"storage\.googleapis\.com$"), "auto"),
)

MIN_PART = 5 * MIB
"""The smallest part but the last (AWS, Ceph, SeaweedFS, Swift: EntityTooSmall below)."""

FEW_PARTS = 1000
"""Swift's and Scaleway's default limit on the parts of one upload; kept to where we can."""

MAX_PARTS = 10_000
"""Everybody else's limit."""

MAX_PART = 5 * 1024 * MIB
"""The largest part and the largest plain PUT (AWS)."""

BULK_DELETE_KEYS = 100
"""Keys in one DeleteObjects. AWS allows 1000; Garage deletes them one by one before it answers."""

NO_BULK_DELETE_STATUSES = frozenset([400, 405, 501])
"""How stores without DeleteObjects refuse it (GCS: 400; others 405 or 501)."""

MISSING_CODES = frozenset(["NoSuchKey", "NoSuchVersion"])
"""Codes of a 404 that make a miss: there is no such object, or no version of it."""

READ_STATUSES = frozenset([200, 206])
"""GetObject: 206 for a range; rclone answers 200 for one."""

DELETED_STATUSES = frozenset([200, 204])
"""DeleteObject: 204, or 200 on some stores. AbortMultipartUpload: Garage answers 200 before 2.1.0,
204 since."""

PROOF_HEADERS = ("etag", "x-amz-request-id")
"""Headers of which an S3 store sends one at least with each object that it gives or takes. Garage
sends no request id, and JuiceFS' gateway no ETag unless it runs with --keep-etag."""

_PAGES = re.compile("text/|application/(json|xhtml)")

_REGION = re.compile(r"[A-Za-z0-9_.-]{1,64}")

REDIRECT_CODES = ("AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect")
"""Codes of refusals that name another region, or another address."""

_STATUS_OF_CODE = {
    # Swift's CompleteMultipartUpload has begun to answer 200 before it knows.
    "AccessDenied": 403,
    "EntityTooSmall": 400,
    "InvalidPart": 400,
    "InvalidPartOrder": 400,
    "NoSuchUpload": 404,
    "QuotaExceeded": 403,
}

METADATA_PREFIX = "x-amz-meta-"


def may_be_a_page(headers: Mapping[str, str]) -> bool:
    """Whether an object may as well be a page of any web server: those have ETags, too.

    All stores but Garage name the request in each answer, and what we store has metadata.
    """
    return not has_s3_header(headers) and bool(
        _PAGES.match(headers.get("content-type", "").lower())
    )


def has_s3_header(headers: Mapping[str, str]) -> bool:
    """Whether an answer has a header of S3's own."""
    return any(name.lower().startswith("x-amz-") for name in headers)


def region_of_host(host: str) -> str:
    """The region that an endpoint's host name tells, or an empty string."""
    for pattern, region in REGIONS_BY_HOST:
        match = pattern.search(host.lower())
        if match:
            return region if region is not None else match[1]
    return ""


def region_in_refusal(status: int, headers: Mapping[str, str], error: ErrorDocument) -> str:
    """The region that a refusal names as the right one, or an empty string.

    Garage, MinIO and Swift: 400 AuthorizationHeaderMalformed with <Region>. AWS: 301, 307 or 400
    with x-amz-bucket-region, which is all that a HEAD gets.
    """
    region = headers.get("x-amz-bucket-region", "")
    if not region or status not in (301, 307, 400):
        names_it = error.code in REDIRECT_CODES
        region = error.region if names_it else ""
    return region if _REGION.fullmatch(region) else ""


def status_of_code(error: ErrorDocument) -> int:
    """The status of an error that came under 200: a server's failure, unless it says otherwise."""
    return _STATUS_OF_CODE.get(error.code, 500)


def is_clock_refusal(error: ErrorDocument) -> bool:
    """Whether the store refused us for our clock: AWS's code, or Garage's message."""
    return error.code in ("RequestTimeTooSkewed", "ExpiredRequest") or (
        error.code == "InvalidRequest" and "date is too old" in error.message.lower()
    )


def is_quota_refusal(status: int, error: ErrorDocument) -> bool:
    """Whether the store is full: Garage says so in a message, others in a code or by 507."""
    return (
        status == 507
        or "quota is reached" in error.message.lower()
        or error.code in ("QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded")
    )
