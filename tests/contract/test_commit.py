"""What every `Store` promises of entries that come, stay away and are replaced."""

from __future__ import annotations

import contextlib
import io
from concurrent.futures import ThreadPoolExecutor

import pytest

from cacher.errors import CacherError, IntegrityError, StoreError
from cacher.store.source_file import SourceFile
from tests.support.store_helpers import StoreHelper, blob, digest, drain
from tests.support.store_kinds import StoreKind


class TestNothingWithoutCommit:
    def nothing(self, helper: StoreHelper, store_kind: StoreKind) -> bool:
        store = helper.store
        return (
            store.head("k") is None
            and store.open("k") is None
            and not helper.keys()
            and not store_kind.leftovers()
        )

    def test_leaving_without_commit(
        self, helper: StoreHelper, store_kind: StoreKind, size: int
    ) -> None:
        with helper.store.create("k", {}) as writer:
            writer.write(blob(size))
        assert self.nothing(helper, store_kind)

    def test_an_exception(self, helper: StoreHelper, store_kind: StoreKind) -> None:
        with pytest.raises(ZeroDivisionError), helper.store.create("k", {}) as writer:
            writer.write(blob(2 * store_kind.part_size + 1))
            raise ZeroDivisionError
        assert self.nothing(helper, store_kind)

    def test_nothing_is_there_before_the_commit(
        self, helper: StoreHelper, store_kind: StoreKind
    ) -> None:
        with helper.store.create("k", {}) as writer:
            writer.write(blob(2 * store_kind.part_size + 1))
            assert helper.store.head("k") is None
            assert helper.keys() == []
            writer.commit()
        assert helper.keys() == ["k"]
        assert store_kind.leftovers() == []

    def test_what_is_unfinished_can_be_seen(
        self, helper: StoreHelper, store_kind: StoreKind
    ) -> None:
        """Or else the looks at what is left over would prove nothing."""
        with helper.store.create("k", {}) as writer:
            writer.write(blob(2 * store_kind.part_size + 1))
            assert len(store_kind.leftovers()) == 1
        assert self.nothing(helper, store_kind)

    def test_closing_twice_and_after_the_commit(self, helper: StoreHelper) -> None:
        writer = helper.store.create("k", {})
        writer.write(b"abc")
        writer.commit()
        writer.close()
        writer.close()
        assert helper.read("k") == b"abc"
        other = helper.store.create("other", {})
        other.close()
        other.close()
        assert helper.keys() == ["k"]

    def test_the_older_entry_stays(self, helper: StoreHelper, store_kind: StoreKind) -> None:
        helper.put("k", b"old")
        with helper.store.create("k", {}) as writer:
            writer.write(blob(2 * store_kind.part_size + 1))
        assert helper.read("k") == b"old"

    def test_a_file_that_shrank(
        self, helper: StoreHelper, scratch: io.FileIO, store_kind: StoreKind
    ) -> None:
        for size in (4, 2 * store_kind.part_size + 1):
            scratch.truncate(size)
            content = SourceFile.of(scratch.fileno(), "scratch")
            scratch.truncate(size - 1)
            with pytest.raises(CacherError) as caught:
                helper.store.put("k", content, {})
            assert caught.value.kind == "local"
            assert self.nothing(helper, store_kind)


class TestReplacing:
    @pytest.mark.parametrize("sizes", [(100_000, 10), (10, 100_000), (0, 10), (10, 0)])
    def test_it_is_whole(self, helper: StoreHelper, sizes: tuple[int, int]) -> None:
        old, new = blob(sizes[0], 1), blob(sizes[1], 2)
        helper.put("k", old)
        helper.put("k", new)
        assert helper.read("k") == new
        assert [entry.size for entry in helper.store.list()] == [len(new)]

    def test_the_etag_is_another(self, helper: StoreHelper) -> None:
        first = helper.put("k", b"abc")
        second = helper.put("k", b"abcd")
        assert first.etag
        assert first.etag != second.etag

    @pytest.mark.parametrize("recorded", [None, ""])
    def test_a_reader_never_mixes(
        self, helper: StoreHelper, store_kind: StoreKind, recorded: str | None
    ) -> None:
        size = 3 * store_kind.part_size
        old, new = blob(size, 1), blob(size, 2)
        helper.put("k", old, recorded)
        buffer = memoryview(bytearray(1000))
        with helper.opened("k") as reader:
            got = bytearray(buffer[: reader.readinto(buffer)])
            helper.put("k", new, recorded)
            try:
                got += drain(reader)
            except CacherError:
                assert old.startswith(got)  # an error is right, a mixture never
            else:
                assert got == old
        assert helper.read("k") == new

    def test_a_reader_opened_before_saves_one_or_fails(
        self, helper: StoreHelper, store_kind: StoreKind, scratch: io.FileIO
    ) -> None:
        size = 3 * store_kind.part_size
        old, new = blob(size, 1), blob(size, 2)
        helper.put("k", old, "")
        with helper.opened("k") as reader:
            helper.put("k", new, "")
            try:
                reported = reader.save(scratch.fileno())
            except CacherError:
                return
            scratch.seek(0)
            assert scratch.read() == old
            assert reported == digest(old)

    def test_concurrent_writers_leave_one_whole(
        self, helper: StoreHelper, store_kind: StoreKind
    ) -> None:
        sizes = [1000, store_kind.part_size + 7, 2 * store_kind.part_size + 1, 10, 0, 50_000]
        blobs = [blob(size, seed) for seed, size in enumerate(sizes)]
        with ThreadPoolExecutor(len(blobs)) as pool:
            list(pool.map(lambda data: helper.put("k", data), blobs))
        if store_kind.atomic:
            assert helper.read("k") in blobs  # and its recorded digest is its own
        helper.put("k", b"the last")
        assert helper.read("k") == b"the last"

    def test_a_writer_that_another_overtakes(
        self, helper: StoreHelper, store_kind: StoreKind
    ) -> None:
        old, new = blob(3 * store_kind.part_size + 1, 1), b"newer, and there before"
        with helper.store.create("k", {}) as writer:
            writer.write(old[: 2 * store_kind.part_size + 1])
            helper.put("k", new)
            writer.write(old[2 * store_kind.part_size + 1 :])
            assert writer.commit().size == len(old)
        assert helper.read("k") in (old, new)  # the last one is the one to begin, or to end
        assert store_kind.leftovers() == []

    def test_readers_among_writers_see_whole_entries(
        self, helper: StoreHelper, store_kind: StoreKind
    ) -> None:
        failures = (StoreError,) if store_kind.atomic else (StoreError, IntegrityError)
        blobs = [blob(20_000 + seed, seed) for seed in range(4)]
        helper.put("k", blobs[0])

        def write(data: bytes) -> None:
            for _ in range(5):
                helper.put("k", data)

        def read(_: int) -> list[bytes]:
            seen: list[bytes] = []
            while len(seen) < 5:
                # A reader whose entry is replaced may fail, but not for having mixed two.
                with contextlib.suppress(*failures):
                    seen.append(helper.read("k"))
            return seen

        with ThreadPoolExecutor(8) as pool:
            writing = [pool.submit(write, data) for data in blobs]
            reading = [pool.submit(read, number) for number in range(4)]
            for done in writing:
                done.result()
            seen = [data for done in reading for data in done.result()]
        assert len(seen) == 20
        assert not store_kind.atomic or all(data in blobs for data in seen)
        helper.put("k", b"the last")
        assert helper.read("k") == b"the last"
