"""What every `Store` promises of entries that come, stay away and are replaced."""

from __future__ import annotations

import contextlib
import io
from concurrent.futures import ThreadPoolExecutor

import pytest

from cacher.errors import CacherError, IntegrityError, StoreError
from cacher.store.source_file import SourceFile
from tests.support.store_helpers import Hands, blob, digest, drain
from tests.support.store_kinds import Subject


class TestNothingWithoutCommit:
    def nothing(self, hands: Hands, subject: Subject) -> bool:
        store = hands.store
        return (
            store.head("k") is None
            and store.open("k") is None
            and not hands.keys()
            and not subject.leftovers()
        )

    def test_leaving_without_commit(self, hands: Hands, subject: Subject, size: int) -> None:
        with hands.store.create("k", {}) as writer:
            writer.write(blob(size))
        assert self.nothing(hands, subject)

    def test_an_exception(self, hands: Hands, subject: Subject) -> None:
        with pytest.raises(ZeroDivisionError), hands.store.create("k", {}) as writer:
            writer.write(blob(2 * subject.part_size + 1))
            raise ZeroDivisionError
        assert self.nothing(hands, subject)

    def test_nothing_is_there_before_the_commit(self, hands: Hands, subject: Subject) -> None:
        with hands.store.create("k", {}) as writer:
            writer.write(blob(2 * subject.part_size + 1))
            assert hands.store.head("k") is None
            assert hands.keys() == []
            writer.commit()
        assert hands.keys() == ["k"]
        assert subject.leftovers() == []

    def test_what_is_unfinished_can_be_seen(self, hands: Hands, subject: Subject) -> None:
        """Or else the looks at what is left over would prove nothing."""
        with hands.store.create("k", {}) as writer:
            writer.write(blob(2 * subject.part_size + 1))
            assert len(subject.leftovers()) == 1
        assert self.nothing(hands, subject)

    def test_closing_twice_and_after_the_commit(self, hands: Hands) -> None:
        writer = hands.store.create("k", {})
        writer.write(b"abc")
        writer.commit()
        writer.close()
        writer.close()
        assert hands.read("k") == b"abc"
        other = hands.store.create("other", {})
        other.close()
        other.close()
        assert hands.keys() == ["k"]

    def test_the_older_entry_stays(self, hands: Hands, subject: Subject) -> None:
        hands.put("k", b"old")
        with hands.store.create("k", {}) as writer:
            writer.write(blob(2 * subject.part_size + 1))
        assert hands.read("k") == b"old"

    def test_a_file_that_shrank(self, hands: Hands, scratch: io.FileIO, subject: Subject) -> None:
        scratch.write(b"abcd")
        content = SourceFile.of(scratch.fileno(), "scratch")
        scratch.truncate(3)
        with pytest.raises(CacherError) as caught:
            hands.store.put("k", content, {})
        assert caught.value.kind == "local"
        assert self.nothing(hands, subject)

    def test_a_big_file_that_shrank(
        self, hands: Hands, scratch: io.FileIO, subject: Subject
    ) -> None:
        scratch.write(blob(2 * subject.part_size + 1))
        content = SourceFile.of(scratch.fileno(), "scratch")
        scratch.truncate(2 * subject.part_size)
        with pytest.raises(CacherError) as caught:
            hands.store.put("k", content, {})
        assert caught.value.kind == "local"
        assert self.nothing(hands, subject)


class TestReplacing:
    @pytest.mark.parametrize("sizes", [(100_000, 10), (10, 100_000), (0, 10), (10, 0)])
    def test_it_is_whole(self, hands: Hands, sizes: tuple[int, int]) -> None:
        old, new = blob(sizes[0], 1), blob(sizes[1], 2)
        hands.put("k", old)
        hands.put("k", new)
        assert hands.read("k") == new
        assert [entry.size for entry in hands.store.list()] == [len(new)]

    def test_the_etag_is_another(self, hands: Hands) -> None:
        first = hands.put("k", b"abc")
        second = hands.put("k", b"abcd")
        assert first.etag
        assert first.etag != second.etag

    @pytest.mark.parametrize("recorded", [None, ""])
    def test_a_reader_never_mixes(
        self, hands: Hands, subject: Subject, recorded: str | None
    ) -> None:
        size = 3 * subject.part_size
        old, new = blob(size, 1), blob(size, 2)
        hands.put("k", old, recorded)
        buffer = memoryview(bytearray(1000))
        with hands.opened("k") as reader:
            got = bytearray(buffer[: reader.readinto(buffer)])
            hands.put("k", new, recorded)
            try:
                got += drain(reader)
            except CacherError:
                assert old.startswith(got)  # an error is right, a mixture never
            else:
                assert got == old
        assert hands.read("k") == new

    def test_a_reader_opened_before_saves_one_or_fails(
        self, hands: Hands, subject: Subject, scratch: io.FileIO
    ) -> None:
        size = 3 * subject.part_size
        old, new = blob(size, 1), blob(size, 2)
        hands.put("k", old, "")
        with hands.opened("k") as reader:
            hands.put("k", new, "")
            try:
                reported = reader.save(scratch.fileno())
            except CacherError:
                return
            scratch.seek(0)
            assert scratch.read() == old
            assert reported == digest(old)

    def test_concurrent_writers_leave_one_whole(self, hands: Hands, subject: Subject) -> None:
        sizes = [1000, subject.part_size + 7, 2 * subject.part_size + 1, 10, 0, 50_000]
        blobs = [blob(size, seed) for seed, size in enumerate(sizes)]
        with ThreadPoolExecutor(len(blobs)) as pool:
            list(pool.map(lambda data: hands.put("k", data), blobs))
        if subject.atomic:
            assert hands.read("k") in blobs  # and its recorded digest is its own
        hands.put("k", b"the last")
        assert hands.read("k") == b"the last"

    def test_a_writer_that_another_overtakes(self, hands: Hands, subject: Subject) -> None:
        old, new = blob(3 * subject.part_size + 1, 1), b"newer, and there before"
        with hands.store.create("k", {}) as writer:
            writer.write(old[: 2 * subject.part_size + 1])
            hands.put("k", new)
            writer.write(old[2 * subject.part_size + 1 :])
            assert writer.commit().size == len(old)
        assert hands.read("k") in (old, new)  # the last one is the one to begin, or to end
        assert subject.leftovers() == []

    def test_readers_among_writers_see_whole_entries(self, hands: Hands, subject: Subject) -> None:
        failures = (StoreError,) if subject.atomic else (StoreError, IntegrityError)
        blobs = [blob(20_000 + seed, seed) for seed in range(4)]
        hands.put("k", blobs[0])

        def write(data: bytes) -> None:
            for _ in range(5):
                hands.put("k", data)

        def read(_: int) -> list[bytes]:
            seen: list[bytes] = []
            while len(seen) < 5:
                # A reader whose entry is replaced may fail, but not for having mixed two.
                with contextlib.suppress(*failures):
                    seen.append(hands.read("k"))
            return seen

        with ThreadPoolExecutor(8) as pool:
            writing = [pool.submit(write, data) for data in blobs]
            reading = [pool.submit(read, number) for number in range(4)]
            for done in writing:
                done.result()
            seen = [data for done in reading for data in done.result()]
        assert len(seen) == 20
        assert not subject.atomic or all(data in blobs for data in seen)
        hands.put("k", b"the last")
        assert hands.read("k") == b"the last"
