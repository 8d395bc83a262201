"""What every `Store` promises of keys: odd ones, listed ones, deleted ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from cacher.store.interface import Store
from tests.support.store_helpers import Hands
from tests.support.store_kinds import Subject

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
    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_round_trip(self, hands: Hands, key: str) -> None:
        data = key.encode()
        assert hands.put(key, data).key == key
        found = hands.store.head(key)
        assert found is not None
        assert found.key == key
        assert hands.read(key) == data
        assert hands.keys() == [key]
        assert hands.keys(key) == [key]
        assert [(gone.key, gone.error) for gone in hands.store.delete([key])] == [(key, None)]
        assert hands.store.head(key) is None
        assert hands.keys() == []

    def test_the_longest_key(self, hands: Hands, prefix: str) -> None:
        """479 bytes with the prefix: what every store can hold, Garage being the narrowest."""
        room = 479 - len(prefix) - 1
        key = "/".join(["a" * 150, "b" * 150, "c" * (room - 302)])
        assert len(f"{prefix}/{key}") == 479
        hands.put(key, b"abc")
        assert hands.read(key) == b"abc"
        assert hands.keys() == [key]
        assert [gone.error for gone in hands.store.delete([key])] == [None]
        assert hands.keys() == []

    def test_all_together(self, hands: Hands) -> None:
        for key in TOGETHER:
            hands.put(key, key.encode())
        assert hands.keys() == sorted(TOGETHER, key=str.encode)
        for key in TOGETHER:
            assert hands.read(key) == key.encode()
        answers = list(hands.store.delete(TOGETHER))
        assert sorted(answer.key for answer in answers) == sorted(TOGETHER)
        assert [answer for answer in answers if answer.error] == []
        assert hands.keys() == []

    def test_odd_keys_are_not_each_other(self, hands: Hands) -> None:
        hands.put("%41", b"percent")
        assert hands.store.head("A") is None
        hands.put("a+b", b"plus")
        assert hands.store.head("a b") is None
        hands.put("a%2Fb", b"slash")
        assert hands.store.head("a/b") is None
        hands.put("é", b"composed")
        assert hands.store.head("e\u0301") is None


class TestListing:
    def test_an_empty_store(self, hands: Hands) -> None:
        assert list(hands.store.list()) == []
        assert list(hands.store.list("a/")) == []

    def test_it_tells_size_and_time(self, hands: Hands) -> None:
        stored = hands.put("k", b"abc")
        found = hands.store.head("k")
        (listed,) = hands.store.list()
        assert found is not None
        assert (listed.key, listed.size) == ("k", 3)
        assert listed.etag == found.etag == stored.etag
        assert listed.modified is not None
        assert found.modified is not None
        assert abs(listed.modified - found.modified) < 1  # HTTP dates have whole seconds

    def test_prefixes_are_strings_not_directories(self, hands: Hands) -> None:
        keys = ["a/b", "a/bc", "a/c/d", "a-b", "ab", "go-1", "go-2/x", "go", "z"]
        for key in keys:
            hands.put(key, b"")
        for prefix in ["", "a", "a/", "a/b", "a/c", "a/c/", "a/c/d", "go-", "go", "z", "zz", "y"]:
            expected = sorted(key for key in keys if key.startswith(prefix))
            assert hands.keys(prefix) == expected

    @pytest.mark.parametrize("wanted", ["/", "/a", "a//", "../", "./", "a/../a/", "a/./"])
    def test_prefixes_no_key_has(self, hands: Hands, wanted: str) -> None:
        hands.put("a/b", b"")
        assert list(hands.store.list(wanted)) == []

    def test_order_is_of_bytes(self, hands: Hands, subject: Subject) -> None:
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
            hands.put(key, b"")
        listed = [entry.key for entry in hands.store.list()]
        expected = sorted(keys, key=str.encode)
        if subject.ordered:
            assert listed == expected
        else:
            assert sorted(listed, key=str.encode) == expected

    def test_more_than_a_page(self, crowded: tuple[Store, list[str]], subject: Subject) -> None:
        store, keys = crowded
        listed = [entry.key for entry in store.list()]
        assert len(listed) == len(set(listed))
        assert sorted(listed, key=str.encode) == keys
        assert listed == keys or not subject.ordered
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
        self, hands: Hands, subject: Subject, prefix: str, tmp_path: Path
    ) -> None:
        sibling = Hands(subject.make(prefix + "2"), tmp_path / "sibling")
        inner = Hands(subject.make(prefix + "/inner"), tmp_path / "inner")
        for directory in ("sibling", "inner"):
            (tmp_path / directory).mkdir()
        hands.put("k", b"mine")
        sibling.put("k", b"sibling's")
        inner.put("k", b"inner's")
        assert hands.keys() == ["inner/k", "k"]
        assert sibling.keys() == ["k"]
        assert inner.keys() == ["k"]
        assert hands.read("k") == b"mine"
        assert sibling.read("k") == b"sibling's"
        assert hands.read("inner/k") == b"inner's"
        list(hands.store.delete(["k"]))
        assert sibling.read("k") == b"sibling's"
        for other in (sibling, inner):
            other.store.close()


class TestDeleting:
    def test_it_is_gone(self, hands: Hands) -> None:
        hands.put("k", b"abc")
        assert [(gone.key, gone.error) for gone in hands.store.delete(["k"])] == [("k", None)]
        assert hands.store.head("k") is None
        assert hands.store.open("k") is None
        assert hands.keys() == []

    def test_what_is_missing_counts_as_deleted(self, hands: Hands) -> None:
        hands.put("k", b"abc")
        keys = ["missing", "k", "deep/missing", "k/below"]
        for _ in range(2):
            answers = list(hands.store.delete(keys))
            assert sorted(answer.key for answer in answers) == sorted(keys)
            assert [answer for answer in answers if answer.error] == []

    def test_none(self, hands: Hands) -> None:
        assert list(hands.store.delete([])) == []

    def test_others_stay(self, hands: Hands) -> None:
        for key in ("a/b/c", "a/b/d", "a/e", "ab"):
            hands.put(key, key.encode())
        list(hands.store.delete(["a/b/c", "a/b"]))
        assert hands.keys() == ["a/b/d", "a/e", "ab"]
        assert hands.read("a/b/d") == b"a/b/d"

    def test_many_while_they_are_listed(self, hands: Hands) -> None:
        for number in range(30):
            hands.put(f"d/{number % 3}/{number}", b"")
        hands.put("kept", b"")
        answers = list(hands.store.delete(entry.key for entry in hands.store.list("d/")))
        assert len(answers) == 30
        assert hands.keys() == ["kept"]

    def test_a_name_is_free_again(self, hands: Hands) -> None:
        hands.put("a/b/c", b"below")
        list(hands.store.delete(["a/b/c"]))
        hands.put("a", b"above")
        assert hands.read("a") == b"above"
        list(hands.store.delete(["a"]))
        hands.put("a/b", b"between")
        assert hands.read("a/b") == b"between"
