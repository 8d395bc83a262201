"""Paths in settings and arguments: home directories, and names that no file can have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support.cli_helpers import MIB, BucketPlace, LocalPlace, Place, blob

LONG = "a" * 5000

COMMANDS = [
    ("download", "k", "g"),
    ("upload", "k", "f"),
    ("dir", "upload", "k", "d"),
    ("dir", "download", "k", "e"),
    ("exists", "k"),
    ("list",),
    ("delete", "k"),
    ("doctor",),
    ("init",),
]


@pytest.fixture
def home() -> Path:
    """The home directory, with a file, a directory and a lock file in it."""
    path = Path(os.environ["HOME"])
    (path / "d").mkdir(parents=True)
    (path / "f").write_bytes(b"abc")
    (path / "d/f").write_bytes(b"abc")
    return path


class TestHome:
    def test_in_arguments(self, cacher: Run, place: Place, home: Path) -> None:
        for argv in (
            ("upload", "k", "~/f"),
            ("download", "k", "~/g"),
            ("dir", "upload", "t", "~/d"),
            ("dir", "download", "t", "~/e"),
        ):
            assert cacher(*argv).status == 0
        assert (home / "g").read_bytes() == (home / "e/f").read_bytes() == b"abc"
        assert os.listdir() == []
        assert cacher("download", "k", "~/g", "--json").json["dest"] == str(home / "g")
        whole = cacher("key", "k", "--hash-from", str(home / "d"), "--hash-from", str(home / "f"))
        assert cacher("key", "k", "--hash-from", "~/d", "--hash-from", "~/f").out == whole.out
        assert cacher("exists", "k-{hash}", "--hash-from", "~/*").status == 1

    @pytest.mark.parametrize(
        ("argv", "says"),
        [
            (("download", "k", ""), "DEST is an empty string"),
            (("upload", "k", ""), "FILE is an empty string"),
            (("dir", "upload", "k", ""), "DIR is an empty string"),
            (("dir", "download", "k", ""), "DIR is an empty string"),
            (("exists", "k", "--endpoint", ""), "DIRECTORY, not an empty string"),
        ],
    )
    def test_an_empty_one_is_an_unset_variable(
        self, cacher: Run, place: Place, argv: tuple[str, ...], says: str
    ) -> None:
        err = cacher(*argv).failed(2)
        assert f"{says}\ncacher: hint: is the variable set?\n" in err

    def test_another_users(self, cacher: Run, local: LocalPlace) -> None:
        err = cacher("upload", "k", "~root/no/such/file").failed(7)
        assert "~" not in err
        assert "/no/such/file" in err

    def test_a_name_that_begins_so(self, cacher: Run, place: Place, home: Path) -> None:
        Path("~f").write_bytes(b"abcd")
        assert cacher("upload", "k", "./~f").status == 0
        assert cacher("upload", "l", "~f").status == 0  # there is no user of that name
        assert cacher("download", "k", "./~").status == 0
        assert Path("~").read_bytes() == b"abcd"

    def test_in_the_settings(
        self, cacher: Run, bucket: BucketPlace, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, file in (("S3_KEY_ID", "id"), ("S3_SECRET", "secret")):
            (home / file).write_text(bucket.environment[f"CACHER_{name}"])
            monkeypatch.delenv(f"CACHER_{name}")
        (home / "c.toml").write_text('key-file = "~/id"\nsecret-file = "~/secret"\n')
        assert cacher("exists", "k", "--config", "~/c.toml").status == 1
        assert cacher("exists", "k", "--key-file", "~/id", "--secret-file", "~/secret").status == 1
        monkeypatch.setenv("CACHER_CONFIG", "~/c.toml")
        assert cacher("doctor").status == 0
        err = cacher("exists", "k", "--ca-file", "~/none").failed(2)
        assert f"no such file: {home}/none" in err

    def test_in_an_endpoint(self, cacher: Run, home: Path) -> None:
        assert cacher("upload", "k", "~/f", "--endpoint", "file://~/store").status == 0
        assert (home / "store/k").read_bytes() == b"abc"


class TestArguments:
    @pytest.mark.parametrize(
        "path",
        [LONG, f"~{LONG}", f"~/{'a' * 300}", "\udcff", "~\udcff/x", "~\n/x", "/dev/null/x", "%00"],
        ids=lambda path: ascii(path[:12]),
    )
    def test_a_path_that_cannot_be_is_no_bug(
        self, cacher: Run, local: LocalPlace, path: str
    ) -> None:
        local.put("k", b"abc")
        for status, argv in (
            (7, ("upload", "new", path)),
            (7, ("dir", "upload", "new", path)),
            (7, ("exists", "k", "--hash-from", path)),
            (7, ("key", "k", "--hash-from", path)),
            (2, ("exists", "k", "--config", path)),
            (2, ("init", "--key-file", path, "--no-check")),
        ):
            cacher(*argv).failed(status)
        assert local.keys() == ["k"]

    @pytest.mark.parametrize("path", [LONG, f"~/{'a' * 300}", "/dev/null/x"], ids=lambda p: p[:9])
    def test_a_destination_that_cannot_be_is_no_bug(
        self, cacher: Run, local: LocalPlace, path: str
    ) -> None:
        local.put("k", b"abc")
        cacher("download", "k", path).failed(7)


class TestEndpoints:
    @pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
    def test_one_that_cannot_be_is_no_bug_of_any_command(
        self, cacher: Run, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
    ) -> None:
        self.refused(cacher, monkeypatch, "file:///tmp/%00", argv)

    @pytest.mark.parametrize(
        "endpoint",
        [
            "file:///tmp/a%00b",
            "FILE:///tmp/%00",
            f"file:///{LONG}",
            f"file:///tmp/{'a' * 300}/b",
            "file:///proc/a%0Ab",
            "file:///proc/%ff%",
            "file:///proc/%",
            "http://h:0",
            "http://a\nb",
        ],
        ids=lambda endpoint: endpoint[:20],
    )
    def test_one_that_cannot_be_is_no_bug(
        self, cacher: Run, monkeypatch: pytest.MonkeyPatch, endpoint: str
    ) -> None:
        for argv in (("list",), ("upload", "k", "f")):
            self.refused(cacher, monkeypatch, endpoint, argv)

    @staticmethod
    def refused(
        cacher: Run, monkeypatch: pytest.MonkeyPatch, endpoint: str, argv: tuple[str, ...]
    ) -> None:
        Path("d").mkdir(exist_ok=True)
        Path("f").write_bytes(b"abc")
        for name in ("BUCKET", "S3_KEY_ID", "S3_SECRET"):
            monkeypatch.setenv(f"CACHER_{name}", "abc")
        monkeypatch.setenv("CACHER_ENDPOINT", endpoint)
        ended = cacher(*argv)
        assert ended.status != 70, ended.err
        assert "Traceback" not in ended.err
        assert all(line.isprintable() for line in ended.err.splitlines())
        if "%00" in endpoint or ":0" in endpoint or "\n" in endpoint:
            assert "CACHER_ENDPOINT: " in ended.failed(2)

    def test_a_scheme_in_capitals(
        self, cacher: Run, bucket: BucketPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket.put("k", b"abc")
        upper = bucket.server.endpoint.replace("http", "HTTP")
        assert cacher("exists", "k", "--endpoint", upper).status == 0
        Path("f").write_bytes(b"abc")
        uri = (tmp_path / "Store").as_uri().replace("file", "FILE")
        assert cacher("upload", "k", "f", "--endpoint", uri).status == 0
        assert (tmp_path / "Store/k").read_bytes() == b"abc"

    def test_names_that_are_not_utf_8(
        self, cacher: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        Path("f").write_bytes(b"abc")
        store = tmp_path / "\udcff"
        for endpoint in (f"file://{store}", f"file://{tmp_path}/%FF"):
            monkeypatch.setenv("CACHER_ENDPOINT", endpoint)
            assert cacher("upload", "k", "f", "--force").status == 0
            assert (store / "k").read_bytes() == b"abc"
            (store / "k").unlink()


class TestFiles:
    @pytest.mark.parametrize("name", ["key-file", "secret-file", "ca-file"])
    @pytest.mark.parametrize("value", [LONG, "a\udcff", "a\tb"], ids=["long", "bytes", "tab"])
    def test_a_file_that_cannot_be_is_no_bug(
        self,
        cacher: Run,
        bucket: BucketPlace,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        value: str,
    ) -> None:
        Path("other").write_text("x")
        if name != "ca-file":
            for variable in ("CACHER_S3_KEY_ID", "CACHER_S3_SECRET"):
                monkeypatch.delenv(variable)
        for flag in {"key-file", "secret-file"} - {name}:
            monkeypatch.setenv(f"CACHER_{flag.upper().replace('-', '_')}", "other")
        assert cacher("exists", "k", f"--{name}", value).failed(2)
        assert cacher("doctor", f"--{name}", value).status == 2

    @pytest.mark.parametrize("name", ["key-file", "secret-file", "ca-file"])
    def test_a_nul_in_the_config_file(self, cacher: Run, bucket: BucketPlace, name: str) -> None:
        Path("c.toml").write_text(f'{name} = "~MARKED\\u0000"\n')
        err = cacher("exists", "k", "--config", "c.toml").failed(2)
        assert "a file's name cannot hold a NUL character" in err
        assert ("MARKED" in err) == (name == "ca-file")

    def test_a_config_file_whose_name_is_too_long(self, cacher: Run) -> None:
        assert "file name too long" in cacher("list", "--config", LONG).failed(2)


class TestPartSize:
    @pytest.mark.parametrize(
        ("flags", "sizes"),
        [((), [10, 10]), (("--part-size", "16MiB"), [16]), (("--part-size", "6MiB"), [6, 6, 6, 6])],
    )
    def test_a_stream_has_the_parts_that_were_asked_for(
        self, cacher: Run, bucket: BucketPlace, flags: tuple[str, ...], sizes: list[int]
    ) -> None:
        Path("d").mkdir()
        Path("d/f").write_bytes(blob(24 * MIB))
        assert cacher("dir", "upload", "k", "d", *flags).status == 0
        parts = [seen.body_length for seen in bucket.server.select(operation="UploadPart")]
        assert [size for size in parts if size == max(parts)] == [size * MIB for size in sizes]
