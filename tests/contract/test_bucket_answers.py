"""What a bucket store makes of odd answers: misses, redirects, ranges, deletions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from cacher.errors import AccessError, CacherError, EntryChanged, StoreError
from cacher.s3.error_mapping import NotAStore
from cacher.s3.ranges import RANGE
from cacher.s3.request_body import MemoryBody
from tests.contract.conftest import FixtureMaker
from tests.fakes.faults import ChangeETag, CutAnswer, CutDocument, Replace, Respond
from tests.fakes.profile import GARAGE, Profile
from tests.fakes.request import Request
from tests.fakes.s3server import FakeS3Server
from tests.support.bucket_fixture import BucketFixture, Take, read_each_way
from tests.support.store_helpers import blob, digest, drain

HTML = b"<html><body>Not the page you look for</body></html>"
WITHOUT_RANGES = replace(GARAGE, ranges="ignored")
BIG = blob(2 * RANGE + 1, 3)  # three ranges


class TestMisses:
    """Only a store's own word makes a miss; all doubt is an error."""

    def test_a_miss(self, fake: BucketFixture) -> None:
        assert fake.store.open("k") is None
        assert fake.seen() == [("GetObject", 404)]
        assert fake.store.head("k") is None
        assert fake.seen() == [("HeadObject", 404), ("GetObject", 404)]
        assert fake.store.head("k", verify_bucket=False) is None
        assert fake.seen() == [("HeadObject", 404)]

    def test_a_missing_bucket(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(bucket="nowhere")
        for attempt in (
            lambda: fake.store.head("k"),
            lambda: fake.store.open("k"),
            lambda: fake.helper.put("k", b"abc"),
            fake.helper.keys,
        ):
            with pytest.raises(AccessError, match=r"nowhere.*does not exist") as caught:
                attempt()
            assert "--bucket" in caught.value.hint
        assert fake.store.head("k", verify_bucket=False) is None  # which storing it puts right
        (gone,) = fake.store.delete(["k"])
        assert isinstance(gone.error, AccessError)
        with pytest.raises(AccessError, match=r"nowhere.*does not exist"):
            list(fake.store.delete(["k", "l"]))

    @pytest.mark.parametrize("body", [b"", HTML, b'{"error": "not found"}'])
    def test_a_404_that_is_not_a_stores(self, fake: BucketFixture, body: bytes) -> None:
        fake.fault(Respond(404, body=body), times=None)
        for attempt in (
            fake.store.head,
            fake.store.open,
            lambda key: list(fake.store.delete([key])),
        ):
            with pytest.raises(NotAStore, match="HTTP 404 Not Found") as caught:
                attempt("k")
            assert "--endpoint" in caught.value.hint
        assert [name for name, _ in fake.seen()] == [
            "HeadObject",
            "GetObject",
            "GetObject",
            "DeleteObject",
        ]

    def test_a_head_that_is_answered_by_something_else(self, fake: BucketFixture) -> None:
        fake.fault(Respond(404, body=HTML), method="HEAD", times=None)
        assert fake.store.head("k") is None  # by the GET, whose word it is

    def test_an_entry_that_comes_between_the_two_answers(self, fake: BucketFixture) -> None:
        fake.fault(Respond(404), "HeadObject")
        fake.server.put_object("k", b"abc", {"x": "y"})
        found = fake.store.head("k")
        assert found is not None
        assert (found.size, found.metadata) == (3, {"x": "y"})

    def test_head_where_the_bucket_may_not_be_read(self, fake: BucketFixture) -> None:
        """A key that may read objects need not see the bucket."""
        fake.fault(Respond(403, "AccessDenied"), "HeadBucket", times=None)
        fake.fault(Respond(403, "AccessDenied"), "ListObjectsV2", times=None)
        assert fake.store.head("k") is None

    @pytest.mark.parametrize("status", [400, 403, 409, 500, 503])
    def test_other_refusals(self, fake: BucketFixture, status: int) -> None:
        for attempt in (fake.store.head, fake.store.open):
            fake.server.clear_faults()
            fake.fault(Respond(status, body=HTML), times=None)
            with pytest.raises(CacherError) as caught:
                attempt("k")
            assert caught.value.kind == "store"  # a store that refuses says so in a document
            assert str(status) in caught.value.message


class TestRedirects:
    """They are never followed: credentials and entries stay with the host that was named."""

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_to_another_host(self, fake: BucketFixture, status: int) -> None:
        with FakeS3Server() as elsewhere:
            elsewhere.put_object("k", b"theirs")
            to = {"Location": f"{elsewhere.endpoint}/cache/k"}
            fault = fake.fault(Respond(status, "TemporaryRedirect", headers=to), times=None)
            for attempt in (
                lambda: fake.store.head("k"),
                lambda: fake.store.open("k"),
                lambda: fake.helper.put("k", b"abc"),
                fake.helper.keys,
            ):
                with pytest.raises((AccessError, StoreError), match=str(status)):
                    attempt()
            assert elsewhere.requests == []
            assert 4 <= fault.hits <= 5  # a HEAD may be asked again as a GET
        assert fake.server.objects == {}

    def test_a_region_in_one_is_learned(self, fake: BucketFixture) -> None:
        """AWS tells the region of a bucket like that, on HEAD by nothing else."""
        reported = {"x-amz-bucket-region": "eu-west-3"}
        fake.fault(Respond(301, "PermanentRedirect", headers=reported), "ListObjectsV2")
        with pytest.raises(AccessError, match="region"):
            fake.helper.keys()  # this one is in "garage", and says so: it is not asked for ever
        assert fake.seen() == [("ListObjectsV2", 301), ("ListObjectsV2", 400)]


class TestChanges:
    """A reader gives one version of an entry, or an error."""

    @read_each_way
    def test_replaced_between_two_ranges(self, fake: BucketFixture, take: Take) -> None:
        fake.server.put_object("k", BIG)
        fake.fault(Replace(blob(len(BIG), 4)), "GetObject", nth=2)
        with pytest.raises(EntryChanged):
            take(fake.helper, "k")

    @read_each_way
    def test_deleted_between_two_ranges(self, fake: BucketFixture, take: Take) -> None:
        fake.server.put_object("k", BIG)

        def deleted(request: Request) -> bool:
            return "if-match" in request.headers and not fake.server.delete_object("k")

        fake.fault(Respond(500), "GetObject", where=deleted)
        with pytest.raises((EntryChanged, StoreError)):
            take(fake.helper, "k")

    @read_each_way
    def test_a_store_that_ignores_if_match(self, fake: BucketFixture, take: Take) -> None:
        fake.server.put_object("k", BIG)
        fake.fault(ChangeETag("0" * 32), "GetObject", nth=2)
        with pytest.raises(EntryChanged):
            take(fake.helper, "k")

    @read_each_way
    @pytest.mark.parametrize("profile", [GARAGE, WITHOUT_RANGES], ids=["ranges", "without"])
    def test_replaced_while_broken_off(
        self, make_fake: FixtureMaker, profile: Profile, take: Take
    ) -> None:
        fake = make_fake(profile)
        fake.server.put_object("k", BIG[:100_000])
        fake.fault(CutAnswer(1000), "GetObject")
        fake.fault(Replace(blob(100_000, 4)), "GetObject")
        with pytest.raises(EntryChanged):
            take(fake.helper, "k")


def answer(fake: BucketFixture, status: int, start: int, end: int, reported: str = "") -> Respond:
    """Bytes [start, end) of `k` under any status, with any Content-Range."""
    stored = fake.server.objects["k"]
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
    def test_a_later_one(self, fake: BucketFixture, take: Take, status: int, reported: str) -> None:
        fake.server.put_object("k", BIG)
        size, start, end = len(BIG), RANGE, 2 * RANGE
        words = {"size": size, "start": start, "end": end - 1, "last": RANGE - 1}
        content_range = reported.format(**words, short=end - 2)
        second = f"bytes={start}-{end - 1}"
        fake.fault(
            answer(fake, status, 0, RANGE, content_range),
            "GetObject",
            where=lambda request: request.headers.get("range") == second,
            times=None,
        )
        with pytest.raises(StoreError, match="another range"):
            take(fake.helper, "k")

    @read_each_way
    @pytest.mark.parametrize(
        "reported", ["bytes 5-9/10", "bytes 0-4/10", "bytes 0-9/*", "lines 0-9/10"]
    )
    def test_the_first_one_is_then_asked_for_as_a_whole(
        self, fake: BucketFixture, take: Take, reported: str
    ) -> None:
        fake.server.put_object("k", b"0123456789")
        fake.fault(answer(fake, 206, 5, 10, reported), "GetObject")
        assert take(fake.helper, "k") == b"0123456789"
        first, second = fake.server.requests
        assert first.headers["range"]
        assert "range" not in second.headers

    @read_each_way
    @pytest.mark.parametrize(
        "reported", ["bytes 5-9/10", "bytes 0-4/10", "bytes 0-4/*", "bytes 0-9/10", ""]
    )
    def test_a_part_is_never_the_whole(
        self, fake: BucketFixture, take: Take, reported: str
    ) -> None:
        """206 to a GET without Range, whatever it holds: `multipart/byteranges`, too."""
        fake.server.put_object("k", b"0123456789")
        odd = answer(fake, 206, 5, 10, "bytes 5-9/10")
        fake.fault(odd, "GetObject")
        second = answer(fake, 206, 5, 10, reported)
        fault = fake.fault(second, "GetObject", times=None)
        with pytest.raises(NotAStore, match="HTTP 206 Partial Content"):
            take(fake.helper, "k")
        assert fault.hits == 1
        assert fake.pauses.seconds == []

    @read_each_way
    @pytest.mark.parametrize(
        "reported",
        ["bytes 0-4/10", "bytes 5-9/10", "bytes 0-4/*", "bytes 0-9/10", "bytes 0-5/5", "x"],
    )
    def test_nor_is_one_under_200(self, fake: BucketFixture, take: Take, reported: str) -> None:
        fake.server.put_object("k", b"0123456789")
        fault = fake.fault(answer(fake, 200, 0, 5, reported), "GetObject", times=None)
        with pytest.raises(StoreError, match="answered with a part, though all"):
            take(fake.helper, "k")
        assert fault.hits == 2

    @read_each_way
    def test_all_of_it_may_say_so(self, fake: BucketFixture, take: Take) -> None:
        fake.server.put_object("k", b"0123456789")
        fake.fault(answer(fake, 200, 0, 10, "bytes 0-9/10"), "GetObject", times=None)
        assert take(fake.helper, "k") == b"0123456789"

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
        make_fake: FixtureMaker,
        take: Take,
        profile: Profile,
        status: int,
        reported: str,
        kind: type[StoreError],
        words: str,
    ) -> None:
        fake = make_fake(profile)
        fake.server.put_object("k", BIG[:1000])
        fake.fault(CutAnswer(500), "GetObject")
        fake.fault(answer(fake, status, 500, 1000, reported), "GetObject")
        with pytest.raises(kind, match=words):
            take(fake.helper, "k")

    @read_each_way
    @pytest.mark.parametrize("status", [412, 416])
    def test_a_refusal_of_a_range_that_nobody_asked_for(
        self, fake: BucketFixture, take: Take, status: int
    ) -> None:
        fake.fault(Respond(status, "InvalidRange"), "GetObject", times=None)
        with pytest.raises(StoreError, match=f"answered HTTP {status} ") as caught:
            take(fake.helper, "k")
        assert "proxy" in caught.value.hint

    @read_each_way
    def test_without_an_etag_ranges_are_not_put_together(
        self, fake: BucketFixture, take: Take
    ) -> None:
        fake.server.put_object("k", BIG)
        reported = {"Content-Range": f"bytes 0-{RANGE - 1}/{len(BIG)}", "X-Amz-Request-Id": "1"}
        fake.fault(Respond(206, headers=reported, body=BIG[:RANGE]), "GetObject")
        assert take(fake.helper, "k") == BIG
        assert ["range" in record.headers for record in fake.server.requests] == [True, False]

    @read_each_way
    def test_without_an_etag_nothing_is_resumed(self, fake: BucketFixture, take: Take) -> None:
        fake.server.put_object("k", BIG[:1000])
        # Closed before its end, as Content-Length tells: two bytes are missing.
        reported = {"Content-Range": "bytes 0-999/1000", "X-Amz-Request-Id": "1"}
        fake.fault(Respond(206, headers=reported, body=BIG[:998]))
        with pytest.raises(StoreError, match="ETag"):
            take(fake.helper, "k")

    @read_each_way
    def test_an_empty_entry(self, fake: BucketFixture, take: Take) -> None:
        fake.helper.put("k", b"")
        assert fake.seen() == [("PutObject", 200)]
        assert take(fake.helper, "k") == b""
        assert fake.seen() == [("GetObject", 416), ("GetObject", 200)]


class TestWeakETags:
    """A proxy that compresses makes them weak: they never match, so one answer brings it all."""

    @pytest.fixture
    def weak(self, make_fake: FixtureMaker) -> BucketFixture:
        return make_fake(replace(GARAGE, weak_etags=True))

    @read_each_way
    @pytest.mark.parametrize("size", [0, 1, RANGE])
    def test_a_small_entry_costs_what_it_costs(
        self, weak: BucketFixture, take: Take, size: int
    ) -> None:
        weak.server.put_object("k", BIG[:size])
        assert take(weak.helper, "k") == BIG[:size]
        assert [status for _, status in weak.seen()] == ([206] if size else [416, 200])

    @read_each_way
    def test_a_large_one_comes_in_one_piece(self, weak: BucketFixture, take: Take) -> None:
        weak.server.put_object("k", BIG)
        assert take(weak.helper, "k") == BIG
        first, second = weak.server.requests
        assert first.headers["range"]
        assert "range" not in second.headers
        assert "if-match" not in second.headers

    def test_its_end_can_be_looked_at(self, weak: BucketFixture) -> None:
        weak.server.put_object("k", BIG)
        with weak.helper.opened("k") as reader:
            assert reader.tail(100) == BIG[-100:]
            assert drain(reader) == BIG
        assert weak.server.requests[-1].headers["range"].endswith(f"-{len(BIG) - 1}")

    @read_each_way
    @pytest.mark.parametrize("size", [1000, len(BIG)])
    def test_it_is_not_resumed(self, weak: BucketFixture, take: Take, size: int) -> None:
        weak.server.put_object("k", BIG[:size])
        whole = weak.fault(
            CutAnswer(500),
            "GetObject",
            where=lambda request: size == 1000 or "range" not in request.headers,
        )
        with pytest.raises(EntryChanged, match="without a strong ETag"):
            take(weak.helper, "k")
        assert whole.hits == 1

    @read_each_way
    def test_one_that_brings_nothing_is_asked_for_again(
        self, weak: BucketFixture, take: Take
    ) -> None:
        weak.server.put_object("k", b"0123456789")
        weak.fault(CutAnswer(0), "GetObject")
        assert take(weak.helper, "k") == b"0123456789"

    @read_each_way
    def test_replaced_before_anything_came(self, weak: BucketFixture, take: Take) -> None:
        weak.server.put_object("k", b"0123456789")
        weak.fault(CutAnswer(0), "GetObject")
        weak.fault(Replace(b"9876543210"), "GetObject")
        with pytest.raises(EntryChanged):
            take(weak.helper, "k")


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
        *(Respond(status, body=HTML) for status in (409, 410, 411, 414, 421, 431, 451)),
        Respond(501, body=HTML),
    )

    @pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: str(answer.status))
    def test_every_operation(self, fake: BucketFixture, answer: Respond) -> None:
        client, body = fake.store.client, MemoryBody(b"abc")
        operations: list[Callable[[], object]] = [
            lambda: fake.store.head("k"),
            lambda: fake.store.open("k"),
            lambda: fake.helper.put("k", b"abc"),
            fake.helper.keys,
            client.location,
            lambda: client.create_upload("k", {}),
            lambda: client.put_part("k", "1", 1, body, fake.pauses),
            lambda: client.complete_upload("k", "1", {1: '"1"'}, published=lambda: None),
            lambda: client.list_parts("k", "1"),
        ]
        if answer.status != 204:  # which is how they succeed
            operations += [
                lambda: list(fake.store.delete("k")),
                lambda: list(fake.store.delete("kl")),
            ]
        if answer.status != 204 and (answer.body or answer.status != 200):
            operations.append(lambda: client.abort_upload("k", "1"))
        fake.fault(answer, times=None)
        for operation in operations:
            fake.server.forget()
            with pytest.raises(NotAStore, match=f"answered, but not .*HTTP {answer.status}"):
                operation()
            assert fake.server.count() <= 2
        assert fake.pauses.seconds == []
        assert fake.server.objects == {}

    PAGES = (
        {"ETag": '"67a1b2c3-264"', "Content-Type": "text/html"},
        {"ETag": 'W/"1d-abc"', "Content-Type": "text/html; charset=utf-8"},
        {"ETag": 'W/"f-abc"', "Content-Type": "application/json"},
        {"ETag": '"1"', "Content-Type": "text/plain"},
    )

    @pytest.mark.parametrize("headers", PAGES, ids=lambda headers: headers["Content-Type"])
    def test_a_page_with_an_etag(self, fake: BucketFixture, headers: dict[str, str]) -> None:
        client, body = fake.store.client, MemoryBody(b"abc")
        for operation in (
            lambda: fake.store.head("k"),
            lambda: fake.store.open("k"),
            lambda: fake.helper.put("k", b"abc"),
            lambda: client.put_part("k", "1", 1, body, fake.pauses),
            lambda: list(fake.store.delete("k")),
        ):
            fake.server.clear_faults()
            fake.server.forget()
            fake.fault(Respond(200, headers=headers, body=HTML), times=None)
            with pytest.raises(NotAStore, match=f"HTTP 200 OK, {headers['Content-Type'][:9]}"):
                operation()
            assert fake.server.count() <= 3
        assert fake.pauses.seconds == []
        assert fake.server.objects == {}

    @pytest.mark.parametrize("listing", [200, 403])
    def test_an_entry_that_is_a_page(self, fake: BucketFixture, listing: int) -> None:
        """A store proves once that it is one: it lists, or says in its words that it does not."""
        stored = fake.server.put_object("k", HTML)
        reported = {"ETag": f'"{stored.etag}"', "Content-Type": "text/html"}
        fake.fault(Respond(200, headers=reported, body=HTML), "GetObject", times=None)
        if listing == 403:
            fake.fault(Respond(403, "AccessDenied"), "ListObjectsV2", times=None)
        assert fake.helper.read("k") == fake.helper.read("k") == HTML
        seen = [("GetObject", 200), ("ListObjectsV2", listing), ("GetObject", 200)]
        assert fake.seen() == seen

    @pytest.mark.parametrize("name", ["X-Amz-Request-Id", "x-amz-meta-cacher-sha256"])
    def test_an_entry_that_is_a_page_of_most_stores(self, fake: BucketFixture, name: str) -> None:
        reported = {"ETag": '"1"', "Content-Type": "text/html", name: digest(HTML)}
        fake.fault(Respond(200, headers=reported, body=HTML), "GetObject", times=None)
        assert fake.helper.read("k") == HTML
        assert fake.seen() == [("GetObject", 200)]

    def test_blanks_are_nothing(self, fake: BucketFixture) -> None:
        reported = {"ETag": '"900150983cd24fb0d6963f7d28e17f72"'}
        fake.fault(Respond(200, headers=reported, body=b" \r\n", executed=True), "PutObject")
        fake.helper.put("k", b"abc")
        assert fake.seen() == [("PutObject", 200)]

    @pytest.mark.parametrize("data", [b"abc", BIG])
    def test_an_error_under_200(self, fake: BucketFixture, data: bytes) -> None:
        operation = "PutObject" if len(data) < RANGE else "UploadPart"
        reported = {"ETag": '"1"'}
        fault = fake.fault(Respond(200, "SlowDown", headers=reported), operation)
        fake.helper.put("k", data)
        assert fault.hits == 1
        assert fake.server.objects["k"].body == data
        fake.fault(Respond(200, "SlowDown", headers=reported), operation, times=None)
        with pytest.raises(StoreError, match="HTTP 200 SlowDown"):
            fake.helper.put("k", data)
        fake.server.clear_faults()
        fault = fake.fault(Respond(200, "AccessDenied", headers=reported), operation, times=None)
        with pytest.raises(AccessError, match="HTTP 200 AccessDenied"):
            fake.helper.put("k", data)

    def test_a_document_of_another_kind(self, fake: BucketFixture) -> None:
        fault = fake.fault(Respond(200, body=b"<ListAllMyBucketsResult/>"), times=None)
        for attempt in (fake.helper.keys, lambda: fake.helper.put("k", BIG)):
            with pytest.raises(NotAStore):
                attempt()
        assert fault.hits == 2 + 1  # an upload in parts looks first what is there

    def test_a_request_id_is_as_good_as_an_etag(self, fake: BucketFixture) -> None:
        """JuiceFS' gateway has no ETags, unless it is told to keep them."""
        marked = {"X-Amz-Request-Id": "18EC029412CF88A8"}
        fake.fault(Respond(200, headers=marked), "HeadObject")
        assert fake.store.head("k") is not None
        fake.fault(Respond(200, headers=marked, body=b"abc"), "GetObject")
        assert fake.helper.read("k") == b"abc"

    def test_a_cut_document_is_a_stores(self, fake: BucketFixture) -> None:
        fake.server.put_object("k", b"abc")
        for keep in (1, 20, 45, 100):
            fake.fault(CutDocument(keep), "ListObjectsV2")
            assert fake.helper.keys() == ["k"]
            assert [status for _, status in fake.seen()] == [200, 200]

    def test_an_empty_200_to_a_delete_is_looked_into(self, fake: BucketFixture) -> None:
        fake.server.put_object("k", b"abc")
        fake.fault(Respond(200, executed=True), "DeleteObject")
        assert [gone.error for gone in fake.store.delete(["k"])] == [None]
        assert fake.seen() == [("DeleteObject", 200), ("GetObject", 404)]
        fake.server.put_object("k", b"abc")
        fake.fault(Respond(200), "DeleteObject")
        (gone,) = fake.store.delete(["k"])
        assert isinstance(gone.error, StoreError)
        assert "still there" in gone.error.message


class TestDeleting:
    def test_missing_ones_are_gone(self, fake: BucketFixture) -> None:
        """Garage up to 2.3.0 calls each of them an error, NoSuchKey."""
        fake.server.seed(["a", "c"])
        answers = list(fake.store.delete(["a", "b", "c", "d"]))
        assert [(gone.key, gone.error) for gone in answers] == [(key, None) for key in "abcd"]
        assert fake.seen() == [("DeleteObjects", 200)]
        assert fake.server.objects == {}

    def test_the_document_is_compact_and_escaped(self, fake: BucketFixture) -> None:
        """Garage up to 2.2 refuses blanks between elements; the double looks for them."""
        keys = ["a&b", "<c>", " d ", "tab\t", "line\n", 'q"q', "]]>", "é"]
        fake.server.seed([*keys, "stays"])
        assert [gone.error for gone in fake.store.delete(keys)] == [None] * len(keys)
        assert fake.seen() == [("DeleteObjects", 200)]
        assert list(fake.server.objects) == ["stays"]

    def test_a_carriage_return_is_no_line_feed(self, fake: BucketFixture) -> None:
        """It would arrive as one, were it not escaped (XML 1.0, section 2.11)."""
        fake.server.seed(["k\r", "k\n", "l"])
        assert [gone.error for gone in fake.store.delete(["k\r", "l"])] == [None, None]
        assert list(fake.server.objects) == ["k\n"]

    def test_what_xml_cannot_hold_goes_alone(self, fake: BucketFixture) -> None:
        keys = ["a", "b\x01", "c", "d\ufffe"]
        fake.server.seed(keys)
        assert [(gone.key, gone.error) for gone in fake.store.delete(keys)] == [
            (key, None) for key in keys
        ]
        assert sorted(fake.seen()) == [("DeleteObject", 204)] * 2 + [("DeleteObjects", 200)]
        assert fake.server.objects == {}

    @pytest.mark.parametrize("status", [400, 405, 501])
    def test_without_bulk_deletion(self, make_fake: FixtureMaker, status: int) -> None:
        fake = make_fake(replace(GARAGE, bulk_delete="unsupported", bulk_delete_status=status))
        keys = [f"{number:03}" for number in range(300)]
        fake.server.seed(keys)
        assert [(gone.key, gone.error) for gone in fake.store.delete([*keys, "missing"])] == [
            (key, None) for key in [*keys, "missing"]
        ]
        assert fake.server.objects == {}
        # It is asked for once, not for each batch.
        assert fake.seen() == [("DeleteObjects", status)] + [("DeleteObject", 204)] * 301

    def test_each_key_has_its_answer(self, fake: BucketFixture) -> None:
        fake.server.seed("abcd")
        body = (
            "<DeleteResult><Deleted><Key>a</Key></Deleted>"
            "<Error><Key>b</Key><Code>AccessDenied</Code><Message>not yours</Message></Error>"
            "<Error><Key>c</Key><Code>InternalError</Code></Error></DeleteResult>"
        )
        fake.fault(Respond(200, body=body.encode()), "DeleteObjects")
        answers = {gone.key: gone.error for gone in fake.store.delete("abcd")}
        assert list(answers) == list("abcd")
        assert answers["a"] is None
        assert isinstance(answers["b"], AccessError)
        assert "not yours" in answers["b"].message
        assert isinstance(answers["c"], StoreError)
        assert answers["d"] is None  # the store did not account for it: it was asked again
        assert fake.seen() == [("DeleteObjects", 200), ("DeleteObject", 204)]

    def test_a_store_that_fails_in_between(self, fake: BucketFixture) -> None:
        keys = [f"{number:03}" for number in range(200)]
        fake.server.seed(keys)
        fake.fault(Respond(503, "SlowDown"), "DeleteObjects", nth=2, times=2)
        assert [gone.error for gone in fake.store.delete(keys)] == [None] * 200
        assert [status for _, status in fake.seen()] == [200, 503, 503, 200]
        assert fake.server.objects == {}
