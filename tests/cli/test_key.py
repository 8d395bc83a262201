"""`key`, and templates in place of keys: what a shell would compute."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support.cli_helpers import Place

BAD = [
    ("{nope}", "unknown placeholder"),
    ("a{", "a lone '{'"),
    ("a}", "a lone '}'"),
    ("{hash}", "nothing to hash"),
    ("", "the key is empty"),
    ("/a", "starts with '/'"),
    ("a/", "ends with '/'"),
    ("a//b", "holds '//'"),
    ("a/../b", "has the segment '..'"),
    ("a\\b", "holds a backslash"),
    ("a\nb", "holds the control character"),
    ("a\udc80b", "is not valid UTF-8"),
    ("x" * 480, "is too long: 480 bytes"),
]


def shell(command: str) -> str:
    """What a shell prints."""
    return subprocess.run(
        ["sh", "-c", command], check=True, capture_output=True, text=True
    ).stdout.strip()


class TestKey:
    def test_it_is_all_of_stdout(self, cacher: Run) -> None:
        ended = cacher("key", "deps")
        assert (ended.status, ended.out, ended.err) == (0, b"deps\n", "")

    def test_placeholders(self, cacher: Run) -> None:
        before = datetime.now(UTC)
        told = cacher("key", "{os}-{arch}-{date}-{week}-{{x}}").text.strip()
        system = os.uname().sysname.lower()
        days = {f"{day:%Y-%m-%d}-{day:%G-W%V}" for day in (before, datetime.now(UTC))}
        arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
        assert told in {f"{system}-{arch}-{day}-{{x}}" for day in days}

    def test_one_file(self, cacher: Run) -> None:
        Path("lock").write_bytes(b"abc")
        expected = shell("sha256sum lock | cut -c1-16")
        assert cacher("key", "deps", "--hash-from", "lock").text == f"deps-{expected}\n"
        assert cacher("key", "{hash}/x", "--hash-from=lock").text == f"{expected}/x\n"

    def test_a_directory(self, cacher: Run) -> None:
        for name in ("d/b", "d/a c/x", "d/é"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(name.encode())
        expected = shell(
            "(cd d && find . -type f | LC_ALL=C sort | xargs -d '\\n' sha256sum)"
            " | sha256sum | cut -c1-16"
        )
        assert cacher("key", "{hash}", "--hash-from", "d").text == f"{expected}\n"

    def test_several_in_their_order(self, cacher: Run) -> None:
        for name in ("a", "b"):
            Path(name).write_bytes(name.encode())
        for names in (("a", "b"), ("b", "a")):
            expected = shell(f"sha256sum {' '.join(names)} | sha256sum | cut -c1-16")
            flags = [f"--hash-from={name}" for name in names]
            assert cacher("key", "{hash}", *flags).text == f"{expected}\n"

    @pytest.mark.parametrize(("template", "says"), BAD)
    def test_a_bad_one(self, cacher: Run, template: str, says: str) -> None:
        ended = cacher("key", "--", template)
        assert says in ended.failed(2)
        assert "cacher: hint: " in ended.err
        assert ended.out == b""

    @pytest.mark.parametrize(("path", "status"), [("none", 7), ("*.none", 2), ("empty", 7)])
    def test_nothing_to_hash_is_never_an_empty_hash(
        self, cacher: Run, path: str, status: int
    ) -> None:
        os.mkdir("empty")
        ended = cacher("key", "deps", "--hash-from", path)
        ended.failed(status)
        assert ended.out == b""

    def test_no_configuration_is_read(self, cacher: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CACHER_CONFIG", "/nowhere")
        monkeypatch.setenv("CACHER_JOBS", "many")
        assert cacher("key", "deps").text == "deps\n"


class TestSignal:
    @pytest.mark.parametrize("flag", ["--json", "-v", "-q"])
    def test_it_is_told(self, cacher: Run, monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
        def struck(*_: object, **_more: object) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

        monkeypatch.setattr("cacher.keys.template.resolve_template", struck)
        ended = cacher("key", "k", flag)
        assert ended.status == 128 + signal.SIGTERM
        assert ended.err == ("" if flag == "-q" else "cacher: stopped by SIGTERM\n")
        if flag != "--json":
            assert ended.out == b""
            return
        error = {"kind": "signal", "message": "stopped by SIGTERM", "hint": None}
        assert ended.json == {
            "command": "key",
            "outcome": "stopped",
            "status": 143,
            "key": "k",
            "warnings": [],
            "error": error,
        }


class TestInPlaceOfAKey:
    def test_every_command_takes_one(self, cacher: Run, place: Place) -> None:
        Path("lock").write_bytes(b"abc")
        template = ("deps/{os}-{hash}", "--hash-from", "lock")
        key = cacher("key", *template).text.strip()
        assert cacher("exists", *template).err == f"cacher: miss {key}\n"
        assert cacher("upload", *template, "lock").status == 0
        assert place.keys() == [key]
        assert cacher("exists", *template).status == 0
        assert cacher("download", *template, "copy").status == 0
        assert Path("copy").read_bytes() == b"abc"
        assert cacher("delete", *template).status == 0
        assert place.keys() == []

    def test_a_bad_one(self, cacher: Run, place: Place) -> None:
        Path("f").write_bytes(b"abc")
        for verb, *rest in (("download", "g"), ("upload", "f"), ("exists",), ("delete",)):
            assert "holds '//'" in cacher(verb, "--", "a//b", *rest).failed(2)
        assert place.keys() == place.leftovers() == []
        assert os.listdir() == ["f"]

    def test_too_long_with_the_prefix_only(self, cacher: Run, place: Place) -> None:
        assert cacher("exists", "k" * 200 + "/" + "k" * 200).status == 1
        err = cacher("exists", "k" * 200 + "/" + "k" * 200, "--prefix", "p" * 100).failed(2)
        assert "is too long: 502 bytes with the prefix" in err
