"""`--json`: one object on stdout for every command, whatever becomes of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cacher import __version__
from tests.cli.conftest import Run
from tests.fakes.faults import Fault, Respond
from tests.fakes.origin import Origin, Reply
from tests.support.cli_helpers import BucketPlace, LocalPlace, Place, sha256

ABC = sha256(b"abc")


def timeless(told: dict[str, Any]) -> dict[str, Any]:
    """The object without what is another number each time."""
    assert 0 <= told.pop("seconds") < 60
    return told


class TestSuccess:
    def test_version(self, cacher: Run) -> None:
        for argv in (("version",), ("--version",)):
            assert cacher(*argv, "--json").json == {
                "command": "version",
                "outcome": "shown",
                "status": 0,
                "version": __version__,
                "warnings": [],
            }

    @pytest.mark.parametrize("topic", [[], ["options"], ["download"], ["dir", "upload"]], ids=str)
    def test_help(self, cacher: Run, topic: list[str]) -> None:
        assert cacher("help", *topic, "--json").json == {
            "command": "help",
            "outcome": "shown",
            "status": 0,
            "text": cacher("help", *topic).text.removesuffix("\n"),
            "warnings": [],
        }

    def test_the_option_for_help_shows_text(self, cacher: Run) -> None:
        assert cacher("--json", "exists", "--help").text == cacher("help", "exists").text

    def test_key(self, cacher: Run) -> None:
        assert cacher("key", "{k}", "--literal", "--json").json == {
            "command": "key",
            "outcome": "resolved",
            "status": 0,
            "key": "{k}",
            "warnings": [],
        }

    def test_upload(self, cacher: Run, place: Place) -> None:
        Path("f").write_bytes(b"abc")
        expected = {
            "command": "upload",
            "outcome": "stored",
            "status": 0,
            "key": "k",
            "store": place.name,
            "size": 3,
            "sha256": ABC,
            "warnings": [],
        }
        assert timeless(cacher("upload", "k", "f", "--json").json) == expected
        again = timeless(cacher("--json", "upload", "k", "f").json)
        assert again == expected | {"outcome": "exists"}

    def test_a_warning(self, cacher: Run, place: Place) -> None:
        place.put("k", b"abcd")
        Path("f").write_bytes(b"abc")
        told = cacher("upload", "k", "f", "--json").json
        assert told["warnings"] == [
            "k is stored already, with 4 bytes instead of 3; another file needs another KEY"
        ]
        assert told["size"] == 4

    def test_download(self, cacher: Run, place: Place) -> None:
        place.put("k", b"abc")
        assert timeless(cacher("download", "k", "f", "--json").json) == {
            "command": "download",
            "outcome": "hit",
            "status": 0,
            "key": "k",
            "store": place.name,
            "size": 3,
            "sha256": ABC,
            "dest": "f",
            "warnings": [],
        }

    @pytest.mark.parametrize("stored", [True, False])
    def test_download_from_an_origin(
        self, cacher: Run, place: Place, origin: Origin, stored: bool
    ) -> None:
        url = origin.script("/f", Reply(body=b"abc"))
        more = [] if stored else ["--no-store"]
        assert timeless(cacher("download", "k", "f", "--url", url, "--json", *more).json) == {
            "command": "download",
            "outcome": "fetched",
            "status": 0,
            "key": "k",
            "store": place.name,
            "size": 3,
            "sha256": ABC,
            "dest": "f",
            "url": url,
            "stored": stored,
            "warnings": [],
        }

    @pytest.mark.parametrize("digest", [None, ""])
    def test_exists(self, cacher: Run, place: Place, digest: str | None) -> None:
        place.put("k", b"abc", digest)
        told = cacher("exists", "k", "--json").json
        assert told.pop("modified").endswith("Z")
        assert told == {
            "command": "exists",
            "outcome": "hit",
            "status": 0,
            "key": "k",
            "store": place.name,
            "size": 3,
            "sha256": ABC if digest is None else None,
            "warnings": [],
        }

    def test_list_has_an_object_a_line(self, cacher: Run, place: Place) -> None:
        for key in ("a", "b"):
            place.put(key, b"abc")
        lines = [json.loads(line) for line in cacher("list", "--json").out.splitlines()]
        assert [(line["key"], line["size"]) for line in lines] == [("a", 3), ("b", 3)]
        assert all(set(line) == {"key", "size", "modified"} for line in lines)

    def test_a_variable_does_the_same(
        self, cacher: Run, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CACHER_JSON", "1")
        place.put("k", b"abc")
        assert cacher("exists", "k").json["outcome"] == "hit"
        assert cacher("exists").json["outcome"] == "error"

    def test_it_is_ascii(self, cacher: Run, place: Place) -> None:
        place.put("ä\u2028", b"abc")
        ended = cacher("exists", "ä\u2028", "--json")
        assert ended.out.isascii()
        assert ended.json["key"] == "ä\u2028"

    def test_stderr_is_as_ever(self, cacher: Run, place: Place) -> None:
        assert cacher("exists", "k", "--json").err == "cacher: miss k\n"


class TestFailure:
    @pytest.mark.parametrize("command", [("exists", "{k}"), ("download", "{k}", "f")])
    def test_a_miss(self, cacher: Run, place: Place, command: tuple[str, ...]) -> None:
        ended = cacher(*command, "--literal", "--json")
        assert ended.status == 1
        assert ended.json == {
            "command": command[0],
            "outcome": "miss",
            "status": 1,
            "key": "{k}",
            "warnings": [],
            "error": None,
        }

    def test_an_error(self, cacher: Run, place: Place) -> None:
        place.put("k", b"abc")
        ended = cacher("download", "k", "f", "--sha256", "0" * 64, "--json")
        assert ended.status == 5
        told = ended.json
        error = told.pop("error")
        assert told == {
            "command": "download",
            "outcome": "error",
            "status": 5,
            "key": "k",
            "warnings": [],
        }
        assert error["kind"] == "integrity"
        assert f"cacher: error: {error['message']}\n" in ended.err
        assert f"cacher: hint: {error['hint']}\n" in ended.err
        assert os.listdir() == []

    def test_warnings_that_came_before(self, cacher: Run, place: Place, origin: Origin) -> None:
        urls = [f"--url={origin.url(path)}" for path in ("/a", "/b")]
        told = cacher("download", "k", "f", *urls, "--json").json
        assert told["error"]["kind"] == "source"
        assert len(told["warnings"]) == 2

    @pytest.mark.parametrize(
        ("argv", "status", "kind"),
        [
            (["exists"], 2, "usage"),
            (["nope"], 2, "usage"),
            ([], 2, "usage"),
            (["exists", "k", "--jobs", "0"], 2, "usage"),
            (["key", "{nope}"], 2, "usage"),
            (["key", "k", "--hash-from", "none"], 7, "local"),
            (["upload", "k", "none"], 7, "local"),
            (["download", "k", "-"], 2, "usage"),
            (["delete", "--prefix", "a"], 2, "usage"),
            (["list", "--config", "none"], 2, "usage"),
            (["list", "--sort", "nope"], 2, "usage"),
        ],
        ids=str,
    )
    def test_each_is_one_object(
        self, cacher: Run, local: LocalPlace, argv: list[str], status: int, kind: str
    ) -> None:
        ended = cacher("--json", *argv)
        assert ended.status == status
        told = ended.json
        assert (told["outcome"], told["status"]) == ("error", status)
        assert told["error"]["kind"] == kind
        assert set(told) == {"command", "outcome", "status", "key", "warnings", "error"}

    def test_a_list_that_fails_ends_with_it(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.server.seed(f"{number:04}" for number in range(1001))
        bucket.server.inject(Fault(Respond(403, "AccessDenied"), nth=2, times=None))
        ended = cacher("list", "--json")
        assert ended.status == 4
        *lines, last = [json.loads(line) for line in ended.out.splitlines()]
        assert len(lines) == 1000
        assert (last["outcome"], last["error"]["kind"]) == ("error", "access")
