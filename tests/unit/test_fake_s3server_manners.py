"""The double's manners: Garage's oddities are there by default, other stores' on demand."""

from __future__ import annotations

import hashlib
import time
from http.client import RemoteDisconnected
from urllib.parse import quote, unquote

import pytest

from tests.fakes.clients import Sender, botocore_client, complete, send_part, start_upload
from tests.fakes.faults import (
    Fault,
    Reset,
)
from tests.fakes.profile import AccessKey, Profile
from tests.fakes.s3server import FakeS3Server


class TestObjects:
    def test_ranges(self, sender: Sender, server: FakeS3Server) -> None:
        server.put_object("k", b"0123456789")
        server.put_object("empty", b"")
        for value, status, part, content_range in (
            ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
            ("bytes=7-", 206, b"789", "bytes 7-9/10"),
            ("bytes=-3", 206, b"789", "bytes 7-9/10"),
            ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
            ("bytes=0-1,4-5", 200, b"0123456789", None),
        ):
            reply = sender.send("GET", "/cache/k", headers={"Range": value})
            assert (reply.status, reply.body) == (status, part)
            assert reply.headers.get("content-range") == content_range
        for value in ("bytes=10-", "bytes=3-2", "bytes=-0", "bytes=-", "lines=1-2"):
            reply = sender.send("GET", "/cache/k", headers={"Range": value})
            assert reply.refusal == (416, "InvalidRange")
            assert reply.headers["content-range"] == "bytes */10"
        assert sender.send("GET", "/cache/empty", headers={"Range": "bytes=0-"}).status == 416
        head = sender.send("HEAD", "/cache/k", headers={"Range": "bytes=2-4"})
        assert (head.status, head.headers["content-length"]) == (200, "10")

    def test_ranges_of_other_stores(self) -> None:
        headers = {"Range": "bytes=2-4"}
        with FakeS3Server(Profile(ranges="ignored")) as server, Sender(server) as sender:
            server.put_object("k", b"0123456789")
            reply = sender.send("GET", "/cache/k", headers=headers)
            assert (reply.status, reply.body) == (200, b"0123456789")
            assert "content-range" not in reply.headers
        with FakeS3Server(Profile(ranges="partial-200")) as server, Sender(server) as sender:
            server.put_object("k", b"0123456789")
            reply = sender.send("GET", "/cache/k", headers=headers)
            assert (reply.status, reply.body) == (200, b"234")
            assert reply.headers["content-range"] == "bytes 2-4/10"

    def test_conditional_reads(self, sender: Sender, server: FakeS3Server) -> None:
        etag = f'"{server.put_object("k", b"x").etag}"'
        for headers, status in (
            ({"If-Match": etag}, 200),
            ({"If-Match": '"other"'}, 412),
            ({"If-None-Match": etag}, 304),
            ({"If-None-Match": '"other"'}, 200),
        ):
            reply = sender.send("GET", "/cache/k", headers=headers)
            assert (reply.status, reply.body) == (status, b"x" if status == 200 else b"")

    def test_conditional_writes(self) -> None:
        create, replace = {"If-None-Match": "*"}, {"If-Match": '"other"'}
        for manner, statuses, left in (
            ("ignored", [200, 200, 200], b"3"),
            ("enforced", [200, 412, 412], b"1"),
            ("unsupported", [501, 501, 501], b""),
        ):
            profile = Profile(conditional_put=manner)  # type: ignore[arg-type]
            with FakeS3Server(profile) as server, Sender(server) as sender:
                replies = [
                    sender.send("PUT", "/cache/k", b"1", create).status,
                    sender.send("PUT", "/cache/k", b"2", create).status,
                    sender.send("PUT", "/cache/k", b"3", replace).status,
                ]
                assert replies == statuses
                assert b"".join(stored.body for stored in server.objects.values()) == left

    def test_permissions(self) -> None:
        reader = AccessKey("GKread", "secret", write=False)
        writer = AccessKey("GKwrite", "secret", read=False)
        with FakeS3Server(keys=(reader, writer)) as server:
            with Sender(server, reader) as sender:
                reply = sender.send("PUT", "/cache/k", b"x")
                assert reply.refusal == (403, "AccessDenied")
                assert reply.text("Message") == "Forbidden: Operation is not allowed for this key."
                assert sender.send("HEAD", "/cache").status == 200
            with Sender(server, writer) as sender:
                assert sender.send("HEAD", "/cache").status == 403
                assert sender.send("GET", "/cache/k").status == 403
                assert sender.send("PUT", "/cache/k", b"x").status == 200

    def test_quota(self) -> None:
        with FakeS3Server(Profile(quota_bytes=10)) as server, Sender(server) as sender:
            assert sender.send("PUT", "/cache/k", b"x" * 9).status == 200
            assert sender.send("PUT", "/cache/k", b"x" * 10).status == 200
            reply = sender.send("PUT", "/cache/l", b"x")
            assert reply.refusal == (403, "AccessDenied")
            assert "quota is reached" in reply.text("Message")
            upload = start_upload(sender)
            part = send_part(sender, upload, 1, b"x" * 11)
            assert "quota is reached" in complete(sender, upload, (1, part)).text("Message")
            assert server.uploads == {} and list(server.objects) == ["k"]

    def test_opaque_etags(self) -> None:
        with FakeS3Server(Profile(etag_is_md5=False)) as server, Sender(server) as sender:
            etag = sender.send("PUT", "/cache/k", b"x").headers["etag"]
            assert len(etag) == 34 and etag != f'"{hashlib.md5(b"x").hexdigest()}"'

    def test_corruption_is_only_in_the_bytes(self, server: FakeS3Server) -> None:
        before = server.put_object("k", b"abc", {"a": "1"})
        server.corrupt("k")
        after = server.objects["k"]
        assert after.body != b"abc" and len(after.body) == 3
        assert (after.etag, after.modified, after.metadata) == (
            before.etag,
            before.modified,
            {"a": "1"},
        )


class TestBulkDelete:
    BODY = b"<Delete><Object><Key>k</Key></Object><Object><Key>gone</Key></Object></Delete>"

    def test_missing_keys(self) -> None:
        for profile, errors in ((Profile(), 1), (Profile(bulk_delete="ok"), 0)):
            with FakeS3Server(profile) as server, Sender(server) as sender:
                server.put_object("k", b"x")
                reply = sender.send("POST", "/cache?delete=", self.BODY)
                assert (reply.status, server.objects) == (200, {})
                assert reply.body.count(b"<Code>NoSuchKey</Code>") == errors
                assert reply.body.count(b"<Deleted>") == 2 - errors

    def test_quiet(self, sender: Sender, server: FakeS3Server) -> None:
        server.put_object("k", b"x")
        body = self.BODY.replace(b"<Delete>", b"<Delete><Quiet>true</Quiet>")
        reply = sender.send("POST", "/cache?delete=", body)
        assert b"<Deleted>" not in reply.body and reply.text("Key") == "gone"

    def test_strictness(self, sender: Sender, server: FakeS3Server) -> None:
        server.put_object("k", b"x")
        for body in (
            b"<Delete><Object><Key>k</Key><VersionId>1</VersionId></Object></Delete>",
            b"<Delete><Object><Key>k</Key></Object>text</Delete>",
            b"<Delete><Object><Key>k</Key></Object>",
            b"<Remove><Object><Key>k</Key></Object></Remove>",
        ):
            assert sender.send("POST", "/cache?delete=", body).status == 400
        assert list(server.objects) == ["k"]

    def test_stores_without_it_or_with_a_digest(self) -> None:
        for status in (400, 405, 501):
            profile = Profile(bulk_delete="unsupported", bulk_delete_status=status)
            with FakeS3Server(profile) as server, Sender(server) as sender:
                assert sender.send("POST", "/cache?delete=", self.BODY).status == status
        with FakeS3Server(Profile(needs_content_md5=True)) as server, Sender(server) as sender:
            reply = sender.send("POST", "/cache?delete=", self.BODY)
            assert "Content-MD5" in reply.text("Message")


class TestMultipart:
    def test_the_latest_attempt_counts_even_unfinished(
        self, sender: Sender, server: FakeS3Server
    ) -> None:
        upload = start_upload(sender)
        etag = send_part(sender, upload, 1, b"good")
        fault = server.inject(Fault(Reset("mid-body", 2), query={"partNumber": "1"}))
        with pytest.raises((ConnectionError, RemoteDisconnected)):
            send_part(sender, upload, 1, b"good")
        sender.connection.close()
        assert fault.hits == 1
        assert complete(sender, upload, (1, etag)).refusal == (400, "InvalidPart")
        # ListParts shows the older attempt all the same.
        assert sender.send("GET", upload).text("ETag") == etag
        assert send_part(sender, upload, 1, b"good") == etag
        assert complete(sender, upload, (1, etag)).status == 200
        assert server.objects["k"].body == b"good"

    def test_a_client_that_goes_away_leaves_an_unfinished_attempt(
        self, sender: Sender, server: FakeS3Server
    ) -> None:
        upload = start_upload(sender)
        etag = send_part(sender, upload, 1, b"good")
        with Sender(server) as leaver:
            headers = leaver.sign("PUT", f"{upload}&partNumber=1", b"good", {})
            leaver.connection.request("PUT", f"{upload}&partNumber=1", b"go", headers)
        deadline = time.monotonic() + 50
        while [r.body_length for r in server.select(operation="UploadPart")] != [4, 2]:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert server.requests[-1].status == 0
        assert complete(sender, upload, (1, etag)).refusal == (400, "InvalidPart")

    def test_refusals(self, sender: Sender, server: FakeS3Server) -> None:
        upload = start_upload(sender)
        first, second = (send_part(sender, upload, number, b"x") for number in (3, 7))
        reply = sender.send("PUT", f"{upload}&partNumber=9", b"")
        assert "Empty body" in reply.text("Message")
        for parts, code in (
            ([], "EntityTooSmall"),
            ([(7, second), (3, first)], "InvalidPartOrder"),
            ([(3, first), (3, first)], "InvalidPartOrder"),
            ([(3, '"other"')], "InvalidPart"),
            ([(9, first)], "InvalidPart"),
        ):
            assert complete(sender, upload, *parts).refusal == (400, code)
        assert server.objects == {}
        assert complete(sender, upload, (3, first), (7, second)).status == 200
        assert complete(sender, upload, (3, first)).refusal == (404, "NoSuchUpload")

    def test_abort(self) -> None:
        for status in (204, 200):
            with FakeS3Server(Profile(abort_status=status)) as server, Sender(server) as sender:
                upload = start_upload(sender)
                assert sender.send("DELETE", upload).status == status
                assert server.uploads == {}
                assert sender.send("DELETE", upload).refusal == (404, "NoSuchUpload")

    def test_limits_of_other_stores(self) -> None:
        profile = Profile(max_parts=10, min_part_size=4, equal_parts=True)
        with FakeS3Server(profile) as server, Sender(server) as sender:
            upload = start_upload(sender)
            reply = sender.send("PUT", f"{upload}&partNumber=11", b"x")
            assert reply.refusal == (400, "InvalidArgument")
            sizes = (4, 5, 3, 4, 3)
            etags = [send_part(sender, upload, n + 1, b"x" * size) for n, size in enumerate(sizes)]
            parts = list(enumerate(etags, 1))
            assert complete(sender, upload, *parts[:3]).refusal == (400, "InvalidPart")
            assert complete(sender, upload, *parts[2:4]).refusal == (400, "EntityTooSmall")
            assert complete(sender, upload, *parts[3:]).status == 200

    def test_keepalive_whitespace(self) -> None:
        profile = Profile(complete_manner="keepalive-whitespace")
        with FakeS3Server(profile) as server, Sender(server) as sender:
            upload = start_upload(sender)
            etag = send_part(sender, upload, 1, b"x")
            reply = complete(sender, upload, (1, '"other"'))
            assert reply.refusal == (200, "InvalidPart")
            reply = complete(sender, upload, (1, etag))
            assert (reply.status, reply.text("Key")) == (200, "k")
            assert b"?>\n   " in reply.body


class TestListings:
    def test_encoding(self, sender: Sender, server: FakeS3Server) -> None:
        server.seed(["d e/a b+c", "d e/f/g", "top"])
        target = "/cache?delimiter=%2F&encoding-type=url&list-type=2&prefix=d%20e%2F"
        reply = sender.send("GET", target)
        assert reply.text("Key") == "d%20e%2Fa%20b%2Bc"
        assert b"<CommonPrefixes><Prefix>d%20e%2Ff%2F</Prefix>" in reply.body
        assert reply.text("EncodingType") == "url"
        plain = sender.send("GET", target.replace("&encoding-type=url", ""))
        assert plain.text("Key") == "d e/a b+c" and plain.text("EncodingType") == ""

    def test_encoding_of_other_stores(self) -> None:
        profile = Profile(list_space_as_plus=True, encode_common_prefixes=False)
        with FakeS3Server(profile) as server, Sender(server) as sender:
            server.seed(["a b+c", "d e/f"])
            reply = sender.send("GET", "/cache?delimiter=%2F&encoding-type=url&list-type=2")
            assert reply.text("Key") == "a+b%2Bc"
            assert b"<CommonPrefixes><Prefix>d e/</Prefix>" in reply.body

    def test_page_sizes_and_tokens(self, sender: Sender, server: FakeS3Server) -> None:
        server.seed(f"k{number:05d}" for number in range(1500))
        for asked, given in (("0", "1"), ("7", "7"), ("5000", "1000")):
            reply = sender.send("GET", f"/cache?list-type=2&max-keys={asked}")
            assert reply.text("KeyCount") == given
            assert reply.text("IsTruncated") == "true"
        token = quote(reply.text("NextContinuationToken"), safe="")
        query = f"continuation-token={token}&list-type=2&start-after=k01400"
        rest = sender.send("GET", f"/cache?{query}")
        assert (rest.text("Key"), rest.text("KeyCount")) == ("k01000", "500")
        after = sender.send("GET", "/cache?list-type=2&start-after=k01400")
        assert after.text("Key") == "k01401"
        spoiled = quote(unquote(token).replace("+", " "), safe="")
        reply = sender.send("GET", f"/cache?continuation-token={spoiled}&list-type=2")
        assert reply.status == 400

    def test_a_hundred_thousand_keys(self, server: FakeS3Server) -> None:
        began = time.monotonic()
        server.seed(f"{number % 100:02d}/{number}" for number in range(100_000))
        assert time.monotonic() - began < 20
        client = botocore_client(server)
        page = client.list_objects_v2(Bucket="cache", Prefix="42/")
        assert page["KeyCount"] == 1000 and not page["IsTruncated"]
        page = client.list_objects_v2(Bucket="cache", Delimiter="/")
        assert len(page["CommonPrefixes"]) == 100

    def test_uploads(self) -> None:
        with FakeS3Server(Profile(page_size=2)) as server, Sender(server) as sender:
            for key in ("d%20e/1", "d%20e/2", "k", "k", "k", "z%20z"):
                start_upload(sender, key)
            reply = sender.send("GET", "/cache?delimiter=%2F&encoding-type=url&uploads=")
            assert b"<CommonPrefixes><Prefix>d e/</Prefix>" in reply.body
            seen, markers, query = [], [], ""
            while True:
                reply = sender.send("GET", f"/cache?encoding-type=url{query}&uploads=")
                seen += [part.split(b"</")[0] for part in reply.body.split(b"<UploadId>")[1:]]
                if reply.text("IsTruncated") == "false":
                    break
                markers.append(reply.text("NextUploadIdMarker"))
                query = f"&key-marker={reply.text('NextKeyMarker')}&upload-id-marker={markers[-1]}"
            assert sorted(seen) == sorted(upload.encode() for upload in server.uploads)
            assert markers[0] == "include" and len(markers[1]) == 64
