"""Sizes that a store does not tell, or makes up: never a number that is none, nor memory for it."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace

import pytest

from cacher.errors import EntryChanged, IntegrityError, StoreError
from cacher.s3 import diagnosis
from cacher.s3.object_head import MAX_OBJECT
from cacher.s3.ranges import RANGE, range_at
from tests.contract.conftest import FixtureMaker
from tests.fakes.faults import CutAnswer, Replace, Reset, Respond
from tests.fakes.profile import GARAGE
from tests.support.bucket_fixture import PART, BucketFixture, Take, read_each_way
from tests.support.store_helpers import blob, digest

MIB = 1 << 20


class TestHeadWithoutLength:
    """A HEAD through Apache may have none (Ceph): a GET tells it."""

    @pytest.fixture
    def mute(self, make_fake: FixtureMaker) -> BucketFixture:
        return make_fake(replace(GARAGE, head_length=False))

    @pytest.mark.parametrize("size", [0, 1, 1000, 2 * PART + 1])
    def test_the_size_is_asked_for(self, mute: BucketFixture, size: int) -> None:
        mute.helper.put("k", blob(size))
        mute.seen()
        found = mute.store.head("k")
        assert found is not None
        assert found.size == size
        assert found.sha256
        assert mute.seen() == [("HeadObject", 200), ("GetObject", 206 if size else 416)]

    @pytest.mark.parametrize("ranges", ["ignored", "partial-200"])
    @pytest.mark.parametrize("size", [0, 1000])
    def test_where_there_are_no_ranges(
        self, make_fake: FixtureMaker, ranges: str, size: int
    ) -> None:
        fake = make_fake(replace(GARAGE, head_length=False, ranges=ranges))  # type: ignore[arg-type]
        fake.helper.put("k", blob(size))
        found = fake.store.head("k")
        assert found is not None
        assert found.size == size

    def test_a_miss_is_one(self, mute: BucketFixture) -> None:
        assert mute.store.head("k") is None
        assert mute.store.head("k", verify_bucket=False) is None

    def test_deleted_between_the_two(self, mute: BucketFixture) -> None:
        mute.fault(Respond(200, headers={"ETag": '"x"'}), "HeadObject")
        assert mute.store.head("k") is None

    @pytest.mark.parametrize("part", ["", "bytes 0-0/*"])
    def test_where_nothing_says_it(self, mute: BucketFixture, part: str) -> None:
        mute.helper.put("k", b"abc")
        reported = {"ETag": '"x"', "Content-Range": part} if part else {"ETag": '"x"'}
        mute.fault(Respond(206, headers=reported, body=b"a"), "GetObject")
        words = r"^looking for k: the store does not say how large it is$"
        with pytest.raises(StoreError, match=words) as caught:
            mute.store.head("k")
        assert f"a proxy or a CDN at {mute.server.endpoint} hides sizes" in caught.value.hint

    def test_an_answer_that_breaks_off(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(replace(GARAGE, chunked=True, ranges="ignored"))
        fake.helper.put("k", b"abc")
        fake.fault(CutAnswer(0), "GetObject")
        with pytest.raises(StoreError, match="looking for k: http://"):
            fake.store.head("k")

    def test_a_lost_commit_is_settled_all_the_same(self, mute: BucketFixture) -> None:
        data = blob(2 * PART + 1)
        mute.fault(Reset("executed"), "CompleteMultipartUpload", times=None)
        mute.helper.put("k", data)
        assert mute.server.objects["k"].body == data


class TestNoLengthAtAll:
    """A network in front of the bucket sends everything in chunks."""

    @pytest.fixture
    def chunked(self, make_fake: FixtureMaker) -> BucketFixture:
        return make_fake(replace(GARAGE, chunked=True))

    @read_each_way
    @pytest.mark.parametrize("size", [0, 1, 1000, RANGE, RANGE + 1, 2 * RANGE + 1])
    def test_entries_are_found_and_read(
        self, chunked: BucketFixture, take: Take, size: int
    ) -> None:
        data = blob(size)
        chunked.helper.put("k", data)
        found = chunked.store.head("k")
        assert found is not None
        assert (found.size, found.sha256) == (size, digest(data))
        assert take(chunked.helper, "k") == data

    @read_each_way
    @pytest.mark.parametrize("size", [0, 1000, RANGE + 1])
    def test_with_weak_etags_too(self, make_fake: FixtureMaker, take: Take, size: int) -> None:
        fake = make_fake(replace(GARAGE, chunked=True, weak_etags=True))
        fake.helper.put("k", blob(size))
        assert take(fake.helper, "k") == blob(size)

    @read_each_way
    def test_nor_ranges(self, make_fake: FixtureMaker, take: Take) -> None:
        """What is wrong, and what to do, in the same words in a diagnosis."""
        fake = make_fake(replace(GARAGE, chunked=True, ranges="ignored"))
        fake.helper.put("k", b"abc")
        for attempt in (
            lambda: take(fake.helper, "k"),
            lambda: fake.store.head("k"),
            lambda: diagnosis.read_across_parts(fake.store.client, "k", 3),
        ):
            with pytest.raises(StoreError, match="k: the store does not say how large") as caught:
                attempt()
            assert f"a proxy or a CDN at {fake.server.endpoint} hides sizes" in caught.value.hint

    def test_the_rest_works(self, chunked: BucketFixture) -> None:
        assert chunked.store.head("k") is None
        chunked.helper.create("k", blob(2 * PART + 1))
        assert chunked.helper.keys() == ["k"]
        assert [gone.error for gone in chunked.store.delete(["k", "l"])] == [None, None]

    def test_an_empty_one_that_is_replaced_meanwhile(self, chunked: BucketFixture) -> None:
        chunked.server.put_object("k", b"")
        chunked.fault(Replace(b"more"), "GetObject", nth=2)
        with pytest.raises(EntryChanged):
            chunked.helper.read("k")


class TestWildSizes:
    @read_each_way
    @pytest.mark.parametrize("size", [MAX_OBJECT + 1, 2**60, 10**18])
    def test_larger_than_any_object(self, fake: BucketFixture, take: Take, size: int) -> None:
        reported = {"Content-Range": f"bytes 0-{RANGE - 1}/{size}", "ETag": '"x"'}
        fake.fault(Respond(206, headers=reported, body=bytes(1000)), "GetObject", times=None)
        began = time.monotonic()
        with pytest.raises(StoreError, match=f"says that it has {size} bytes"):
            take(fake.helper, "k")
        assert time.monotonic() - began < 50
        assert fake.server.count() == 1

    @pytest.mark.parametrize("digits", [20, 5000])
    def test_more_digits_than_a_number_has(self, fake: BucketFixture, digits: int) -> None:
        reported = {"Content-Range": f"bytes 0-2/{'3' * digits}", "ETag": '"x"'}
        fake.server.put_object("k", b"abc")
        fake.fault(Respond(206, headers=reported, body=b"xyz"), "GetObject")
        assert fake.helper.read("k") == b"abc"  # no range that counts: it is asked for as a whole

    @read_each_way
    def test_one_that_could_be_takes_no_memory(self, fake: BucketFixture, take: Take) -> None:
        """Its ranges are millions, and the second one is not there."""
        reported = {"Content-Range": f"bytes 0-{RANGE - 1}/{MAX_OBJECT}", "ETag": '"x"'}
        fake.fault(Respond(206, headers=reported, body=bytes(RANGE)), "GetObject", nth=1)
        tracemalloc.start()
        try:
            with pytest.raises((StoreError, IntegrityError)):
                take(fake.helper, "k")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8 * RANGE


class TestSpans:
    @pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 99])
    def test_they_cover_all_bytes_once(self, size: int) -> None:
        starts = range(0, size, 10)
        spans = [range_at(starts, number) for number in range(len(starts))]
        covered = [byte for start, end in spans for byte in range(start, end)]
        assert covered == list(range(size))
        assert all(end - start == 10 for start, end in spans[:-1])
