"""Signatures: the worked examples of the S3 documentation, and botocore's own signer."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Mapping
from unittest import mock
from urllib.parse import unquote

import botocore.auth  # type: ignore[import-untyped]
import pytest
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.credentials import Credentials  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from cacher.s3.signing import (
    EMPTY_SHA256,
    Keys,
    canonical_request,
    encode_path,
    encode_query,
    sign,
    signing_key,
    timestamp,
)

# --- the documentation ---------------------------------------------------------------------------

HOST = "examplebucket.s3.amazonaws.com"
NOW = 1369353600.0  # 20130524T000000Z
EXAMPLE = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
TEXT_SHA256 = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "sha256", "names", "signature"),
    [
        pytest.param(
            "GET",
            "/test.txt",
            {},
            {"range": "bytes=0-9"},
            EMPTY_SHA256,
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            id="get-object",
        ),
        pytest.param(
            "PUT",
            "/test$file.text",
            {},
            {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            TEXT_SHA256,
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            id="put-object",
        ),
        pytest.param(
            "GET",
            "/",
            {"lifecycle": ""},
            {},
            EMPTY_SHA256,
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            id="get-lifecycle",
        ),
        pytest.param(
            "GET",
            "/",
            {"max-keys": "2", "prefix": "J"},
            {},
            EMPTY_SHA256,
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            id="list-objects",
        ),
    ],
)
def test_the_worked_examples(
    method: str,
    path: str,
    query: dict[str, str],
    headers: dict[str, str],
    sha256: str,
    names: str,
    signature: str,
) -> None:
    """Source: "Transferring Payload in a Single Chunk" in the Amazon S3 API reference."""
    signed = sign(
        method,
        encode_path(path),
        encode_query(query),
        {"host": HOST, **headers},
        payload_sha256=sha256,
        keys=EXAMPLE,
        region="us-east-1",
        now=NOW,
    )
    assert signed["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    assert signed["x-amz-date"] == "20130524T000000Z"
    assert signed["x-amz-content-sha256"] == sha256
    assert {name: signed[name] for name in headers} == headers


def test_the_worked_signing_key() -> None:
    """Source: "Deriving the signing key" in AWS's documentation of Signature Version 4."""
    key = signing_key(EXAMPLE.secret, "20150830", "us-east-1", "iam")
    assert key.hex() == "2c94c0cf5378ada6887f09bb697df8fc0affdb34ba1cdd5bda32b664bd55b73c"


def test_the_empty_digest_is_the_published_one() -> None:
    assert EMPTY_SHA256 == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


# --- botocore ------------------------------------------------------------------------------------

TOKEN_CHARACTERS = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
KEY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
NAMES = st.from_regex(r"\A(x-amz-(meta-)?[a-z0-9-]{1,12}|content-md5|content-type|range)\Z")
TIMES = st.integers(0, 4_102_444_799)  # to the end of the year 2099


def signed_by_botocore(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    keys: Keys,
    region: str,
    now: int,
) -> str:
    frozen = datetime.datetime.fromtimestamp(now, datetime.UTC).replace(tzinfo=None)
    request = AWSRequest(method, url, headers=headers, data=body)
    request.context["payload_signing_enabled"] = True
    signer = botocore.auth.S3SigV4Auth(
        Credentials(keys.key_id, keys.secret, keys.token or None), "s3", region
    )
    with mock.patch.object(botocore.auth, "get_current_datetime", lambda **_: frozen):
        signer.add_auth(request)
    authorization = request.headers["Authorization"]
    assert isinstance(authorization, str)
    return authorization


@given(
    method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]),
    key=KEY_TEXT,
    query=st.dictionaries(
        st.from_regex(r"\A[a-zA-Z0-9_.~-]{1,10}\Z"), KEY_TEXT | st.just(""), max_size=4
    ),
    headers=st.dictionaries(NAMES, VALUES, max_size=4),
    body=st.binary(max_size=20),
    secret=st.text(TOKEN_CHARACTERS, min_size=1, max_size=40),
    token=st.just("") | st.text(TOKEN_CHARACTERS, min_size=1, max_size=40),
    region=st.from_regex(r"\A[a-z0-9-]{1,16}\Z"),
    now=TIMES,
)
def test_it_signs_as_botocore_does(
    method: str,
    key: str,
    query: dict[str, str],
    headers: dict[str, str],
    body: bytes,
    secret: str,
    token: str,
    region: str,
    now: int,
) -> None:
    for name in ("x-amz-date", "x-amz-content-sha256", "x-amz-security-token"):
        headers.pop(name, None)
    keys = Keys("GK31c2f218a2e44f485b94239e", secret, token)
    path, wire_query = encode_path(f"/bucket/{key}"), encode_query(query)
    signed = sign(
        method,
        path,
        wire_query,
        {"host": "localhost:3900", **headers},
        payload_sha256=hashlib.sha256(body).hexdigest(),
        keys=keys,
        region=region,
        now=float(now),
    )
    url = f"http://localhost:3900{path}" + (f"?{wire_query}" if wire_query else "")
    expected = signed_by_botocore(
        method, url, {"host": "localhost:3900", **headers}, body, keys, region, now
    )
    assert signed["authorization"] == expected
    assert signed.get("x-amz-security-token", "") == token


# --- what is on the wire -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "encoded"),
    [
        ("a/../b", "a/../b"),
        ("a//b", "a//b"),
        ("a~b-c_d.e", "a~b-c_d.e"),
        ("a+b", "a%2Bb"),
        ("a b", "a%20b"),
        ("é", "%C3%A9"),
        ("%41", "%2541"),
        ("a?b#c&d=e", "a%3Fb%23c%26d%3De"),
        ("😀", "%F0%9F%98%80"),
    ],
)
def test_names_are_encoded_once(key: str, encoded: str) -> None:
    assert encode_path(f"/{key}") == f"/{encoded}"


@given(KEY_TEXT)
def test_encoding_is_canonical_and_loses_nothing(key: str) -> None:
    encoded = encode_path(key)
    assert re.fullmatch(r"(?:[A-Za-z0-9/_.~-]|%[0-9A-F]{2})*", encoded)
    assert unquote(encoded, errors="strict") == key


def test_queries_are_sorted_with_a_value_for_each_name() -> None:
    query = {"uploads": "", "prefix": "a b/c+", "max-keys": "2", "X": "~"}
    assert encode_query(query) == "X=~&max-keys=2&prefix=a%20b%2Fc%2B&uploads="
    assert encode_query({}) == ""


def test_what_is_sent_is_what_is_signed() -> None:
    """Servers differ in whether they collapse blanks, so none are sent."""
    signed = sign(
        "PUT",
        "/b/k",
        "",
        {"host": "h", "x-amz-meta-note": "  a \t  b  ", "user-agent": "cacher/1  x"},
        payload_sha256=EMPTY_SHA256,
        keys=EXAMPLE,
        region="garage",
        now=NOW,
    )
    assert signed["x-amz-meta-note"] == "a b"
    assert signed["user-agent"] == "cacher/1 x"


def test_what_proxies_rewrite_is_not_signed() -> None:
    rewritten = ["accept-encoding", "connection", "content-length", "expect", "user-agent"]
    headers = dict.fromkeys([*rewritten, "host", "x-amz-date"], "v")
    request, names = canonical_request("GET", "/", "", headers, EMPTY_SHA256)
    assert names == "host;x-amz-date"
    assert request == f"GET\n/\n\nhost:v\nx-amz-date:v\n\nhost;x-amz-date\n{EMPTY_SHA256}"


@pytest.mark.parametrize(
    ("now", "expected"),
    [(0.0, "19700101T000000Z"), (NOW + 0.9, "20130524T000000Z"), (NOW - 0.1, "20130523T235959Z")],
)
def test_timestamps_are_utc_to_the_second(now: float, expected: str) -> None:
    assert timestamp(now) == expected


def test_the_callers_headers_are_left_alone() -> None:
    headers = {"host": "h", "range": " bytes=0-1"}
    sign("GET", "/", "", headers, payload_sha256=EMPTY_SHA256, keys=EXAMPLE, region="r", now=NOW)
    assert headers == {"host": "h", "range": " bytes=0-1"}


@given(st.text(TOKEN_CHARACTERS, min_size=12), st.text(TOKEN_CHARACTERS, min_size=12))
def test_keys_do_not_show_their_secrets(secret: str, token: str) -> None:
    keys = Keys("the-id", secret, token)
    assert repr(keys) == str(keys) == f"{keys}" == "Keys(key_id='the-id')"
