"""How Garage and the other stores differ, as data, each line with its source.

Whatever works everywhere (path style, hashed bodies, equal parts, `encoding-type=url`) is in the
client, not here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cacher.http.retry import RETRY_STATUSES
from cacher.s3.xml import ErrorDocument

MIB = 1024 * 1024

DEFAULT_REGION = "garage"
"""Garage's default. Other stores take any region, or name their own in the refusal."""

REGIONS_BY_HOST = (
    # Endpoints that contain their region, from the stores' own documentation.
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
"""Swift's and Scaleway's default limit on the parts of one upload; obeyed if possible."""

MAX_PARTS = 10_000
"""The limit of all other stores."""

MAX_PART = 5 * 1024 * MIB
"""The largest part and the largest plain PUT (AWS)."""

BULK_DELETE_KEYS = 100
"""Keys in one DeleteObjects. AWS allows 1000; Garage deletes them one by one before it answers."""

NO_BULK_DELETE_STATUSES = frozenset([400, 405, 501])
"""How stores without DeleteObjects refuse it (GCS: 400; others 405 or 501)."""

MISSING_CODES = frozenset(["NoSuchKey", "NoSuchVersion"])
"""Codes of a 404 that mean a miss: there is no such object, or no version of it."""

READ_STATUSES = frozenset([200, 206])
"""GetObject: 206 for a range; rclone answers 200 for one."""

DELETED_STATUSES = frozenset([200, 204])
"""DeleteObject: 204, or 200 on some stores. AbortMultipartUpload: Garage answers 200 before 2.1.0,
204 since."""

PROOF_HEADERS = ("etag", "x-amz-request-id")
"""An S3 store sends at least one of these with each object that is read or written. Garage sends no
request id, and JuiceFS' gateway no ETag unless it runs with --keep-etag."""

_PAGES = re.compile("text/|application/(json|xhtml)")

_REGION = re.compile(r"[A-Za-z0-9_.-]{1,64}")

REDIRECT_CODES = ("AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect")
"""Codes of refusals that name another region, or another address."""

RETRY_CODES = frozenset(
    # From the stores' documentation, and what botocore, minio-go, restic and s5cmd retry.
    [
        "ConditionalRequestConflict",  # 409
        "ConnectionClosed",  # 410, Wasabi
        "DisconnectError",  # 410, Wasabi
        "InternalError",
        "OperationAborted",  # 409
        "RequestLimitExceeded",
        "RequestTimeout",  # 400 on AWS
        "ServiceUnavailable",
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "TooManyRequests",
        "Unavailable",
        "XMinioServerNotInitialized",
    ]
)
"""Codes of refusals that may pass, whatever their status; those that begin with Throttl as well."""

CORRUPTED_CODES = frozenset(
    ["BadDigest", "IncompleteBody", "InvalidDigest", "XAmzContentSHA256Mismatch"]
)
"""The body did not arrive as signed: send it again once, after reading its source again."""

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


def is_retryable(status: int, code: str) -> bool:
    """Return whether the same request may succeed later."""
    return status in RETRY_STATUSES or code in RETRY_CODES or code.startswith("Throttl")


def may_be_a_page(headers: Mapping[str, str]) -> bool:
    """Return whether an object may be a page of any web server: those have ETags, too.

    All stores but Garage send a request id in each answer, and entries have metadata.
    """
    return not has_s3_header(headers) and bool(
        _PAGES.match(headers.get("content-type", "").lower())
    )


def has_s3_header(headers: Mapping[str, str]) -> bool:
    """Return whether an answer has an `x-amz-` header."""
    return any(name.lower().startswith("x-amz-") for name in headers)


def region_of_host(host: str) -> str:
    """Return the region in an endpoint's host name, or an empty string."""
    for pattern, region in REGIONS_BY_HOST:
        match = pattern.search(host.lower())
        if match:
            return region if region is not None else match[1]
    return ""


def region_in_refusal(status: int, headers: Mapping[str, str], error: ErrorDocument) -> str:
    """Return the right region as a refusal names it, or an empty string.

    Garage, MinIO and Swift: 400 AuthorizationHeaderMalformed with <Region>. AWS: 301, 307 or 400
    with x-amz-bucket-region, which is all that a HEAD gets.
    """
    region = headers.get("x-amz-bucket-region", "")
    if not region or status not in (301, 307, 400):
        names_it = error.code in REDIRECT_CODES
        region = error.region if names_it else ""
    return region if _REGION.fullmatch(region) else ""


def status_of_code(error: ErrorDocument) -> int:
    """Return the status that an error under status 200 means: 500 unless its code is known."""
    return _STATUS_OF_CODE.get(error.code, 500)


def is_clock_refusal(error: ErrorDocument) -> bool:
    """Return whether the refusal is about the clock: AWS's code, or Garage's message."""
    return error.code in ("RequestTimeTooSkewed", "ExpiredRequest") or (
        error.code == "InvalidRequest" and "date is too old" in error.message.lower()
    )


def is_quota_refusal(status: int, error: ErrorDocument) -> bool:
    """Return whether the store is full: by Garage's message, others' code, or 507."""
    return (
        status == 507
        or "quota is reached" in error.message.lower()
        or error.code in ("QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded")
    )
