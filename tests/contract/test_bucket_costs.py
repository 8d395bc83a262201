"""What a bucket store may cost: requests, bytes and memory."""

from __future__ import annotations

import io
import time
import tracemalloc

import pytest

from cacher.s3.ranges import RANGE
from tests.contract.conftest import FixtureMaker
from tests.fakes.faults import CutAnswer, Reset, Respond
from tests.support.bucket_fixture import PART, BucketFixture, Take, read_each_way, store_each_way
from tests.support.store_helpers import ByteCounter, blob

MIB = 1 << 20


class TestRequests:
    @pytest.mark.parametrize("size", [1, 1000, PART - 1, PART])
    def test_small_entries_cost_one(self, fake: BucketFixture, size: int) -> None:
        data = blob(size)
        fake.helper.put("k", data)
        fake.helper.create("stream", data)
        assert fake.seen() == [("PutObject", 200)] * 2
        assert fake.helper.read("k") == data
        assert fake.seen() == [("GetObject", 206)]
        assert fake.helper.save("k") == data
        assert fake.seen() == [("GetObject", 206)]
        assert fake.store.head("k") is not None
        assert fake.seen() == [("HeadObject", 200)]

    @pytest.mark.parametrize(
        ("size", "requests"),
        [(RANGE - 1, 1), (RANGE, 1), (RANGE + 1, 2), (2 * RANGE, 2), (2 * RANGE + 1, 3)],
    )
    def test_big_ones_cost_one_a_range(self, fake: BucketFixture, size: int, requests: int) -> None:
        data = blob(size)
        fake.server.put_object("k", data)
        for take in (fake.helper.read, fake.helper.save):
            assert take("k") == data
            assert fake.seen() == [("GetObject", 206)] * requests

    @pytest.mark.parametrize(("size", "parts"), [(PART + 1, 2), (2 * PART, 2), (4 * PART + 1, 5)])
    @pytest.mark.parametrize("looked", [False, True])
    def test_uploads_cost_one_a_part_and_three(
        self, fake: BucketFixture, size: int, parts: int, looked: bool
    ) -> None:
        """The look at what is there counts: a look-up before the upload is it already."""
        data = blob(size)
        expected = [
            ("CreateMultipartUpload", 200),
            *[("UploadPart", 200)] * parts,
            ("CompleteMultipartUpload", 200),
        ]
        for store in (fake.helper.put, fake.helper.create):
            fake.server.delete_object("k")
            if looked:
                assert fake.store.head("k", verify_bucket=False) is None
            store("k", data)
            records = fake.server.select(operation="UploadPart")
            numbers = sorted(int(record.query["partNumber"]) for record in records)
            assert numbers == list(range(1, parts + 1))
            sizes = sorted(record.body_length for record in records)
            assert sizes[1:] == [PART] * (parts - 1)  # equal, but for the last (R2)
            assert fake.seen() == [("HeadObject", 404), *expected]
            assert fake.server.objects["k"].body == data

    def test_the_look_before_an_upload_is_of_its_key(self, fake: BucketFixture) -> None:
        fake.store.head("other")
        fake.seen()
        for _ in range(2):  # the second time something else is there
            fake.helper.put("k", blob(PART + 1))
            assert [name for name, _ in fake.seen()].count("HeadObject") == 1

    def test_a_listing_costs_one_a_page(self, fake: BucketFixture) -> None:
        keys = [f"k{number:04}" for number in range(2500)]
        fake.server.seed(keys)
        assert [entry.key for entry in fake.store.list()] == keys
        records = fake.server.requests
        assert [record.operation for record in records] == ["ListObjectsV2"] * 3
        assert all(record.query["encoding-type"] == "url" for record in records)

    def test_a_listing_asks_as_it_is_read(self, fake: BucketFixture) -> None:
        fake.server.seed(f"k{number:04}" for number in range(2500))
        listing = fake.store.list("k")
        assert fake.server.requests == []
        assert next(listing).key == "k0000"
        assert fake.server.count() == 1

    def test_deleting_costs_one_in_100(self, fake: BucketFixture) -> None:
        """Not in 1000: Garage deletes them one by one, while we wait for the answer."""
        keys = [f"k{number:04}" for number in range(201)]
        fake.server.seed(keys)
        assert [gone.error for gone in fake.store.delete(keys)] == [None] * 201
        assert sorted(fake.seen()) == [("DeleteObject", 204)] + [("DeleteObjects", 200)] * 2

    def test_an_unused_writer_costs_nothing(self, fake: BucketFixture) -> None:
        fake.store.create("k", {}).close()
        with fake.store.create("k", {}) as writer:
            writer.write(blob(PART))
        assert fake.seen() == []

    def test_an_unused_reader_costs_one(self, fake: BucketFixture) -> None:
        fake.server.put_object("k", blob(2 * RANGE))
        fake.helper.opened("k").close()
        assert fake.server.count() == 1


class TestMeter:
    """What is told to the meter adds up to the size, whatever had to move again."""

    def test_a_put(self, fake: BucketFixture) -> None:
        data = blob(PART)
        fake.fault(Reset("mid-body", PART // 2), "PutObject")
        fake.fault(Respond(503, "SlowDown"), "PutObject")
        fake.fault(Respond(400, "InvalidDigest"), "PutObject")
        counter = ByteCounter()
        fake.helper.put("k", data, on_progress=counter)
        assert fake.server.count() == 4
        assert counter.total == len(data)

    @store_each_way
    def test_parts(self, fake: BucketFixture, how: str) -> None:
        data = blob(5 * PART + 1)
        fake.fault(Reset("mid-body", 1), "UploadPart", times=2)
        fake.fault(Respond(503, "SlowDown"), "UploadPart", times=2)
        fake.fault(Reset("executed"), "UploadPart", times=2)
        counter = ByteCounter()
        if how == "file":
            fake.helper.put("k", data, on_progress=counter)
        else:
            with fake.store.create("k", {}, counter) as writer:
                writer.write(data)
                writer.commit()
        assert fake.server.count(operation="UploadPart") == 6 + 6
        assert counter.total == len(data)

    @read_each_way
    def test_a_get(self, fake: BucketFixture, take: Take) -> None:
        data = blob(RANGE + 5 * MIB)
        fake.server.put_object("k", data)
        fake.fault(CutAnswer(2 * MIB + 1), "GetObject", times=3)
        counter = ByteCounter()
        assert take(fake.helper, "k", on_progress=counter) == data
        assert fake.server.count() == 2 + 3
        assert counter.total == len(data)


class TestMemory:
    def test_reading_in_order_takes_a_few_ranges(self, make_fake: FixtureMaker) -> None:
        size, jobs = 12 * RANGE, 2
        fake = make_fake(jobs=jobs)
        fake.server.put_object("k", bytes(size))
        buffer = memoryview(bytearray(MIB))
        tracemalloc.start()
        try:
            with fake.helper.opened("k") as reader:
                total = 0
                while count := reader.readinto(buffer):
                    total += count
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert total == size
        assert peak < (jobs + 1) * RANGE + 4 * MIB

    def test_saving_takes_next_to_none(self, make_fake: FixtureMaker, scratch: io.FileIO) -> None:
        size = 12 * RANGE
        fake = make_fake(jobs=4)
        fake.server.put_object("k", bytes(size))
        tracemalloc.start()
        try:
            with fake.helper.opened("k") as reader:
                reader.save(scratch.fileno())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8 * MIB

    def test_a_slow_reader_is_not_run_away_from(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(jobs=2)
        fake.server.put_object("k", bytes(8 * RANGE))
        buffer = memoryview(bytearray(100))
        with fake.helper.opened("k") as reader:
            assert reader.readinto(buffer) == 100
            deadline = time.monotonic() + 50
            while fake.server.count() < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.2)
            assert fake.server.count() == 3  # one is emptied, two are full
