"""What a host and a store can do, found out by trying: the single steps of a diagnosis.

Each probe does one thing once and raises what goes wrong; what to make of it is the caller's.
Objects that they write are the caller's to delete.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from cacher.errors import AccessError, CacherError, IntegrityError, StoreError, os_reason
from cacher.http.exceptions import FailureKind, translate_exception
from cacher.http.tls import client_context, describe_wrong_host
from cacher.http.transport import Host, certificate_names
from cacher.s3.body import MemoryBody
from cacher.s3.client import Client
from cacher.s3.error_mapping import Refusal, failure_hint, unknown_size_error
from cacher.s3.multipart import CREATE_SHARE
from cacher.s3.object_head import http_date
from cacher.s3.session import OK_STATUSES, Proof, Request, ignore_body
from cacher.s3.store_quirks import MIN_PART, READ_STATUSES
from cacher.s3.thread_pool import ThreadPool
from cacher.s3.xml import ErrorDocument, plain, read_nothing
from cacher.time_limits import LIMITS

CANARY = b"\n"
"""What is written to find out whether writing is possible."""


def resolve(host: Host) -> list[str]:
    """The addresses of a host name (DNS)."""
    try:
        found = socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the latter: a label is empty, or over 63 bytes
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise StoreError(
            f"{host.name} has no address: {(reason or str(error)).lower()}",
            "check the host name in --endpoint, and whether this machine has a network",
        ) from error
    return sorted({str(address[0]) for *_, address in found})


def connect(host: Host) -> None:
    """Open and close a TCP connection."""
    try:
        socket.create_connection((host.name, host.port), LIMITS.connect).close()
    except OSError as error:
        raise StoreError(
            f"no connection to {host.header}: {os_reason(error)}",
            "check --endpoint; is the store running and reachable from this machine?",
        ) from error


def handshake(host: Host, ca_files: tuple[str, ...]) -> str:
    """A TLS handshake; the protocol and the certificate's last day.

    Raises `OSError` for a file of `ca_files` that cannot be used.
    """
    context = client_context(ca_files)
    try:
        with (
            socket.create_connection((host.name, host.port), LIMITS.connect) as plain,
            context.wrap_socket(plain, server_hostname=host.name) as secure,
        ):
            certificate: Mapping[str, object] = secure.getpeercert() or {}
            return f"{secure.version()}, certificate until {certificate.get('notAfter', '?')}"
    except OSError as error:
        failure = translate_exception(error)
        detail, hint = failure.detail, failure_hint(failure.kind)
        if failure.kind is FailureKind.WRONG_HOST:
            names = certificate_names(host, ca_files, LIMITS.connect)
            detail = describe_wrong_host(host.name, names)
        elif failure.kind is FailureKind.BROKEN:
            hint = "is it an http:// endpoint?"
        raise StoreError(f"no TLS with {host.header}: {detail}", hint) from error


def clock_skew(client: Client) -> float | None:
    """Seconds by which this machine's clock is ahead of the store's; None if it tells no time."""
    request = Request("HEAD", "asking for the time", accept=range(300, 500))
    reply = client.session.call(request, ignore_body)
    server = http_date(reply.headers.get("date", ""))
    return None if server is None else client.session.clock() - server


def bucket_refusal(client: Client) -> CacherError | None:
    """Why the bucket may not be read, in the store's words, or None if it may (HeadBucket).

    Raises `AccessError` if there is no such bucket. That it is a store must be known already: any
    web server may answer a HEAD like one.
    """
    doing = "asking for the bucket"
    reply = client.session.call(Request("HEAD", doing, accept=(403, 404)), ignore_body)
    if reply.status == 404:
        raise client.refusal_error(Refusal(404, ErrorDocument("NoSuchBucket")), doing)
    return client.refusal_error(reply.refusal, doing) if reply.refusal else None


def upload_two_parts(client: Client, key: str) -> int:
    """A multipart upload of two parts; the size of the object."""
    first, last = os.urandom(MIN_PART), CANARY
    upload_id = _create_upload(client, key)
    try:
        etags = {
            number: client.put_part(key, upload_id, number, MemoryBody(body), client.session.pause)
            for number, body in ((1, first), (2, last))
        }
        if client.complete_upload(key, upload_id, etags, published=lambda: None) is None:
            raise StoreError("the store misses parts that it has acknowledged")
    except BaseException:
        client.abort_upload(key, upload_id)
        raise
    return len(first) + len(last)


def read_across_parts(client: Client, key: str, size: int) -> None:
    """A ranged read across the seam of `upload_two_parts`: only a 206 with that range counts."""
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
    """An upload that is begun and aborted; what is known of it afterwards."""
    upload_id = _create_upload(client, key)
    try:
        client.put_part(key, upload_id, 1, MemoryBody(CANARY), client.session.pause)
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
    """What the store does with `If-None-Match: *` on an object that exists.

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


def write_canary(client: Client, key: str) -> None:
    """A one-byte object, written."""
    client.put(key, MemoryBody(CANARY), {})


def read_canary(client: Client, key: str) -> None:
    """The one-byte object, read back."""
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
    """Begin a multipart upload; its id.

    In a thread, as `Multipart` does: a signal while the id is on its way must not lose it.
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
