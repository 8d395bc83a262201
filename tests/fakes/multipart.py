"""The multipart operations: a request and its body in, an answer out.

As `operations.py`, for uploads in parts. What counts as the latest attempt is `objects.py`'s.
"""

from __future__ import annotations

from tests.fakes.answers import (
    DECLARATION,
    Answer,
    S3Error,
    document,
    error_document,
    invalid,
    node,
    text,
    timestamp,
    xml,
)
from tests.fakes.listing import limit_of
from tests.fakes.objects import Attempt, Bucket, Upload, check_part_number
from tests.fakes.operations import condition_of, kept_headers_of, metadata_of, parse_strictly
from tests.fakes.request import Request

# Swift and AWS keep the connection alive with blanks while they work on it.
KEEPALIVE = b"\n" + b" " * 64 + b"\r\n"


def create_upload(bucket: Bucket, request: Request, _body: bytes) -> Answer:
    """`CreateMultipartUpload`."""
    metadata, headers = metadata_of(request), kept_headers_of(request)
    upload = bucket.create_upload(request.key, metadata, headers)
    fields = text("Bucket", bucket.name), text("Key", upload.key), text("UploadId", upload.id)
    # Garage sends no Content-Type here.
    return Answer(200, {}, document("InitiateMultipartUploadResult", *fields))


def begin_part(bucket: Bucket, request: Request) -> Attempt | None:
    """Note the attempt while the body is still on its way; None where it will be refused."""
    try:
        number = check_part_number(request.query["partNumber"], bucket.profile)
        return bucket.begin_part(request.key, request.query["uploadId"], number)
    except S3Error:
        return None


def upload_part(bucket: Bucket, request: Request, body: bytes, attempt: Attempt | None) -> Answer:
    """`UploadPart`. An empty part is refused; there is no minimum size."""
    check_part_number(request.query["partNumber"], bucket.profile)
    bucket.upload(request.key, request.query["uploadId"])
    if not body or attempt is None:
        raise invalid("Bad request: Empty body")
    bucket.finish_part(attempt, body)
    return Answer(200, {"ETag": f'"{attempt.etag}"'})


def complete_upload(bucket: Bucket, request: Request, body: bytes) -> Answer:
    """`CompleteMultipartUpload`. Not idempotent: a second one is 404 `NoSuchUpload`."""
    upload = bucket.upload(request.key, request.query["uploadId"])
    if bucket.profile.complete_manner == "plain":
        return Answer(200, {}, _complete(bucket, request, upload, body))
    try:
        result = _complete(bucket, request, upload, body)
    except S3Error as error:
        arguments = error.code, error.message, request.raw_path, bucket.profile.region
        result = error_document(*arguments)
    declaration = DECLARATION.encode()
    return xml(declaration + KEEPALIVE * 3 + result.removeprefix(declaration))


def _complete(bucket: Bucket, request: Request, upload: Upload, body: bytes) -> bytes:
    listed = _listed_parts(body)
    stored = bucket.complete(upload, listed, condition_of(request, bucket.profile))
    return document(
        "CompleteMultipartUploadResult",
        text("Location", request.raw_path),
        text("Bucket", bucket.name),
        text("Key", upload.key),
        text("ETag", f'"{stored.etag}"'),
    )


def _listed_parts(body: bytes) -> list[tuple[int, str]]:
    parts = []
    for element in parse_strictly(body, "CompleteMultipartUpload"):
        fields = {child.tag: child.text or "" for child in element}
        number = fields.get("PartNumber", "")
        if element.tag != "Part" or fields.keys() != {"PartNumber", "ETag"} or len(element) != 2:
            raise invalid("Bad request: Invalid CompleteMultipartUpload XML")
        if not number.isdecimal():
            raise invalid("Bad request: Invalid PartNumber")
        parts.append((int(number), fields["ETag"].strip('"')))
    return parts


def abort_upload(bucket: Bucket, request: Request, _body: bytes) -> Answer:
    """`AbortMultipartUpload`; the second time it is 404."""
    bucket.abort(request.key, request.query["uploadId"])
    return Answer(204)


def list_parts(bucket: Bucket, request: Request, _body: bytes) -> Answer:
    """`ListParts`: the latest finished attempts, even one that Complete will refuse because a
    later one was cut (Garage: list.rs, `fetch_part_info`)."""
    upload = bucket.upload(request.key, request.query["uploadId"])
    marker = request.query.get("part-number-marker") or "0"
    if not marker.isdecimal():
        raise invalid("Bad request: invalid part-number-marker")
    limit = limit_of(request.query, "max-parts", bucket.profile)
    finished = upload.finished()
    numbers = [n for n in sorted(finished) if n > int(marker) or marker == "0"]
    shown = numbers[:limit]
    children = [
        text("Bucket", bucket.name),
        text("Key", upload.key),
        text("UploadId", upload.id),
        text("PartNumberMarker", marker),
        text("MaxParts", limit),
        text("IsTruncated", str(len(shown) < len(numbers)).lower()),
    ]
    if len(shown) < len(numbers):
        children.append(text("NextPartNumberMarker", shown[-1]))
    children += [_part(finished[number]) for number in shown]
    return xml(document("ListPartsResult", *children))


def _part(attempt: Attempt) -> str:
    return node(
        "Part",
        text("PartNumber", attempt.number),
        text("LastModified", timestamp(attempt.modified)),
        text("ETag", f'"{attempt.etag}"'),
        text("Size", len(attempt.body)),
    )
