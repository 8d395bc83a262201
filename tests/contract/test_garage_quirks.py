"""A bucket store copes with what Garage does in its own way: access, keys, quota, deletion."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cacher.errors import AccessError, IntegrityError, UsageError
from tests.contract.conftest import FixtureMaker
from tests.fakes.faults import Respond
from tests.fakes.profile import AWS, DEFAULT_KEY, GARAGE, AccessKey, Profile
from tests.support.bucket_fixture import PART, BucketFixture
from tests.support.store_helpers import blob

MALFORMED = "AuthorizationHeaderMalformed"
ELSEWHERE = Profile(region="lille")
STRANGER = AccessKey("GKffffffffffffffffffffffff", DEFAULT_KEY.secret)
FORGER = AccessKey(DEFAULT_KEY.id, "0" * 32)


class TestRegion:
    """The refusal tells the region; it is learned once, and remembered."""

    def test_learned_from_a_put(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(ELSEWHERE, region="")
        fake.helper.put("k", b"abc")
        assert fake.seen() == [("PutObject", 400), ("PutObject", 200)]
        assert fake.helper.read("k") == b"abc"
        assert fake.seen() == [("GetObject", 206)]

    def test_learned_from_a_head_which_has_no_body(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(ELSEWHERE, region="")
        fake.server.put_object("k", b"abc")
        assert fake.store.head("k") is not None
        assert fake.seen() == [("HeadObject", 400), ("GetObject", 400), ("HeadObject", 200)]
        assert fake.store.head("k") is not None
        assert fake.seen() == [("HeadObject", 200)]

    def test_learned_before_the_first_part(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(ELSEWHERE, region="")
        fake.helper.create("k", blob(2 * PART))
        # By the look-up of what it replaces: a HEAD, which is asked again as a GET to be told why.
        assert fake.server.count(status=400) == 2
        assert fake.server.objects["k"].body == blob(2 * PART)

    def test_a_wrong_setting_is_put_right(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(GARAGE, region="us-east-1")
        assert fake.helper.keys() == []
        assert fake.seen() == [("ListObjectsV2", 400), ("ListObjectsV2", 200)]

    def test_the_default_is_garages(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(GARAGE, region="")
        assert fake.helper.keys() == []
        assert fake.seen() == [("ListObjectsV2", 200)]

    def test_a_wrong_region_does_not_hide_a_wrong_key(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(ELSEWHERE, region="", key=STRANGER)
        with pytest.raises(AccessError, match="No such key"):
            fake.helper.keys()
        assert fake.seen() == [("ListObjectsV2", 400), ("ListObjectsV2", 403)]

    def test_a_refusal_that_tells_none(self, fake: BucketFixture) -> None:
        fake.fault(Respond(400, body=f"<Error><Code>{MALFORMED}</Code></Error>".encode()))
        with pytest.raises(AccessError) as caught:
            fake.helper.keys()
        assert "--region" in caught.value.hint
        assert fake.seen() == [("ListObjectsV2", 400)]

    def test_a_store_that_changes_its_mind_is_not_followed_for_ever(
        self, fake: BucketFixture
    ) -> None:
        reported = (
            f"<Error><Code>{MALFORMED}</Code><Region>{name}</Region></Error>" for name in "ab"
        )
        for document in reported:
            fake.fault(Respond(400, body=document.encode()))
        with pytest.raises(AccessError):
            fake.helper.keys()
        assert fake.seen() == [("ListObjectsV2", 400)] * 2


class TestCredentials:
    """Garage says AccessDenied to all that is wrong with a key: a 403 is final, and told."""

    @pytest.mark.parametrize("profile", [GARAGE, AWS])
    @pytest.mark.parametrize(
        ("key", "hint"), [(STRANGER, "key id"), (FORGER, "secret")], ids=["stranger", "forger"]
    )
    def test_wrong_keys(
        self, make_fake: FixtureMaker, profile: Profile, key: AccessKey, hint: str
    ) -> None:
        fake = make_fake(profile, key=key)
        fake.server.put_object("k", b"abc")
        for attempt in (
            lambda: fake.store.head("k"),
            lambda: fake.store.open("k"),
            lambda: fake.helper.put("k", b"new"),
            lambda: fake.helper.create("k", blob(2 * PART)),
            fake.helper.keys,
        ):
            with pytest.raises(AccessError) as caught:
                attempt()
            assert hint in caught.value.hint
            assert key.secret not in f"{caught.value} {caught.value.hint}"
        (answer,) = fake.store.delete(["k"])
        assert isinstance(answer.error, AccessError)
        # A HEAD is asked again as a GET, to be told why, and so is the one before a multipart
        # upload; nothing else is tried twice.
        assert [status for _, status in fake.seen()] == [403] * 9
        assert fake.server.objects["k"].body == b"abc"
        assert fake.pauses.seconds == []

    def test_no_permission_to_write(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(replace(GARAGE, write=False))
        with pytest.raises(AccessError, match="not allowed") as caught:
            fake.helper.put("k", b"abc")
        assert "permission" in caught.value.hint

    def test_no_permission_to_read_is_not_a_miss(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(replace(GARAGE, read=False))
        for attempt in (fake.store.head, fake.store.open):
            with pytest.raises(AccessError, match="not allowed"):
                attempt("k")
        fake.helper.create("k", blob(2 * PART))  # what may only write can
        assert fake.server.objects["k"].body == blob(2 * PART)


class TestKeys:
    """Garage drops slashes before a key, and takes no key for the bucket."""

    @pytest.mark.parametrize("key", ["/k", "//k", ""])
    def test_names_that_would_be_others_never_leave_us(self, fake: BucketFixture, key: str) -> None:
        fake.server.put_object("k", b"abc")
        for attempt in (
            lambda: fake.store.head(key),
            lambda: fake.store.open(key),
            lambda: fake.helper.put(key, b"new"),
            lambda: fake.helper.create(key, b"new"),
            lambda: list(fake.store.delete([key])),
        ):
            with pytest.raises(UsageError):
                attempt()
        assert fake.seen() == []

    def test_below_a_prefix_slashes_are_ours(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(prefix="p")
        fake.server.put_object("p//k", b"abc")
        assert fake.helper.read("/k") == b"abc"

    @pytest.mark.parametrize("key", ["a/../b", "a/./b", "a//b", "../b", "./b"])
    def test_segments_are_not_tidied_up(self, fake: BucketFixture, key: str) -> None:
        fake.helper.put(key, b"abc")
        assert list(fake.server.objects) == [key]
        assert fake.helper.read(key) == b"abc"
        assert [gone.error for gone in fake.store.delete([key])] == [None]
        assert fake.server.objects == {}


class TestWhatIsNeverSent:
    """Garage ignores conditions and versions, and would do what was not meant."""

    def test_neither_conditions_on_writes_nor_versions(self, fake: BucketFixture) -> None:
        reported = {"x-amz-version-id": "v1", "ETag": '"0"'}
        fake.fault(Respond(200, headers=reported, executed=True), "PutObject")
        fake.helper.put("k", b"abc")
        fake.helper.put("k", b"abcd")
        fake.helper.create("big", blob(2 * PART))
        assert fake.helper.read("k") == b"abcd"
        assert fake.store.head("k") is not None
        assert [gone.error for gone in fake.store.delete(["k", "big"])] == [None, None]
        assert [gone.error for gone in fake.store.delete(["k"])] == [None]
        records = fake.server.requests
        writes = [record for record in records if record.method in ("PUT", "POST", "DELETE")]
        assert len(writes) == 8
        for record in writes:
            assert not {"if-match", "if-none-match"} & record.headers.keys()
        for record in records:
            assert "versionId" not in record.query
        assert fake.server.objects == {}


class TestQuota:
    """It is checked after the upload, which it ends: 403 AccessDenied, and only words tell."""

    @pytest.mark.parametrize("size", [1001, PART], ids=["just too big", "a part"])
    def test_one_request(self, make_fake: FixtureMaker, size: int) -> None:
        fake = make_fake(replace(GARAGE, quota_bytes=1000))
        with pytest.raises(AccessError, match=r"full.*quota is reached") as caught:
            fake.helper.put("k", blob(size))
        assert "delete" in caught.value.hint
        assert fake.seen() == [("PutObject", 403)]
        assert fake.server.objects == {}

    def test_parts_of_a_file(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(replace(GARAGE, quota_bytes=2 * PART))
        fake.helper.put("older", b"x")
        with pytest.raises(AccessError, match=r"full.*quota is reached"):
            fake.helper.put("k", blob(2 * PART))
        assert fake.server.count(operation="CompleteMultipartUpload") == 1
        assert fake.server.uploads == {}
        assert list(fake.server.objects) == ["older"]
        assert fake.pauses.seconds == []

    def test_parts_of_a_stream(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(replace(GARAGE, quota_bytes=2 * PART))
        with pytest.raises(AccessError, match=r"full.*quota is reached"):
            fake.helper.create("k", blob(2 * PART + 1))
        assert fake.server.count(operation="CompleteMultipartUpload") == 1
        assert fake.server.uploads == {}
        assert fake.server.objects == {}

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (507, "XMinioStorageFull"),
            (400, "XMinioAdminBucketQuotaExceeded"),
            (403, "QuotaExceeded"),
            (507, ""),
        ],
    )
    def test_other_stores_words(self, fake: BucketFixture, status: int, code: str) -> None:
        fake.fault(Respond(status, code))
        with pytest.raises(AccessError, match="full"):
            fake.helper.put("k", b"abc")
        assert fake.seen() == [("PutObject", status)]


class TestClock:
    """The store's clock is what counts: its offset is learned once, and remembered."""

    @pytest.mark.parametrize("offset", [3600, -3600])
    def test_a_quarter_of_an_hour_elsewhere(self, make_fake: FixtureMaker, offset: int) -> None:
        fake = make_fake(replace(AWS, clock_offset=offset))
        fake.helper.put("k", b"abc")
        assert fake.seen() == [("PutObject", 403), ("PutObject", 200)]
        assert fake.helper.read("k") == b"abc"
        assert fake.seen() == [("GetObject", 206)]

    def test_told_to_a_head(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(replace(AWS, clock_offset=3600))
        fake.server.put_object("k", b"abc")
        assert fake.store.head("k") is not None
        assert fake.seen() == [("HeadObject", 403), ("GetObject", 403), ("HeadObject", 200)]

    def test_a_day_on_garage(self, make_fake: FixtureMaker) -> None:
        fake = make_fake(replace(GARAGE, clock_offset=2 * 86_400))
        fake.helper.put("k", b"abc")
        assert fake.seen() == [("PutObject", 400), ("PutObject", 200)]

    def test_one_correction_and_no_more(self, fake: BucketFixture) -> None:
        fake.fault(Respond(403, "RequestTimeTooSkewed"), times=None)
        with pytest.raises(AccessError, match="clock"):
            fake.helper.put("k", b"abc")
        assert fake.seen() == [("PutObject", 403)] * 2


class TestDamage:
    """A body that did not arrive as it was signed: once more, and then it is told."""

    @pytest.mark.parametrize("code", ["InvalidDigest", "XAmzContentSHA256Mismatch", "BadDigest"])
    def test_once(self, fake: BucketFixture, code: str) -> None:
        fake.fault(Respond(400, code), "PutObject")
        fake.helper.put("k", b"abc")
        assert fake.seen() == [("PutObject", 400), ("PutObject", 200)]
        assert fake.server.objects["k"].body == b"abc"

    def test_for_ever(self, fake: BucketFixture) -> None:
        second = {"partNumber": "2"}
        fake.fault(Respond(400, "InvalidDigest"), "UploadPart", query=second, times=None)
        with pytest.raises(IntegrityError, match="damaged"):
            fake.helper.put("k", blob(3 * PART))
        assert fake.server.count(operation="UploadPart", query=second) == 2
        assert fake.server.objects == {}
