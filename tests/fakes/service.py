"""From an admitted request to its answer: who may do what, in Garage's order of checks.

Knows no sockets: `connection.py` asks `admit` once the head is there, `begin` before the body is
read and `perform` when it has come.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence

from tests.fakes import multipart, operations
from tests.fakes.answers import Answer, S3Error, error, invalid
from tests.fakes.objects import Attempt, Bucket
from tests.fakes.profile import AccessKey, Profile
from tests.fakes.request import Request
from tests.fakes.signatures import verify

Operation = Callable[[Bucket, Request, bytes], Answer]

OPERATIONS: Mapping[str, Operation] = {
    "AbortMultipartUpload": multipart.abort_upload,
    "CompleteMultipartUpload": multipart.complete_upload,
    "CreateBucket": operations.create_bucket,
    "CreateMultipartUpload": multipart.create_upload,
    "DeleteObject": operations.delete_object,
    "DeleteObjects": operations.delete_objects,
    "GetBucketLocation": operations.get_location,
    "GetObject": operations.get_object,
    "HeadBucket": operations.head_bucket,
    "HeadObject": operations.head_object,
    "ListObjectsV2": operations.list_objects_v2,
    "ListParts": multipart.list_parts,
    "PutObject": operations.put_object,
}


class Service:
    """One bucket behind one set of keys."""

    def __init__(
        self,
        profile: Profile,
        keys: Sequence[AccessKey],
        bucket: Bucket,
        clock: Callable[[], float],
    ) -> None:
        self.profile = profile
        self.bucket = bucket
        self.clock = clock
        self._keys = {key.id: key for key in keys}

    def admit(self, request: Request) -> None:
        """Signature, operation, bucket, permission, in this order; raises `S3Error`."""
        if request.malformed:
            raise invalid(f"Bad request: {request.malformed}")
        key = verify(request, self._keys, self.profile, self.clock())
        if request.operation == "Unknown":
            raise S3Error(501, "NotImplemented", "Unimplemented: this operation")
        if request.operation == "CreateBucket":
            return
        if request.bucket != self.bucket.name:
            raise S3Error(404, "NoSuchBucket", f"Bucket not found: {request.bucket}")
        self._check_permission(request, key)

    def _check_permission(self, request: Request, key: AccessKey) -> None:
        allowed = {
            "read": self.profile.read and key.read,
            "write": self.profile.write and key.write,
        }
        if not allowed[request.route.permission]:
            message = "Forbidden: Operation is not allowed for this key."
            raise S3Error(403, "AccessDenied", message)

    def begin(self, request: Request) -> Attempt | None:
        """Note an attempt at a part, which counts from now on, whether its body comes or not."""
        if request.operation == "UploadPart" and request.length:
            return multipart.begin_part(self.bucket, request)
        return None

    def perform(self, request: Request, body: bytes, attempt: Attempt | None) -> Answer:
        """Execute a request that was admitted; refusals become answers."""
        try:
            self._check_digests(request, body)
            if request.operation == "UploadPart":
                return multipart.upload_part(self.bucket, request, body, attempt)
            return OPERATIONS[request.operation](self.bucket, request, body)
        except S3Error as problem:
            return self.refuse(request, problem)

    def refuse(self, request: Request, problem: S3Error) -> Answer:
        """The answer to a request that is refused."""
        return error(problem, request.raw_path, self.profile.region)

    def _check_digests(self, request: Request, body: bytes) -> None:
        aws = self.profile.aws_style_auth_codes
        claimed = request.headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        if claimed.startswith("STREAMING-"):
            raise S3Error(501, "NotImplemented", "Streaming signatures are not part of this double")
        if claimed not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
            code = "XAmzContentSHA256Mismatch" if aws else "InvalidDigest"
            raise S3Error(400, code, "Invalid digest: sha256 of the body is another")
        md5 = request.headers.get("content-md5")
        actual = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        if md5 is not None and md5 != actual:
            code = "BadDigest" if aws else "InvalidDigest"
            raise S3Error(400, code, "Invalid digest: MD5 of the body is another")
