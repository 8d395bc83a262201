"""What every `Store` promises of the bytes it gives back."""

from __future__ import annotations

import io
import itertools
import os

import pytest

from cacher.errors import IntegrityError
from cacher.store.interface import SHA256
from cacher.store.source_file import SourceFile
from tests.support.store_helpers import Hands, Tally, blob, digest, drain
from tests.support.store_kinds import Subject


class TestRoundTrip:
    def test_put_then_head_read_save(self, hands: Hands, size: int) -> None:
        data = blob(size)
        stored = hands.put("k", data)
        assert (stored.key, stored.size, stored.sha256) == ("k", size, digest(data))
        found = hands.store.head("k")
        assert found is not None
        assert (found.key, found.size, found.sha256) == ("k", size, digest(data))
        assert found.modified is not None
        assert hands.store.head("k", verify_bucket=False) == found
        assert hands.read("k") == data
        assert hands.save("k") == data

    def test_create_then_head_read_save(self, hands: Hands, size: int) -> None:
        data = blob(size)
        stored = hands.create("k", data)
        assert (stored.key, stored.size) == ("k", size)
        found = hands.store.head("k")
        assert found is not None
        assert (found.key, found.size, found.sha256) == ("k", size, "")
        assert hands.read("k") == data
        assert hands.save("k") == data

    @pytest.mark.parametrize("step", [1, 7, 65_537])
    def test_written_in_steps_with_one_buffer_used_again(self, hands: Hands, step: int) -> None:
        data = blob(min(300_001, step * 3000))
        buffer = bytearray(step)
        with hands.store.create("k", {}) as writer:
            writer.write(b"")
            for start in range(0, len(data), step):
                piece = data[start : start + step]
                buffer[: len(piece)] = piece
                writer.write(memoryview(buffer)[: len(piece)])
                buffer[:] = b"\xff" * step
            entry = writer.commit()
        assert entry.size == len(data)
        assert hands.read("k") == data

    def test_written_across_parts(self, hands: Hands, subject: Subject) -> None:
        part = subject.part_size
        data = blob(2 * part + 1)
        cuts = [0, 1, part - 1, part + 3, 2 * part, len(data)]
        with hands.store.create("k", {}) as writer:
            for start, end in itertools.pairwise(cuts):
                writer.write(data[start:end])
            writer.commit()
        assert hands.read("k") == data

    @pytest.mark.parametrize("step", [1, 3, 4096])
    def test_read_in_steps(self, hands: Hands, step: int) -> None:
        data = blob(3001)
        hands.put("k", data)
        assert hands.read("k", step) == data

    def test_put_leaves_the_file_where_it_was(self, hands: Hands, scratch: io.FileIO) -> None:
        scratch.write(b"0123456789")
        scratch.seek(4)
        hands.store.put("k", SourceFile.of(scratch.fileno(), "scratch"), {})
        assert scratch.tell() == 4
        assert hands.read("k") == b"0123456789"

    def test_save_writes_at_the_start_whatever_the_position(
        self, hands: Hands, scratch: io.FileIO
    ) -> None:
        hands.put("k", b"abc")
        scratch.seek(7)
        with hands.opened("k") as reader:
            reader.save(scratch.fileno())
        scratch.seek(0)
        assert scratch.read() == b"abc"

    def test_metadata_is_kept(self, hands: Hands) -> None:
        metadata = {
            SHA256: digest(b"x"),
            "cacher-kind": "dir",
            "cacher-note": 'a b, c; d="e" ~!@#$%^&*()',
        }
        assert dict(hands.create("k", b"x", metadata).metadata) == metadata
        found = hands.store.head("k")
        assert found is not None
        assert dict(found.metadata) == metadata
        with hands.opened("k") as reader:
            assert dict(reader.entry.metadata) == metadata
        hands.create("k", b"x", {"cacher-kind": "file"})
        found = hands.store.head("k")
        assert found is not None
        assert dict(found.metadata) == {"cacher-kind": "file"}

    def test_head_and_open_tell_of_the_same_entry(self, hands: Hands) -> None:
        hands.put("k", b"abc")
        with hands.opened("k") as reader:
            assert reader.entry == hands.store.head("k")

    def test_an_entry_without_a_recorded_digest_is_served(self, hands: Hands) -> None:
        hands.put("k", b"abc", recorded="")
        assert hands.read("k") == b"abc"
        assert hands.save("k") == b"abc"


class TestAbsence:
    def test_a_missing_key(self, hands: Hands) -> None:
        assert hands.store.head("missing") is None
        assert hands.store.head("missing", verify_bucket=False) is None
        assert hands.store.open("missing") is None
        assert hands.keys() == []

    def test_what_only_keys_below_have_is_missing(self, hands: Hands) -> None:
        hands.put("a/b", b"abc")
        assert hands.store.head("a") is None
        assert hands.store.open("a") is None

    def test_what_is_below_an_entry_is_missing(self, hands: Hands) -> None:
        hands.put("a", b"abc")
        assert hands.store.head("a/b") is None
        assert hands.store.open("a/b") is None


class TestIntegrity:
    @pytest.mark.parametrize("step", [1, 64])
    def test_reading_to_the_end_finds_another_digest(self, hands: Hands, step: int) -> None:
        hands.create("k", b"abc", {SHA256: digest(b"abd")})
        with hands.opened("k") as reader, pytest.raises(IntegrityError, match="digest"):
            drain(reader, step)

    def test_saving_finds_another_digest(self, hands: Hands, subject: Subject) -> None:
        data = blob(subject.part_size + 1)
        hands.create("k", data, {SHA256: digest(data[:-1])})
        with pytest.raises(IntegrityError, match="digest"):
            hands.save("k")

    def test_an_empty_entry_is_checked_too(self, hands: Hands) -> None:
        hands.create("k", b"", {SHA256: digest(b"x")})
        with pytest.raises(IntegrityError, match="digest"):
            hands.read("k")
        with pytest.raises(IntegrityError, match="digest"):
            hands.save("k")

    def test_the_refusal_is_not_forgotten(self, hands: Hands) -> None:
        hands.create("k", b"abc", {SHA256: digest(b"abd")})
        buffer = memoryview(bytearray(8))
        with hands.opened("k") as reader:
            refusals = 0
            for _ in range(3):
                try:
                    while reader.readinto(buffer):
                        pass
                except IntegrityError:
                    refusals += 1
        assert refusals == 3


class TestMeter:
    def test_each_byte_counts_once(self, hands: Hands, size: int) -> None:
        data = blob(size)
        putting, reading, saving, writing = Tally(), Tally(), Tally(), Tally()
        hands.put("k", data, on_progress=putting)
        hands.read("k", on_progress=reading)
        hands.save("k", on_progress=saving)
        with hands.store.create("l", {}, writing) as writer:
            writer.write(data)
            writer.commit()
        totals = (putting.total, reading.total, saving.total, writing.total)
        assert totals == (size, size, size, size)


class TestTail:
    def test_the_end_can_be_looked_at_first(self, hands: Hands, size: int) -> None:
        data = blob(size)
        hands.create("k", data)
        tally = Tally()
        with hands.opened("k", tally) as reader:
            assert reader.tail(512) == data[-512:]
            assert drain(reader) == data
            assert reader.tail(1) == data[-1:]
        assert tally.total == size


class TestLeavingEarly:
    def test_a_reader_closed_at_once(self, hands: Hands, size: int) -> None:
        hands.put("k", blob(size))
        reader = hands.opened("k")
        reader.close()
        reader.close()

    def test_a_reader_closed_after_some_bytes(self, hands: Hands, subject: Subject) -> None:
        data = blob(3 * subject.part_size)
        hands.put("k", data)
        buffer = memoryview(bytearray(100))
        with hands.opened("k") as reader:
            count = reader.readinto(buffer)
            assert 0 < count <= 100
            assert buffer[:count] == data[:count]
        assert hands.read("k") == data  # the store is none the worse

    def test_files_are_not_left_open(self, hands: Hands) -> None:
        hands.put("k", b"abc")
        hands.read("k")
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            hands.read("k")
            hands.save("k")
            hands.put("l", b"abc")
            hands.opened("k").close()
            hands.store.create("m", {}).close()
            assert hands.store.head("k") is not None
            assert hands.store.open("missing") is None
        assert len(os.listdir("/proc/self/fd")) <= before + 5  # pooled connections may come
