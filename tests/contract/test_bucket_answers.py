"""What a bucket store makes of odd answers: misses, redirects, ranges, deletions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from cacher.errors import AccessError, CacherError, EntryChanged, StoreError
from cacher.s3.body import MemoryBody
from cacher.s3.error_mapping import NotAStore
from cacher.s3.ranges import RANGE
from tests.contract.conftest import RigMaker
from tests.fakes.faults import ChangeETag, CutAnswer, CutDocument, Replace, Respond
from tests.fakes.profile import GARAGE, Profile
from tests.fakes.request import Request
from tests.fakes.s3server import FakeS3Server
from tests.support.bucket_fixture import Rig
from tests.support.store_helpers import Hands, blob, digest, drain

HTML = b"<html><body>Not the page you look for</body></html>"
WITHOUT_RANGES = replace(GARAGE, ranges="ignored")
BIG = blob(2 * RANGE + 1, 3)  # three ranges

Take = Callable[[Hands, str], bytes]

read_each_way = pytest.mark.parametrize("take", [Hands.read, Hands.save], ids=["read", "save"])


class TestMisses:
    """Only a store's own word makes a miss; all doubt is an error."""

    def test_a_miss(self, rig: Rig) -> None:
        assert rig.store.open("k") is None
        assert rig.seen() == [("GetObject", 404)]
        assert rig.store.head("k") is None
        assert rig.seen() == [("HeadObject", 404), ("GetObject", 404)]
        assert rig.store.head("k", verify_bucket=False) is None
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
        assert rig.store.head("k", verify_bucket=False) is None  # which storing it puts right
        (gone,) = rig.store.delete(["k"])
        assert isinstance(gone.error, AccessError)
        with pytest.raises(AccessError, match=r"nowhere.*does not exist"):
            list(rig.store.delete(["k", "l"]))

    @pytest.mark.parametrize("body", [b"", HTML, b'{"error": "not found"}'])
    def test_a_404_that_is_not_a_stores(self, rig: Rig, body: bytes) -> None:
        rig.fault(Respond(404, body=body), times=None)
        for attempt in (rig.store.head, rig.store.open, lambda key: list(rig.store.delete([key]))):
            with pytest.raises(NotAStore, match="HTTP 404 Not Found") as caught:
                attempt("k")
            assert "--endpoint" in caught.value.hint
        assert [name for name, _ in rig.seen()] == [
            "HeadObject",
            "GetObject",
            "GetObject",
            "DeleteObject",
        ]

    def test_a_head_that_is_answered_by_something_else(self, rig: Rig) -> None:
        rig.fault(Respond(404, body=HTML), method="HEAD", times=None)
        assert rig.store.head("k") is None  # by the GET, whose word it is

    def test_an_entry_that_comes_between_the_two_answers(self, rig: Rig) -> None:
        rig.fault(Respond(404), "HeadObject")
        rig.server.put_object("k", b"abc", {"x": "y"})
        found = rig.store.head("k")
        assert found is not None
        assert (found.size, found.metadata) == (3, {"x": "y"})

    def test_head_where_the_bucket_may_not_be_read(self, rig: Rig) -> None:
        """A key that may read objects need not see the bucket."""
        rig.fault(Respond(403, "AccessDenied"), "HeadBucket", times=None)
        rig.fault(Respond(403, "AccessDenied"), "ListObjectsV2", times=None)
        assert rig.store.head("k") is None

    @pytest.mark.parametrize("status", [400, 403, 409, 500, 503])
    def test_other_refusals(self, rig: Rig, status: int) -> None:
        for attempt in (rig.store.head, rig.store.open):
            rig.server.clear_faults()
            rig.fault(Respond(status, body=HTML), times=None)
            with pytest.raises(CacherError) as caught:
                attempt("k")
            assert caught.value.kind == "store"  # a store that refuses says so in a document
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
        reported = {"x-amz-bucket-region": "eu-west-3"}
        rig.fault(Respond(301, "PermanentRedirect", headers=reported), "ListObjectsV2")
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


def answer(rig: Rig, status: int, start: int, end: int, reported: str = "") -> Respond:
    """Bytes [start, end) of `k` under any status, with any Content-Range."""
    stored = rig.server.objects["k"]
    headers = {"ETag": f'"{stored.etag}"'} | ({"Content-Range": reported} if reported else {})
    return Respond(status, headers=headers, body=stored.body[start:end])


class TestRanges:
    """A range counts as the one that was asked for only if the answer says so."""

    @read_each_way
    @pytest.mark.parametrize(
        ("status", "reported"),
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
    def test_a_later_one(self, rig: Rig, take: Take, status: int, reported: str) -> None:
        rig.server.put_object("k", BIG)
        size, start, end = len(BIG), RANGE, 2 * RANGE
        words = {"size": size, "start": start, "end": end - 1, "last": RANGE - 1}
        content_range = reported.format(**words, short=end - 2)
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
        "reported", ["bytes 5-9/10", "bytes 0-4/10", "bytes 0-9/*", "lines 0-9/10"]
    )
    def test_the_first_one_is_then_asked_for_as_a_whole(
        self, rig: Rig, take: Take, reported: str
    ) -> None:
        rig.server.put_object("k", b"0123456789")
        rig.fault(answer(rig, 206, 5, 10, reported), "GetObject")
        assert take(rig.hands, "k") == b"0123456789"
        first, second = rig.server.requests
        assert first.headers["range"]
        assert "range" not in second.headers

    @read_each_way
    @pytest.mark.parametrize(
        "reported", ["bytes 5-9/10", "bytes 0-4/10", "bytes 0-4/*", "bytes 0-9/10", ""]
    )
    def test_a_part_is_never_the_whole(self, rig: Rig, take: Take, reported: str) -> None:
        """206 to a GET without Range, whatever it holds: `multipart/byteranges`, too."""
        rig.server.put_object("k", b"0123456789")
        odd = answer(rig, 206, 5, 10, "bytes 5-9/10")
        rig.fault(odd, "GetObject")
        second = answer(rig, 206, 5, 10, reported)
        fault = rig.fault(second, "GetObject", times=None)
        with pytest.raises(NotAStore, match="HTTP 206 Partial Content"):
            take(rig.hands, "k")
        assert fault.hits == 1
        assert rig.pauses.seconds == []

    @read_each_way
    @pytest.mark.parametrize(
        "reported",
        ["bytes 0-4/10", "bytes 5-9/10", "bytes 0-4/*", "bytes 0-9/10", "bytes 0-5/5", "x"],
    )
    def test_nor_is_one_under_200(self, rig: Rig, take: Take, reported: str) -> None:
        rig.server.put_object("k", b"0123456789")
        fault = rig.fault(answer(rig, 200, 0, 5, reported), "GetObject", times=None)
        with pytest.raises(StoreError, match="answered with a part, though all"):
            take(rig.hands, "k")
        assert fault.hits == 2

    @read_each_way
    def test_all_of_it_may_say_so(self, rig: Rig, take: Take) -> None:
        rig.server.put_object("k", b"0123456789")
        rig.fault(answer(rig, 200, 0, 10, "bytes 0-9/10"), "GetObject", times=None)
        assert take(rig.hands, "k") == b"0123456789"

    @read_each_way
    @pytest.mark.parametrize(
        ("profile", "status", "reported", "kind", "words"),
        [
            (GARAGE, 206, "bytes 500-999/2000", StoreError, "another range"),
            (GARAGE, 206, "bytes 0-999/1000", StoreError, "another range"),
            (WITHOUT_RANGES, 200, "bytes 500-999/1000", StoreError, "answered with a part"),
            (WITHOUT_RANGES, 206, "bytes 500-999/1000", NotAStore, "HTTP 206"),
        ],
    )
    def test_nor_the_rest_of_one_that_broke_off(
        self,
        make_rig: RigMaker,
        take: Take,
        profile: Profile,
        status: int,
        reported: str,
        kind: type[StoreError],
        words: str,
    ) -> None:
        rig = make_rig(profile)
        rig.server.put_object("k", BIG[:1000])
        rig.fault(CutAnswer(500), "GetObject")
        rig.fault(answer(rig, status, 500, 1000, reported), "GetObject")
        with pytest.raises(kind, match=words):
            take(rig.hands, "k")

    @read_each_way
    @pytest.mark.parametrize("status", [412, 416])
    def test_a_refusal_of_a_range_that_nobody_asked_for(
        self, rig: Rig, take: Take, status: int
    ) -> None:
        rig.fault(Respond(status, "InvalidRange"), "GetObject", times=None)
        with pytest.raises(StoreError, match=f"answered HTTP {status} ") as caught:
            take(rig.hands, "k")
        assert "proxy" in caught.value.hint

    @read_each_way
    def test_without_an_etag_ranges_are_not_put_together(self, rig: Rig, take: Take) -> None:
        rig.server.put_object("k", BIG)
        reported = {"Content-Range": f"bytes 0-{RANGE - 1}/{len(BIG)}", "X-Amz-Request-Id": "1"}
        rig.fault(Respond(206, headers=reported, body=BIG[:RANGE]), "GetObject")
        assert take(rig.hands, "k") == BIG
        assert ["range" in record.headers for record in rig.server.requests] == [True, False]

    @read_each_way
    def test_without_an_etag_nothing_is_resumed(self, rig: Rig, take: Take) -> None:
        rig.server.put_object("k", BIG[:1000])
        # Closed before its end, as Content-Length tells: two bytes are missing.
        reported = {"Content-Range": "bytes 0-999/1000", "X-Amz-Request-Id": "1"}
        rig.fault(Respond(206, headers=reported, body=BIG[:998]))
        with pytest.raises(StoreError, match="ETag"):
            take(rig.hands, "k")

    @read_each_way
    def test_an_empty_entry(self, rig: Rig, take: Take) -> None:
        rig.hands.put("k", b"")
        assert rig.seen() == [("PutObject", 200)]
        assert take(rig.hands, "k") == b""
        assert rig.seen() == [("GetObject", 416), ("GetObject", 200)]


class TestWeakETags:
    """A proxy that compresses makes them weak: they never match, so one answer brings it all."""

    @pytest.fixture
    def weak(self, make_rig: RigMaker) -> Rig:
        return make_rig(replace(GARAGE, weak_etags=True))

    @read_each_way
    @pytest.mark.parametrize("size", [0, 1, RANGE])
    def test_a_small_entry_costs_what_it_costs(self, weak: Rig, take: Take, size: int) -> None:
        weak.server.put_object("k", BIG[:size])
        assert take(weak.hands, "k") == BIG[:size]
        assert [status for _, status in weak.seen()] == ([206] if size else [416, 200])

    @read_each_way
    def test_a_large_one_comes_in_one_piece(self, weak: Rig, take: Take) -> None:
        weak.server.put_object("k", BIG)
        assert take(weak.hands, "k") == BIG
        first, second = weak.server.requests
        assert first.headers["range"]
        assert "range" not in second.headers
        assert "if-match" not in second.headers

    def test_its_end_can_be_looked_at(self, weak: Rig) -> None:
        weak.server.put_object("k", BIG)
        with weak.hands.opened("k") as reader:
            assert reader.tail(100) == BIG[-100:]
            assert drain(reader) == BIG
        assert weak.server.requests[-1].headers["range"].endswith(f"-{len(BIG) - 1}")

    @read_each_way
    @pytest.mark.parametrize("size", [1000, len(BIG)])
    def test_it_is_not_resumed(self, weak: Rig, take: Take, size: int) -> None:
        weak.server.put_object("k", BIG[:size])
        whole = weak.fault(
            CutAnswer(500),
            "GetObject",
            where=lambda request: size == 1000 or "range" not in request.headers,
        )
        with pytest.raises(EntryChanged, match="without a strong ETag"):
            take(weak.hands, "k")
        assert whole.hits == 1

    @read_each_way
    def test_one_that_brings_nothing_is_asked_for_again(self, weak: Rig, take: Take) -> None:
        weak.server.put_object("k", b"0123456789")
        weak.fault(CutAnswer(0), "GetObject")
        assert take(weak.hands, "k") == b"0123456789"

    @read_each_way
    def test_replaced_before_anything_came(self, weak: Rig, take: Take) -> None:
        weak.server.put_object("k", b"0123456789")
        weak.fault(CutAnswer(0), "GetObject")
        weak.fault(Replace(b"9876543210"), "GetObject")
        with pytest.raises(EntryChanged):
            take(weak.hands, "k")


class TestNotAStore:
    """What any web server may say proves nothing, and is asked for once."""

    ANSWERS = (
        Respond(200, headers={"Content-Type": "text/html"}, body=HTML),
        Respond(200),
        Respond(101),
        Respond(201, headers={"ETag": '"1"'}),
        Respond(203, headers={"ETag": '"1"'}, body=b"abc"),
        Respond(204, headers={"ETag": '"1"'}),
        Respond(302, headers={"Location": "https://login.example.org/?to=secret"}),
        Respond(404, headers={"Content-Type": "text/html"}, body=HTML * 10_000),
        Respond(405, body=HTML),
        Respond(501, body=HTML),
    )

    @pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: str(answer.status))
    def test_every_operation(self, rig: Rig, answer: Respond) -> None:
        client, body = rig.store.client, MemoryBody(b"abc")
        operations: list[Callable[[], object]] = [
            lambda: rig.store.head("k"),
            lambda: rig.store.open("k"),
            lambda: rig.hands.put("k", b"abc"),
            rig.hands.keys,
            client.location,
            lambda: client.create_upload("k", {}),
            lambda: client.put_part("k", "1", 1, body, rig.pauses),
            lambda: client.complete_upload("k", "1", {1: '"1"'}, published=lambda: None),
            lambda: client.list_parts("k", "1"),
        ]
        if answer.status != 204:  # which is how they succeed
            operations += [
                lambda: list(rig.store.delete("k")),
                lambda: list(rig.store.delete("kl")),
            ]
        if answer.status != 204 and (answer.body or answer.status != 200):
            operations.append(lambda: client.abort_upload("k", "1"))
        rig.fault(answer, times=None)
        for operation in operations:
            rig.server.forget()
            with pytest.raises(NotAStore, match=f"answered, but not .*HTTP {answer.status}"):
                operation()
            assert rig.server.count() <= 2
        assert rig.pauses.seconds == []
        assert rig.server.objects == {}

    PAGES = (
        {"ETag": '"67a1b2c3-264"', "Content-Type": "text/html"},
        {"ETag": 'W/"1d-abc"', "Content-Type": "text/html; charset=utf-8"},
        {"ETag": 'W/"f-abc"', "Content-Type": "application/json"},
        {"ETag": '"1"', "Content-Type": "text/plain"},
    )

    @pytest.mark.parametrize("headers", PAGES, ids=lambda headers: headers["Content-Type"])
    def test_a_page_with_an_etag(self, rig: Rig, headers: dict[str, str]) -> None:
        client, body = rig.store.client, MemoryBody(b"abc")
        for operation in (
            lambda: rig.store.head("k"),
            lambda: rig.store.open("k"),
            lambda: rig.hands.put("k", b"abc"),
            lambda: client.put_part("k", "1", 1, body, rig.pauses),
            lambda: list(rig.store.delete("k")),
        ):
            rig.server.clear_faults()
            rig.server.forget()
            rig.fault(Respond(200, headers=headers, body=HTML), times=None)
            with pytest.raises(NotAStore, match=f"HTTP 200 OK, {headers['Content-Type'][:9]}"):
                operation()
            assert rig.server.count() <= 3
        assert rig.pauses.seconds == []
        assert rig.server.objects == {}

    @pytest.mark.parametrize("listing", [200, 403])
    def test_an_entry_that_is_a_page(self, rig: Rig, listing: int) -> None:
        """A store proves once that it is one: it lists, or says in its words that it does not."""
        stored = rig.server.put_object("k", HTML)
        reported = {"ETag": f'"{stored.etag}"', "Content-Type": "text/html"}
        rig.fault(Respond(200, headers=reported, body=HTML), "GetObject", times=None)
        if listing == 403:
            rig.fault(Respond(403, "AccessDenied"), "ListObjectsV2", times=None)
        assert rig.hands.read("k") == rig.hands.read("k") == HTML
        seen = [("GetObject", 200), ("ListObjectsV2", listing), ("GetObject", 200)]
        assert rig.seen() == seen

    @pytest.mark.parametrize("name", ["X-Amz-Request-Id", "x-amz-meta-cacher-sha256"])
    def test_an_entry_that_is_a_page_of_most_stores(self, rig: Rig, name: str) -> None:
        reported = {"ETag": '"1"', "Content-Type": "text/html", name: digest(HTML)}
        rig.fault(Respond(200, headers=reported, body=HTML), "GetObject", times=None)
        assert rig.hands.read("k") == HTML
        assert rig.seen() == [("GetObject", 200)]

    def test_blanks_are_nothing(self, rig: Rig) -> None:
        reported = {"ETag": '"900150983cd24fb0d6963f7d28e17f72"'}
        rig.fault(Respond(200, headers=reported, body=b" \r\n", executed=True), "PutObject")
        rig.hands.put("k", b"abc")
        assert rig.seen() == [("PutObject", 200)]

    @pytest.mark.parametrize("data", [b"abc", BIG])
    def test_an_error_under_200(self, rig: Rig, data: bytes) -> None:
        operation = "PutObject" if len(data) < RANGE else "UploadPart"
        reported = {"ETag": '"1"'}
        fault = rig.fault(Respond(200, "SlowDown", headers=reported), operation)
        rig.hands.put("k", data)
        assert fault.hits == 1
        assert rig.server.objects["k"].body == data
        rig.fault(Respond(200, "SlowDown", headers=reported), operation, times=None)
        with pytest.raises(StoreError, match="HTTP 200 SlowDown"):
            rig.hands.put("k", data)
        rig.server.clear_faults()
        fault = rig.fault(Respond(200, "AccessDenied", headers=reported), operation, times=None)
        with pytest.raises(AccessError, match="HTTP 200 AccessDenied"):
            rig.hands.put("k", data)

    def test_a_document_of_another_kind(self, rig: Rig) -> None:
        fault = rig.fault(Respond(200, body=b"<ListAllMyBucketsResult/>"), times=None)
        for attempt in (rig.hands.keys, lambda: rig.hands.put("k", BIG)):
            with pytest.raises(NotAStore):
                attempt()
        assert fault.hits == 2 + 1  # an upload in parts looks first what is there

    def test_a_request_id_is_as_good_as_an_etag(self, rig: Rig) -> None:
        """JuiceFS' gateway has no ETags, unless it is told to keep them."""
        marked = {"X-Amz-Request-Id": "18EC029412CF88A8"}
        rig.fault(Respond(200, headers=marked), "HeadObject")
        assert rig.store.head("k") is not None
        rig.fault(Respond(200, headers=marked, body=b"abc"), "GetObject")
        assert rig.hands.read("k") == b"abc"

    def test_a_cut_document_is_a_stores(self, rig: Rig) -> None:
        rig.server.put_object("k", b"abc")
        for keep in (1, 20, 45, 100):
            rig.fault(CutDocument(keep), "ListObjectsV2")
            assert rig.hands.keys() == ["k"]
            assert [status for _, status in rig.seen()] == [200, 200]

    def test_an_empty_200_to_a_delete_is_looked_into(self, rig: Rig) -> None:
        rig.server.put_object("k", b"abc")
        rig.fault(Respond(200, executed=True), "DeleteObject")
        assert [gone.error for gone in rig.store.delete(["k"])] == [None]
        assert rig.seen() == [("DeleteObject", 200), ("GetObject", 404)]
        rig.server.put_object("k", b"abc")
        rig.fault(Respond(200), "DeleteObject")
        (gone,) = rig.store.delete(["k"])
        assert isinstance(gone.error, StoreError)
        assert "still there" in gone.error.message


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
        keys = [f"{number:03}" for number in range(200)]
        rig.server.seed(keys)
        rig.fault(Respond(503, "SlowDown"), "DeleteObjects", nth=2, times=2)
        assert [gone.error for gone in rig.store.delete(keys)] == [None] * 200
        assert [status for _, status in rig.seen()] == [200, 503, 503, 200]
        assert rig.server.objects == {}
