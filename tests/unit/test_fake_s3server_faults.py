"""The double's faults: each breaks what its name says, once, and counts."""

from __future__ import annotations

import time
from http.client import IncompleteRead, RemoteDisconnected
from typing import Any

import pytest

from tests.fakes.clients import Sender, complete, send_part, start_upload
from tests.fakes.faults import (
    Action,
    ChangeETag,
    CutAnswer,
    CutDocument,
    Fault,
    Replace,
    Reset,
    Respond,
    Stall,
    Trickle,
)
from tests.fakes.profile import DEFAULT_KEY, AccessKey
from tests.fakes.s3server import FakeS3Server


def strike(server: FakeS3Server, action: Action, **given: Any) -> Fault:
    return server.inject(Fault(action, **given))


class TestFaults:
    @pytest.fixture(autouse=True)
    def stored(self, server: FakeS3Server) -> None:
        server.put_object("k", b"0123456789" * 100)

    def test_errors_and_matching(self, sender: Sender, server: FakeS3Server) -> None:
        slow = Respond(503, "SlowDown", headers={"Retry-After": "1"})
        fault = strike(server, slow, operation="GetObject", key="k", nth=2, times=2)
        replies = [sender.send("GET", "/cache/k") for _ in range(4)]
        assert [reply.status for reply in replies] == [200, 503, 503, 200]
        assert replies[1].headers["retry-after"] == "1"
        assert replies[1].refusal == (503, "SlowDown")
        assert sender.send("GET", "/cache/other").status == 404
        assert (fault.hits, server.count(status=503), server.count(key="k")) == (2, 2, 4)

    def test_by_query(self, sender: Sender, server: FakeS3Server) -> None:
        part = strike(server, Respond(500, "InternalError"), query={"partNumber": "2"})
        create = strike(server, Respond(502, body=b"<html>oops"), query={"uploads": None})
        reply = sender.send("POST", "/cache/k?uploads=")
        assert (reply.status, reply.body, create.hits) == (502, b"<html>oops", 1)
        upload = start_upload(sender)
        send_part(sender, upload, 1, b"x")
        assert sender.send("PUT", f"{upload}&partNumber=2", b"x").status == 500
        assert part.hits == 1
        assert server.count(operation="UploadPart", query={"uploadId": None}) == 2

    def test_faults_strike_in_order_and_can_be_cleared(
        self, sender: Sender, server: FakeS3Server
    ) -> None:
        strike(server, Respond(500), method="GET")
        strike(server, Respond(503), method="GET", times=None)
        statuses = [sender.send("GET", "/cache/k").status for _ in range(3)]
        server.clear_faults()
        assert [*statuses, sender.send("GET", "/cache/k").status] == [500, 503, 503, 200]

    @pytest.mark.parametrize("when", ["before-body", "mid-body", "before-answer", "executed"])
    def test_resets(self, sender: Sender, server: FakeS3Server, when: Any) -> None:
        fault = strike(server, Reset(when, 3), method="PUT")
        with pytest.raises((ConnectionError, RemoteDisconnected)):
            sender.send("PUT", "/cache/new", b"x" * 10)
        assert fault.hits == 1
        assert ("new" in server.objects) == (when == "executed")
        received = {"before-body": 0, "mid-body": 3}.get(when, 10)
        assert [(r.status, r.body_length) for r in server.requests] == [(0, received)]

    def test_committed_and_denied(self, sender: Sender, server: FakeS3Server) -> None:
        strike(server, Respond(503, "ServiceUnavailable", executed=True))
        assert sender.send("PUT", "/cache/new", b"x").status == 503
        assert server.objects["new"].body == b"x"

    def test_refused_before_the_body_is_read(self, sender: Sender, server: FakeS3Server) -> None:
        strike(server, Respond(403, "AccessDenied", early=True))
        body = b"x" * (8 << 20)
        headers = sender.sign("PUT", "/cache/new", body, {})
        connection = sender.connection
        with pytest.raises(ConnectionError):
            connection.request("PUT", "/cache/new", body, headers)
        response = connection.sock.recv(1000)
        assert response.startswith(b"HTTP/1.1 403 ")
        assert "new" not in server.objects

    def test_cut_answers(self, sender: Sender, server: FakeS3Server) -> None:
        strike(server, CutAnswer(7))
        with pytest.raises(IncompleteRead) as cut:
            sender.send("GET", "/cache/k")
        assert cut.value.partial == b"0123456"
        sender.connection.close()
        strike(server, CutAnswer(7, reset=True))
        with pytest.raises(ConnectionResetError):
            sender.send("GET", "/cache/k")

    def test_a_stale_connection(self, sender: Sender, server: FakeS3Server) -> None:
        strike(server, CutAnswer(1000))
        assert len(sender.send("GET", "/cache/k").body) == 1000
        with pytest.raises((ConnectionError, RemoteDisconnected)):
            sender.send("GET", "/cache/k")
            sender.send("GET", "/cache/k")

    def test_truncated_document(self, sender: Sender, server: FakeS3Server) -> None:
        strike(server, CutDocument(60))
        reply = sender.send("GET", "/cache?list-type=2")
        assert (reply.status, len(reply.body)) == (200, 60)
        assert reply.body.startswith(b"<?xml")

    def test_silence_and_trickle(self, sender: Sender, server: FakeS3Server) -> None:
        for action in (Stall(0.1), Stall(0.1, after=500), Trickle(10_000)):
            strike(server, action)
            began = time.monotonic()
            assert sender.send("GET", "/cache/k").body == b"0123456789" * 100
            assert 0.07 < time.monotonic() - began < 50

    def test_error_under_200_at_complete(self, sender: Sender, server: FakeS3Server) -> None:
        upload = start_upload(sender, "new")
        etag = send_part(sender, upload, 1, b"x")
        strike(server, Respond(200, "InternalError"), operation="CompleteMultipartUpload")
        assert complete(sender, upload, (1, etag)).refusal == (200, "InternalError")
        assert "new" not in server.objects and len(server.uploads) == 1

    def test_redirect(self, sender: Sender, server: FakeS3Server) -> None:
        strike(server, Respond(307, headers={"Location": "http://127.0.0.1:1/"}))
        reply = sender.send("PUT", "/cache/new", b"x")
        assert (reply.status, reply.headers["location"]) == (307, "http://127.0.0.1:1/")

    def test_replaced_and_mislabelled(self, sender: Sender, server: FakeS3Server) -> None:
        strike(server, Replace(b"9876543210"), nth=2)
        first = sender.send("GET", "/cache/k", headers={"Range": "bytes=0-4"})
        second = sender.send("GET", "/cache/k", headers={"Range": "bytes=5-9"})
        assert first.body + second.body == b"0123443210"
        assert first.headers["etag"] != second.headers["etag"]
        held = {"If-Match": first.headers["etag"]}
        assert sender.send("GET", "/cache/k", headers=held).status == 412
        strike(server, ChangeETag("another"))
        assert sender.send("GET", "/cache/k").headers["etag"] == '"another"'

    def test_a_fault_does_not_hide_a_bad_signature(self, server: FakeS3Server) -> None:
        strike(server, Respond(503, executed=True))
        with Sender(server, AccessKey(DEFAULT_KEY.id, "wrong")) as sender:
            assert sender.send("PUT", "/cache/new", b"x").status == 503
        assert "Invalid signature" in server.requests[0].denied
        assert "new" not in server.objects
