"""What is in the bucket: objects and open multipart uploads, under one lock.

Knows Garage's rules of storing (quota, ETags, the latest attempt at a part counts) and the
profile's departures from them; nothing of HTTP or of documents.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from tests.fakes.answers import S3Error, invalid
from tests.fakes.profile import Profile


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object at rest. The ETag has no quotes; metadata names lack `x-amz-meta-`."""

    body: bytes
    etag: str
    modified: float
    metadata: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """`content-type` and its like, as they were sent."""


@dataclass(eq=False)
class Attempt:
    """One attempt at a part, begun when its head arrived; unfinished while `etag` is empty."""

    number: int
    body: bytes = b""
    etag: str = ""
    md5: bytes = b""
    modified: float = 0.0


@dataclass(eq=False)
class Upload:
    """An open multipart upload, with every attempt at a part in the order of their beginning."""

    id: str
    key: str
    initiated: float
    metadata: Mapping[str, str]
    headers: Mapping[str, str]
    attempts: list[Attempt] = field(default_factory=list)

    def latest(self) -> dict[int, Attempt]:
        """The attempts that count at Complete: the latest, finished or not."""
        return {attempt.number: attempt for attempt in self.attempts}

    def finished(self) -> dict[int, Attempt]:
        """The attempts that ListParts shows: the latest of the finished ones."""
        return {attempt.number: attempt for attempt in self.attempts if attempt.etag}


class Condition(NamedTuple):
    """A conditional write, as its headers had it; empty means absent."""

    if_match: str = ""
    if_none_match: str = ""

    def check(self, existing: StoredObject | None) -> None:
        """Raise what AWS answers where the condition does not hold."""
        if self.if_match and existing is None:
            raise S3Error(404, "NoSuchKey", "Key not found")
        refused = existing is not None and (
            (self.if_match and not matches(self.if_match, existing.etag))
            or (self.if_none_match and matches(self.if_none_match, existing.etag))
        )
        if refused:
            message = "At least one of the pre-conditions you specified did not hold"
            raise S3Error(412, "PreconditionFailed", message)


def matches(condition: str, etag: str) -> bool:
    """Whether an `If-Match` or `If-None-Match` value names this ETag."""
    return any(item.strip() in ("*", f'"{etag}"', etag) for item in condition.split(","))


class Bucket:
    """The one bucket there is."""

    def __init__(self, name: str, profile: Profile, clock: Callable[[], float]) -> None:
        self.name = name
        self.profile = profile
        self._clock = clock
        self._lock = threading.RLock()
        self._objects: dict[str, StoredObject] = {}
        self._uploads: dict[str, Upload] = {}
        self._sorted: list[str] | None = None

    def objects(self) -> dict[str, StoredObject]:
        """A snapshot."""
        with self._lock:
            return dict(self._objects)

    def uploads(self) -> dict[str, Upload]:
        """A snapshot of the open uploads, by id."""
        with self._lock:
            return dict(self._uploads)

    def keys(self) -> Sequence[str]:
        """All keys in UTF-8 byte order (which is the order of code points)."""
        with self._lock:
            if self._sorted is None:
                self._sorted = sorted(self._objects)
            return self._sorted

    def get(self, key: str) -> StoredObject | None:
        """The object, or None."""
        with self._lock:
            return self._objects.get(key)

    def seed(self, keys: Iterable[str], body: bytes, metadata: Mapping[str, str]) -> None:
        """Store one object under many keys, past all rules."""
        stored = self._make(body, metadata, {})
        with self._lock:
            self._objects.update(dict.fromkeys(keys, stored))
            self._sorted = None

    def put(
        self,
        key: str,
        body: bytes,
        metadata: Mapping[str, str],
        headers: Mapping[str, str],
        condition: Condition,
    ) -> StoredObject:
        """Store an object, by the rules."""
        stored = self._make(body, metadata, headers)
        with self._lock:
            condition.check(self._objects.get(key))
            self._check_quota(key, len(body))
            self._store(key, stored)
        return stored

    def corrupt(self, key: str, body: bytes | None) -> None:
        """Change an object's bytes and nothing else: by default one bit in the middle."""
        with self._lock:
            stored = self._objects[key]
            if body is None:
                damaged = bytearray(stored.body)
                damaged[len(damaged) // 2] ^= 1
                body = bytes(damaged)
            self._objects[key] = replace(stored, body=body)

    def remove(self, key: str) -> bool:
        """Delete an object; whether there was one."""
        with self._lock:
            if self._objects.pop(key, None) is None:
                return False
            self._sorted = None
            return True

    def create_upload(
        self, key: str, metadata: Mapping[str, str], headers: Mapping[str, str]
    ) -> Upload:
        """Open a multipart upload; ids are 64 hex digits, as Garage's are."""
        upload = Upload(secrets.token_hex(32), key, self._clock(), metadata, headers)
        with self._lock:
            self._uploads[upload.id] = upload
        return upload

    def upload(self, key: str, upload_id: str) -> Upload:
        """An open upload."""
        with self._lock:
            upload = self._uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise S3Error(404, "NoSuchUpload", "Upload not found")
        return upload

    def begin_part(self, key: str, upload_id: str, number: int) -> Attempt:
        """Note that a part is coming: from now on this attempt is the latest one."""
        attempt = Attempt(number)
        with self._lock:
            self.upload(key, upload_id).attempts.append(attempt)
        return attempt

    def finish_part(self, attempt: Attempt, body: bytes) -> None:
        """Note that a part has arrived whole."""
        etag, md5 = self._etag(body)
        with self._lock:
            attempt.body, attempt.md5, attempt.modified = body, md5, self._clock()
            attempt.etag = etag

    def complete(
        self, upload: Upload, listed: Sequence[tuple[int, str]], condition: Condition
    ) -> StoredObject:
        """Make an object of an upload. `listed`: part numbers and ETags as the client has them."""
        with self._lock:
            parts = _listed_parts(upload, listed)
            _check_sizes([len(part.body) for part in parts], self.profile)
            condition.check(self._objects.get(upload.key))
            if self._uploads.pop(upload.id, None) is None:
                raise S3Error(404, "NoSuchUpload", "Upload not found")
            body = b"".join(part.body for part in parts)
            self._check_quota(upload.key, len(body))  # where it fails the upload is gone as well
            etag = f"{self._etag(b''.join(part.md5 for part in parts))[0]}-{len(parts)}"
            stored = StoredObject(body, etag, self._clock(), upload.metadata, upload.headers)
            self._store(upload.key, stored)
        return stored

    def abort(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts."""
        with self._lock:
            del self._uploads[self.upload(key, upload_id).id]

    def _store(self, key: str, stored: StoredObject) -> None:
        if key not in self._objects:
            self._sorted = None
        self._objects[key] = stored

    def _make(
        self, body: bytes, metadata: Mapping[str, str], headers: Mapping[str, str]
    ) -> StoredObject:
        return StoredObject(body, self._etag(body)[0], self._clock(), metadata, headers)

    def _etag(self, body: bytes) -> tuple[str, bytes]:
        md5 = hashlib.md5(body, usedforsecurity=False).digest()
        return md5.hex(), md5

    def _check_quota(self, key: str, added: int) -> None:
        quota = self.profile.quota_bytes
        if quota is None:
            return
        others = sum(len(stored.body) for name, stored in self._objects.items() if name != key)
        if others + added > quota:
            message = (
                "Forbidden: Bucket size quota is reached, maximum total size of objects for this "
                f"bucket: {quota}. The bucket is already {others} bytes, and this object would "
                f"add {added} bytes."
            )
            raise S3Error(403, "AccessDenied", message)


def _listed_parts(upload: Upload, listed: Sequence[tuple[int, str]]) -> list[Attempt]:
    numbers = [number for number, _ in listed]
    if not numbers:
        raise S3Error(400, "EntityTooSmall", "Your proposed upload is empty")
    if any(a >= b for a, b in pairwise(numbers)):
        raise S3Error(400, "InvalidPartOrder", "Parts given to CompleteMultipartUpload not sorted")
    latest = upload.latest()
    parts = []
    for number, etag in listed:
        part = latest.get(number)
        if part is None or not part.etag or part.etag != etag:
            raise S3Error(400, "InvalidPart", "Part is not uploaded, or its etag is another")
        parts.append(part)
    return parts


def _check_sizes(sizes: Sequence[int], profile: Profile) -> None:
    if any(size < profile.min_part_size for size in sizes[:-1]):
        raise S3Error(400, "EntityTooSmall", "A part is smaller than the minimum allowed size")


def check_part_number(value: str, profile: Profile) -> int:
    """The number of a part; Garage takes any unsigned one."""
    if not value.isdecimal():
        raise invalid("Bad request: invalid partNumber")
    if profile.max_parts is not None and not 1 <= int(value) <= profile.max_parts:
        message = f"Part number must be an integer between 1 and {profile.max_parts}, inclusive"
        raise S3Error(400, "InvalidArgument", message)
    return int(value)
