"""One bucket: S3's operations with typed answers.

Knows what the operations mean and how the answers of stores differ; `session.py` signs, sends and
retries. Keys are whole object names here. All methods raise `CacherError`s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from cacher.errors import AccessError, CacherError, StoreError
from cacher.http.exceptions import TransportError
from cacher.http.retry import Attempts
from cacher.http.transport import Answer
from cacher.s3 import store_quirks, xml
from cacher.s3.error_mapping import Refusal, unknown_size_error
from cacher.s3.object_head import ObjectHead, is_whole, read_head, whole_size
from cacher.s3.request_body import MemoryBody, SignedBody
from cacher.s3.session import (
    OK_STATUSES,
    Proof,
    Reply,
    Request,
    Session,
    ignore_body,
)

Pause = Callable[[float], None]


class UploadGone(StoreError):
    """The store no longer knows the upload."""


class Client:
    """The operations on one bucket. Thread-safe."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.bucket = session.endpoint.bucket
        self.last_head: tuple[str, ObjectHead | None] | None = None
        """The key of the last look-up, and what it found."""

    def head(
        self, key: str, *, verify_bucket: bool = True, pause: Pause | None = None
    ) -> ObjectHead | None:
        """Return the object's headers, or None if there is no object (HeadObject).

        With `verify_bucket` None is certain. Without it the bucket may be missing as well, or the
        server may not be a store.
        """
        request = Request("HEAD", f"looking for {key}", key, proof=Proof.HEADER, accept=(404,))
        reply = self.session.call(request, ignore_body, pause)
        if reply.refusal:
            # A HEAD's 404 has no body to tell a missing key from a missing bucket, or a store's
            # answer from any other web server's.
            found = self._head_by_get(key, None, pause) if verify_bucket else None
        else:
            found = read_head(reply.headers)
            if found.size < 0:
                found = self._head_by_get(key, found, pause)
        self.last_head = (key, found)
        return found

    def get(
        self,
        key: str,
        span: tuple[int, int] | None = None,
        etag: str = "",
        pause: Pause | None = None,
        attempts: Attempts | None = None,
        doing: str = "",
    ) -> Reply[Answer] | None:
        """Return the object, or its bytes [start, end), if its ETag is `etag` (GetObject).

        None if there is no object. The reply may be a refusal with status 412 (another ETag by
        now) or 416 (no such bytes). The caller checks whether a success is the right range.
        """
        headers = {}
        if span:
            headers["range"] = f"bytes={span[0]}-{span[1] - 1}"
        if etag:
            headers["if-match"] = etag
        doing = doing or f"reading {key}"
        request = Request(
            "GET",
            doing,
            key,
            headers=headers,
            success=store_quirks.READ_STATUSES if span else OK_STATUSES,
            proof=Proof.HEADER,
            accept=(404, 412, 416),
        )
        reply = self.session.open(request, pause, attempts)
        if reply.status != 404:
            return reply
        if reply.refusal and reply.code not in store_quirks.MISSING_CODES:
            raise self.session.refusal_error(reply.refusal, doing)
        self.last_head = (key, None)
        return None

    def put(self, key: str, body: SignedBody, metadata: Mapping[str, str]) -> str:
        """Store an object in one request (PutObject); return its ETag."""
        reply = self.session.call(
            Request(
                "PUT",
                f"storing {key}",
                key,
                headers=_metadata_headers(metadata),
                body=body,
                proof=Proof.HEADER,
                answer_within=self.session.limits.write,
            ),
            xml.read_nothing,
        )
        self.last_head = None
        return reply.headers.get("etag", "")

    def create_upload(
        self, key: str, metadata: Mapping[str, str], pause: Pause | None = None
    ) -> str:
        """Begin a multipart upload; return its id."""
        request = Request(
            "POST", f"storing {key}", key, {"uploads": ""}, _metadata_headers(metadata)
        )
        return self.session.call(request, xml.read_upload_id, pause).value or ""

    def put_part(
        self, key: str, upload_id: str, number: int, body: SignedBody, pause: Pause
    ) -> str:
        """Store part `number` (from 1); return its ETag. Allows one call at a time for each number.

        Raises `UploadGone`, as does `complete_upload`.
        """
        doing = f"storing {key} (part {number})"
        request = Request(
            "PUT",
            doing,
            key,
            {"partNumber": str(number), "uploadId": upload_id},
            body=body,
            proof=Proof.HEADER,
            accept=(404,),
            answer_within=self.session.limits.write,
        )
        reply = self.session.call(request, xml.read_nothing, pause)
        if reply.refusal:
            raise self._upload_error(reply.refusal, doing)
        return reply.headers.get("etag", "")

    def complete_upload(
        self,
        key: str,
        upload_id: str,
        etags: Mapping[int, str],
        *,
        published: Callable[[], str | None],
    ) -> str | None:
        """Make the parts the object and return its ETag; None if the store misses parts.

        If the answer was lost, `published` returns the object's ETag, or None if it is not there.
        The ETag may be empty: some stores leave it out here.
        """
        body = MemoryBody(xml.write_complete(sorted(etags.items())))
        request = Request(
            "POST",
            f"storing {key}",
            key,
            {"uploadId": upload_id},
            body=body,
            accept=(400, 404),
            answer_within=self.session.limits.commit,
        )
        try:
            reply = self.session.call(request, xml.read_completed)
        except StoreError:
            # The last reply may have been lost after the store had done it.
            if (etag := published()) is not None:
                return etag
            raise
        if reply.refusal is None:
            return reply.value or ""
        if reply.code == "NoSuchUpload" and (etag := published()) is not None:
            # It was completed by an earlier try, whose reply was lost.
            return etag
        if reply.code == "InvalidPart":
            return None
        raise self._upload_error(reply.refusal, f"storing {key}")

    def list_parts(self, key: str, upload_id: str) -> dict[int, str]:
        """Return the ETags of the parts that the store has, by number."""
        found: dict[int, str] = {}
        marker = ""
        while True:
            query = {"uploadId": upload_id} | ({"part-number-marker": marker} if marker else {})
            request = Request("GET", f"storing {key}", key, query)
            parts, next_marker = self.session.call(request, xml.read_parts).value or ({}, "")
            found |= parts
            if not next_marker or next_marker == marker:
                return found
            marker = next_marker

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Abort an upload, which may be gone already."""
        request = Request(
            "DELETE",
            f"aborting the upload of {key}",
            key,
            {"uploadId": upload_id},
            success=store_quirks.DELETED_STATUSES,
            accept=(404,),
            answer_within=self.session.limits.undo,
            tries=3,
        )
        self.session.call(request, xml.read_nothing)

    def list_objects(self, prefix: str, *, page_size: int = 1000) -> Iterator[xml.ListedObject]:
        """Yield all objects whose name begins with `prefix`, page by page (ListObjectsV2)."""
        query = {
            "list-type": "2",
            "encoding-type": "url",
            "max-keys": str(page_size),
            "prefix": prefix,
        }
        while True:
            request = Request("GET", "listing", query=query)
            page = self.session.call(request, xml.read_list_page).value
            if page is None:
                return
            yield from page.objects
            if not page.token:
                return
            if page.token == query.get("continuation-token"):
                raise StoreError(
                    "listing: the store gives the same page again and again",
                    "this is a fault of the store, or of a cache before it; `delete` and "
                    "`download` of single keys work without lists",
                )
            query = {**query, "continuation-token": page.token}

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there counts as deleted (DeleteObject)."""
        doing = f"deleting {key}"
        request = Request(
            "DELETE", doing, key, success=store_quirks.DELETED_STATUSES, accept=(404,)
        )
        reply = self.session.call(request, xml.read_nothing)
        if reply.refusal and reply.code not in store_quirks.MISSING_CODES:
            raise self.session.refusal_error(reply.refusal, doing)
        if reply.status == 200 and not reply.headers.get("x-amz-request-id"):
            self._require_deleted(key, doing)

    def location(self) -> str:
        """Return the region that the store names (GetBucketLocation)."""
        request = Request("GET", "asking for the region", query={"location": ""}, tries=1)
        return self.session.call(request, xml.read_location).value or ""

    def _head_by_get(
        self, key: str, known: ObjectHead | None, pause: Pause | None
    ) -> ObjectHead | None:
        """Return the headers of an object by a GET: its HEAD had no length, or was a 404.

        `known` is the result of the HEAD, if it had any.
        """
        doing = f"looking for {key}"
        reply = self.get(key, (0, 1), pause=pause, doing=doing)
        if reply is None:
            return None
        if reply.value is None:
            # Not even the first byte is there (416): it is empty.
            return known and known._replace(size=0)
        with reply.value as answer:
            size = whole_size(answer)
            if size < 0 and is_whole(answer) and self.is_at_end(answer, doing):
                size = 0
        if size < 0:
            raise unknown_size_error(doing, str(self.session.endpoint.host))
        return read_head(reply.headers)._replace(size=size)

    def is_at_end(self, answer: Answer, doing: str) -> bool:
        """Return whether an answer has no bytes left; reads and drops the next byte."""
        try:
            return not answer.read(1)
        except TransportError as error:
            raise self.session.unanswered_error(error, doing, self.session.attempts()) from error

    def _require_deleted(self, key: str, doing: str) -> None:
        """Raise `StoreError` if the object is still there: an empty 200 proves nothing."""
        try:
            reply = self.get(key, (0, 1), doing=doing)
        except AccessError:
            return  # a store's answer, to a key that may not read
        if reply is not None:
            if reply.value is not None:
                reply.value.close()
            raise StoreError(f"{doing}: the store says that it is deleted, but it is still there")

    def _upload_error(self, refusal: Refusal, doing: str) -> CacherError:
        if refusal.error.code == "NoSuchUpload":
            return UploadGone(
                f"{doing}: the store dropped the upload",
                "is there another job that stores it, or a rule that ends uploads? run it again",
            )
        return self.session.refusal_error(refusal, doing)


def _metadata_headers(metadata: Mapping[str, str]) -> dict[str, str]:
    return {store_quirks.METADATA_PREFIX + name: value for name, value in metadata.items()}
