"""Which manners the fake server has: Garage's by default, as data.

Knows no requests and no state. Where a store's name is given as the source, the fact is one its
sources or its documentation tell; sizes are bytes, times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key the server knows, and what it may do with the bucket."""

    id: str
    secret: str
    read: bool = True
    write: bool = True


DEFAULT_KEY = AccessKey("GK31c2f218a2e44f485b94239e", "b892c0665f0ada8a4755dae98baa3b13")


@dataclass(frozen=True)
class Profile:
    """One store's manners. Without arguments: Garage 2.3."""

    region: str = "garage"
    require_region: bool = True
    """Whether another region in the credential scope is refused (Ceph, SeaweedFS: False)."""

    aws_style_auth_codes: bool = False
    """`InvalidAccessKeyId`, `SignatureDoesNotMatch`, `XAmzContentSHA256Mismatch` and `BadDigest`
    in place of Garage's `AccessDenied` and `InvalidDigest`."""

    clock_offset: float = 0.0
    """How far the server's clock is ahead of this machine's."""

    max_skew: float | None = None
    """None: only requests older than a day are refused (Garage). Else: 403 `RequestTimeTooSkewed`
    beyond it, in both directions (900 on AWS)."""

    read: bool = True
    """Whether any key may read (bucket-wide, on top of the key's own flag)."""

    write: bool = True
    """Whether any key may write (bucket-wide, on top of the key's own flag)."""

    quota_bytes: int | None = None
    """Checked after the upload; at Complete it also aborts the upload (Garage)."""

    conditional_put: Literal["ignored", "enforced", "unsupported"] = "ignored"
    """`If-None-Match` and `If-Match` on PUT and Complete; unsupported is 501 (B2)."""

    max_parts: int | None = None
    """The highest part number (AWS 10000, Swift 1000); Garage has none."""

    min_part_size: int = 0
    """What every part but the last must have, checked at Complete (AWS 5 MiB)."""

    complete_manner: Literal["plain", "keepalive-whitespace"] = "plain"
    """The second: 200, an XML declaration, blanks, then the result or `<Error>` (Swift)."""

    bulk_delete: Literal["missing-is-error", "ok", "unsupported"] = "missing-is-error"
    """`DeleteObjects`: a missing key is a `NoSuchKey` error up to Garage 2.3.0; GCS has none."""

    bulk_delete_status: int = 501
    """What an unsupported `DeleteObjects` is answered with: 400 (GCS), 405 or 501."""

    needs_content_md5: bool = False
    """Whether `DeleteObjects` without Content-MD5 is refused (AWS, MinIO, Swift)."""

    ranges: Literal["ok", "ignored", "partial-200"] = "ok"
    """ignored: 200 and the whole body; partial-200: 200, `Content-Range` and the part (rclone)."""

    head_length: bool = True
    """False: the answer to a HEAD tells no Content-Length (Ceph behind Apache)."""

    chunked: bool = False
    """Whether all answers with a body come in chunks, and none has a Content-Length: a network
    that delivers content, in front of the bucket."""

    weak_etags: bool = False
    """Whether the ETags of GET and HEAD are weak: a proxy that compresses. None of them matches
    `If-Match` (RFC 9110, section 13.1.1)."""

    page_size: int = 1000
    """The most entries on one page of any listing, whatever the client asks for."""

    list_space_as_plus: bool = False
    """With `encoding-type=url` a space is `+` (MinIO), not `%20`."""


GARAGE = Profile()

AWS = Profile(
    region="us-east-1",
    aws_style_auth_codes=True,
    max_skew=900,
    conditional_put="enforced",
    max_parts=10_000,
    min_part_size=5 * MIB,
    bulk_delete="ok",
    needs_content_md5=True,
)

MINIO_2021 = Profile(
    region="us-east-1",
    aws_style_auth_codes=True,
    max_skew=900,
    max_parts=10_000,
    bulk_delete="ok",
    needs_content_md5=True,
    list_space_as_plus=True,
)

SWIFT = Profile(
    region="us-east-1",
    aws_style_auth_codes=True,
    max_skew=900,
    conditional_put="unsupported",
    max_parts=1000,
    min_part_size=5 * MIB,
    complete_manner="keepalive-whitespace",
    bulk_delete="ok",
    needs_content_md5=True,
)
