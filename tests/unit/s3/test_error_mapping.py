"""Refusals and dead connections as errors: the right class, the store's words, a next step."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple, cast

import pytest

from cacher.errors import AccessError, CacherError, IntegrityError, Silent, StoreError, Unanswered
from cacher.http.exceptions import FailureKind, TransportError
from cacher.http.retry import Attempts
from cacher.s3.error_mapping import (
    NotAStore,
    Refusal,
    is_not_a_store,
    not_a_store,
    refusal_error,
    unanswered_error,
)
from cacher.s3.xml import ErrorDocument, read_error
from cacher.time_limits import LIMITS

PAGE = {"content-type": "text/html; charset=utf-8"}


def refusal(status: int, code: str = "", message: str = "", region: str = "") -> Refusal:
    return Refusal(status, ErrorDocument(code, message, region))


@pytest.mark.parametrize(
    ("refusal", "kind", "message", "hint"),
    [
        pytest.param(
            refusal(404, "NoSuchBucket", "Bucket not found: cache"),
            AccessError,
            "reading k: the bucket 'cache' does not exist",
            "--bucket",
            id="no-bucket",
        ),
        pytest.param(
            refusal(403, "AccessDenied", "Forbidden: Object quota is reached, maximum: 3"),
            AccessError,
            "reading k: the store is full: "
            "Forbidden: Object quota is reached, maximum: 3 (HTTP 403 AccessDenied)",
            "cacher delete",
            id="quota",
        ),
        pytest.param(
            refusal(507, "XMinioStorageFull"),
            AccessError,
            "reading k: the store is full: HTTP 507 XMinioStorageFull",
            "quota",
            id="full",
        ),
        pytest.param(
            refusal(403, "RequestTimeTooSkewed", "The difference is too large."),
            AccessError,
            "reading k: the store refused this machine's clock: "
            "The difference is too large (HTTP 403 RequestTimeTooSkewed)",
            "set the clock",
            id="clock",
        ),
        pytest.param(
            refusal(400, "AuthorizationHeaderMalformed", "unexpected scope"),
            AccessError,
            "reading k: the store wants another region or endpoint: "
            "unexpected scope (HTTP 400 AuthorizationHeaderMalformed)",
            "--region",
            id="region",
        ),
        pytest.param(
            Refusal(301, headers={"x-amz-bucket-region": "eu-west-3"}),
            AccessError,
            "reading k: the store wants another region or endpoint: HTTP 301 Moved Permanently",
            "--endpoint",
            id="redirect",
        ),
        pytest.param(
            refusal(403, "AccessDenied", "Forbidden: No such key: GK1"),
            AccessError,
            "reading k: the store refused: Forbidden: No such key: GK1 (HTTP 403 AccessDenied)",
            "key id",
            id="unknown-key-garage",
        ),
        pytest.param(
            refusal(403, "InvalidAccessKeyId"),
            AccessError,
            "reading k: the store refused: HTTP 403 InvalidAccessKeyId",
            "key id",
            id="unknown-key-aws",
        ),
        pytest.param(
            refusal(403, "AccessDenied", "Forbidden: Invalid signature"),
            AccessError,
            "reading k: the store refused: Forbidden: Invalid signature (HTTP 403 AccessDenied)",
            "secret key",
            id="signature-garage",
        ),
        pytest.param(
            refusal(403, "SignatureDoesNotMatch"),
            AccessError,
            "reading k: the store refused: HTTP 403 SignatureDoesNotMatch",
            "secret key",
            id="signature-aws",
        ),
        pytest.param(
            refusal(403, "AccessDenied", "Forbidden: Operation is not allowed for this key."),
            AccessError,
            "reading k: the store refused: "
            "Forbidden: Operation is not allowed for this key (HTTP 403 AccessDenied)",
            "permission",
            id="permission",
        ),
        pytest.param(
            refusal(401, "ExpiredToken"),
            AccessError,
            "reading k: the store refused: HTTP 401 ExpiredToken",
            "new credentials",
            id="expired",
        ),
        pytest.param(
            refusal(403, "InvalidObjectState"),
            AccessError,
            "reading k: the store refused: HTTP 403 InvalidObjectState",
            "archived",
            id="archived",
        ),
        pytest.param(
            refusal(403),
            AccessError,
            "reading k: the store refused: HTTP 403 Forbidden",
            "credentials",
            id="bare-403",
        ),
        pytest.param(
            refusal(400, "InvalidDigest", "Invalid digest"),
            IntegrityError,
            "reading k: the body arrived damaged: Invalid digest (HTTP 400 InvalidDigest)",
            "changes bytes",
            id="damaged",
        ),
        pytest.param(
            refusal(501, "NotImplemented"),
            StoreError,
            "reading k: the store cannot do this: HTTP 501 NotImplemented",
            "",
            id="cannot",
        ),
        pytest.param(
            Refusal(502, headers=PAGE, body=b"<html><title>Bad Gateway</title></html>"),
            StoreError,
            'reading k: the store failed: HTTP 502 Bad Gateway, text/html, title "Bad Gateway"',
            "later run",
            id="proxy-page",
        ),
        pytest.param(
            refusal(500, "InternalError", "We encountered an internal error."),
            StoreError,
            "reading k: the store failed: "
            "We encountered an internal error (HTTP 500 InternalError)",
            "later run",
            id="internal",
        ),
        pytest.param(
            refusal(400, "InvalidRequest", "Bad request: no"),
            StoreError,
            "reading k: the store failed: Bad request: no (HTTP 400 InvalidRequest)",
            "cacher doctor",
            id="request",
        ),
        pytest.param(
            Refusal(413, headers=PAGE, body=b"<title>413</title>"),
            StoreError,
            f"reading k: the store failed: HTTP 413 {HTTPStatus(413).phrase}, text/html, "
            'title "413"',
            "cacher doctor",
            id="nothing-was-sent",
        ),
        pytest.param(
            Refusal(407),
            StoreError,
            "reading k: the proxy refused: HTTP 407 Proxy Authentication Required",
            "HTTP_PROXY=http://USER:PASSWORD@HOST:PORT",
            id="proxy",
        ),
        pytest.param(
            Refusal(500, ErrorDocument("SlowDown"), broken="Error in place of X", came_as=200),
            StoreError,
            "reading k: the store failed: HTTP 200 SlowDown",
            "later run",
            id="under-200",
        ),
        pytest.param(
            Refusal(500, broken="not XML: no element found"),
            StoreError,
            "reading k: the store failed: its answer is damaged: not XML: no element found",
            "later run",
            id="damaged-document",
        ),
    ],
)
def test_refusals(refusal: Refusal, kind: type[CacherError], message: str, hint: str) -> None:
    error = refusal_error(refusal, "reading k", "cache", "http://h:1")
    assert type(error) is kind
    assert error.message == message
    assert hint in error.hint
    assert bool(error.hint) is bool(hint)


@pytest.mark.parametrize(
    ("sent", "hint"),
    [(0, "cacher doctor"), (5 << 20, "raise it"), ((5 << 20) + 1, "--part-size 5MiB")],
)
def test_what_is_too_large_for_a_proxy(sent: int, hint: str) -> None:
    error = refusal_error(Refusal(413, body=b""), "storing k", "cache", "http://h:1", sent=sent)
    assert hint in error.hint


@pytest.mark.parametrize("status", [401, 403])
def test_a_login_before_the_store(status: int) -> None:
    for body in (b"", b"<html>", b"<Error><Code>Acc", b"<Error/>"):
        assert is_not_a_store(Refusal(status, body=body))
        assert not is_not_a_store(Refusal(status, headers={"x-amz-request-id": "1"}, body=body))
    assert not is_not_a_store(Refusal(status))  # of a HEAD
    assert not is_not_a_store(refusal(status, "AccessDenied"))
    assert is_not_a_store(Refusal(511))


def answered(code: str = "", message: str = "", region: str = "") -> ErrorDocument:
    """The error that is read of a document with these fields."""
    fields = f"<Code>{code}</Code><Message>{message}</Message><Region>{region}</Region>"
    return read_error(f"<Error>{fields}</Error>".encode())


@pytest.mark.parametrize("field", ["code", "message", "region"])
def test_what_a_store_says_is_one_line_of_bounded_length(field: str) -> None:
    error = answered(**{field: "first\r\n  second\n" + "x" * 100_000})
    said = getattr(error, field)
    assert said.startswith("first second xxx")
    assert said.endswith("x…")
    assert len(said) <= 501


def test_what_a_store_says_has_no_markup() -> None:
    page = "&lt;!DOCTYPE html&gt;&lt;html&gt;&lt;b class='x'&gt;no\x7f\x9b2Jway&lt;/b&gt;&lt;img"
    assert answered(page, f"{page} 1 &lt; 2", page)[:2] == ("no 2Jway", "no 2Jway")
    assert answered(message="1 &lt; 2 MiB").message == "1 < 2 MiB"


@pytest.mark.parametrize(
    ("status", "headers", "body", "came"),
    [
        (200, PAGE, b"<html><title>Welcome to nginx!</title>", 'title "Welcome to nginx!"'),
        (200, {}, b"", "HTTP 200 OK, empty"),
        (200, {"content-type": "application/json"}, b"{}", "HTTP 200 OK, application/json"),
        (200, {"content-type": "<b>/x"}, None, "HTTP 200 OK"),
        (101, {}, b"", "HTTP 101 Switching Protocols, empty"),
        (299, {}, None, "HTTP 299"),
        (
            302,
            {"location": "https://user:secret@sso.example.org:8443/login?token=secret"},
            b"",
            "HTTP 302 Found to https://sso.example.org, empty",
        ),
        (307, {"location": "https://[::1"}, None, "HTTP 307 Temporary Redirect"),
        (200, {}, b'<TITLE>\n a\x1b[2J &lt;b&gt;b&amp;c "d"</TITLE>', "title \"a [2J b&c 'd'\""),
        (200, {}, b"<title>" + b"y" * 100_000, 'yyy…"'),
    ],
)
def test_what_came_is_described(
    status: int, headers: Mapping[str, str], body: bytes | None, came: str
) -> None:
    error = not_a_store("reading k", "http://h:1", status, headers, body)
    lead = "reading k: http://h:1 answered, but not as an S3 store does: HTTP "
    assert error.message.startswith(lead)
    assert error.message.endswith(came)
    assert error.message.isprintable()
    assert len(error.message) < 300
    assert error.hint == "check --endpoint: it must be the address of the S3 API"


@pytest.mark.parametrize(
    "page",
    [
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"<title>400 The plain HTTP request was sent to HTTPS port</title>",
        b"Reason: You're speaking plain HTTP to an SSL-enabled server port.",
        b"Bad Request\r\nThis combination of host and port requires TLS.\r\n",
    ],
)
def test_a_tls_port_that_is_spoken_to_in_http(page: bytes) -> None:
    error = refusal_error(Refusal(400, body=page), "listing", "cache", "http://h:1")
    assert isinstance(error, NotAStore)
    assert error.hint == "is it https://h:1?"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 400, 404, 405, 501])
def test_a_refusal_without_a_stores_words_is_not_a_stores(status: int) -> None:
    page = Refusal(status, headers=PAGE, body=b"<title>No</title>")
    assert isinstance(refusal_error(page, "listing", "cache", "http://h:1"), NotAStore)
    in_words = refusal(status, "SomeCode", "no")
    assert not isinstance(refusal_error(in_words, "listing", "cache", "http://h:1"), NotAStore)


@pytest.mark.parametrize(
    ("status", "code", "hopeful"),
    [
        *((status, "", True) for status in (429, 500, 502, 503, 504)),
        (400, "SlowDown", True),
        *((status, "SomeCode", False) for status in (400, 404, 409, 411, 416, 501)),
        *((status, "", False) for status in (400, 404, 413, 431)),
    ],
)
def test_a_later_run_is_recommended_where_it_may_help(
    status: int, code: str, hopeful: bool
) -> None:
    error = refusal_error(refusal(status, code), "listing", "cache", "http://h:1")
    assert ("a later run may succeed" in error.hint) is hopeful


class Spent(NamedTuple):
    """What `Attempts` tell of themselves."""

    failed: int
    spent: float


def unanswered_by(
    kind: FailureKind, detail: str, failed: int = 1, spent: float = 0.0
) -> StoreError:
    attempts = cast(Attempts, Spent(failed, spent))
    return unanswered_error(TransportError(kind, detail), "listing", "http://h:1", attempts)


@pytest.mark.parametrize("kind", list(FailureKind))
def test_every_trouble_has_a_hint(kind: FailureKind) -> None:
    error = unanswered_by(kind, "connection refused")
    assert isinstance(error, Unanswered)
    broken = kind in (FailureKind.BROKEN, FailureKind.MALFORMED)  # another request may fare better
    assert isinstance(error, Silent) != broken
    assert error.message.startswith("listing: http://h:1: connection refused")
    assert error.hint


@pytest.mark.parametrize(
    ("kind", "detail", "failed", "spent", "said"),
    [
        (FailureKind.REFUSED, "connection refused", 1, 0.0, "connection refused"),
        (
            FailureKind.REFUSED,
            "connection refused",
            4,
            4.96,
            "connection refused (4 tries in 5.0 s)",
        ),
        (FailureKind.CONNECT, "no connection", 3, 15.2, "no connection for 15 s (3 tries)"),
        (FailureKind.TIMEOUT, "no answer", 2, 30.0, "no answer for 30 s (2 tries)"),
        (FailureKind.TIMEOUT, "no answer", 1, 120.0, "no answer for 120 s"),
        (FailureKind.BROKEN, "the answer ended early", 0, 0.0, "the answer ended early"),
        (FailureKind.BROKEN, "connection reset", 6, 7.0, "connection reset (6 tries in 7.0 s)"),
    ],
)
def test_numbers_tell_how_long_and_how_often(
    kind: FailureKind, detail: str, failed: int, spent: float, said: str
) -> None:
    error = unanswered_by(kind, detail, failed, spent)
    assert error.message == f"listing: http://h:1: {said}"


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        (FailureKind.NAME, "host name"),
        (FailureKind.CONNECT, "--endpoint"),
        (FailureKind.REFUSED, "--endpoint"),
        (FailureKind.TLS, "--ca-file"),
        (FailureKind.EXPIRED, "renew the store's certificate, or set this machine's clock"),
        (FailureKind.NOT_YET_VALID, "set this machine's clock"),
        (FailureKind.WRONG_HOST, "check the host name in --endpoint"),
        (FailureKind.PLAIN_HTTP, "http://"),
        (FailureKind.UNEXPECTED_TLS, "https://"),
        (FailureKind.OUTDATED_TLS, "TLS 1.2"),
        (FailureKind.MALFORMED, "--endpoint"),
        (FailureKind.PROXY, "HTTPS_PROXY"),
        (FailureKind.PROXY_TUNNEL, "check HTTPS_PROXY"),
        (FailureKind.PROXY_LOGIN, "the proxy needs credentials"),
    ],
)
def test_hints_name_what_to_set(kind: FailureKind, hint: str) -> None:
    assert hint in unanswered_by(kind, "x").hint


def test_which_troubles_are_worth_a_try() -> None:
    hopeless = {kind for kind in FailureKind if TransportError(kind, "").is_final}
    assert hopeless == {
        FailureKind.TLS,
        FailureKind.EXPIRED,
        FailureKind.NOT_YET_VALID,
        FailureKind.WRONG_HOST,
        FailureKind.PLAIN_HTTP,
        FailureKind.UNEXPECTED_TLS,
        FailureKind.OUTDATED_TLS,
        FailureKind.MALFORMED,
        FailureKind.PROXY_TUNNEL,
        FailureKind.PROXY_LOGIN,
    }


def test_a_machine_that_answers_gets_less_time_than_one_that_may() -> None:
    within = {kind: TransportError(kind, "").time_limit(LIMITS, 30.0) for kind in FailureKind}
    assert within.pop(FailureKind.SLOW) == 0.0  # it has had its time
    assert within.pop(FailureKind.CONNECT) == 15.0
    assert {
        within.pop(each) for each in (FailureKind.REFUSED, FailureKind.NAME, FailureKind.PROXY)
    } == {5.0}
    assert set(within.values()) == {30.0}
