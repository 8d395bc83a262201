"""The steps of a diagnosis of a store: each tries one operation once, and raises what goes wrong.

The caller deletes the objects that they write.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from cacher.errors import AccessError, CacherError, IntegrityError, StoreError
from cacher.s3.client import Client
from cacher.s3.error_mapping import Refusal, unknown_size_error
from cacher.s3.multipart import CREATE_SHARE
from cacher.s3.object_head import store_date
from cacher.s3.request_body import MemoryBody
from cacher.s3.session import OK_STATUSES, Proof, Request, ignore_body
from cacher.s3.store_quirks import MIN_PART, READ_STATUSES
from cacher.s3.thread_pool import ThreadPool
from cacher.s3.xml import ErrorDocument, plain, read_nothing

CANARY = b"\n"
"""The content of an object that tests whether writing is possible."""


def clock_skew(client: Client) -> float | None:
    """Return the seconds that this machine's clock is ahead of the store's; None if unknown."""
    request = Request("HEAD", "asking for the time", accept=range(300, 500))
    reply = client.session.call(request, ignore_body)
    server = store_date(reply.headers.get("date", ""))
    return None if server is None else client.session.clocks.clock() - server


def bucket_refusal(client: Client) -> CacherError | None:
    """Return why the bucket may not be read, in the store's words; None if it may (HeadBucket).

    Raises `AccessError` if there is no such bucket. Call it only for what is known to be a store:
    any web server may answer a HEAD like one.
    """
    doing = "asking for the bucket"
    reply = client.session.call(Request("HEAD", doing, accept=(403, 404)), ignore_body)
    if reply.status == 404:
        raise client.session.refusal_error(Refusal(404, ErrorDocument("NoSuchBucket")), doing)
    return client.session.refusal_error(reply.refusal, doing) if reply.refusal else None


def upload_two_parts(client: Client, key: str) -> int:
    """Upload an object in two parts; return its size."""
    first, last, pause = os.urandom(MIN_PART), CANARY, client.session.clocks.pause
    upload_id = _create_upload(client, key)
    try:
        etags = {
            number: client.put_part(key, upload_id, number, MemoryBody(body), pause)
            for number, body in ((1, first), (2, last))
        }
        if client.complete_upload(key, upload_id, etags, published=lambda: None) is None:
            raise StoreError("the store misses parts that it has acknowledged")
    except BaseException:
        client.abort_upload(key, upload_id)
        raise
    return len(first) + len(last)


def read_across_parts(client: Client, key: str, size: int) -> None:
    """Read a range across both parts of `upload_two_parts`: only a 206 with that range counts."""
    span = f"{size - 2}-{size - 1}"
    headers = {"range": f"bytes={span}"}
    reply = client.session.call(_read(key, headers), bytes)
    reported = reply.headers.get("content-range", "")
    if reply.status == 200 and not reported and "content-length" not in reply.headers:
        raise unknown_size_error(f"reading {key}", str(client.session.endpoint.host))
    if reply.status != 206 or reported != f"bytes {span}/{size}":
        came = plain(reported) or "no Content-Range"
        raise StoreError(
            f"a range was answered with HTTP {reply.status} and {came}",
            "downloads work, but one after the other and without resuming",
        )
    body = reply.value or b""
    if len(body) != 2 or body[1:] != CANARY:
        raise IntegrityError("a range has other bytes than were stored")


def abort_upload(client: Client, key: str) -> str:
    """Begin an upload and abort it; return what is known of it afterwards."""
    upload_id = _create_upload(client, key)
    try:
        client.put_part(key, upload_id, 1, MemoryBody(CANARY), client.session.clocks.pause)
    finally:
        client.abort_upload(key, upload_id)
    try:
        left = client.list_parts(key, upload_id)
    except AccessError:
        return "aborted (this key may not look for what is left)"
    except CacherError:
        return "aborted, nothing is left"
    if left:
        raise StoreError(
            "an aborted upload still has parts", "they take space until the store removes them"
        )
    return "aborted, nothing is left"


def probe_conditional_put(client: Client, key: str) -> str:
    """Return what the store does with `If-None-Match: *` on an object that exists.

    `enforced` (412), `ignored` (it is overwritten: Garage, GCS) or `unsupported` (400, 501).
    """
    body = MemoryBody(CANARY)
    request = Request(
        "PUT",
        "a conditional PUT",
        key,
        headers={"if-none-match": "*"},
        body=body,
        proof=Proof.HEADER,
        accept=(400, 409, 412, 501),
    )
    reply = client.session.call(request, read_nothing)
    if reply.refusal is None:
        return "ignored"
    return "enforced" if reply.status in (409, 412) else "unsupported"


def write_test_entry(client: Client, key: str) -> None:
    """Write an object of one byte."""
    client.put(key, MemoryBody(CANARY), {})


def read_test_entry(client: Client, key: str) -> None:
    """Read the object of one byte back."""
    reply = client.session.call(_read(key, {}), bytes)
    if reply.refusal:
        raise StoreError("the new object is not there", "is there a cache in between?")
    if reply.value != CANARY:
        raise IntegrityError("other bytes were read than were written")


def _read(key: str, headers: Mapping[str, str]) -> Request:
    return Request(
        "GET",
        f"reading {key}",
        key,
        headers=headers,
        success=READ_STATUSES if headers else OK_STATUSES,
        proof=Proof.HEADER,
        accept=(404,),
    )


def _create_upload(client: Client, key: str) -> str:
    """Begin a multipart upload; return its id.

    In a thread, as `Multipart` does: a signal must not lose the id while it is on its way.
    """
    pool = ThreadPool(client.session.transport.interrupt)
    begun: list[str] = []
    pool.start(1, lambda: begun.append(client.create_upload(key, {}, pool.pause)))
    try:
        pool.join()
    except BaseException:
        left = client.session.undo_time_left()
        pool.wait_briefly(lambda: bool(begun), left() * CREATE_SHARE)
        pool.stop(left() / 2)
        for upload_id in begun:
            client.abort_upload(key, upload_id)
        raise
    return begun[0]
