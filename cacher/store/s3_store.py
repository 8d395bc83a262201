"""A store on an S3 bucket: entries are the objects below a prefix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cacher.errors import UsageError
from cacher.fileio import OnProgress, ignore_progress
from cacher.s3.bulk_delete import delete_many
from cacher.s3.client import Client
from cacher.s3.download import Download
from cacher.s3.object_head import ObjectHead
from cacher.s3.upload import FileParts, Upload, put_file
from cacher.store.interface import SHA256, Data, Deletion, Entry, Writer
from cacher.store.source_file import SourceFile
from cacher.store.verified_reader import VerifiedReader

PART_SIZE = 16 * 1024 * 1024
"""Bytes in a part: at most 1000 of them up to 15.6 GiB, and four fit small machines' memory."""

STREAM_PART_SIZE = 10 * 1024 * 1024
"""Bytes in a part of a stream; these parts are in memory."""

JOBS = 4
"""Requests under way at a time: four fill a loopback and most networks."""


class S3Store:
    """The `Store` of the objects below `prefix` in the client's bucket."""

    def __init__(
        self,
        client: Client,
        prefix: str = "",
        *,
        part_size: int | None = None,
        jobs: int = JOBS,
    ) -> None:
        self.client = client
        self._prefix = f"{prefix}/" if prefix else ""
        self._part_size = part_size or PART_SIZE
        self._stream_part_size = part_size or STREAM_PART_SIZE
        self._jobs = jobs
        self._prepared: dict[SourceFile, FileParts] = {}

    @property
    def name(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self.client.bucket}/{self._prefix}".rstrip("/")

    def head(self, key: str, *, verify_bucket: bool = True) -> Entry | None:
        """Send one HeadObject; on a 404, with `verify_bucket`, also a HeadBucket."""
        head = self.client.head(self._object(key), verify_bucket=verify_bucket)
        return _entry(key, head) if head else None

    def open(self, key: str, on_progress: OnProgress = ignore_progress) -> VerifiedReader | None:
        """Send one GetObject, and for entries over 8 MiB more of them in parallel."""
        name = self._object(key)
        download = Download.open(self.client, name, on_progress=on_progress, jobs=self._jobs)
        return VerifiedReader(download, _entry(key, download.head)) if download else None

    def create(
        self, key: str, metadata: Mapping[str, str], on_progress: OnProgress = ignore_progress
    ) -> S3Writer:
        """Return a writer that uses the memory of `jobs` parts."""
        upload = Upload(
            self.client,
            self._object(key),
            metadata,
            part_size=self._stream_part_size,
            jobs=self._jobs,
            on_progress=on_progress,
        )
        return S3Writer(upload, key, metadata)

    def prepare(self, content: SourceFile) -> None:
        """Begin to compute the digests of the parts, which the requests need."""
        parts = FileParts(content.fd, content.size, self._part_size)
        parts.digest_ahead()
        self._prepared = {content: parts}

    def put(
        self,
        key: str,
        content: SourceFile,
        metadata: Mapping[str, str],
        on_progress: OnProgress = ignore_progress,
    ) -> Entry:
        """Send one PutObject for a file of at most one part, else a multipart upload."""
        parts = self._prepared.pop(content, None)
        etag = put_file(
            self.client,
            self._object(key),
            parts or FileParts(content.fd, content.size, self._part_size),
            metadata,
            jobs=self._jobs,
            on_progress=on_progress,
            require_unchanged=content.require_unchanged,
            sha256=metadata.get(SHA256, ""),
        )
        return Entry(key, content.size, etag=etag, metadata=dict(metadata))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Send ListObjectsV2, for 1000 entries at a time."""
        if not _may_begin_a_key(prefix):
            # Stores on file systems refuse such a prefix, or normalize it and list something else.
            return
        for item in self.client.list_objects(self._prefix + prefix):
            # The same stores list directories as empty objects.
            is_directory = item.key.endswith("/") and item.size == 0
            if not is_directory and item.key.startswith(self._prefix + prefix):
                key = item.key.removeprefix(self._prefix)
                yield Entry(key, item.size, item.modified, item.etag)

    def delete(self, keys: Iterable[str]) -> Iterator[Deletion]:
        """Send DeleteObjects if the store has it and there are several keys, else DeleteObject."""
        for name, error in delete_many(self.client, map(self._object, keys)):
            yield Deletion(name.removeprefix(self._prefix), error)

    def close(self) -> None:
        """Close the connections."""
        self.client.session.transport.close()

    def _object(self, key: str) -> str:
        """Return the name of an entry's object.

        Raises `UsageError` for a name that means another object: Garage drops leading slashes,
        and a request without a key is about the bucket.
        """
        name = self._prefix + key
        if not key or name.startswith("/"):
            raise UsageError(f"a bucket cannot hold the key {key!r}")
        return name


class S3Writer(Writer):
    """The `Writer` of an entry on a bucket, over an `Upload`."""

    def __init__(self, upload: Upload, key: str, metadata: Mapping[str, str]) -> None:
        self._upload = upload
        self._key = key
        self._metadata = metadata
        self._size = 0

    def write(self, data: Data) -> None:
        """Write all of `data`; wait while `jobs` parts are being sent."""
        self._upload.write(data)
        self._size += memoryview(data).nbytes

    def commit(self) -> Entry:
        """Publish the whole object."""
        etag = self._upload.commit()
        return Entry(self._key, self._size, etag=etag, metadata=dict(self._metadata))

    def close(self) -> None:
        """Abort the upload, unless it was committed."""
        self._upload.close()


def _may_begin_a_key(prefix: str) -> bool:
    """Whether a key can begin with `prefix`: single slashes, and no segment is a dot or two."""
    *whole, _begun = prefix.split("/")
    return not any(segment in ("", ".", "..") for segment in whole)


def _entry(key: str, head: ObjectHead) -> Entry:
    return Entry(key, head.size, head.modified, head.etag, head.metadata)
