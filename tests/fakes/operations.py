"""The operations on the bucket and on whole objects: a request and its body in, an answer out.

Knows what Garage answers; the checks that come before (signature, permission, digest) are
`service.py`'s, storing is `objects.py`'s. Refusals are raised as `S3Error`.
"""

from __future__ import annotations

import re
from email.utils import formatdate
from xml.etree import ElementTree

from tests.fakes.answers import Answer, S3Error, document, invalid, node, text, xml
from tests.fakes.listing import list_objects
from tests.fakes.objects import Bucket, Condition, StoredObject, matches
from tests.fakes.profile import Profile
from tests.fakes.request import Request

META = "x-amz-meta-"

KEPT_HEADERS = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
)

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


def metadata_of(request: Request) -> dict[str, str]:
    """User metadata, without `x-amz-meta-`."""
    headers = request.headers.items()
    return {name[len(META) :]: value for name, value in headers if name.startswith(META)}


def kept_headers_of(request: Request) -> dict[str, str]:
    """The plain headers that are stored with an object."""
    return {name: request.headers[name] for name in KEPT_HEADERS if name in request.headers}


def condition_of(request: Request, profile: Profile) -> Condition:
    """The condition of a write, as far as this store minds it."""
    condition = Condition(
        request.headers.get("if-match", ""), request.headers.get("if-none-match", "")
    )
    if profile.conditional_put == "unsupported" and any(condition):
        message = "A header you provided implies functionality that is not implemented"
        raise S3Error(501, "NotImplemented", message)
    return condition if profile.conditional_put == "enforced" else Condition()


def parse_strictly(body: bytes, root: str) -> ElementTree.Element:
    """A request document, with no text outside of its leaves (Garage's parser up to 2.2)."""
    try:
        tree = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise S3Error(400, "MalformedXML", f"Invalid XML: {error}") from None
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
        if element.tail or (len(element) and element.text):
            raise S3Error(400, "MalformedXML", "Invalid XML: text between elements")
    if tree.tag != root:
        raise S3Error(400, "MalformedXML", f"Invalid XML: not a {root}")
    return tree


def put_object(bucket: Bucket, request: Request, body: bytes) -> Answer:
    """`PutObject`; copying is not there."""
    if "x-amz-copy-source" in request.headers:
        raise S3Error(501, "NotImplemented", "CopyObject is not part of this double")
    stored = bucket.put(
        request.key,
        body,
        metadata_of(request),
        kept_headers_of(request),
        condition_of(request, bucket.profile),
    )
    return Answer(200, {"ETag": f'"{stored.etag}"'})


def get_object(bucket: Bucket, request: Request, _body: bytes) -> Answer:
    """`GetObject`, ranges and conditions included."""
    stored = _conditional(bucket, request)
    headers = object_headers(stored)
    part = _range_of(request.headers.get("range", ""), len(stored.body))
    if part is None or bucket.profile.ranges == "ignored":
        return Answer(200, headers, stored.body)
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(stored.body)}"
    status = 200 if bucket.profile.ranges == "partial-200" else 206
    return Answer(status, headers, memoryview(stored.body)[part.start : part.stop])


def head_object(bucket: Bucket, request: Request, _body: bytes) -> Answer:
    """`HeadObject`; it minds conditions and no range."""
    stored = _conditional(bucket, request)
    return Answer(200, object_headers(stored), stored.body)


def object_headers(stored: StoredObject) -> dict[str, str]:
    """What GET and HEAD say of an object."""
    return {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "ETag": f'"{stored.etag}"',
        "Last-Modified": formatdate(stored.modified, usegmt=True),
        **{META + name: value for name, value in stored.metadata.items()},
        **{name.title(): value for name, value in stored.headers.items()},
    }


def _conditional(bucket: Bucket, request: Request) -> StoredObject:
    """The object, unless `If-Match` or `If-None-Match` say otherwise; 304 and 412 are empty."""
    stored = bucket.get(request.key)
    if stored is None:
        raise S3Error(404, "NoSuchKey", "Key not found")
    wanted, unwanted = request.headers.get("if-match"), request.headers.get("if-none-match")
    if wanted is not None and not matches(wanted, stored.etag):
        raise S3Error(412, "PreconditionFailed", "", empty=True)
    if unwanted is not None and matches(unwanted, stored.etag):
        raise S3Error(304, "NotModified", "", {"ETag": f'"{stored.etag}"'}, empty=True)
    return stored


def _range_of(value: str, length: int) -> range | None:
    """The bytes asked for; None is all of them. Malformed and unsatisfiable ranges are the same.

    Several ranges count as none.
    """
    if not value or "," in value:
        return None
    match = _RANGE.fullmatch(value)
    start, stop = length, 0
    if match and match[1]:
        start, stop = int(match[1]), min(int(match[2] or length), length - 1) + 1
    elif match and match[2]:
        start, stop = max(0, length - int(match[2])), length
    if start >= stop:
        headers = {"Content-Range": f"bytes */{length}"}
        raise S3Error(416, "InvalidRange", "Invalid range", headers)
    return range(start, stop)


def delete_object(bucket: Bucket, request: Request, _body: bytes) -> Answer:
    """`DeleteObject`: a missing one counts as deleted."""
    bucket.remove(request.key)
    return Answer(204)


def delete_objects(bucket: Bucket, request: Request, body: bytes) -> Answer:
    """`DeleteObjects`, whose parser takes `Object/Key` and `Quiet` and nothing else."""
    profile = bucket.profile
    if profile.bulk_delete == "unsupported":
        codes = {400: "InvalidArgument", 405: "MethodNotAllowed", 501: "NotImplemented"}
        status = profile.bulk_delete_status
        raise S3Error(status, codes[status], "Cannot create buckets using a POST.")
    if profile.needs_content_md5 and "content-md5" not in request.headers:
        raise invalid("Missing required header for this request: Content-MD5")
    keys, quiet = _deletions(body)
    results = []
    for key in keys:
        if bucket.remove(key) or profile.bulk_delete == "ok":
            if not quiet:
                results.append(node("Deleted", text("Key", key)))
        else:
            fields = text("Code", "NoSuchKey"), text("Message", "Key not found")
            results.append(node("Error", text("Key", key), *fields))
    return xml(document("DeleteResult", *results))


def _deletions(body: bytes) -> tuple[list[str], bool]:
    keys, quiet = [], False
    for element in parse_strictly(body, "Delete"):
        if element.tag == "Quiet":
            quiet = element.text == "true"
        elif element.tag == "Object" and [child.tag for child in element] == ["Key"]:
            keys.append(element[0].text or "")
        else:
            raise invalid("Bad request: Invalid delete XML query")
    return keys, quiet


def list_objects_v2(bucket: Bucket, request: Request, _body: bytes) -> Answer:
    """`ListObjectsV2`."""
    keys, objects = bucket.keys(), bucket.objects()
    return xml(list_objects(bucket.name, keys, objects, request.query, bucket.profile))


def head_bucket(_bucket: Bucket, _request: Request, _body: bytes) -> Answer:
    """`HeadBucket`."""
    return Answer(200)


def create_bucket(bucket: Bucket, request: Request, _body: bytes) -> Answer:
    """`CreateBucket`, which no key here is allowed to."""
    if request.bucket == bucket.name:
        raise S3Error(409, "BucketAlreadyOwnedByYou", "Bucket already exists")
    raise S3Error(403, "AccessDenied", "Forbidden: Access key is not allowed to create buckets")


def get_location(bucket: Bucket, _request: Request, _body: bytes) -> Answer:
    """`GetBucketLocation`: the region's name as it is configured."""
    return xml(document("LocationConstraint", bucket.profile.region))
