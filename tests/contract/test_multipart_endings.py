"""A multipart upload becomes its object once, or nothing: whatever CompleteMultipartUpload says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cacher.errors import AccessError, CacherError, StoreError
from tests.contract.conftest import RigMaker
from tests.fakes.faults import CutDocument, Reset, Respond
from tests.fakes.objects import Attempt
from tests.fakes.profile import GARAGE, SWIFT
from tests.fakes.request import Request
from tests.support.bucket_fixture import PART, Rig
from tests.support.store_helpers import Tally, blob

COMPLETE = "CompleteMultipartUpload"
DATA = blob(3 * PART + 1, 7)

store_each_way = pytest.mark.parametrize("how", ["file", "stream"])


def stored(rig: Rig, how: str) -> None:
    """Store `DATA` under `k`, in four parts."""
    entry = rig.hands.put("k", DATA) if how == "file" else rig.hands.create("k", DATA)
    assert entry.size == len(DATA)
    found = rig.server.objects["k"]
    assert found.body == DATA
    assert entry.etag == f'"{found.etag}"'


def refused(rig: Rig, how: str, kind: type[CacherError] = StoreError) -> None:
    """Fail to store `DATA` under `k`."""
    with pytest.raises(kind):
        _ = rig.hands.put("k", DATA) if how == "file" else rig.hands.create("k", DATA)


class TestLostReplies:
    """Complete is not idempotent: said again, it is NoSuchUpload."""

    @store_each_way
    def test_published_once(self, rig: Rig, how: str) -> None:
        rig.fault(Reset("executed"), COMPLETE)
        stored(rig, how)
        *_, first, second, third = rig.seen()
        assert [first, second, third] == [(COMPLETE, 0), (COMPLETE, 404), ("HeadObject", 200)]

    @store_each_way
    def test_a_cut_document(self, rig: Rig, how: str) -> None:
        rig.fault(CutDocument(100), COMPLETE)
        stored(rig, how)
        assert [status for name, status in rig.seen() if name == COMPLETE] == [200, 404]

    @store_each_way
    def test_a_store_that_fails_after_it_has_done_so(self, rig: Rig, how: str) -> None:
        rig.fault(Respond(503, "ServiceUnavailable", executed=True), COMPLETE)
        rig.fault(Respond(503, "ServiceUnavailable"), COMPLETE, times=None)
        stored(rig, how)

    @store_each_way
    def test_a_store_that_says_so_under_200(self, rig: Rig, how: str) -> None:
        rig.fault(Reset("executed"), COMPLETE)
        rig.fault(Respond(200, "NoSuchUpload"), COMPLETE)
        stored(rig, how)
        assert [status for name, status in rig.seen() if name == COMPLETE] == [0, 200]

    @store_each_way
    def test_somebody_elses_object_is_no_proof(self, rig: Rig, how: str) -> None:
        rig.fault(Respond(503, "ServiceUnavailable"), COMPLETE, times=None)
        rig.server.put_object("k", DATA)
        refused(rig, how)


class TestErrorsUnder200:
    @store_each_way
    def test_once(self, rig: Rig, how: str) -> None:
        fault = rig.fault(Respond(200, "InternalError"), COMPLETE)
        stored(rig, how)
        assert fault.hits == 1
        assert [status for name, status in rig.seen() if name == COMPLETE] == [200, 200]

    @store_each_way
    def test_for_ever(self, rig: Rig, how: str) -> None:
        fault = rig.fault(Respond(200, "InternalError"), COMPLETE, times=None)
        refused(rig, how)
        assert 3 <= fault.hits <= 10
        assert rig.server.objects == {}

    @store_each_way
    def test_not_a_document_at_all(self, rig: Rig, how: str) -> None:
        rig.fault(Respond(200, body=b"<html>Welcome</html>"), COMPLETE, times=None)
        refused(rig, how)
        assert rig.server.objects == {}

    @store_each_way
    def test_a_refusal_is_final(self, make_rig: RigMaker, how: str) -> None:
        rig = make_rig(replace(SWIFT, quota_bytes=3 * PART, min_part_size=0))
        refused(rig, how, AccessError)
        assert rig.server.count(operation=COMPLETE) == 1
        assert rig.server.objects == {}


class TestLostParts:
    """InvalidPart: on Garage a part's latest attempt counts, even one that never ended."""

    @staticmethod
    def late_attempt(rig: Rig, number: int) -> None:
        """An attempt at the part that broke off arrives just before the first Complete."""
        seen: list[Request] = []

        def arrives(request: Request) -> bool:
            if not seen:
                (upload,) = rig.server.uploads.values()
                upload.attempts.append(Attempt(number))
            seen.append(request)
            return False

        rig.fault(Respond(500), COMPLETE, where=arrives)

    def parts_sent(self, rig: Rig) -> list[str]:
        records = rig.server.select(operation="UploadPart")
        return sorted(record.query["partNumber"] for record in records)

    def test_a_file_sends_what_was_repeated(self, rig: Rig) -> None:
        rig.fault(Reset("mid-body", 1000), "UploadPart", query={"partNumber": "2"})
        self.late_attempt(rig, 2)
        stored(rig, "file")
        assert self.parts_sent(rig) == ["1", "2", "2", "2", "3", "4"]
        assert rig.server.count(operation=COMPLETE) == 2

    def test_a_file_sends_all_where_nothing_tells_which(self, rig: Rig) -> None:
        self.late_attempt(rig, 3)
        stored(rig, "file")
        assert self.parts_sent(rig) == sorted("12341234")

    def test_the_listing_of_parts_has_pages(self, make_rig: RigMaker) -> None:
        rig = make_rig(replace(GARAGE, page_size=3))
        rig.fault(Reset("mid-body", 1000), "UploadPart", query={"partNumber": "3"})
        self.late_attempt(rig, 3)
        stored(rig, "file")
        assert self.parts_sent(rig) == sorted("123334")
        assert rig.server.count(operation="ListParts") == 2

    def test_on_a_store_that_says_so_under_200(self, make_rig: RigMaker) -> None:
        rig = make_rig(replace(SWIFT, min_part_size=0))
        self.late_attempt(rig, 1)
        stored(rig, "file")
        assert rig.server.count(operation=COMPLETE) == 2

    def test_bytes_that_are_sent_again_count_once(self, rig: Rig) -> None:
        self.late_attempt(rig, 3)
        tally = Tally()
        rig.hands.put("k", DATA, on_progress=tally)
        assert self.parts_sent(rig) == sorted("12341234")
        assert tally.total == len(DATA)

    def test_a_file_gives_up_the_second_time(self, rig: Rig) -> None:
        fault = rig.fault(Respond(400, "InvalidPart"), COMPLETE, times=None)
        refused(rig, "file")
        assert fault.hits == 2
        assert rig.server.objects == {}

    def test_a_stream_is_gone(self, rig: Rig) -> None:
        self.late_attempt(rig, 2)
        refused(rig, "stream")
        assert rig.server.count(operation=COMPLETE) == 1
        assert rig.server.objects == {}


class TestOvertaken:
    """Garage drops uploads that are older than the object that came meanwhile."""

    NEWER = b"newer"

    def vanish(self, rig: Rig, operation: str, **given: object) -> None:
        rig.fault(Respond(404, "NoSuchUpload"), operation, times=None, **given)

    def replaced(self, rig: Rig, body: bytes = NEWER) -> None:
        """Another object comes as soon as the upload has begun."""

        def comes(_request: Request) -> bool:
            rig.server.put_object("k", body)
            return False

        rig.fault(Respond(500), "UploadPart", where=comes)

    @store_each_way
    @pytest.mark.parametrize("at", ["UploadPart", COMPLETE])
    @pytest.mark.parametrize("before", [None, b"older"])
    def test_by_a_newer_object(self, rig: Rig, how: str, at: str, before: bytes | None) -> None:
        if before:
            rig.server.put_object("k", before)
        self.replaced(rig)
        self.vanish(rig, at)
        entry = rig.hands.put("k", DATA) if how == "file" else rig.hands.create("k", DATA)
        assert (entry.size, entry.etag) == (len(DATA), "")
        assert rig.server.objects["k"].body == self.NEWER
        assert rig.server.count(operation=COMPLETE) == (at == COMPLETE)

    def test_no_more_parts_are_sent_then(self, make_rig: RigMaker) -> None:
        rig = make_rig(jobs=1)
        self.replaced(rig)
        self.vanish(rig, "UploadPart", query={"partNumber": "2"})
        rig.hands.create("k", DATA)
        assert rig.server.count(operation="UploadPart") == 2

    @store_each_way
    @pytest.mark.parametrize("at", ["UploadPart", COMPLETE])
    @pytest.mark.parametrize("looked", [False, True])
    def test_but_not_by_the_one_that_was_there(
        self, rig: Rig, how: str, at: str, looked: bool
    ) -> None:
        """However young it is: times of whole seconds cannot tell."""
        rig.server.put_object("k", b"older")
        if looked:
            assert rig.store.head("k")
        self.vanish(rig, at)
        refused(rig, how)
        assert rig.server.objects["k"].body == b"older"

    @store_each_way
    @pytest.mark.parametrize("metadata", [{}, {"cacher-upload": "0123456789abcdef"}])
    def test_nor_where_its_date_advances(
        self, rig: Rig, how: str, metadata: dict[str, str]
    ) -> None:
        """A gateway may touch the object when an upload of its key begins."""
        old = rig.server.put_object("k", b"older", metadata)
        self.vanish(rig, COMPLETE)
        reported = {f"X-Amz-Meta-{name}": value for name, value in metadata.items()}
        reported |= {"ETag": f'"{old.etag}"'}
        touched = reported | {"Last-Modified": "Fri, 01 Jan 2100 00:00:00 GMT"}
        looks = rig.fault(
            Respond(200, headers=touched, body=b"older"), "HeadObject", nth=2, times=None
        )
        with pytest.raises(StoreError, match="dropped the upload"):
            _ = rig.hands.put("k", DATA) if how == "file" else rig.hands.create("k", DATA)
        assert looks.hits >= 1

    def test_a_key_that_may_not_look_stores_nothing(self, rig: Rig) -> None:
        self.replaced(rig)
        self.vanish(rig, COMPLETE)
        rig.fault(Respond(403, "AccessDenied"), "HeadObject", times=None)
        rig.fault(Respond(403, "AccessDenied"), "GetObject", times=None)
        with pytest.raises(StoreError, match="dropped the upload"):
            rig.hands.put("k", DATA)

    def test_a_key_that_may_not_look_can_store(self, make_rig: RigMaker) -> None:
        rig = make_rig(replace(GARAGE, read=False))
        rig.hands.put("k", DATA)
        assert rig.server.objects["k"].body == DATA

    @store_each_way
    @pytest.mark.parametrize("at", ["UploadPart", COMPLETE])
    def test_nor_by_nothing(self, rig: Rig, how: str, at: str) -> None:
        self.vanish(rig, at)
        refused(rig, how)
        assert rig.server.objects == {}


class TestAborting:
    @pytest.mark.parametrize(
        "answer", [Respond(200, executed=True), Respond(204, executed=True), None]
    )
    def test_each_way_to_say_so(self, rig: Rig, answer: Respond | None) -> None:
        """200 on Garage before 2.1, 204 since."""
        fault = rig.fault(answer, "AbortMultipartUpload") if answer else None
        with pytest.raises(ZeroDivisionError), rig.store.create("k", {}) as writer:
            writer.write(DATA)
            raise ZeroDivisionError
        assert rig.server.count(operation="AbortMultipartUpload") == 1
        assert fault is None or fault.hits == 1
        assert rig.server.uploads == {}

    def test_what_is_gone_is_aborted(self, rig: Rig) -> None:
        rig.fault(Respond(404, "NoSuchUpload", executed=True), "AbortMultipartUpload")
        with rig.store.create("k", {}) as writer:
            writer.write(DATA)
        assert rig.server.count(operation="AbortMultipartUpload") == 1

    def test_a_lost_reply(self, rig: Rig) -> None:
        rig.fault(Reset("executed"), "AbortMultipartUpload")
        with rig.store.create("k", {}) as writer:
            writer.write(DATA)
        assert rig.server.count(operation="AbortMultipartUpload") == 2

    def test_it_does_not_hide_why(self, rig: Rig) -> None:
        rig.fault(Respond(403, "AccessDenied", "because"), "UploadPart", times=None)
        fault = rig.fault(Respond(503, executed=True), "AbortMultipartUpload", times=None)
        with pytest.raises(AccessError, match="because"):
            rig.hands.put("k", DATA)
        assert fault.hits == 3  # enough, for people who wait
