"""A multipart upload: parts sent in parallel that become one object or nothing."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping

from cacher.errors import AccessError, CacherError, OutOfThreads, StoreError
from cacher.s3.client import Client, UploadGone
from cacher.s3.object_head import ObjectHead
from cacher.s3.request_body import SignedBody
from cacher.s3.store_quirks import FEW_PARTS, MAX_PART, MAX_PARTS, MIB
from cacher.s3.thread_pool import ThreadPool, run_with_timeout

UPLOAD_META = "cacher-upload"
"""The metadata name of a random token: after a lost reply it identifies this upload's object."""

CREATE_SHARE = 0.8
"""The share of the time for undoing in which the id of a new upload may still arrive: without the
id the upload would stay in the store. The rest is for aborting it."""


def part_size_for(size: int, wanted: int) -> int:
    """Return the size of all parts but the last: `wanted` bytes, or more if `size` needs it.

    Every store takes few and equal parts; whole MiB suit Garage's blocks.
    """
    needed = -(-size // FEW_PARTS)
    return min(max(wanted, -(-needed // MIB) * MIB), MAX_PART)


class Multipart:
    """One multipart upload, begun by the first part, with up to `jobs` parts in flight.

    At most one attempt of each part is in flight: Garage takes the latest, complete or not.
    """

    def __init__(self, client: Client, key: str, metadata: Mapping[str, str], jobs: int) -> None:
        self._client = client
        self._key = key
        self._token = os.urandom(8).hex()
        self._metadata = {**metadata, UPLOAD_META: self._token}
        self._jobs = jobs
        self._upload = ""
        """The id of the upload, once it has begun."""
        self._previous: ObjectHead | None = None
        """The object that was there before."""
        self._superseded = False
        self.pool = ThreadPool(client.session.transport.interrupt)
        """The sending threads; `pool.changed` guards the state shared with them."""
        self._queue: deque[tuple[int, SignedBody, Callable[[], None]]] = deque()
        self._etags: dict[int, str] = {}
        self._repeated: set[int] = set()
        self._size = 0
        self._count = 0
        self._closed = False

    def send(self, body: SignedBody, on_stored: Callable[[], None] = lambda: None) -> None:
        """Queue the next part. Call `on_stored`, holding `pool.changed`, once it is stored."""
        if not self._upload:
            self.pool.start(1, self._create)
            self.pool.wait_for(lambda: bool(self._upload))
        if self._count == MAX_PARTS:
            raise StoreError(
                f"storing {self._key}: more than {MAX_PARTS} parts",
                "a larger --part-size allows a larger entry",
            )
        with self.pool.changed:
            self._count += 1
            self._size += body.size
            self._queue.append((self._count, body, on_stored))
            self.pool.changed.notify_all()
        if self._count <= self._jobs:
            try:
                self.pool.start(1, self._work)
            except OutOfThreads:
                if self._count == 1:
                    raise

    def finish(self) -> None:
        """Wait until the store has every part."""
        with self.pool.changed:
            self._closed = True
            self.pool.changed.notify_all()
        self.pool.join()

    def complete(self) -> str | None:
        """Make the parts the object and return its ETag; None if the store misses some."""
        if self._superseded:
            return ""
        try:
            etag = self._client.complete_upload(
                self._key, self._upload, self._etags, published=self._etag_if_published
            )
        except UploadGone as gone:
            self._accept_newer_object(gone)
            return ""
        if etag is not None:
            self._upload = ""
            self._client.last_head = None
        return etag

    def parts_to_resend(self) -> list[int]:
        """Return the numbers of the parts to send again after the store missed some.

        Garage uses a part's latest attempt, even an incomplete one, but lists the latest complete
        one: so resend the parts that were sent more than once, or else all.
        """
        stored = self._client.list_parts(self._key, self._upload)
        missing = {number for number, etag in self._etags.items() if stored.get(number) != etag}
        return sorted(missing | self._repeated) or sorted(self._etags)

    def send_again(self, number: int, body: SignedBody) -> None:
        """Send a part again."""
        self._etags[number] = self._client.put_part(
            self._key, self._upload, number, body, self._client.session.clocks.pause
        )

    def abort(self) -> None:
        """Stop and leave nothing in the store. Does nothing after `complete`."""
        left = self._client.session.undo_time_left()
        self.pool.wait_briefly(lambda: bool(self._upload), left() * CREATE_SHARE)
        self.pool.stop(left() / 2)
        if self._upload:
            upload, self._upload = self._upload, ""
            # If this fails, report the failure that led here; the store is likely down.
            run_with_timeout(
                left(),
                lambda: self._client.abort_upload(self._key, upload),
                self._client.session.transport.interrupt,
            )

    def _accept_newer_object(self, gone: UploadGone) -> None:
        """Raise `gone`, unless the key has a new object.

        Garage drops everything older than the latest complete version of an object, even uploads
        in flight. Two jobs often store the same key at once, and any other store would let the
        later one win: so this upload counts as stored and then replaced.
        """
        try:
            head = self._client.head(self._key, verify_bucket=False, pause=self.pool.pause)
        except AccessError:
            raise gone from None  # a key that may only write cannot know
        if head is None or _identity(head) == _identity(self._previous):
            raise gone
        self._superseded = True

    def _note_previous(self) -> None:
        """Remember the object before the upload; look it up unless that was just done."""
        known = self._client.last_head
        if known and known[0] == self._key:
            self._previous = known[1]
        else:
            try:
                self._previous = self._client.head(
                    self._key, verify_bucket=False, pause=self.pool.pause
                )
            except AccessError:
                pass  # a key that may only write

    def _etag_if_published(self) -> str | None:
        """Return the ETag of the object if it came from this upload."""
        try:
            head = self._client.head(self._key)
        except CacherError:
            return None
        if head is None or head.metadata.get(UPLOAD_META) != self._token or head.size != self._size:
            return None
        return head.etag

    def _work(self) -> None:
        pool = self.pool
        while True:
            with pool.changed:
                pool.wait_in_thread(lambda: bool(self._queue) or self._closed)
                if not self._queue:
                    return
                number, body, on_stored = self._queue.popleft()
            etag = self._put(number, body)
            with pool.changed:
                self._etags[number] = etag
                if body.times_sent > 1:
                    self._repeated.add(number)
                on_stored()
                pool.changed.notify_all()

    def _create(self) -> None:
        """Begin the upload. Runs in a thread, so that no signal can lose its id."""
        self._note_previous()
        upload = self._client.create_upload(self._key, self._metadata, self.pool.pause)
        with self.pool.changed:
            self._upload = upload

    def _put(self, number: int, body: SignedBody) -> str:
        """Send a part, unless the upload was superseded; return its ETag."""
        if not self._superseded:
            try:
                return self._client.put_part(self._key, self._upload, number, body, self.pool.pause)
            except UploadGone as gone:
                self._accept_newer_object(gone)
        return ""


def _identity(head: ObjectHead | None) -> tuple[str, int, str] | None:
    """Return what identifies an object's version. Not its date: some stores change that."""
    return head and (head.etag, head.size, head.metadata.get(UPLOAD_META, ""))
