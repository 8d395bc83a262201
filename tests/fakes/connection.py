"""One connection of the fake server: reads requests, has them answered, and carries out faults.

The only place that touches a socket. Every way of breaking a connection is here, so that what a
client sees (end of file, reset, silence) is what the fault's name says.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from http.client import responses

from tests.fakes.answers import Answer, S3Error, error_document, invalid
from tests.fakes.conduct import body_violations, head_violations
from tests.fakes.faults import (
    Action,
    ChangeETag,
    CutAnswer,
    CutDocument,
    Replace,
    Reset,
    Respond,
    Schedule,
    Stall,
    Trickle,
)
from tests.fakes.journal import Journal, Record
from tests.fakes.request import BadHead, Request, parse, read_head
from tests.fakes.service import Service

TICK = 0.02  # seconds between two pieces of a trickled body
JOINED = 1 << 16  # up to so many bytes a body travels with its head, in one write
ABORT = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: close becomes a reset
BODYLESS = (204, 304)


@dataclass(frozen=True)
class Backstage:
    """What all connections of a server share."""

    service: Service
    schedule: Schedule
    journal: Journal
    stopping: threading.Event
    port: int
    tls: ssl.SSLContext | None


class Connection:
    """A client's connection, served by one thread until either side ends it."""

    def __init__(self, sock: socket.socket, number: int, backstage: Backstage) -> None:
        self._sock = sock
        self._number = number
        self._back = backstage

    def serve(self) -> None:
        """Answer requests until the connection ends; only bugs of the double come out."""
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._back.tls is not None:
                # Without a handshake at once, so that `abort` finds the socket that is in use.
                self._sock = self._back.tls.wrap_socket(
                    self._sock, server_side=True, do_handshake_on_connect=False
                )
            with self._sock.makefile("rb") as self._stream:
                while self._exchange():
                    pass
        except OSError:
            pass  # the client has gone, or distrusts the certificate
        finally:
            self._sock.close()

    def abort(self) -> None:
        """End the connection from another thread."""
        try:
            # Not SSLSocket's own, which would pull the TLS state from under the reading thread.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        except OSError:
            pass

    def _exchange(self) -> bool:
        """One request and its answer; whether another may follow."""
        try:
            head = read_head(self._stream)
        except BadHead as error:
            self._back.journal.complain(str(error))
            self._send_head(400, {"Connection": "close", "Content-Length": "0"})
            return False
        if head is None:
            return False
        request = parse(head)
        record = self._back.journal.open(request, self._number)
        violations = head_violations(request, self._back.port, self._back.tls is not None)
        self._back.journal.blame(record, violations)
        action = self._back.schedule.strike(request)
        if _reset_at(action, "before-body"):
            return self._reset()
        refusal = self._admit(request, violations)
        record.denied = "" if refusal is None else str(refusal)
        if isinstance(action, Respond) and action.early:
            return self._dismiss(record, self._canned(request, action))
        if "transfer-encoding" in request.headers or (refusal and "expect" in request.headers):
            problem = refusal or S3Error(411, "MissingContentLength", "No Content-Length")
            return self._dismiss(record, self._back.service.refuse(request, problem))
        return self._receive(record, action, refusal)

    def _admit(self, request: Request, violations: list[str]) -> S3Error | None:
        if violations:
            return _forbidden(violations)
        try:
            self._back.service.admit(request)
        except S3Error as refusal:
            return refusal
        return None

    def _receive(self, record: Record, action: Action | None, refusal: S3Error | None) -> bool:
        """Read the body, and have the request executed."""
        request, service = record.request, self._back.service
        attempt = None if refusal else service.begin(request)
        if "expect" in request.headers:
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        cut = isinstance(action, Reset) and action.when == "mid-body"
        wanted = action.body_bytes if isinstance(action, Reset) and cut else request.length
        body = self._stream.read(min(wanted, request.length))
        record.body_length = len(body)
        if cut or len(body) < request.length:
            return self._reset()
        violations = body_violations(request, body)
        self._back.journal.blame(record, violations)
        if violations:
            refusal = refusal or _forbidden(violations)
        if _reset_at(action, "before-answer"):
            return self._reset()
        if isinstance(action, Respond) and not action.executed:
            return self._deliver(record, self._canned(request, action), None)
        if isinstance(action, Replace):
            service.bucket.seed([request.key], action.body, action.metadata)
        if refusal is not None:
            answer = service.refuse(request, refusal)
        else:
            answer = service.perform(request, body, attempt)
        if isinstance(action, Respond):
            answer = self._canned(request, action)
        return self._deliver(record, answer, action)

    def _canned(self, request: Request, action: Respond) -> Answer:
        body, headers = action.body or b"", dict(action.headers)
        if action.code:
            region = self._back.service.profile.region
            body = error_document(action.code, action.message, request.raw_path, region)
            headers = {"Content-Type": "application/xml", **headers}
        return Answer(action.status, headers, body)

    def _dismiss(self, record: Record, answer: Answer) -> bool:
        """Answer without having read the body, and cut the connection."""
        goodbye = {**answer.headers, "Connection": "close"}
        self._deliver(record, replace(answer, headers=goodbye), None)
        return False

    def _deliver(self, record: Record, answer: Answer, action: Action | None) -> bool:
        """Send an answer, the way the action says; whether the connection stays."""
        if _reset_at(action, "executed"):
            return self._reset()
        if isinstance(action, ChangeETag):
            answer = replace(answer, headers={**answer.headers, "ETag": f'"{action.etag}"'})
        if isinstance(action, CutDocument):
            answer = replace(answer, body=answer.body[: action.keep])
        unsent = record.method == "HEAD" or answer.status in BODYLESS
        body = memoryview(b"" if unsent else answer.body)
        headers = self._framed(record, answer)
        if "Transfer-Encoding" in headers and not unsent:
            body = memoryview(_in_chunks(body))
        record.status = answer.status  # before the client can see it
        if isinstance(action, Stall) and action.after is None:
            self._back.stopping.wait(action.seconds)
        if isinstance(action, CutAnswer):
            self._send_head(answer.status, headers, body[: action.after])
            return self._reset() if action.reset else False
        if isinstance(action, Trickle) or (isinstance(action, Stall) and action.after is not None):
            self._send_slowly(answer.status, headers, body, action)
        else:
            self._send_head(answer.status, headers, body)
        return record.headers.get("connection", "").lower() != "close"

    def _framed(self, record: Record, answer: Answer) -> dict[str, str]:
        """The headers, with what says how long the body is."""
        profile, headers = self._back.service.profile, dict(answer.headers)
        if profile.weak_etags and record.method in ("GET", "HEAD") and "ETag" in headers:
            headers["ETag"] = f"W/{headers['ETag']}"
        if answer.status in BODYLESS:
            return headers
        if profile.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif record.method != "HEAD" or profile.head_length:
            headers["Content-Length"] = str(len(answer.body))
        return headers

    def _send_slowly(
        self, status: int, headers: Mapping[str, str], body: memoryview, action: Stall | Trickle
    ) -> None:
        if isinstance(action, Stall):
            self._send_head(status, headers, body[: action.after])
            self._back.stopping.wait(action.seconds)
            self._sock.sendall(body[action.after :])
            return
        self._send_head(status, headers)
        step = max(1, int(action.rate * TICK))
        for at in range(0, len(body), step):
            self._sock.sendall(body[at : at + step])
            self._back.stopping.wait(step / action.rate)

    def _send_head(
        self, status: int, headers: Mapping[str, str], body: bytes | memoryview = b""
    ) -> None:
        """Send the head, and the body behind it."""
        lines = [f"HTTP/1.1 {status} {responses.get(status, '')}"]
        lines.append(f"Date: {formatdate(self._back.service.clock(), usegmt=True)}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if len(body) <= JOINED:
            self._sock.sendall(b"".join((head, body)))
        else:
            self._sock.sendall(head)
            self._sock.sendall(body)

    def _reset(self) -> bool:
        """Have the connection end in a reset, which is what closing does from now on."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        return False


def _in_chunks(body: memoryview) -> bytes:
    """A body in the chunked coding, in pieces that nothing else is aligned to."""
    pieces = (body[at : at + 99_991] for at in range(0, len(body), 99_991))
    chunks = [b"%x\r\n%b\r\n" % (len(piece), bytes(piece)) for piece in pieces]
    return b"".join([*chunks, b"0\r\n\r\n"])


def _reset_at(action: Action | None, when: str) -> bool:
    return isinstance(action, Reset) and action.when == when


def _forbidden(violations: list[str]) -> S3Error:
    return invalid(f"Outside of the request profile: {'; '.join(violations)}")
