"""A multipart upload becomes its object once, or nothing: whatever CompleteMultipartUpload says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cacher.errors import AccessError, CacherError, StoreError
from tests.contract.conftest import FixtureMaker
from tests.fakes.faults import CutDocument, Reset, Respond
from tests.fakes.objects import Attempt
from tests.fakes.profile import GARAGE, SWIFT
from tests.fakes.request import Request
from tests.support.bucket_fixture import PART, BucketFixture, store_each_way
from tests.support.store_helpers import ByteCounter, blob

COMPLETE = "CompleteMultipartUpload"
DATA = blob(3 * PART + 1, 7)


def stored(fake: BucketFixture, how: str) -> None:
    """Store `DATA` under `k`, in four parts."""
    entry = fake.helper.put("k", DATA) if how == "file" else fake.helper.create("k", DATA)
    assert entry.size == len(DATA)
    found = fake.server.objects["k"]
    assert found.body == DATA
    assert entry.etag == f'"{found.etag}"'


def refused(fake: BucketFixture, how: str, kind: type[CacherError] = StoreError) -> None:
    """Fail to store `DATA` under `k`."""
    with pytest.raises(kind):
        _ = fake.helper.put("k", DATA) if how == "file" else fake.helper.create("k", DATA)


class TestLostReplies:
    """Complete is not idempotent: said again, it is NoSuchUpload."""

    @store_each_way
    def test_published_once(self, fake: BucketFixture, how: str) -> None:
        fake.fault(Reset("executed"), COMPLETE)
        stored(fake, how)
        *_, first, second, third = fake.seen()
        assert [first, second, third] == [(COMPLETE, 0), (COMPLETE, 404), ("HeadObject", 200)]

    @store_each_way
    def test_a_cut_document(self, fake: BucketFixture, how: str) -> None:
        fake.fault(CutDocument(100), COMPLETE)
        stored(fake, how)
        assert [status for name, status in fake.seen() if name == COMPLETE] == [200, 404]

    @store_each_way
    def test_a_store_that_fails_after_it_has_done_so(self, fake: BucketFixture, how: str) -> None:
        fake.fault(Respond(503, "ServiceUnavailable", executed=True), COMPLETE)
        fake.fault(Respond(503, "ServiceUnavailable"), COMPLETE, times=None)
        stored(fake, how)

    @store_each_way
    def test_a_store_that_says_so_under_200(self, fake: BucketFixture, how: str) -> None:
        fake.fault(Reset("executed"), COMPLETE)
        fake.fault(Respond(200, "NoSuchUpload"), COMPLETE)
        stored(fake, how)
        assert [status for name, status in fake.seen() if name == COMPLETE] == [0, 200]

    @store_each_way
    def test_somebody_elses_object_is_no_proof(self, fake: BucketFixture, how: str) -> None:
        fake.fault(Respond(503, "ServiceUnavailable"), COMPLETE, times=None)
        fake.server.put_object("k", DATA)
        refused(fake, how)


class TestErrorsUnder200:
    @store_each_way
    def test_once(self, fake: BucketFixture, how: str) -> None:
        fault = fake.fault(Respond(200, "InternalError"), COMPLETE)
        stored(fake, how)
        assert fault.hits == 1
        assert [status for name, status in fake.seen() if name == COMPLETE] == [200, 200]

    @store_each_way
    def test_for_ever(self, fake: BucketFixture, how: str) -> None:
        fault = fake.fault(Respond(200, "InternalError"), COMPLETE, times=None)
        refused(fake, how)
        assert 3 <= fault.hits <= 10
        assert fake.server.objects == {}

    @store_each_way
    def test_not_a_document_at_all(self, fake: BucketFixture, how: str) -> None:
        fake.fault(Respond(200, body=b"<html>Welcome</html>"), COMPLETE, times=None)
        refused(fake, how)
        assert fake.server.objects == {}

    @store_each_way
    def test_a_refusal_is_final(self, make_fake: FixtureMaker, how: str) -> None:
        fake = make_fake(replace(SWIFT, quota_bytes=3 * PART, min_part_size=0))
        refused(fake, how, AccessError)
        assert fake.server.count(operation=COMPLETE) == 1
        assert fake.server.objects == {}


class TestLostParts:
    """InvalidPart: on Garage a part's latest attempt counts, even one that never ended."""

    @staticmethod
    def late_attempt(fake: BucketFixture, number: int) -> None:
        """An attempt at the part that broke off arrives just before the first Complete."""
        seen: list[Request] = []

        def arrives(request: Request) -> bool:
            if not seen:
                (upload,) = fake.server.uploads.values()
                upload.attempts.append(Attempt(number))
            seen.append(request)
            return False

        fake.fault(Respond(500), COMPLETE, where=arrives)

    def parts_sent(self, fake: BucketFixture) -> list[str]:
        records = fake.server.select(operation="UploadPart")
        return sorted(record.query["partNumber"] for record in records)

    def test_a_file_sends_what_was_repeated(self, fake: BucketFixture) -> None:
        fake.fault(Reset("mid-body", 1000), "UploadPart", query={"partNumber": "2"})
        self.late_attempt(fake, 2)
        stored(fake, "file")
        assert self.parts_sent(fake) == ["1", "2", "2", "2", "3", "4"]
        assert fake.server.count(operation=COMPLETE) == 2

    def test_a_file_sends_all_where_nothing_tells_which(self, fake: BucketFixture) -> None:
        self.late_attempt(fake, 3)
        stored(fake, "file")
        assert self.parts_sent(fake) == sorted("12341234")

    def test_the_listing_of_parts_has_pages(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(replace(GARAGE, page_size=3))
        fake.fault(Reset("mid-body", 1000), "UploadPart", query={"partNumber": "3"})
        self.late_attempt(fake, 3)
        stored(fake, "file")
        assert self.parts_sent(fake) == sorted("123334")
        assert fake.server.count(operation="ListParts") == 2

    def test_on_a_store_that_says_so_under_200(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(replace(SWIFT, min_part_size=0))
        self.late_attempt(fake, 1)
        stored(fake, "file")
        assert fake.server.count(operation=COMPLETE) == 2

    def test_bytes_that_are_sent_again_count_once(self, fake: BucketFixture) -> None:
        self.late_attempt(fake, 3)
        counter = ByteCounter()
        fake.helper.put("k", DATA, on_progress=counter)
        assert self.parts_sent(fake) == sorted("12341234")
        assert counter.total == len(DATA)

    def test_a_file_gives_up_the_second_time(self, fake: BucketFixture) -> None:
        fault = fake.fault(Respond(400, "InvalidPart"), COMPLETE, times=None)
        refused(fake, "file")
        assert fault.hits == 2
        assert fake.server.objects == {}

    def test_a_stream_is_gone(self, fake: BucketFixture) -> None:
        self.late_attempt(fake, 2)
        refused(fake, "stream")
        assert fake.server.count(operation=COMPLETE) == 1
        assert fake.server.objects == {}


class TestOvertaken:
    """Garage drops uploads that are older than the object that came meanwhile."""

    NEWER = b"newer"

    def vanish(self, fake: BucketFixture, operation: str, **given: object) -> None:
        fake.fault(Respond(404, "NoSuchUpload"), operation, times=None, **given)

    def replaced(self, fake: BucketFixture, body: bytes = NEWER) -> None:
        """Another object comes as soon as the upload has begun."""

        def comes(_request: Request) -> bool:
            fake.server.put_object("k", body)
            return False

        fake.fault(Respond(500), "UploadPart", where=comes)

    @store_each_way
    @pytest.mark.parametrize("at", ["UploadPart", COMPLETE])
    @pytest.mark.parametrize("before", [None, b"older"])
    def test_by_a_newer_object(
        self, fake: BucketFixture, how: str, at: str, before: bytes | None
    ) -> None:
        if before:
            fake.server.put_object("k", before)
        self.replaced(fake)
        self.vanish(fake, at)
        entry = fake.helper.put("k", DATA) if how == "file" else fake.helper.create("k", DATA)
        assert (entry.size, entry.etag) == (len(DATA), "")
        assert fake.server.objects["k"].body == self.NEWER
        assert fake.server.count(operation=COMPLETE) == (at == COMPLETE)

    def test_no_more_parts_are_sent_then(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(jobs=1)
        self.replaced(fake)
        self.vanish(fake, "UploadPart", query={"partNumber": "2"})
        fake.helper.create("k", DATA)
        assert fake.server.count(operation="UploadPart") == 2

    @store_each_way
    @pytest.mark.parametrize("at", ["UploadPart", COMPLETE])
    @pytest.mark.parametrize("looked", [False, True])
    def test_but_not_by_the_one_that_was_there(
        self, fake: BucketFixture, how: str, at: str, looked: bool
    ) -> None:
        """However young it is: times of whole seconds cannot tell."""
        fake.server.put_object("k", b"older")
        if looked:
            assert fake.store.head("k")
        self.vanish(fake, at)
        refused(fake, how)
        assert fake.server.objects["k"].body == b"older"

    @store_each_way
    @pytest.mark.parametrize("metadata", [{}, {"cacher-upload": "0123456789abcdef"}])
    def test_nor_where_its_date_advances(
        self, fake: BucketFixture, how: str, metadata: dict[str, str]
    ) -> None:
        """A gateway may touch the object when an upload of its key begins."""
        old = fake.server.put_object("k", b"older", metadata)
        self.vanish(fake, COMPLETE)
        reported = {f"X-Amz-Meta-{name}": value for name, value in metadata.items()}
        reported |= {"ETag": f'"{old.etag}"'}
        touched = reported | {"Last-Modified": "Fri, 01 Jan 2100 00:00:00 GMT"}
        looks = fake.fault(
            Respond(200, headers=touched, body=b"older"), "HeadObject", nth=2, times=None
        )
        with pytest.raises(StoreError, match="dropped the upload"):
            _ = fake.helper.put("k", DATA) if how == "file" else fake.helper.create("k", DATA)
        assert looks.hits >= 1

    def test_a_key_that_may_not_look_stores_nothing(self, fake: BucketFixture) -> None:
        self.replaced(fake)
        self.vanish(fake, COMPLETE)
        fake.fault(Respond(403, "AccessDenied"), "HeadObject", times=None)
        fake.fault(Respond(403, "AccessDenied"), "GetObject", times=None)
        with pytest.raises(StoreError, match="dropped the upload"):
            fake.helper.put("k", DATA)

    def test_a_key_that_may_not_look_can_store(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(replace(GARAGE, read=False))
        fake.helper.put("k", DATA)
        assert fake.server.objects["k"].body == DATA

    @store_each_way
    @pytest.mark.parametrize("at", ["UploadPart", COMPLETE])
    def test_nor_by_nothing(self, fake: BucketFixture, how: str, at: str) -> None:
        self.vanish(fake, at)
        refused(fake, how)
        assert fake.server.objects == {}


class TestAborting:
    @pytest.mark.parametrize(
        "answer", [Respond(200, executed=True), Respond(204, executed=True), None]
    )
    def test_each_way_to_say_so(self, fake: BucketFixture, answer: Respond | None) -> None:
        """200 on Garage before 2.1, 204 since."""
        fault = fake.fault(answer, "AbortMultipartUpload") if answer else None
        with pytest.raises(ZeroDivisionError), fake.store.create("k", {}) as writer:
            writer.write(DATA)
            raise ZeroDivisionError
        assert fake.server.count(operation="AbortMultipartUpload") == 1
        assert fault is None or fault.hits == 1
        assert fake.server.uploads == {}

    def test_what_is_gone_is_aborted(self, fake: BucketFixture) -> None:
        fake.fault(Respond(404, "NoSuchUpload", executed=True), "AbortMultipartUpload")
        with fake.store.create("k", {}) as writer:
            writer.write(DATA)
        assert fake.server.count(operation="AbortMultipartUpload") == 1

    def test_a_lost_reply(self, fake: BucketFixture) -> None:
        fake.fault(Reset("executed"), "AbortMultipartUpload")
        with fake.store.create("k", {}) as writer:
            writer.write(DATA)
        assert fake.server.count(operation="AbortMultipartUpload") == 2

    def test_it_does_not_hide_why(self, fake: BucketFixture) -> None:
        fake.fault(Respond(403, "AccessDenied", "because"), "UploadPart", times=None)
        fault = fake.fault(Respond(503, executed=True), "AbortMultipartUpload", times=None)
        with pytest.raises(AccessError, match="because"):
            fake.helper.put("k", DATA)
        assert fault.hits == 3  # enough, for people who wait
