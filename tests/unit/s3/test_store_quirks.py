"""The tables of how stores differ: what each entry is there for."""

from __future__ import annotations

import pytest

from cacher.s3 import store_quirks
from cacher.s3.store_quirks import CORRUPTED_CODES, RETRY_CODES, is_retryable
from cacher.s3.xml import ErrorDocument


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("s3.amazonaws.com", "us-east-1"),
        ("s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("s3-eu-west-1.amazonaws.com", "eu-west-1"),
        ("s3.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("s3.dualstack.us-east-2.amazonaws.com", "us-east-2"),
        ("s3-fips.us-east-1.amazonaws.com", "us-east-1"),
        ("s3-fips.dualstack.us-east-1.amazonaws.com", "us-east-1"),
        ("s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("S3.EU-Central-1.AmazonAWS.com", "eu-central-1"),
        ("s3.us-west-004.backblazeb2.com", "us-west-004"),
        ("s3.eu-central-2.wasabisys.com", "eu-central-2"),
        ("s3.fr-par.scw.cloud", "fr-par"),
        ("0123456789abcdef.r2.cloudflarestorage.com", "auto"),
        ("0123456789abcdef.eu.r2.cloudflarestorage.com", "auto"),
        ("storage.googleapis.com", "auto"),
    ],
)
def test_hosts_that_tell_their_region(host: str, region: str) -> None:
    assert store_quirks.region_of_host(host) == region


@pytest.mark.parametrize(
    "host",
    [
        "",
        "127.0.0.1",
        "garage.example.org",
        "s3.eu-central-1.example.org",
        "s3.eu-central-1.amazonaws.com.example.org",
        "s3.wasabisys.com",
    ],
)
def test_hosts_that_do_not(host: str) -> None:
    assert store_quirks.region_of_host(host) == ""


MALFORMED = ErrorDocument("AuthorizationHeaderMalformed", "unexpected scope", "garage")
BUCKET_REGION = {"x-amz-bucket-region": "eu-west-1"}


@pytest.mark.parametrize(
    ("status", "headers", "error", "region"),
    [
        pytest.param(400, {}, MALFORMED, "garage", id="garage"),
        pytest.param(301, BUCKET_REGION, ErrorDocument(), "eu-west-1", id="aws-head-301"),
        pytest.param(307, BUCKET_REGION, ErrorDocument(), "eu-west-1", id="aws-head-307"),
        pytest.param(400, BUCKET_REGION, ErrorDocument(), "eu-west-1", id="aws-head-400"),
        pytest.param(
            301, {}, ErrorDocument("PermanentRedirect", region="eu-west-3"), "eu-west-3", id="body"
        ),
        pytest.param(400, {}, ErrorDocument("AuthorizationHeaderMalformed"), "", id="untold"),
        pytest.param(403, BUCKET_REGION, ErrorDocument("AccessDenied"), "", id="forbidden"),
        pytest.param(400, {}, ErrorDocument("InvalidRequest", region="x"), "", id="another-code"),
    ],
)
def test_the_region_that_a_refusal_tells(
    status: int, headers: dict[str, str], error: ErrorDocument, region: str
) -> None:
    assert store_quirks.region_in_refusal(status, headers, error) == region


@pytest.mark.parametrize(
    ("error", "off"),
    [
        (ErrorDocument("RequestTimeTooSkewed"), True),
        (ErrorDocument("ExpiredRequest"), True),
        (ErrorDocument("InvalidRequest", "Bad request: Date is too old"), True),
        (ErrorDocument("InvalidRequest", "Bad request: no such thing"), False),
        (ErrorDocument("AccessDenied", "Date is too old"), False),
        (ErrorDocument(), False),
    ],
)
def test_refusals_for_the_clock(error: ErrorDocument, off: bool) -> None:
    assert store_quirks.is_clock_refusal(error) is off


@pytest.mark.parametrize(
    ("status", "error", "reached"),
    [
        (403, ErrorDocument("AccessDenied", "Forbidden: Object quota is reached, 3"), True),
        (403, ErrorDocument("AccessDenied", "Bucket size QUOTA is reached"), True),
        (403, ErrorDocument("QuotaExceeded"), True),
        (507, ErrorDocument(), True),
        (400, ErrorDocument("XMinioAdminBucketQuotaExceeded"), True),
        (403, ErrorDocument("AccessDenied", "Forbidden"), False),
        (503, ErrorDocument("SlowDown"), False),
    ],
)
def test_full_stores(status: int, error: ErrorDocument, reached: bool) -> None:
    assert store_quirks.is_quota_refusal(status, error) is reached


def test_limits_hang_together() -> None:
    assert store_quirks.MIN_PART <= store_quirks.MAX_PART
    assert store_quirks.FEW_PARTS <= store_quirks.MAX_PARTS
    assert 1 <= store_quirks.BULK_DELETE_KEYS <= 1000  # AWS refuses more


@pytest.mark.parametrize("status", [408, 429, 499, 500, 502, 503, 504, 520])
def test_statuses_that_pass(status: int) -> None:
    assert is_retryable(status, "")
    assert is_retryable(status, "Whatever")


@pytest.mark.parametrize(
    "status", [301, 307, 400, 401, 403, 404, 405, 409, 411, 412, 416, 501, 507]
)
def test_statuses_that_last(status: int) -> None:
    assert not is_retryable(status, "")
    assert not is_retryable(status, "AccessDenied")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((400, code) for code in sorted(RETRY_CODES)),
        (409, "OperationAborted"),
        (410, "ConnectionClosed"),
        (400, "RequestTimeout"),
        (400, "Throttling"),
        (400, "ThrottlingException"),
        (400, "ThrottledException"),
    ],
)
def test_codes_that_pass_under_any_status(status: int, code: str) -> None:
    assert is_retryable(status, code)


@pytest.mark.parametrize("code", [*sorted(CORRUPTED_CODES), "NotThrottled", "slowdown"])
def test_codes_that_are_not_simply_sent_again(code: str) -> None:
    assert not is_retryable(400, code)
