"""What every `Store` promises of the bytes it gives back."""

from __future__ import annotations

import io
import itertools
import os

import pytest

from cacher.errors import IntegrityError
from cacher.store.interface import SHA256
from cacher.store.source_file import SourceFile
from tests.support.store_helpers import ByteCounter, StoreHelper, blob, digest, drain
from tests.support.store_kinds import StoreKind


class TestRoundTrip:
    def test_put_then_head_read_save(self, helper: StoreHelper, size: int) -> None:
        data = blob(size)
        putting, reading, saving = ByteCounter(), ByteCounter(), ByteCounter()
        stored = helper.put("k", data, on_progress=putting)
        assert (stored.key, stored.size, stored.sha256) == ("k", size, digest(data))
        found = helper.store.head("k")
        assert found is not None
        assert (found.key, found.size, found.sha256) == ("k", size, digest(data))
        assert found.modified is not None
        assert helper.store.head("k", verify_bucket=False) == found
        assert helper.read("k", on_progress=reading) == data
        assert helper.save("k", on_progress=saving) == data
        assert (putting.total, reading.total, saving.total) == (size, size, size)

    def test_create_then_head_read_save(self, helper: StoreHelper, size: int) -> None:
        data = blob(size)
        writing, reading = ByteCounter(), ByteCounter()
        with helper.store.create("k", {}, writing) as writer:
            writer.write(data)
            stored = writer.commit()
        assert (stored.key, stored.size, writing.total) == ("k", size, size)
        found = helper.store.head("k")
        assert found is not None
        assert (found.key, found.size, found.sha256) == ("k", size, "")
        assert helper.save("k") == data
        with helper.opened("k", reading) as reader:  # its end can be looked at first
            assert reader.tail(512) == data[-512:]
            assert drain(reader) == data
            assert reader.tail(1) == data[-1:]
        assert reading.total == size

    @pytest.mark.parametrize("step", [7, 65_537])
    def test_written_in_steps_with_one_buffer_used_again(
        self, helper: StoreHelper, step: int
    ) -> None:
        data = blob(min(300_001, step * 3000))
        buffer = bytearray(step)
        with helper.store.create("k", {}) as writer:
            writer.write(b"")
            for start in range(0, len(data), step):
                piece = data[start : start + step]
                buffer[: len(piece)] = piece
                writer.write(memoryview(buffer)[: len(piece)])
                buffer[:] = b"\xff" * step
            entry = writer.commit()
        assert entry.size == len(data)
        assert helper.read("k") == data

    def test_written_across_parts(self, helper: StoreHelper, store_kind: StoreKind) -> None:
        part = store_kind.part_size
        data = blob(2 * part + 1)
        cuts = [0, 1, part - 1, part + 3, 2 * part, len(data)]
        with helper.store.create("k", {}) as writer:
            for start, end in itertools.pairwise(cuts):
                writer.write(data[start:end])
            writer.commit()
        assert helper.read("k") == data

    @pytest.mark.parametrize("step", [1, 4096])
    def test_read_in_steps(self, helper: StoreHelper, step: int) -> None:
        data = blob(3001)
        helper.put("k", data)
        assert helper.read("k", step) == data

    def test_put_leaves_the_file_where_it_was(
        self, helper: StoreHelper, scratch: io.FileIO
    ) -> None:
        scratch.write(b"0123456789")
        scratch.seek(4)
        helper.store.put("k", SourceFile.of(scratch.fileno(), "scratch"), {})
        assert scratch.tell() == 4
        assert helper.read("k") == b"0123456789"

    def test_save_writes_at_the_start_whatever_the_position(
        self, helper: StoreHelper, scratch: io.FileIO
    ) -> None:
        helper.put("k", b"abc")
        scratch.seek(7)
        with helper.opened("k") as reader:
            reader.save(scratch.fileno())
        scratch.seek(0)
        assert scratch.read() == b"abc"

    def test_metadata_is_kept(self, helper: StoreHelper) -> None:
        metadata = {
            SHA256: digest(b"x"),
            "cacher-kind": "dir",
            "cacher-note": 'a b, c; d="e" ~!@#$%^&*()',
        }
        assert dict(helper.create("k", b"x", metadata).metadata) == metadata
        found = helper.store.head("k")
        assert found is not None
        assert dict(found.metadata) == metadata
        with helper.opened("k") as reader:
            assert dict(reader.entry.metadata) == metadata
        helper.create("k", b"x", {"cacher-kind": "file"})
        found = helper.store.head("k")
        assert found is not None
        assert dict(found.metadata) == {"cacher-kind": "file"}

    def test_head_and_open_tell_of_the_same_entry(self, helper: StoreHelper) -> None:
        helper.put("k", b"abc")
        with helper.opened("k") as reader:
            assert reader.entry == helper.store.head("k")

    def test_an_entry_without_a_recorded_digest_is_served(self, helper: StoreHelper) -> None:
        helper.put("k", b"abc", recorded="")
        assert helper.read("k") == b"abc"
        assert helper.save("k") == b"abc"


class TestAbsence:
    def test_a_missing_key(self, helper: StoreHelper) -> None:
        assert helper.store.head("missing") is None
        assert helper.store.head("missing", verify_bucket=False) is None
        assert helper.store.open("missing") is None
        assert helper.keys() == []

    def test_what_only_keys_below_have_is_missing(self, helper: StoreHelper) -> None:
        helper.put("a/b", b"abc")
        assert helper.store.head("a") is None
        assert helper.store.open("a") is None

    def test_what_is_below_an_entry_is_missing(self, helper: StoreHelper) -> None:
        helper.put("a", b"abc")
        assert helper.store.head("a/b") is None
        assert helper.store.open("a/b") is None


class TestIntegrity:
    def test_reading_to_the_end_finds_another_digest(self, helper: StoreHelper) -> None:
        helper.create("k", b"abc", {SHA256: digest(b"abd")})
        with helper.opened("k") as reader, pytest.raises(IntegrityError, match="digest"):
            drain(reader)

    def test_saving_finds_another_digest(self, helper: StoreHelper, store_kind: StoreKind) -> None:
        data = blob(store_kind.part_size + 1)
        helper.create("k", data, {SHA256: digest(data[:-1])})
        with pytest.raises(IntegrityError, match="digest"):
            helper.save("k")

    def test_an_empty_entry_is_checked_too(self, helper: StoreHelper) -> None:
        helper.create("k", b"", {SHA256: digest(b"x")})
        with pytest.raises(IntegrityError, match="digest"):
            helper.read("k")
        with pytest.raises(IntegrityError, match="digest"):
            helper.save("k")

    def test_the_refusal_is_not_forgotten(self, helper: StoreHelper) -> None:
        helper.create("k", b"abc", {SHA256: digest(b"abd")})
        buffer = memoryview(bytearray(8))
        with helper.opened("k") as reader:
            refusals = 0
            for _ in range(3):
                try:
                    while reader.readinto(buffer):
                        pass
                except IntegrityError:
                    refusals += 1
        assert refusals == 3


class TestLeavingEarly:
    def test_a_reader_closed_at_once(self, helper: StoreHelper, store_kind: StoreKind) -> None:
        helper.put("k", blob(2 * store_kind.part_size + 1))
        reader = helper.opened("k")
        reader.close()
        reader.close()

    def test_a_reader_closed_after_some_bytes(
        self, helper: StoreHelper, store_kind: StoreKind
    ) -> None:
        data = blob(3 * store_kind.part_size)
        helper.put("k", data)
        buffer = memoryview(bytearray(100))
        with helper.opened("k") as reader:
            count = reader.readinto(buffer)
            assert 0 < count <= 100
            assert buffer[:count] == data[:count]
        assert helper.read("k") == data  # the store is none the worse

    def test_files_are_not_left_open(self, helper: StoreHelper) -> None:
        helper.put("k", b"abc")
        helper.read("k")
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            helper.read("k")
            helper.save("k")
            helper.put("l", b"abc")
            helper.opened("k").close()
            helper.store.create("m", {}).close()
            assert helper.store.head("k") is not None
            assert helper.store.open("missing") is None
        assert len(os.listdir("/proc/self/fd")) <= before + 5  # pooled connections may come
