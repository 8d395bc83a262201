"""What is shown of headers, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacher.commands.verbose_output import HIDDEN, masked

SECRET = "5ecretValue123"


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Proxy-Authorization",
        "authorization",
        "X-Amz-Security-Token",
        "Set-Cookie",
        "Cookie",
        "WWW-Authenticate",
        "X-Api-Key",
        "X-Vault-Token",
        "Private-Token",
        "X-Auth-User",
        "X-Amz-Signature",
        "x-amz-server-side-encryption-customer-key",
        "x-amz-server-side-encryption-customer-key-md5",
    ],
)
@given(value=st.text(min_size=1))
def test_values_of_secret_names_are_hidden(name: str, value: str) -> None:
    assert dict(masked({name: value})) == {name.lower(): HIDDEN}


@pytest.mark.parametrize(
    "value",
    [
        f"Bearer {SECRET}",
        f"basic {SECRET}",
        f"got AWS4-HMAC-SHA256 Credential=a, Signature={SECRET}",
        f"https://user:{SECRET}@host/f",
        f"https://host/f?X-Amz-Signature={SECRET}",
        f"/f?X-Amz-Signature={SECRET}&x=1",
        f"f?{SECRET}",
        f"/f#{SECRET}",
        f"0; url=https://host/f?{SECRET}",
    ],
)
@pytest.mark.parametrize("name", ["Location", "Refresh", "X-Anything", "Link"])
def test_secrets_in_other_values_are_hidden(name: str, value: str) -> None:
    (shown,) = masked({name: value})
    assert SECRET not in shown[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("etag", '"5d41402abc4b2a76b9719d911017c592"'),
        ("content-length", "12"),
        ("content-range", "bytes 0-1/2"),
        ("x-amz-content-sha256", "0" * 64),
        ("x-amz-date", "20260101T000000Z"),
        ("x-amz-meta-cacher-sha256", "f" * 64),
        ("x-amz-bucket-region", "eu-central-1"),
        ("server", "nginx/1.2"),
        ("location", "https://host/other"),
    ],
)
def test_all_else_is_shown(name: str, value: str) -> None:
    assert list(masked({name: value})) == [(name, value)]
