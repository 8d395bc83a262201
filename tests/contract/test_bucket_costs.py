"""What a bucket store may cost: requests, bytes and memory."""

from __future__ import annotations

import io
import time
import tracemalloc
from collections.abc import Callable

import pytest

from cacher.s3.ranges import RANGE
from tests.contract.conftest import RigMaker
from tests.fakes.faults import CutAnswer, Reset, Respond
from tests.support.bucket_fixture import PART, Rig
from tests.support.store_helpers import Hands, Tally, blob

MIB = 1 << 20


class TestRequests:
    @pytest.mark.parametrize("size", [1, 1000, PART - 1, PART])
    def test_small_entries_cost_one(self, rig: Rig, size: int) -> None:
        data = blob(size)
        rig.hands.put("k", data)
        rig.hands.create("stream", data)
        assert rig.seen() == [("PutObject", 200)] * 2
        assert rig.hands.read("k") == data
        assert rig.seen() == [("GetObject", 206)]
        assert rig.hands.save("k") == data
        assert rig.seen() == [("GetObject", 206)]
        assert rig.store.head("k") is not None
        assert rig.seen() == [("HeadObject", 200)]

    @pytest.mark.parametrize(
        ("size", "requests"),
        [(RANGE - 1, 1), (RANGE, 1), (RANGE + 1, 2), (2 * RANGE, 2), (2 * RANGE + 1, 3)],
    )
    def test_big_ones_cost_one_a_range(self, rig: Rig, size: int, requests: int) -> None:
        data = blob(size)
        rig.server.put_object("k", data)
        for take in (rig.hands.read, rig.hands.save):
            assert take("k") == data
            assert rig.seen() == [("GetObject", 206)] * requests

    @pytest.mark.parametrize(("size", "parts"), [(PART + 1, 2), (2 * PART, 2), (4 * PART + 1, 5)])
    @pytest.mark.parametrize("looked", [False, True])
    def test_uploads_cost_one_a_part_and_three(
        self, rig: Rig, size: int, parts: int, looked: bool
    ) -> None:
        """The look at what is there counts: a look-up before the upload is it already."""
        data = blob(size)
        expected = [
            ("CreateMultipartUpload", 200),
            *[("UploadPart", 200)] * parts,
            ("CompleteMultipartUpload", 200),
        ]
        for store in (rig.hands.put, rig.hands.create):
            rig.server.delete_object("k")
            if looked:
                assert rig.store.head("k", verify_bucket=False) is None
            store("k", data)
            records = rig.server.select(operation="UploadPart")
            numbers = sorted(int(record.query["partNumber"]) for record in records)
            assert numbers == list(range(1, parts + 1))
            sizes = sorted(record.body_length for record in records)
            assert sizes[1:] == [PART] * (parts - 1)  # equal, but for the last (R2)
            assert rig.seen() == [("HeadObject", 404), *expected]
            assert rig.server.objects["k"].body == data

    def test_the_look_before_an_upload_is_of_its_key(self, rig: Rig) -> None:
        rig.store.head("other")
        rig.seen()
        for _ in range(2):  # the second time something else is there
            rig.hands.put("k", blob(PART + 1))
            assert [name for name, _ in rig.seen()].count("HeadObject") == 1

    def test_a_listing_costs_one_a_page(self, rig: Rig) -> None:
        keys = [f"k{number:04}" for number in range(2500)]
        rig.server.seed(keys)
        assert [entry.key for entry in rig.store.list()] == keys
        records = rig.server.requests
        assert [record.operation for record in records] == ["ListObjectsV2"] * 3
        assert all(record.query["encoding-type"] == "url" for record in records)

    def test_a_listing_asks_as_it_is_read(self, rig: Rig) -> None:
        rig.server.seed(f"k{number:04}" for number in range(2500))
        listing = rig.store.list("k")
        assert rig.server.requests == []
        assert next(listing).key == "k0000"
        assert rig.server.count() == 1

    def test_deleting_costs_one_in_100(self, rig: Rig) -> None:
        """Not in 1000: Garage deletes them one by one, while we wait for the answer."""
        keys = [f"k{number:04}" for number in range(201)]
        rig.server.seed(keys)
        assert [gone.error for gone in rig.store.delete(keys)] == [None] * 201
        assert sorted(rig.seen()) == [("DeleteObject", 204)] + [("DeleteObjects", 200)] * 2

    def test_an_unused_writer_costs_nothing(self, rig: Rig) -> None:
        rig.store.create("k", {}).close()
        with rig.store.create("k", {}) as writer:
            writer.write(blob(PART))
        assert rig.seen() == []

    def test_an_unused_reader_costs_one(self, rig: Rig) -> None:
        rig.server.put_object("k", blob(2 * RANGE))
        rig.hands.opened("k").close()
        assert rig.server.count() == 1


class TestMeter:
    """What is told to the meter adds up to the size, whatever had to move again."""

    def test_a_put(self, rig: Rig) -> None:
        data = blob(PART)
        rig.fault(Reset("mid-body", PART // 2), "PutObject")
        rig.fault(Respond(503, "SlowDown"), "PutObject")
        rig.fault(Respond(400, "InvalidDigest"), "PutObject")
        tally = Tally()
        rig.hands.put("k", data, on_progress=tally)
        assert rig.server.count() == 4
        assert tally.total == len(data)

    @pytest.mark.parametrize("how", ["file", "stream"])
    def test_parts(self, rig: Rig, how: str) -> None:
        data = blob(5 * PART + 1)
        rig.fault(Reset("mid-body", 1), "UploadPart", times=2)
        rig.fault(Respond(503, "SlowDown"), "UploadPart", times=2)
        rig.fault(Reset("executed"), "UploadPart", times=2)
        tally = Tally()
        if how == "file":
            rig.hands.put("k", data, on_progress=tally)
        else:
            with rig.store.create("k", {}, tally) as writer:
                writer.write(data)
                writer.commit()
        assert rig.server.count(operation="UploadPart") == 6 + 6
        assert tally.total == len(data)

    @pytest.mark.parametrize("take", [Hands.read, Hands.save], ids=["read", "save"])
    def test_a_get(self, rig: Rig, take: Callable[..., bytes]) -> None:
        data = blob(RANGE + 5 * MIB)
        rig.server.put_object("k", data)
        rig.fault(CutAnswer(2 * MIB + 1), "GetObject", times=3)
        tally = Tally()
        assert take(rig.hands, "k", on_progress=tally) == data
        assert rig.server.count() == 2 + 3
        assert tally.total == len(data)


class TestMemory:
    def test_reading_in_order_takes_a_few_ranges(self, make_rig: RigMaker) -> None:
        size, jobs = 12 * RANGE, 2
        rig = make_rig(jobs=jobs)
        rig.server.put_object("k", bytes(size))
        buffer = memoryview(bytearray(MIB))
        tracemalloc.start()
        try:
            with rig.hands.opened("k") as reader:
                total = 0
                while count := reader.readinto(buffer):
                    total += count
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert total == size
        assert peak < (jobs + 1) * RANGE + 4 * MIB

    def test_saving_takes_next_to_none(self, make_rig: RigMaker, scratch: io.FileIO) -> None:
        size = 12 * RANGE
        rig = make_rig(jobs=4)
        rig.server.put_object("k", bytes(size))
        tracemalloc.start()
        try:
            with rig.hands.opened("k") as reader:
                reader.save(scratch.fileno())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8 * MIB

    def test_a_slow_reader_is_not_run_away_from(self, make_rig: RigMaker) -> None:
        rig = make_rig(jobs=2)
        rig.server.put_object("k", bytes(8 * RANGE))
        buffer = memoryview(bytearray(100))
        with rig.hands.opened("k") as reader:
            assert reader.readinto(buffer) == 100
            deadline = time.monotonic() + 50
            while rig.server.count() < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.2)
            assert rig.server.count() == 3  # one is emptied, two are full
