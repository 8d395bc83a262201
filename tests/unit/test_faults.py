"""Refusals and dead connections as errors: the right class, the store's words, a next step."""

from __future__ import annotations

from typing import NamedTuple, cast

import pytest

from cacher.errors import AccessError, CacherError, IntegrityError, StoreError
from cacher.limits import LIMITS
from cacher.s3.documents import ErrorDocument
from cacher.s3.faults import Fault, explained, unanswered
from cacher.s3.retry import Attempts
from cacher.s3.troubles import TransportError, Trouble


def fault(status: int, code: str = "", message: str = "", region: str = "") -> Fault:
    return Fault(status, ErrorDocument(code, message, region))


@pytest.mark.parametrize(
    ("refusal", "kind", "message", "hint"),
    [
        pytest.param(
            fault(404, "NoSuchBucket", "Bucket not found: cache"),
            AccessError,
            "reading k: the bucket 'cache' does not exist",
            "--bucket",
            id="no-bucket",
        ),
        pytest.param(
            fault(403, "AccessDenied", "Forbidden: Object quota is reached, maximum: 3"),
            AccessError,
            "reading k: the store is full: "
            "Forbidden: Object quota is reached, maximum: 3 (403 AccessDenied)",
            "cacher delete",
            id="quota",
        ),
        pytest.param(
            fault(507, "XMinioStorageFull"),
            AccessError,
            "reading k: the store is full: 507 XMinioStorageFull",
            "quota",
            id="full",
        ),
        pytest.param(
            fault(403, "RequestTimeTooSkewed", "The difference is too large."),
            AccessError,
            "reading k: the store refused this machine's clock: "
            "The difference is too large (403 RequestTimeTooSkewed)",
            "set the clock",
            id="clock",
        ),
        pytest.param(
            fault(400, "AuthorizationHeaderMalformed", "unexpected scope"),
            AccessError,
            "reading k: the store wants another region or endpoint: "
            "unexpected scope (400 AuthorizationHeaderMalformed)",
            "--region",
            id="region",
        ),
        pytest.param(
            fault(301),
            AccessError,
            "reading k: the store wants another region or endpoint: 301",
            "--endpoint",
            id="redirect",
        ),
        pytest.param(
            fault(403, "AccessDenied", "Forbidden: No such key: GK1"),
            AccessError,
            "reading k: the store refused: Forbidden: No such key: GK1 (403 AccessDenied)",
            "key id",
            id="unknown-key-garage",
        ),
        pytest.param(
            fault(403, "InvalidAccessKeyId"),
            AccessError,
            "reading k: the store refused: 403 InvalidAccessKeyId",
            "key id",
            id="unknown-key-aws",
        ),
        pytest.param(
            fault(403, "AccessDenied", "Forbidden: Invalid signature"),
            AccessError,
            "reading k: the store refused: Forbidden: Invalid signature (403 AccessDenied)",
            "secret key",
            id="signature-garage",
        ),
        pytest.param(
            fault(403, "SignatureDoesNotMatch"),
            AccessError,
            "reading k: the store refused: 403 SignatureDoesNotMatch",
            "secret key",
            id="signature-aws",
        ),
        pytest.param(
            fault(403, "AccessDenied", "Forbidden: Operation is not allowed for this key."),
            AccessError,
            "reading k: the store refused: "
            "Forbidden: Operation is not allowed for this key (403 AccessDenied)",
            "permission",
            id="permission",
        ),
        pytest.param(
            fault(401, "ExpiredToken"),
            AccessError,
            "reading k: the store refused: 401 ExpiredToken",
            "new credentials",
            id="expired",
        ),
        pytest.param(
            fault(403, "InvalidObjectState"),
            AccessError,
            "reading k: the store refused: 403 InvalidObjectState",
            "archived",
            id="archived",
        ),
        pytest.param(
            fault(403),
            AccessError,
            "reading k: the store refused: 403",
            "credentials",
            id="bare-403",
        ),
        pytest.param(
            fault(400, "InvalidDigest", "Invalid digest"),
            IntegrityError,
            "reading k: the body arrived damaged: Invalid digest (400 InvalidDigest)",
            "changes bytes",
            id="damaged",
        ),
        pytest.param(
            fault(501, "NotImplemented"),
            StoreError,
            "reading k: the store cannot do this: 501 NotImplemented",
            "",
            id="cannot",
        ),
        pytest.param(
            Fault(502, excerpt="<html>Bad Gateway</html>"),
            StoreError,
            "reading k: the store failed: <html>Bad Gateway</html> (502)",
            "later run",
            id="proxy-page",
        ),
        pytest.param(
            fault(500, "InternalError", "We encountered an internal error."),
            StoreError,
            "reading k: the store failed: We encountered an internal error (500 InternalError)",
            "later run",
            id="internal",
        ),
    ],
)
def test_refusals(refusal: Fault, kind: type[CacherError], message: str, hint: str) -> None:
    error = explained(refusal, "reading k", "cache")
    assert type(error) is kind
    assert error.message == message
    assert hint in error.hint
    assert bool(error.hint) is bool(hint)


def test_what_a_store_says_is_one_line_of_bounded_length() -> None:
    said = fault(500, "InternalError", "first\r\n  second\n" + "x" * 10_000).said
    assert said.startswith("first second xxx")
    assert said.endswith("x… (500 InternalError)")
    assert len(said) < 600


class Spent(NamedTuple):
    """What `Attempts` tell of themselves."""

    failed: int
    spent: float


def unanswered_by(trouble: Trouble, detail: str, failed: int = 1, spent: float = 0.0) -> StoreError:
    attempts = cast(Attempts, Spent(failed, spent))
    return unanswered(TransportError(trouble, detail), "listing", "http://h:1", attempts)


@pytest.mark.parametrize("trouble", list(Trouble))
def test_every_trouble_has_a_hint(trouble: Trouble) -> None:
    error = unanswered_by(trouble, "connection refused")
    assert type(error) is StoreError
    assert error.message.startswith("listing: http://h:1: connection refused")
    assert error.hint


@pytest.mark.parametrize(
    ("trouble", "detail", "failed", "spent", "said"),
    [
        (Trouble.REFUSED, "connection refused", 1, 0.0, "connection refused"),
        (Trouble.REFUSED, "connection refused", 4, 4.96, "connection refused (4 tries in 5.0 s)"),
        (Trouble.CONNECT, "no connection", 3, 15.2, "no connection for 15 s (3 tries)"),
        (Trouble.SILENCE, "no answer", 2, 30.0, "no answer for 30 s (2 tries)"),
        (Trouble.SILENCE, "no answer", 1, 120.0, "no answer for 120 s"),
        (Trouble.BROKEN, "the answer ended early", 0, 0.0, "the answer ended early"),
        (Trouble.BROKEN, "connection reset", 6, 7.0, "connection reset (6 tries in 7.0 s)"),
    ],
)
def test_numbers_tell_how_long_and_how_often(
    trouble: Trouble, detail: str, failed: int, spent: float, said: str
) -> None:
    error = unanswered_by(trouble, detail, failed, spent)
    assert error.message == f"listing: http://h:1: {said}"


@pytest.mark.parametrize(
    ("trouble", "hint"),
    [
        (Trouble.NAME, "host name"),
        (Trouble.CONNECT, "--endpoint"),
        (Trouble.REFUSED, "--endpoint"),
        (Trouble.TLS, "--ca-file"),
        (Trouble.PLAIN, "http://"),
        (Trouble.ENCRYPTED, "https://"),
        (Trouble.MALFORMED, "--endpoint"),
        (Trouble.PROXY, "HTTPS_PROXY"),
    ],
)
def test_hints_name_what_to_set(trouble: Trouble, hint: str) -> None:
    assert hint in unanswered_by(trouble, "x").hint


def test_which_troubles_are_worth_a_try() -> None:
    hopeless = {trouble for trouble in Trouble if TransportError(trouble, "").hopeless}
    assert hopeless == {Trouble.TLS, Trouble.PLAIN, Trouble.ENCRYPTED, Trouble.MALFORMED}


def test_a_machine_that_answers_gets_less_time_than_one_that_may() -> None:
    within = {trouble: TransportError(trouble, "").within(LIMITS, 30.0) for trouble in Trouble}
    assert within.pop(Trouble.CONNECT) == 15.0
    assert {within.pop(each) for each in (Trouble.REFUSED, Trouble.NAME, Trouble.PROXY)} == {5.0}
    assert set(within.values()) == {30.0}
