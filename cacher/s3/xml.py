"""Parse and write S3's XML documents.

Knows no socket and no status. Parsing ignores namespaces and unknown elements, since stores differ
in both; writing is compact, since some stores refuse white space between elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

_MAX_TEXT = 500
"""Characters kept of one field of an error: some stores send whole pages."""

_PROLOG = re.compile(rb"(?:\s|\xef\xbb\xbf|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
"""What may precede a document's root (XML 1.0, section 2.8), except its type."""

_ROOT = re.compile(rb"<(?:[\w.-]+:)?([\w.-]+)[\s/>]")

_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML 1.0 cannot hold, not even escaped: all but its "Char" (section 2.2). Written
as a negation, since the other form takes 4 ms to compile."""


class ErrorDocument(NamedTuple):
    """The fields of an `<Error>`; each may be empty."""

    code: str = ""
    message: str = ""
    region: str = ""


class MalformedDocument(Exception):
    """Not the requested document: perhaps an `<Error>` with status 200."""

    def __init__(
        self,
        reason: str,
        error: ErrorDocument | None = None,
        *,
        is_not_s3: bool = False,
        is_final: bool = False,
    ) -> None:
        super().__init__(reason)
        self.error = error or ErrorDocument()
        self.is_not_s3 = is_not_s3
        """Whether no S3 store sends this, not even in an answer that was cut off."""
        self.is_final = is_final
        """Whether it is complete, so that another try would give the same."""


class ListedObject(NamedTuple):
    """One `<Contents>`: size in bytes, `modified` in POSIX seconds."""

    key: str
    size: int
    modified: float | None
    etag: str


class ListPage(NamedTuple):
    """One answer of ListObjectsV2; `token` requests the next page, and is empty on the last."""

    objects: Sequence[ListedObject]
    token: str


def read_error(body: bytes) -> ErrorDocument:
    """Parse an `<Error>`; return an empty one for anything else (a proxy's HTML, nothing)."""
    try:
        root = _parse(body, "Error")
    except MalformedDocument:
        return ErrorDocument()
    return _error(root)


def read_list_page(body: bytes) -> ListPage:
    """Parse a ListObjectsV2 answer; decode names that the answer marks as encoded."""
    root = _parse(body, "ListBucketResult")
    encoded = _text(root, "EncodingType") == "url"
    objects = [
        ListedObject(
            key=_decoded(_text(item, "Key"), encoded),
            size=_number(item, "Size", missing=0),
            modified=_seconds(_text(item, "LastModified")),
            etag=_text(item, "ETag"),
        )
        for item in _children(root, "Contents")
    ]
    if not all(entry.key for entry in objects):
        raise MalformedDocument("an entry of the list has no Key", is_final=True)
    if not _flag(root, "IsTruncated"):
        return ListPage(objects, "")
    # The token is opaque: it is never encoded in the answer, and Garage's may hold a `+`.
    token = _text(root, "NextContinuationToken")
    if not token:
        raise MalformedDocument(
            "there is more to list, but no NextContinuationToken", is_final=True
        )
    return ListPage(objects, token)


def read_upload_id(body: bytes) -> str:
    """Parse the upload id of a CreateMultipartUpload answer."""
    # rclone leaves "Result" out.
    root = _parse(body, "InitiateMultipartUploadResult", "InitiateMultipartUpload")
    upload_id = _text(root, "UploadId")
    if not upload_id:
        raise MalformedDocument("no UploadId", is_final=True)
    return upload_id


def read_completed(body: bytes) -> str:
    """Parse the object's ETag from a CompleteMultipartUpload answer; Ceph leaves it empty.

    Status 200 alone does not prove success.
    """
    return _text(_parse(body, "CompleteMultipartUploadResult"), "ETag")


def read_parts(body: bytes) -> tuple[dict[int, str], str]:
    """Parse a ListParts answer: ETags by part number, and the next page's marker or ''."""
    root = _parse(body, "ListPartsResult")
    parts = {_number(p, "PartNumber"): _text(p, "ETag") for p in _children(root, "Part")}
    more = _flag(root, "IsTruncated")
    return parts, _text(root, "NextPartNumberMarker") if more else ""


def read_deleted(body: bytes) -> tuple[list[str], dict[str, ErrorDocument]]:
    """Parse a DeleteObjects answer: the keys that are deleted, and those that are not."""
    root = _parse(body, "DeleteResult")
    deleted = [_text(item, "Key") for item in _children(root, "Deleted")]
    return deleted, {_text(item, "Key"): _error(item) for item in _children(root, "Error")}


def read_location(body: bytes) -> str:
    """Parse the region of a GetBucketLocation answer, which AWS leaves out for its oldest."""
    # SeaweedFS answers with the document of CreateBucket.
    root = _parse(body, "LocationConstraint", "CreateBucketConfiguration")
    is_plain = _name(root) == "LocationConstraint"
    region = ((root.text or "") if is_plain else _text(root, "LocationConstraint")).strip()
    return {"": "us-east-1", "EU": "eu-west-1"}.get(region, region)


def read_nothing(body: bytes) -> None:
    """Raise `MalformedDocument` for a body where none belongs, such as an `<Error>`.

    Blanks are accepted.
    """
    if body.strip():
        error = read_error(body)
        raise MalformedDocument(
            "a body where none belongs", error, is_not_s3=error == ErrorDocument()
        )


def write_complete(parts: Iterable[tuple[int, str]]) -> bytes:
    """Write a CompleteMultipartUpload request of (number, ETag) pairs in ascending order."""
    items = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{_escaped(etag)}</ETag></Part>"
        for number, etag in parts
    )
    return f"<CompleteMultipartUpload>{items}</CompleteMultipartUpload>".encode()


def write_delete(keys: Iterable[str]) -> bytes:
    """Write a DeleteObjects request that asks for the result of every key."""
    items = "".join(f"<Object><Key>{_escaped(key)}</Key></Object>" for key in keys)
    return f"<Delete>{items}</Delete>".encode()


def fits_xml(key: str) -> bool:
    """Return whether XML 1.0 can hold the key; others cannot be deleted in bulk."""
    return not _NOT_IN_XML.search(key)


def _escaped(text: str) -> str:
    """Escape character data. xml.sax.saxutils does the same, but loads urllib.request."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A bare carriage return would arrive as a line feed (XML 1.0, section 2.11).
    return text.replace("\r", "&#13;")


def _parse(body: bytes, *names: str) -> ET.Element:
    """Return the root element, which must have one of these names."""
    try:
        # Some stores keep the connection alive with blanks before the document.
        # Entities cannot blow up: bodies are bounded, and expat (2.4.1) bounds what they grow to.
        root = ET.fromstring(body.strip())  # noqa: S314
    # The last two come for encodings that expat does not know, or cannot read.
    except (ET.ParseError, LookupError, ValueError) as error:
        raise MalformedDocument(
            f"not XML: {plain(str(error), 100)}", is_not_s3=not _may_begin(body, names)
        ) from error
    if _name(root) == "Error" and "Error" not in names:
        raise MalformedDocument(f"Error in place of {names[0]}", _error(root))
    if _name(root) not in names:
        raise MalformedDocument(f"another document in place of {names[0]}", is_not_s3=True)
    return root


def _may_begin(body: bytes, names: Sequence[str]) -> bool:
    """Return whether a body that cannot be parsed begins like a document of these names.

    A body that was cut off before its root does, unless it is empty.
    """
    match = _PROLOG.match(body)
    rest = body[match.end() if match else 0 :]
    root = _ROOT.match(rest)
    if root:
        return root[1].decode("latin-1") in (*names, "Error")
    if not rest:
        return bool(body)
    begun = rest.lstrip(b"<").rpartition(b":")[2]
    return rest.startswith(b"<?") or (
        rest.startswith(b"<") and any(name.encode().startswith(begun) for name in (*names, "Error"))
    )


def _error(element: ET.Element) -> ErrorDocument:
    return ErrorDocument(
        code=plain(_text(element, "Code"), 100),
        message=plain(_text(element, "Message")),
        region=plain(_text(element, "Region"), 100),
    )


def plain(text: str, most: int = _MAX_TEXT) -> str:
    """Return a server's text as one line without markup and control characters, cut at `most`."""
    # Tags go as a whole, and what is left of one that was not closed.
    text = re.sub(r"</?[a-zA-Z!?][^>]*>?", " ", text[: 20 * most])
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= most else f"{text[:most]}…"


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(element: ET.Element, name: str) -> Iterator[ET.Element]:
    return (child for child in element if _name(child) == name)


def _text(element: ET.Element, name: str) -> str:
    # Keys may begin or end with blanks: nothing is stripped here.
    return next((child.text or "" for child in _children(element, name)), "")


def _number(element: ET.Element, name: str, missing: int | None = None) -> int:
    text = _text(element, name)
    if not text and missing is not None:
        return missing
    if not re.fullmatch("[0-9]{1,19}", text):
        raise MalformedDocument(f"{name} is not a number", is_final=True)
    return int(text)


def _flag(element: ET.Element, name: str) -> bool:
    text = _text(element, name).strip().lower()
    if text not in ("true", "false", ""):
        raise MalformedDocument(f"{name} is neither true nor false", is_final=True)
    return text == "true"


def _decoded(name: str, encoded: bool) -> str:
    # MinIO writes a space as `+`, and every store writes a plus sign as `%2B`.
    return unquote_plus(name) if encoded else name


def _seconds(date: str) -> float | None:
    try:
        moment = datetime.fromisoformat(date)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
