"""The XML documents: what stores really answer, and what must not be taken for an answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacher.s3 import xml as documents
from cacher.s3.xml import ErrorDocument, ListPage, MalformedDocument

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'

READERS = [
    documents.read_list_page,
    documents.read_upload_id,
    documents.read_completed,
    documents.read_parts,
    documents.read_deleted,
    documents.read_location,
]

ERROR = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AuthorizationHeaderMalformed</Code>'
    b"<Message>unexpected scope</Message><Resource>/b/k</Resource><Region>garage</Region></Error>"
)


def listing(inner: str, attributes: str = NAMESPACE) -> bytes:
    return f"<ListBucketResult {attributes}>{inner}</ListBucketResult>".encode()


def contents(key: str, rest: str = "<Size>1</Size>") -> str:
    return f"<Contents><Key>{key}</Key>{rest}</Contents>"


def keys(page: ListPage) -> list[str]:
    return [item.key for item in page.objects]


# --- errors --------------------------------------------------------------------------------------


def test_an_error() -> None:
    expected = ErrorDocument("AuthorizationHeaderMalformed", "unexpected scope", "garage")
    assert documents.read_error(ERROR) == expected
    assert documents.read_error(b"\r\n  " + ERROR + b"\n") == expected
    assert documents.read_error(ERROR.replace(b"<Error>", f"<Error {NAMESPACE}>".encode()))


def test_an_error_with_gaps() -> None:
    assert documents.read_error(b"<Error><Code/></Error>") == ErrorDocument()
    assert documents.read_error(b"<Error><Code>X</Code></Error>") == ErrorDocument("X")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"upstream connect error",
        b"<html><body>502 Bad Gateway</body></html>",
        b"<!DOCTYPE html><html><p>not well-formed</html>",
        ERROR[:-1],
        b'<?xml version="1.0" encoding="utf-7"?><Error><Code>X</Code></Error>',
        b'<?xml version="1.0" encoding="no-such"?><Error><Code>X</Code></Error>',
        b"<Error><Code>\xff</Code></Error>",
    ],
)
def test_what_is_no_error_document_is_an_empty_one(body: bytes) -> None:
    assert documents.read_error(body) == ErrorDocument()


@pytest.mark.parametrize("reader", READERS)
def test_an_error_under_a_status_of_success(reader: object) -> None:
    assert callable(reader)
    with pytest.raises(MalformedDocument, match=r"^Error in place of [A-Z]") as caught:
        reader(ERROR)
    assert caught.value.error.code == "AuthorizationHeaderMalformed"


@pytest.mark.parametrize("reader", READERS)
@given(body=st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_junk_is_malformed_and_nothing_else(reader: object, body: bytes) -> None:
    assert callable(reader)
    with pytest.raises(MalformedDocument):
        reader(body)


@pytest.mark.parametrize(
    "declaration", ['encoding="no-such"', 'encoding="utf-7"', 'encoding="shift_jis"']
)
def test_encodings_that_cannot_be_read_are_malformed(declaration: str) -> None:
    body = f'<?xml version="1.0" {declaration}?>'.encode() + listing("")
    with pytest.raises(MalformedDocument, match="not XML"):
        documents.read_list_page(body)


def test_every_truncation_is_malformed() -> None:
    body = listing("<IsTruncated>false</IsTruncated>" + contents("k"))
    assert keys(documents.read_list_page(body)) == ["k"]
    for length in range(len(body)):
        with pytest.raises(MalformedDocument):
            documents.read_list_page(body[:length])


def test_entities_cannot_blow_up() -> None:
    levels = "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "0123456789" * 10}">' for n in range(9)
    )
    bomb = f"<!DOCTYPE x [{levels}]>".encode() + listing(contents("&e8;"))
    with pytest.raises(MalformedDocument, match="amplification"):
        documents.read_list_page(bomb)


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine is nine hours ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


# --- listings ------------------------------------------------------------------------------------


def test_a_page() -> None:
    page = documents.read_list_page(
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        + listing(
            "<Name>b</Name><KeyCount>2</KeyCount><IsTruncated>true</IsTruncated>"
            "<NextContinuationToken>a+b/%20=</NextContinuationToken>"
            "<EncodingType>url</EncodingType>"
            "<Contents><Key>a%2Fb%2Bc+d%25</Key>"
            "<LastModified>2024-05-01T12:00:00.123Z</LastModified>"
            '<ETag>"0f343b0931126a20f133d67c2b018a3b"</ETag><Size>5368709120</Size>'
            "<StorageClass>STANDARD</StorageClass></Contents>"
            "<Contents><Key>%C3%A9</Key><Size>0</Size></Contents>"
            "<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>"
        )
    )
    first, second = page.objects
    assert first.key == "a/b+c d%"
    assert first.size == 5_368_709_120
    assert first.etag == '"0f343b0931126a20f133d67c2b018a3b"'
    assert first.modified == pytest.approx(1714564800.123)
    assert (second.key, second.size, second.modified, second.etag) == ("é", 0, None, "")
    assert page.token == "a+b/%20="  # opaque: never decoded


@pytest.mark.parametrize("attributes", ["", NAMESPACE, 'xmlns="urn:another"'])
def test_names_are_decoded_only_where_the_answer_says_so(attributes: str) -> None:
    raw = contents("a%2Fb+c") + contents(" x ")
    assert keys(documents.read_list_page(listing(raw, attributes))) == ["a%2Fb+c", " x "]
    encoded = "<EncodingType>url</EncodingType>" + raw
    assert keys(documents.read_list_page(listing(encoded, attributes))) == ["a/b c", " x "]


def test_a_token_counts_only_where_there_is_more() -> None:
    token = "<NextContinuationToken>t</NextContinuationToken>"
    for said in ("", "<IsTruncated>false</IsTruncated>"):
        assert documents.read_list_page(listing(said + token)).token == ""


def test_more_without_a_token_is_no_whole_listing() -> None:
    """A part of a listing must not pass for all of it."""
    with pytest.raises(MalformedDocument, match="NextContinuationToken"):
        documents.read_list_page(listing("<IsTruncated>true</IsTruncated>" + contents("k")))


@pytest.mark.parametrize("size", ["x", "-1", "1.5", "1e3", "\u0661", "9" * 5000])
def test_sizes_that_are_none_are_malformed(size: str) -> None:
    with pytest.raises(MalformedDocument, match=r"^Size is not a number"):
        documents.read_list_page(listing(contents("k", f"<Size>{size}</Size>")))


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        (contents("k", "<Size>x</Size>"), "Size is not a number"),
        (contents(""), "an entry of the list has no Key"),
        ("<Contents><Size>1</Size></Contents>", "an entry of the list has no Key"),
        ("<IsTruncated>maybe</IsTruncated>", "IsTruncated is neither true nor false"),
        ("<IsTruncated>true</IsTruncated>", "no NextContinuationToken"),
    ],
)
def test_a_list_that_came_whole_and_is_damaged_would_be_so_again(inner: str, words: str) -> None:
    with pytest.raises(MalformedDocument, match=words) as caught:
        documents.read_list_page(listing(inner))
    assert caught.value.is_final
    assert not caught.value.is_not_s3
    with pytest.raises(MalformedDocument) as cut:
        documents.read_list_page(listing(inner)[:-1])
    assert not cut.value.is_final


@pytest.mark.parametrize(
    ("body", "is_not_s3"),
    [
        (b"<?xml version='1.0'?><!-- x --><ListBucketResult><Con", False),
        (b"<?xml version='1.0'", False),
        (b"<ListBu", False),
        (b"<", False),
        (b"<!-- Welcome to our portal", True),
        (b"<!DOC", True),
        (b"<1/>", True),
        (b"a <ListBucketResult> is expected here", True),
        (b'{"a":"<Error><Code>x</Code>"}', True),
        (b"junk<Error/>", True),
    ],
)
def test_a_body_that_cannot_be_parsed_is_a_document_only_by_its_root(
    body: bytes, is_not_s3: bool
) -> None:
    with pytest.raises(MalformedDocument) as caught:
        documents.read_list_page(body)
    assert caught.value.is_not_s3 == is_not_s3


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t"])
def test_blanks_are_nothing(body: bytes) -> None:
    documents.read_nothing(body)


def test_what_is_not_nothing() -> None:
    for body in (b"<html></html>", b"{}", b"x", b"<Error/>"):
        with pytest.raises(MalformedDocument) as caught:
            documents.read_nothing(body)
        assert caught.value.is_not_s3
    with pytest.raises(MalformedDocument) as caught:
        documents.read_nothing(b"<Error><Code>SlowDown</Code></Error>")
    assert (caught.value.error.code, caught.value.is_not_s3) == ("SlowDown", False)


def test_a_size_that_is_left_out_is_nothing() -> None:
    (item,) = documents.read_list_page(listing(contents("prefix/", ""))).objects
    assert item.size == 0


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2024-05-01T12:00:00Z", 1714564800.0),
        ("2024-05-01T12:00:00.000Z", 1714564800.0),
        ("2024-05-01T14:00:00+02:00", 1714564800.0),
        ("2024-05-01T12:00:00", 1714564800.0),  # without a zone: UTC, wherever we are
        ("0001-01-01T00:00:00", -62135596800.0),
        ("yesterday", None),
        ("", None),
    ],
)
@pytest.mark.usefixtures("tokyo")
def test_times(date: str, expected: float | None) -> None:
    body = listing(contents("k", f"<LastModified>{date}</LastModified>"))
    (item,) = documents.read_list_page(body).objects
    assert item.modified == expected


# --- uploads -------------------------------------------------------------------------------------


def test_an_upload_id() -> None:
    body = "<InitiateMultipartUploadResult {}><UploadId>a b~</UploadId></...>"
    body = body.format(NAMESPACE).replace("...", "InitiateMultipartUploadResult")
    assert documents.read_upload_id(body.encode()) == "a b~"
    with pytest.raises(MalformedDocument, match="UploadId"):
        documents.read_upload_id(body.replace("a b~", "").encode())


def test_a_completed_upload_with_blanks_before_it() -> None:
    """Swift answers 200 and an XML declaration at once, and the rest when it is done."""
    declaration = b'<?xml version="1.0" encoding="UTF-8"?>\n'
    done = b"<CompleteMultipartUploadResult><ETag>&quot;e&quot;</ETag></...>"
    done = done.replace(b"...", b"CompleteMultipartUploadResult")
    assert documents.read_completed(declaration + b" \n" * 50 + done) == '"e"'
    assert documents.read_completed(b" \r\n" * 50 + declaration + done) == '"e"'
    with pytest.raises(MalformedDocument) as caught:
        documents.read_completed(declaration + b" " * 50 + ERROR.partition(b"?>")[2])
    assert caught.value.error.message == "unexpected scope"


def test_parts() -> None:
    part = "<Part><PartNumber>{0}</PartNumber><ETag>e{0}</ETag></Part>"
    inner = part.format(1) + part.format(2) + "<NextPartNumberMarker>2</NextPartNumberMarker>"
    body = "<ListPartsResult><IsTruncated>{}</IsTruncated>" + inner + "</ListPartsResult>"
    assert documents.read_parts(body.format("true").encode()) == ({1: "e1", 2: "e2"}, "2")
    assert documents.read_parts(body.format("false").encode()) == ({1: "e1", 2: "e2"}, "")


@pytest.mark.parametrize("number", ["", "x"])
def test_parts_without_a_number_are_malformed(number: str) -> None:
    part = f"<Part><PartNumber>{number}</PartNumber><ETag>e</ETag></Part>"
    with pytest.raises(MalformedDocument, match=r"^PartNumber is not a number"):
        documents.read_parts(f"<ListPartsResult>{part}</ListPartsResult>".encode())


def test_what_was_deleted_and_what_was_not() -> None:
    body = (
        f"<DeleteResult {NAMESPACE}><Deleted><Key>a</Key></Deleted>"
        "<Error><Key>b</Key><Code>NoSuchKey</Code><Message>gone</Message></Error>"
        "<Deleted><Key> c&amp;d </Key></Deleted></DeleteResult>"
    )
    assert documents.read_deleted(body.encode()) == (
        ["a", " c&d "],
        {"b": ErrorDocument("NoSuchKey", "gone")},
    )


@pytest.mark.parametrize(
    ("body", "region"),
    [
        (b"<LocationConstraint>garage</LocationConstraint>", "garage"),
        (b"<LocationConstraint> eu-west-3\n</LocationConstraint>", "eu-west-3"),
        (b"<LocationConstraint/>", "us-east-1"),
        (b"<LocationConstraint>EU</LocationConstraint>", "eu-west-1"),
    ],
)
def test_locations(body: bytes, region: str) -> None:
    assert documents.read_location(body) == region


# --- what is written -----------------------------------------------------------------------------

XML_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"])).filter(documents.fits_xml)


def test_a_completion_is_compact() -> None:
    assert documents.write_complete([(1, '"a&b"'), (2, "c")]) == (
        b'<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"a&amp;b"</ETag></Part>'
        b"<Part><PartNumber>2</PartNumber><ETag>c</ETag></Part></CompleteMultipartUpload>"
    )


@given(st.lists(XML_TEXT | st.just("a\r\nb\tc "), max_size=5))
def test_deletions_arrive_as_they_were_written(names: list[str]) -> None:
    root = ET.fromstring(documents.write_delete(names))
    assert [child.findtext("Key") for child in root] == names
    assert root.find("Quiet") is None  # an answer on every key


@given(st.text(max_size=5))
def test_what_fits_xml_is_what_a_parser_takes(key: str) -> None:
    try:
        arrived = [e.text or "" for e in ET.fromstring(documents.write_delete([key])).iter("Key")]
    except (ET.ParseError, UnicodeEncodeError):
        arrived = []
    assert documents.fits_xml(key) == (arrived == [key])
