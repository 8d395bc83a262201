"""A bucket store on a bad day: what breaks off, hangs or is refused costs time and nothing else."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Literal

import pytest

from cacher.errors import AccessError, Stopped, StoreError
from cacher.fileio import BUFFER_SIZE
from cacher.s3.ranges import RANGE
from cacher.s3.request_body import SEND_SIZE as SENT
from cacher.s3.thread_pool import Cancelled
from cacher.time_limits import LIMITS
from tests.contract.conftest import FixtureMaker
from tests.fakes.faults import Action, CutAnswer, Reset, Respond, Stall
from tests.fakes.profile import GARAGE
from tests.fakes.request import Request
from tests.support.bucket_fixture import PART, BucketFixture, Take, read_each_way, store_each_way
from tests.support.store_helpers import ByteCounter, blob

BIG = blob(2 * RANGE + 1, 3)  # three ranges
PARTS = blob(3 * PART + 1, 4)  # four parts

When = Literal["before-body", "mid-body", "before-answer", "executed"]

WHENS: list[When] = ["before-body", "mid-body", "before-answer", "executed"]


def of_size(request: Request) -> bool:
    """Whether a whole range of `BIG` is asked for, or the rest of one, and not the last byte."""
    return not request.headers["range"].endswith(f"-{len(BIG) - 1}")


def store(fake: BucketFixture, how: str, data: bytes, counter: ByteCounter | None = None) -> None:
    """Store `data` under `k`."""
    if how == "file":
        fake.helper.put("k", data, on_progress=counter or ByteCounter())
        return
    with fake.store.create("k", {}, counter or ByteCounter()) as writer:
        writer.write(data)
        writer.commit()


class TestCutBodies:
    """What has arrived is kept, and the rest is asked for."""

    @read_each_way
    @pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
    @pytest.mark.parametrize("after", [0, 1, 1000, 3 * BUFFER_SIZE, 4 * BUFFER_SIZE - 1])
    def test_it_is_resumed(self, fake: BucketFixture, take: Take, after: int, reset: bool) -> None:
        data = blob(4 * BUFFER_SIZE, 5)
        stored = fake.server.put_object("k", data)
        fake.fault(CutAnswer(after, reset=reset), "GetObject")
        counter = ByteCounter()
        assert take(fake.helper, "k", on_progress=counter) == data
        assert counter.total == len(data)
        _, second = fake.server.requests  # one more request, for one version
        assert second.headers["if-match"] == f'"{stored.etag}"'
        start = int(second.headers["range"].removeprefix("bytes=").partition("-")[0])
        assert start <= after  # what a reset overtakes is lost
        assert reset or after - start < BUFFER_SIZE

    @read_each_way
    def test_in_several_ranges(self, fake: BucketFixture, take: Take) -> None:
        fake.server.put_object("k", BIG)
        fake.fault(CutAnswer(RANGE // 3), "GetObject", where=of_size, times=2)
        fake.fault(CutAnswer(0, reset=True), "GetObject", times=2)
        counter = ByteCounter()
        assert take(fake.helper, "k", on_progress=counter) == BIG
        assert counter.total == len(BIG)
        assert fake.server.count(operation="GetObject") == 3 + 4

    @read_each_way
    @pytest.mark.parametrize("ranges", ["ignored", "partial-200"])
    def test_without_ranges(
        self, make_fake: FixtureMaker, take: Take, ranges: Literal["ignored", "partial-200"]
    ) -> None:
        fake = make_fake(replace(GARAGE, ranges=ranges))
        data = blob(4 * BUFFER_SIZE, 5)
        fake.server.put_object("k", data)
        whole = fake.fault(
            CutAnswer(2 * BUFFER_SIZE + 7),
            "GetObject",
            where=lambda request: ranges == "ignored" or "range" not in request.headers,
        )
        counter = ByteCounter()
        assert take(fake.helper, "k", on_progress=counter) == data
        assert (whole.hits, counter.total) == (1, len(data))

    @read_each_way
    def test_it_goes_on_as_long_as_bytes_come(self, fake: BucketFixture, take: Take) -> None:
        data = blob(20 * BUFFER_SIZE, 5)
        fake.server.put_object("k", data)
        fake.fault(CutAnswer(BUFFER_SIZE + 1), "GetObject", times=15)
        assert take(fake.helper, "k") == data
        assert fake.server.count(operation="GetObject") == 16

    @read_each_way
    def test_it_ends_where_none_come(self, fake: BucketFixture, take: Take) -> None:
        fake.server.put_object("k", b"abc")
        fault = fake.fault(CutAnswer(0), "GetObject", times=None)
        with pytest.raises(StoreError, match="reading k"):
            take(fake.helper, "k")
        assert 3 <= fault.hits <= 10


class TestSilence:
    """A connection without a byte for too long is given up."""

    @pytest.fixture
    def fake(self, make_fake: FixtureMaker) -> BucketFixture:
        return make_fake(limits=LIMITS._replace(stall=0.3, silent=3.0))

    @read_each_way
    def test_in_the_middle(self, fake: BucketFixture, take: Take) -> None:
        fake.server.put_object("k", BIG)
        fake.fault(Stall(60, after=1000), "GetObject", where=of_size, times=2)
        began = time.monotonic()
        assert take(fake.helper, "k") == BIG
        assert 0.3 <= time.monotonic() - began < 50
        assert fake.server.count(operation="GetObject") == 3 + 2

    @pytest.mark.parametrize("operation", ["GetObject", "ListObjectsV2"])
    def test_before_the_answer(self, fake: BucketFixture, operation: str) -> None:
        fake.server.put_object("k", b"abc")
        fake.fault(Stall(60), operation)
        assert fake.helper.read("k") == b"abc"
        assert fake.helper.keys() == ["k"]
        assert fake.server.count(operation=operation) == 2


class TestResets:
    @store_each_way
    @pytest.mark.parametrize("when", WHENS)
    def test_of_a_put(self, fake: BucketFixture, how: str, when: When) -> None:
        data = blob(PART, 6)
        fake.fault(Reset(when, SENT + 1), "PutObject")
        counter = ByteCounter()
        store(fake, how, data, counter)
        assert fake.server.objects["k"].body == data
        assert fake.seen() == [("PutObject", 0), ("PutObject", 200)]
        assert counter.total == len(data)

    @store_each_way
    @pytest.mark.parametrize("when", WHENS)
    @pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload"])
    def test_of_an_upload_in_parts(
        self, fake: BucketFixture, how: str, when: When, operation: str
    ) -> None:
        fault = fake.fault(Reset(when, 50), operation)
        counter = ByteCounter()
        store(fake, how, PARTS, counter)
        assert fault.hits == 1
        assert fake.server.objects["k"].body == PARTS
        assert counter.total == len(PARTS)

    @pytest.mark.parametrize("when", ["before-body", "before-answer"])
    def test_of_other_requests(self, fake: BucketFixture, when: When) -> None:
        fake.server.put_object("k", b"abc")
        for attempt in (
            lambda: fake.store.head("k"),
            lambda: fake.helper.read("k"),
            fake.helper.keys,
            lambda: [gone.error for gone in fake.store.delete(["k", "l"])],
            lambda: [gone.error for gone in fake.store.delete(["k"])],
        ):
            fake.server.forget()
            fake.server.clear_faults()
            fake.fault(Reset(when))
            assert attempt()
            assert [status == 0 for _, status in fake.seen()] == [True, False]
        assert fake.server.objects == {}

    def test_a_create_that_is_done_all_the_same_leaves_one_upload(
        self, fake: BucketFixture
    ) -> None:
        """Nobody knows its id: all that can be done is to say so (lifecycle rules end it)."""
        fake.fault(Reset("executed"), "CreateMultipartUpload")
        store(fake, "stream", PARTS)
        assert fake.server.objects["k"].body == PARTS
        (orphan,) = fake.server.uploads.values()
        assert orphan.attempts == []
        fake.store.client.abort_upload("k", orphan.id)


class TestIdleConnections:
    """Servers close kept-alive connections as they like: that is no failure to wait for."""

    def test_closed_while_idle(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(chance=0.5)
        fake.server.put_object("k", b"abc")
        fake.fault(CutAnswer(100), "GetObject")  # the whole answer, and then the end
        assert fake.helper.read("k") == b"abc"
        assert fake.helper.read("k") == b"abc"
        assert fake.server.count() == 2
        assert fake.pauses.seconds == []

    @pytest.mark.parametrize("method", ["GET", "PUT"])
    def test_closed_just_as_it_is_used_again(self, make_fake: FixtureMaker, method: str) -> None:
        fake = make_fake(chance=0.5)
        fake.helper.put("k", b"abc")
        fake.fault(Reset("before-body"), method=method)
        if method == "GET":
            assert fake.helper.read("k") == b"abc"
        else:
            fake.helper.put("k", b"abcd")
        assert [status == 0 for _, status in fake.seen()] == [False, True, False]
        assert fake.pauses.seconds == []

    def test_a_fresh_one_that_is_reset_is_waited_for(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(chance=0.5)
        fake.fault(Reset("before-body"))
        fake.helper.put("k", b"abc")
        assert fake.pauses.seconds == [0.125]

    def test_connections_are_used_again(self, fake: BucketFixture) -> None:
        fake.helper.put("k", b"abc")
        for _ in range(5):
            assert fake.store.head("k") is not None
            assert fake.helper.read("k") == b"abc"
            assert fake.store.head("missing") is None
            assert fake.store.open("missing") is None
            assert fake.helper.keys() == ["k"]
        fake.helper.put("empty", b"")
        assert fake.helper.read("empty") == b""
        assert {record.connection for record in fake.server.requests} == {1}


class TestRefusals:
    def test_busy(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(chance=0.5)
        fake.fault(Respond(503, "SlowDown"), times=3)
        fake.helper.put("k", b"abc")
        assert fake.pauses.seconds == [0.125, 0.25, 0.5]  # half of a ceiling that doubles

    def test_busy_and_it_says_how_long(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(chance=0.5)
        fake.fault(Respond(503, "SlowDown", headers={"Retry-After": "7"}))
        fake.fault(
            Respond(503, "SlowDown", headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"})
        )
        fake.server.put_object("k", b"abc")
        assert fake.helper.read("k") == b"abc"
        assert fake.pauses.seconds == [7.0, 0.25]

    def test_busy_for_longer_than_anybody_waits(self, fake: BucketFixture) -> None:
        fault = fake.fault(
            Respond(503, "SlowDown", headers={"Retry-After": "3600"}), "GetObject", times=None
        )
        with pytest.raises(StoreError, match="it asks to wait 3600 s"):
            fake.helper.read("k")
        assert (fault.hits, fake.pauses.seconds) == (1, [])

    @pytest.mark.parametrize(
        "answer",
        [
            *(Respond(status) for status in (408, 429, 499, 500, 502, 503, 504, 520)),
            Respond(400, "RequestTimeout"),
            Respond(409, "OperationAborted"),
            Respond(410, "DisconnectError"),
            Respond(400, "ThrottlingException"),
            Respond(500, "InternalError", executed=True),
        ],
        ids=lambda answer: f"{answer.status}{answer.code}",
    )
    @store_each_way
    def test_that_pass(self, fake: BucketFixture, answer: Respond, how: str) -> None:
        for operation in ("CreateMultipartUpload", "UploadPart"):
            fake.fault(replace(answer, executed=False), operation)
        fake.fault(answer, "CompleteMultipartUpload")
        store(fake, how, PARTS)
        assert fake.server.objects["k"].body == PARTS

    def test_that_do_not(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(chance=0.5)
        fault = fake.fault(Respond(500, "InternalError"), times=None)
        with pytest.raises(StoreError, match="InternalError"):
            fake.helper.put("k", b"abc")
        assert (fault.hits, len(fake.pauses.seconds)) == (6, 5)

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 411, 413, 501, 507])
    def test_that_are_final(self, fake: BucketFixture, status: int) -> None:
        fault = fake.fault(Respond(status, "SomeCode"), times=None)
        with pytest.raises((AccessError, StoreError), match="SomeCode"):
            fake.helper.put("k", b"abc")
        assert fault.hits == 1

    def test_before_the_body_has_come(self, make_fake: FixtureMaker) -> None:
        """The store answers at once and cuts the connection, while we are still sending."""
        fake = make_fake(part_size=16 * PART)
        fault = fake.fault(Respond(403, "AccessDenied", "no room for you", early=True), "PutObject")
        with pytest.raises(AccessError, match="no room for you"):
            fake.helper.put("k", blob(16 * PART))
        assert fault.hits == 1


@store_each_way
@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (Respond(403, "AccessDenied"), AccessError),
        (Respond(500, "InternalError"), StoreError),
        (Reset("mid-body", 1000), StoreError),
        (Reset("before-answer"), StoreError),
        (Respond(403, "AccessDenied", early=True), AccessError),
    ],
    ids=["refused", "failing", "cut", "unanswered", "refused early"],
)
@pytest.mark.parametrize("number", ["1", "3"])
class TestAFailingPart:
    def test_nothing_is_left(
        self, fake: BucketFixture, how: str, action: Action, kind: type[Exception], number: str
    ) -> None:
        fake.server.put_object("k", b"older")
        fake.fault(action, "UploadPart", query={"partNumber": number}, times=None)
        with pytest.raises(kind, match=f"part {number}"):
            store(fake, how, PARTS + blob(8 * PART))
        assert fake.server.uploads == {}
        assert fake.server.objects["k"].body == b"older"
        assert fake.server.count(operation="AbortMultipartUpload") == 1
        assert fake.server.count(operation="CompleteMultipartUpload") == 0


class TestStopping:
    def test_a_signal_while_parts_are_on_their_way(self, fake: BucketFixture) -> None:
        fake.fault(Stall(60), "UploadPart", times=None)
        began = time.monotonic()
        with pytest.raises(Stopped), fake.store.create("k", {}) as writer:
            writer.write(PARTS)
            raise Stopped(15)
        assert time.monotonic() - began < 50
        assert fake.server.uploads == {}
        assert fake.server.objects == {}

    def test_a_reader_closed_while_ranges_are_on_their_way(self, fake: BucketFixture) -> None:
        fake.server.put_object("k", BIG)
        fake.fault(Stall(60, after=1000), "GetObject", nth=2, times=None)
        began = time.monotonic()
        buffer = memoryview(bytearray(100))
        with fake.helper.opened("k") as reader:
            assert reader.readinto(buffer) == 100
        assert time.monotonic() - began < 50
        assert bytes(buffer) == BIG[:100]

    @pytest.mark.parametrize("data", [BIG, BIG[:1000]], ids=["ranges", "one answer"])
    def test_a_reader_cancelled_while_another_thread_waits(
        self, fake: BucketFixture, data: bytes
    ) -> None:
        fake.server.put_object("k", data)
        fake.fault(Stall(60, after=500), "GetObject", times=None)
        ended = threading.Event()
        waits = threading.Event()

        def read() -> None:
            buffer = memoryview(bytearray(100))
            with pytest.raises(Cancelled):
                while reader.readinto(buffer):
                    waits.set()
            ended.set()

        with fake.helper.opened("k") as reader:
            thread = threading.Thread(target=read)
            thread.start()
            if len(data) < RANGE:
                assert waits.wait(100)
            began = time.monotonic()
            while not ended.wait(0.1):
                reader.cancel()
            assert time.monotonic() - began < 50
            thread.join()
