"""One bucket: S3's operations with typed answers.

Knows what the operations mean and how stores differ in answering them; `session.py` signs, sends
and repeats. Keys are whole object names here. All methods raise `CacherError`s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from cacher.errors import CacherError, StoreError
from cacher.s3 import documents, quirks
from cacher.s3.body import MemoryBody, SignedBody
from cacher.s3.faults import Fault, explained
from cacher.s3.heads import ObjectHead, http_date, read_head
from cacher.s3.retry import Attempts
from cacher.s3.session import (
    Reply,
    Request,
    Session,
    no_document,
)
from cacher.s3.transport import Answer

Pause = Callable[[float], None]


class OpenUpload(NamedTuple):
    """A multipart upload: its id, and when it began by the store's clock (POSIX seconds)."""

    id: str
    begun: float | None


class UploadGone(StoreError):
    """The store does not know the upload any more."""


class Client:
    """The operations on one bucket. For use by several threads."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.bucket = session.endpoint.bucket

    def head(self, key: str, *, sure: bool = True) -> ObjectHead | None:
        """The object's headers, or None where there is none (HeadObject).

        It is certain then, unless not being `sure` is enough: the bucket may be missing, too.
        """
        doing = f"looking for {key}"
        reply = self.session.call(Request("HEAD", doing, key, accept=(404,)), no_document)
        if reply.fault:
            # A HEAD's 404 has no body to tell a missing key from a missing bucket.
            if sure:
                self.check_bucket(doing)
            return None
        head = read_head(reply.headers)
        return self._measured(key) if head.size < 0 else head

    def check_bucket(self, doing: str) -> bool:
        """Whether the bucket may be read (HeadBucket); raises `AccessError` if there is none.

        A key that may only write is refused here, which says nothing about the bucket.
        """
        reply = self.session.call(Request("HEAD", doing, accept=(403, 404)), no_document)
        if reply.status == 404:
            missing = documents.ErrorDocument(code="NoSuchBucket")
            raise explained(Fault(404, missing), doing, self.bucket)
        return reply.fault is None

    def get(
        self,
        key: str,
        span: tuple[int, int] | None = None,
        etag: str = "",
        pause: Pause | None = None,
        attempts: Attempts | None = None,
    ) -> Reply[Answer] | None:
        """The object, or its bytes [start, end), if its ETag is `etag` (GetObject).

        None where there is none. The reply may be a refusal with status 412 (another ETag by now)
        or 416 (no such bytes). Whether a success is the right range is for the caller to check.
        """
        headers = {}
        if span:
            headers["range"] = f"bytes={span[0]}-{span[1] - 1}"
        if etag:
            headers["if-match"] = etag
        doing = f"reading {key}"
        request = Request("GET", doing, key, headers=headers, accept=(404, 412, 416))
        reply = self.session.open(request, pause, attempts)
        if reply.status != 404:
            return reply
        if reply.fault and reply.code == "NoSuchBucket":
            raise explained(reply.fault, doing, self.bucket)
        if not reply.code:
            raise StoreError(
                f"{doing}: {self.session.endpoint.host} answered 404, but not as an S3 store does",
                "check --endpoint: it must be the address of the S3 API",
            )
        return None

    def put(self, key: str, body: SignedBody, metadata: Mapping[str, str]) -> str:
        """Store an object in one request (PutObject); its ETag."""
        reply = self.session.call(
            Request(
                "PUT",
                f"storing {key}",
                key,
                headers=_metadata_headers(metadata),
                body=body,
                answer_within=self.session.limits.write,
            ),
            no_document,
        )
        return reply.headers.get("etag", "")

    def create_upload(
        self, key: str, metadata: Mapping[str, str], pause: Pause | None = None
    ) -> OpenUpload:
        """Begin a multipart upload."""
        request = Request(
            "POST", f"storing {key}", key, {"uploads": ""}, _metadata_headers(metadata)
        )
        reply = self.session.call(request, documents.read_upload_id, pause)
        return OpenUpload(reply.value or "", http_date(reply.headers.get("date", "")))

    def put_part(
        self, key: str, upload_id: str, number: int, body: SignedBody, pause: Pause
    ) -> str:
        """Store part `number` (from 1); its ETag. At most one call at a time for each number.

        Raises `UploadGone`, as does `complete_upload`.
        """
        doing = f"storing {key} (part {number})"
        request = Request(
            "PUT",
            doing,
            key,
            {"partNumber": str(number), "uploadId": upload_id},
            body=body,
            accept=(404,),
            answer_within=self.session.limits.write,
        )
        reply = self.session.call(request, no_document, pause)
        if reply.fault:
            raise self._lost(reply.fault, doing)
        return reply.headers.get("etag", "")

    def complete_upload(
        self,
        key: str,
        upload_id: str,
        etags: Mapping[int, str],
        *,
        published: Callable[[], str | None],
    ) -> str | None:
        """Make the parts the object, and give its ETag; None if the store misses parts.

        Where it is not clear what became of the request, `published` tells the object's ETag if
        it is there. Not every store tells the ETag here: it may be empty.
        """
        body = MemoryBody(documents.write_complete(sorted(etags.items())))
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
            reply = self.session.call(request, documents.read_completed)
        except StoreError:
            # The last reply may have been lost after the store had done as it was told.
            if (etag := published()) is not None:
                return etag
            raise
        if reply.fault is None:
            return reply.value or ""
        if reply.code == "NoSuchUpload" and (etag := published()) is not None:
            # It was completed by an earlier try, whose reply was lost.
            return etag
        if reply.code == "InvalidPart":
            return None
        raise self._lost(reply.fault, f"storing {key}")

    def list_parts(self, key: str, upload_id: str) -> dict[int, str]:
        """The ETags of the parts that the store has, by number."""
        found: dict[int, str] = {}
        marker = ""
        while True:
            query = {"uploadId": upload_id} | ({"part-number-marker": marker} if marker else {})
            request = Request("GET", f"storing {key}", key, query)
            parts, next_marker = self.session.call(request, documents.read_parts).value or ({}, "")
            found |= parts
            if not next_marker or next_marker == marker:
                return found
            marker = next_marker

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Throw the parts away. One that is gone already is fine."""
        request = Request(
            "DELETE",
            f"aborting the upload of {key}",
            key,
            {"uploadId": upload_id},
            accept=quirks.ABORTED,
            answer_within=self.session.limits.undo,
            tries=3,
        )
        self.session.call(request, no_document)

    def list_objects(
        self, prefix: str, *, page_size: int = 1000
    ) -> Iterator[documents.ListedObject]:
        """All objects whose name begins with `prefix`, a page at a time (ListObjectsV2)."""
        query = {
            "list-type": "2",
            "encoding-type": "url",
            "max-keys": str(page_size),
            "prefix": prefix,
        }
        while True:
            request = Request("GET", "listing", query=query)
            page = self.session.call(request, documents.read_list_page).value
            if page is None:
                return
            yield from page.objects
            if not page.token:
                return
            if page.token == query.get("continuation-token"):
                raise StoreError("listing: the store gives the same page again and again")
            query = {**query, "continuation-token": page.token}

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there counts as deleted (DeleteObject)."""
        request = Request("DELETE", f"deleting {key}", key, accept=quirks.DELETED)
        reply = self.session.call(request, no_document)
        if reply.fault and reply.code == "NoSuchBucket":
            raise explained(reply.fault, f"deleting {key}", self.bucket)

    def location(self) -> str:
        """The region as the store names it (GetBucketLocation)."""
        request = Request("GET", "asking for the region", query={"location": ""}, tries=1)
        return self.session.call(request, documents.read_location).value or ""

    def _measured(self, key: str) -> ObjectHead | None:
        """The headers of an object whose HEAD tells no length: those of a GET do."""
        reply = self.get(key)
        if reply is None:
            return None
        told = read_head(reply.headers)
        if reply.value is not None:
            reply.value.close()  # unread, and with it the connection
        if reply.status != 200 or told.size < 0:
            raise StoreError(f"looking for {key}: the store does not tell its size")
        return told

    def _lost(self, fault: Fault, doing: str) -> CacherError:
        if fault.error.code == "NoSuchUpload":
            return UploadGone(f"{doing}: the store dropped the upload", "a later run may succeed")
        return explained(fault, doing, self.bucket)


def _metadata_headers(metadata: Mapping[str, str]) -> dict[str, str]:
    return {quirks.METADATA_PREFIX + name: value for name, value in metadata.items()}
