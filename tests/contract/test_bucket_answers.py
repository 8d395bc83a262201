"""What a bucket store makes of odd answers: misses, redirects, ranges, deletions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from cacher.errors import AccessError, CacherError, EntryChanged, StoreError
from cacher.s3.ranges import RANGE
from tests.contract.conftest import RigMaker
from tests.contract.hands import Hands, blob
from tests.contract.rig import Rig
from tests.fakes.faults import ChangeETag, CutAnswer, Replace, Respond
from tests.fakes.profile import GARAGE
from tests.fakes.request import Request
from tests.fakes.s3server import FakeS3Server

HTML = b"<html><body>Not the page you look for</body></html>"
BIG = blob(2 * RANGE + 1, 3)  # three ranges

Take = Callable[[Hands, str], bytes]

read_each_way = pytest.mark.parametrize("take", [Hands.read, Hands.save], ids=["read", "save"])


class TestMisses:
    """Only a store's own word makes a miss; all doubt is an error."""

    def test_a_miss(self, rig: Rig) -> None:
        assert rig.store.open("k") is None
        assert rig.seen() == [("GetObject", 404)]
        assert rig.store.head("k") is None
        assert rig.seen() == [("HeadObject", 404), ("HeadBucket", 200)]
        assert rig.store.head("k", sure=False) is None
        assert rig.seen() == [("HeadObject", 404)]

    def test_a_missing_bucket(self, make_rig: RigMaker) -> None:
        rig = make_rig(bucket="nowhere")
        for attempt in (
            lambda: rig.store.head("k"),
            lambda: rig.store.open("k"),
            lambda: rig.hands.put("k", b"abc"),
            rig.hands.keys,
        ):
            with pytest.raises(AccessError, match=r"nowhere.*does not exist") as caught:
                attempt()
            assert "--bucket" in caught.value.hint
        assert rig.store.head("k", sure=False) is None  # which storing it puts right
        (gone,) = rig.store.delete(["k"])
        assert isinstance(gone.error, AccessError)
        with pytest.raises(AccessError, match=r"nowhere.*does not exist"):
            list(rig.store.delete(["k", "l"]))

    @pytest.mark.parametrize("body", [b"", HTML, b'{"error": "not found"}'])
    def test_a_404_that_is_not_a_stores(self, rig: Rig, body: bytes) -> None:
        rig.fault(Respond(404, body=body))
        with pytest.raises(StoreError, match="404") as caught:
            rig.store.open("k")
        assert "--endpoint" in caught.value.hint

    def test_a_404_to_every_head(self, rig: Rig) -> None:
        rig.fault(Respond(404, body=HTML), method="HEAD", times=None)
        with pytest.raises(AccessError):
            rig.store.head("k")

    def test_head_where_the_bucket_may_not_be_read(self, rig: Rig) -> None:
        """A key that may only write gets 403 for the bucket: it says nothing of the bucket."""
        rig.fault(Respond(404), "HeadObject")
        rig.fault(Respond(403, "AccessDenied"), "HeadBucket")
        assert rig.store.head("k") is None

    @pytest.mark.parametrize("status", [400, 403, 409, 500, 503])
    def test_other_refusals(self, rig: Rig, status: int) -> None:
        for attempt in (rig.store.head, rig.store.open):
            rig.server.clear_faults()
            rig.fault(Respond(status, body=HTML), times=None)
            with pytest.raises(CacherError) as caught:
                attempt("k")
            assert caught.value.kind == ("access" if status == 403 else "store")
            assert str(status) in caught.value.message


class TestRedirects:
    """They are never followed: credentials and entries stay with the host that was named."""

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_to_another_host(self, rig: Rig, status: int) -> None:
        with FakeS3Server() as elsewhere:
            elsewhere.put_object("k", b"theirs")
            to = {"Location": f"{elsewhere.endpoint}/cache/k"}
            fault = rig.fault(Respond(status, "TemporaryRedirect", headers=to), times=None)
            for attempt in (
                lambda: rig.store.head("k"),
                lambda: rig.store.open("k"),
                lambda: rig.hands.put("k", b"abc"),
                rig.hands.keys,
            ):
                with pytest.raises((AccessError, StoreError), match=str(status)):
                    attempt()
            assert elsewhere.requests == []
            assert 4 <= fault.hits <= 5  # a HEAD may be asked again as a GET
        assert rig.server.objects == {}

    def test_a_region_in_one_is_learned(self, rig: Rig) -> None:
        """AWS tells the region of a bucket like that, on HEAD by nothing else."""
        told = {"x-amz-bucket-region": "eu-west-3"}
        rig.fault(Respond(301, "PermanentRedirect", headers=told), "ListObjectsV2")
        with pytest.raises(AccessError, match="region"):
            rig.hands.keys()  # this one is in "garage", and says so: it is not asked for ever
        assert rig.seen() == [("ListObjectsV2", 301), ("ListObjectsV2", 400)]


class TestChanges:
    """A reader gives one version of an entry, or an error."""

    @read_each_way
    def test_replaced_between_two_ranges(self, rig: Rig, take: Take) -> None:
        rig.server.put_object("k", BIG)
        rig.fault(Replace(blob(len(BIG), 4)), "GetObject", nth=2)
        with pytest.raises(EntryChanged):
            take(rig.hands, "k")

    @read_each_way
    def test_deleted_between_two_ranges(self, rig: Rig, take: Take) -> None:
        rig.server.put_object("k", BIG)

        def deleted(request: Request) -> bool:
            return "if-match" in request.headers and not rig.server.delete_object("k")

        rig.fault(Respond(500), "GetObject", where=deleted)
        with pytest.raises((EntryChanged, StoreError)):
            take(rig.hands, "k")

    @read_each_way
    def test_a_store_that_ignores_if_match(self, rig: Rig, take: Take) -> None:
        rig.server.put_object("k", BIG)
        rig.fault(ChangeETag("0" * 32), "GetObject", nth=2)
        with pytest.raises(EntryChanged):
            take(rig.hands, "k")

    @read_each_way
    def test_replaced_while_broken_off(self, rig: Rig, take: Take) -> None:
        rig.server.put_object("k", BIG[:100_000])
        rig.fault(CutAnswer(1000), "GetObject")
        rig.fault(Replace(blob(100_000, 4)), "GetObject")
        with pytest.raises(EntryChanged):
            take(rig.hands, "k")

    @read_each_way
    def test_replaced_while_broken_off_where_there_are_no_ranges(
        self, make_rig: RigMaker, take: Take
    ) -> None:
        rig = make_rig(replace(GARAGE, ranges="ignored"))
        rig.server.put_object("k", BIG[:100_000])
        rig.fault(CutAnswer(1000), "GetObject")
        rig.fault(Replace(blob(100_000, 4)), "GetObject")
        with pytest.raises(EntryChanged):
            take(rig.hands, "k")


def answer(rig: Rig, status: int, start: int, end: int, told: str = "") -> Respond:
    """Bytes [start, end) of `k` under any status, with any Content-Range."""
    stored = rig.server.objects["k"]
    headers = {"ETag": f'"{stored.etag}"'} | ({"Content-Range": told} if told else {})
    return Respond(status, headers=headers, body=stored.body[start:end])


class TestRanges:
    """A range counts as the one that was asked for only if the answer says so."""

    @read_each_way
    @pytest.mark.parametrize(
        ("status", "told"),
        [
            (200, ""),
            (206, ""),
            (206, "bytes 0-{last}/{size}"),
            (206, "bytes {start}-{end}/*"),
            (206, "bytes {start}-{end}/{short}"),
            (206, "bytes {start}-{short}/{size}"),
            (200, "bytes {start}-{end}/{size}"),
        ],
    )
    def test_a_later_one(self, rig: Rig, take: Take, status: int, told: str) -> None:
        rig.server.put_object("k", BIG)
        size, start, end = len(BIG), RANGE, 2 * RANGE
        words = {"size": size, "start": start, "end": end - 1, "last": RANGE - 1}
        content_range = told.format(**words, short=end - 2)
        second = f"bytes={start}-{end - 1}"
        rig.fault(
            answer(rig, status, 0, RANGE, content_range),
            "GetObject",
            where=lambda request: request.headers.get("range") == second,
            times=None,
        )
        with pytest.raises(StoreError, match="another range"):
            take(rig.hands, "k")

    @read_each_way
    @pytest.mark.parametrize(
        "told", ["bytes 5-9/10", "bytes 0-4/10", "bytes 0-9/*", "lines 0-9/10"]
    )
    def test_the_first_one_is_then_asked_for_as_a_whole(
        self, rig: Rig, take: Take, told: str
    ) -> None:
        rig.server.put_object("k", b"0123456789")
        rig.fault(answer(rig, 206, 5, 10, told), "GetObject")
        assert take(rig.hands, "k") == b"0123456789"
        first, second = rig.server.requests
        assert first.headers["range"]
        assert "range" not in second.headers

    @read_each_way
    def test_without_an_etag_ranges_are_not_put_together(self, rig: Rig, take: Take) -> None:
        rig.server.put_object("k", BIG)
        told = {"Content-Range": f"bytes 0-{RANGE - 1}/{len(BIG)}"}
        rig.fault(Respond(206, headers=told, body=BIG[:RANGE]), "GetObject")
        assert take(rig.hands, "k") == BIG
        assert ["range" in record.headers for record in rig.server.requests] == [True, False]

    @read_each_way
    def test_without_an_etag_nothing_is_resumed(self, rig: Rig, take: Take) -> None:
        rig.server.put_object("k", BIG[:1000])
        # Closed before its end, as Content-Length tells: two bytes are missing.
        rig.fault(Respond(206, headers={"Content-Range": "bytes 0-999/1000"}, body=BIG[:998]))
        with pytest.raises(StoreError, match="ETag"):
            take(rig.hands, "k")

    @read_each_way
    def test_an_empty_entry(self, rig: Rig, take: Take) -> None:
        rig.hands.put("k", b"")
        assert rig.seen() == [("PutObject", 200)]
        assert take(rig.hands, "k") == b""
        assert rig.seen() == [("GetObject", 416), ("GetObject", 200)]


class TestDeleting:
    def test_missing_ones_are_gone(self, rig: Rig) -> None:
        """Garage up to 2.3.0 calls each of them an error, NoSuchKey."""
        rig.server.seed(["a", "c"])
        answers = list(rig.store.delete(["a", "b", "c", "d"]))
        assert [(gone.key, gone.error) for gone in answers] == [(key, None) for key in "abcd"]
        assert rig.seen() == [("DeleteObjects", 200)]
        assert rig.server.objects == {}

    def test_the_document_is_compact_and_escaped(self, rig: Rig) -> None:
        """Garage up to 2.2 refuses blanks between elements; the double looks for them."""
        keys = ["a&b", "<c>", " d ", "tab\t", "line\n", 'q"q', "]]>", "é"]
        rig.server.seed([*keys, "stays"])
        assert [gone.error for gone in rig.store.delete(keys)] == [None] * len(keys)
        assert rig.seen() == [("DeleteObjects", 200)]
        assert list(rig.server.objects) == ["stays"]

    def test_a_carriage_return_is_no_line_feed(self, rig: Rig) -> None:
        """It would arrive as one, were it not escaped (XML 1.0, section 2.11)."""
        rig.server.seed(["k\r", "k\n", "l"])
        assert [gone.error for gone in rig.store.delete(["k\r", "l"])] == [None, None]
        assert list(rig.server.objects) == ["k\n"]

    def test_what_xml_cannot_hold_goes_alone(self, rig: Rig) -> None:
        keys = ["a", "b\x01", "c", "d\ufffe"]
        rig.server.seed(keys)
        assert [(gone.key, gone.error) for gone in rig.store.delete(keys)] == [
            (key, None) for key in keys
        ]
        assert sorted(rig.seen()) == [("DeleteObject", 204)] * 2 + [("DeleteObjects", 200)]
        assert rig.server.objects == {}

    @pytest.mark.parametrize("status", [400, 405, 501])
    def test_without_bulk_deletion(self, make_rig: RigMaker, status: int) -> None:
        rig = make_rig(replace(GARAGE, bulk_delete="unsupported", bulk_delete_status=status))
        keys = [f"{number:03}" for number in range(300)]
        rig.server.seed(keys)
        assert [(gone.key, gone.error) for gone in rig.store.delete([*keys, "missing"])] == [
            (key, None) for key in [*keys, "missing"]
        ]
        assert rig.server.objects == {}
        # It is asked for once, not for each batch.
        assert rig.seen() == [("DeleteObjects", status)] + [("DeleteObject", 204)] * 301

    def test_each_key_has_its_answer(self, rig: Rig) -> None:
        rig.server.seed("abcd")
        body = (
            "<DeleteResult><Deleted><Key>a</Key></Deleted>"
            "<Error><Key>b</Key><Code>AccessDenied</Code><Message>not yours</Message></Error>"
            "<Error><Key>c</Key><Code>InternalError</Code></Error></DeleteResult>"
        )
        rig.fault(Respond(200, body=body.encode()), "DeleteObjects")
        answers = {gone.key: gone.error for gone in rig.store.delete("abcd")}
        assert list(answers) == list("abcd")
        assert answers["a"] is None
        assert isinstance(answers["b"], AccessError)
        assert "not yours" in answers["b"].message
        assert isinstance(answers["c"], StoreError)
        assert answers["d"] is None  # the store did not account for it: it was asked again
        assert rig.seen() == [("DeleteObjects", 200), ("DeleteObject", 204)]

    def test_a_store_that_fails_in_between(self, rig: Rig) -> None:
        keys = [f"{number:03}" for number in range(300)]
        rig.server.seed(keys)
        rig.fault(Respond(503, "SlowDown"), "DeleteObjects", nth=2, times=2)
        assert [gone.error for gone in rig.store.delete(keys)] == [None] * 300
        assert [status for _, status in rig.seen()] == [200, 503, 503, 200]
        assert rig.server.objects == {}
