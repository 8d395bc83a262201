"""What every `Store` promises of keys: odd ones, listed ones, deleted ones."""

from __future__ import annotations

from pathlib import Path

from cacher.store.interface import Store
from tests.support.store_helpers import StoreHelper
from tests.support.store_kinds import StoreKind

ODD_KEYS = [
    "a b",
    " edges ",
    "a+b",
    "a~b",
    "é/ü",
    "e\u0301",  # not the same key as its composed form
    "%41",
    "a%2Fb",
    "a=b&c",
    "x'y\"z",
    "*?",
    "[a]{b}",
    "@:,;",
    "日本",
    "😀",
    "dot.",
    "dots...",
    ".hidden",
    "a/.b/..c",
    "UPPER/lower",
    "a.json/b",
    "a.json",  # beside the directory of the one before, apart from it in the next
    "s" * 200,
]
TOGETHER = [key for key in ODD_KEYS if key != "a.json"]


class TestOddKeys:
    def test_each_alone(self, helper: StoreHelper) -> None:
        for key in ODD_KEYS:
            assert helper.put(key, key.encode()).key == key
            found = helper.store.head(key)
            assert found is not None
            assert found.key == key
            assert helper.read(key) == key.encode()
            assert helper.keys() == helper.keys(key) == [key]
            assert [(gone.key, gone.error) for gone in helper.store.delete([key])] == [(key, None)]
            assert helper.store.head(key) is None
            assert helper.keys() == []

    def test_the_longest_key(self, helper: StoreHelper, prefix: str) -> None:
        """479 bytes with the prefix: what every store can hold, Garage being the narrowest."""
        room = 479 - len(prefix) - 1
        key = "/".join(["a" * 150, "b" * 150, "c" * (room - 302)])
        assert len(f"{prefix}/{key}") == 479
        helper.put(key, b"abc")
        assert helper.read(key) == b"abc"
        assert helper.keys() == [key]
        assert [gone.error for gone in helper.store.delete([key])] == [None]
        assert helper.keys() == []

    def test_all_together(self, helper: StoreHelper) -> None:
        for key in TOGETHER:
            helper.put(key, key.encode())
        assert helper.keys() == sorted(TOGETHER, key=str.encode)
        for key in TOGETHER:
            assert helper.read(key) == key.encode()
        answers = list(helper.store.delete(TOGETHER))
        assert sorted(answer.key for answer in answers) == sorted(TOGETHER)
        assert [answer for answer in answers if answer.error] == []
        assert helper.keys() == []

    def test_odd_keys_are_not_each_other(self, helper: StoreHelper) -> None:
        helper.put("%41", b"percent")
        assert helper.store.head("A") is None
        helper.put("a+b", b"plus")
        assert helper.store.head("a b") is None
        helper.put("a%2Fb", b"slash")
        assert helper.store.head("a/b") is None
        helper.put("é", b"composed")
        assert helper.store.head("e\u0301") is None


class TestListing:
    def test_an_empty_store(self, helper: StoreHelper) -> None:
        assert list(helper.store.list()) == []
        assert list(helper.store.list("a/")) == []

    def test_it_tells_size_and_time(self, helper: StoreHelper) -> None:
        stored = helper.put("k", b"abc")
        found = helper.store.head("k")
        (listed,) = helper.store.list()
        assert found is not None
        assert (listed.key, listed.size) == ("k", 3)
        assert listed.etag == found.etag == stored.etag
        assert listed.modified is not None
        assert found.modified is not None
        assert abs(listed.modified - found.modified) < 1  # HTTP dates have whole seconds

    def test_prefixes_are_strings_not_directories(self, helper: StoreHelper) -> None:
        keys = ["a/b", "a/bc", "a/c/d", "a-b", "ab", "go-1", "go-2/x", "go", "z"]
        for key in keys:
            helper.put(key, b"")
        for prefix in ["", "a", "a/", "a/b", "a/c", "a/c/", "a/c/d", "go-", "go", "z", "zz", "y"]:
            expected = sorted(key for key in keys if key.startswith(prefix))
            assert helper.keys(prefix) == expected

    def test_prefixes_no_key_has(self, helper: StoreHelper) -> None:
        helper.put("a/b", b"")
        for wanted in ("/", "/a", "a//", "../", "./", "a/../a/", "a/./"):
            assert list(helper.store.list(wanted)) == []

    def test_order_is_of_bytes(self, helper: StoreHelper, store_kind: StoreKind) -> None:
        keys = [
            "a-b",
            "a.b",
            "a/b",
            "a/b-c",
            "a/b0",
            "a/c/d",
            "a0",
            "b",
            "B",
            "é",
            "z",
            "😀",
            "\uff5e",
        ]
        for key in keys:
            helper.put(key, b"")
        listed = [entry.key for entry in helper.store.list()]
        expected = sorted(keys, key=str.encode)
        if store_kind.ordered:
            assert listed == expected
        else:
            assert sorted(listed, key=str.encode) == expected

    def test_more_than_a_page(
        self, crowded: tuple[Store, list[str]], store_kind: StoreKind
    ) -> None:
        store, keys = crowded
        listed = [entry.key for entry in store.list()]
        assert len(listed) == len(set(listed))
        assert sorted(listed, key=str.encode) == keys
        assert listed == keys or not store_kind.ordered
        inside = [key for key in keys if key.startswith("n/")]
        assert sorted(entry.key for entry in store.list("n/")) == inside
        assert [entry.key for entry in store.list("n/0001")] == inside[10:20]

    def test_it_can_be_left_early(self, crowded: tuple[Store, list[str]]) -> None:
        store, keys = crowded
        listing = store.list()
        assert next(listing).key in keys
        del listing
        assert store.head(keys[-1]) is not None

    def test_a_store_sees_only_its_prefix(
        self, helper: StoreHelper, store_kind: StoreKind, prefix: str, tmp_path: Path
    ) -> None:
        sibling = StoreHelper(store_kind.make(prefix + "2"), tmp_path / "sibling")
        inner = StoreHelper(store_kind.make(prefix + "/inner"), tmp_path / "inner")
        for directory in ("sibling", "inner"):
            (tmp_path / directory).mkdir()
        helper.put("k", b"mine")
        sibling.put("k", b"sibling's")
        inner.put("k", b"inner's")
        assert helper.keys() == ["inner/k", "k"]
        assert sibling.keys() == ["k"]
        assert inner.keys() == ["k"]
        assert helper.read("k") == b"mine"
        assert sibling.read("k") == b"sibling's"
        assert helper.read("inner/k") == b"inner's"
        list(helper.store.delete(["k"]))
        assert sibling.read("k") == b"sibling's"
        for other in (sibling, inner):
            other.store.close()


class TestDeleting:
    def test_it_is_gone(self, helper: StoreHelper) -> None:
        helper.put("k", b"abc")
        assert [(gone.key, gone.error) for gone in helper.store.delete(["k"])] == [("k", None)]
        assert helper.store.head("k") is None
        assert helper.store.open("k") is None
        assert helper.keys() == []

    def test_what_is_missing_counts_as_deleted(self, helper: StoreHelper) -> None:
        helper.put("k", b"abc")
        keys = ["missing", "k", "deep/missing", "k/below"]
        for _ in range(2):
            answers = list(helper.store.delete(keys))
            assert sorted(answer.key for answer in answers) == sorted(keys)
            assert [answer for answer in answers if answer.error] == []

    def test_none(self, helper: StoreHelper) -> None:
        assert list(helper.store.delete([])) == []

    def test_others_stay(self, helper: StoreHelper) -> None:
        for key in ("a/b/c", "a/b/d", "a/e", "ab"):
            helper.put(key, key.encode())
        list(helper.store.delete(["a/b/c", "a/b"]))
        assert helper.keys() == ["a/b/d", "a/e", "ab"]
        assert helper.read("a/b/d") == b"a/b/d"

    def test_many_while_they_are_listed(self, helper: StoreHelper) -> None:
        for number in range(30):
            helper.put(f"d/{number % 3}/{number}", b"")
        helper.put("kept", b"")
        answers = list(helper.store.delete(entry.key for entry in helper.store.list("d/")))
        assert len(answers) == 30
        assert helper.keys() == ["kept"]

    def test_a_name_is_free_again(self, helper: StoreHelper) -> None:
        helper.put("a/b/c", b"below")
        list(helper.store.delete(["a/b/c"]))
        helper.put("a", b"above")
        assert helper.read("a") == b"above"
        list(helper.store.delete(["a"]))
        helper.put("a/b", b"between")
        assert helper.read("a/b") == b"between"
