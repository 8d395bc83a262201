"""Global options: where they may stand, where else they come from, and which one wins."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from cacher import __version__
from tests.cli.conftest import Run
from tests.fakes.certificates import write_certificate
from tests.support.cli_helpers import MIB, BucketPlace, LocalPlace, Place, blob
from tests.support.doctor_helpers import Serve


@pytest.fixture
def stores(tmp_path: Path) -> dict[str, str]:
    """Three stores, each with an entry named after it, and their endpoints."""
    endpoints = {}
    for name in ("flag", "variable", "file"):
        place = LocalPlace(tmp_path / name)
        place.put(name, b"abc")
        endpoints[name] = place.environment["CACHER_ENDPOINT"]
    return endpoints


def write_config(text: str) -> Path:
    """The config file where it is looked for."""
    path = Path(os.environ["XDG_CONFIG_HOME"]) / "cacher" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


class TestPlaces:
    @pytest.mark.parametrize("before", [True, False])
    def test_before_and_after_the_command(
        self, cacher: Run, stores: dict[str, str], before: bool
    ) -> None:
        options = ["--endpoint", stores["flag"], "--jobs", "2", "-q"]
        command = ["exists", "flag"]
        ended = cacher(*options, *command) if before else cacher(*command, *options)
        assert (ended.status, ended.err) == (0, "")

    def test_the_one_after_the_command_wins(self, cacher: Run, stores: dict[str, str]) -> None:
        options = ("--endpoint", stores["file"], "exists", "flag", "--endpoint", stores["flag"])
        assert cacher(*options).status == 0

    def test_one_before_is_not_undone_by_the_command(
        self, cacher: Run, stores: dict[str, str]
    ) -> None:
        ended = cacher("--endpoint", stores["flag"], "--json", "list")
        assert b'"key": "flag"' in ended.out

    def test_flags_over_variables_over_the_file_over_the_default(
        self, cacher: Run, stores: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert cacher("list").text == ""  # the default: an empty store of one's own
        write_config(f'endpoint = "{stores["file"]}"\n')
        assert cacher("list").text.startswith("file\t")
        monkeypatch.setenv("CACHER_ENDPOINT", stores["variable"])
        assert cacher("list").text.startswith("variable\t")
        assert cacher("list", "--endpoint", stores["flag"]).text.startswith("flag\t")

    def test_an_empty_variable_is_not_set(
        self, cacher: Run, stores: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_config(f'endpoint = "{stores["file"]}"\n')
        monkeypatch.setenv("CACHER_ENDPOINT", "")
        assert cacher("list").text.startswith("file\t")

    def test_settings_of_a_bucket_from_everywhere(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        bucket.put("team/k", b"abc")
        for name in ("ENDPOINT", "REGION", "BUCKET", "S3_KEY_ID", "S3_SECRET"):
            monkeypatch.delenv(f"CACHER_{name}")
        for name in ("key", "secret"):
            value = getattr(bucket.server, f"{name if name == 'secret' else 'access'}_key")
            (tmp_path / name).write_text(f"{value}\n")
        write_config(
            f'endpoint = "{bucket.server.endpoint}"\nregion = "{bucket.server.region}"\n'
            f'key-file = "{tmp_path}/key"\nsecret_file = "{tmp_path}/secret"\njobs = 2\n'
        )
        monkeypatch.setenv("CACHER_BUCKET", bucket.server.bucket)
        assert cacher("exists", "k", "--prefix", "team").status == 0


class TestConfigFile:
    def test_another_one(
        self, cacher: Run, stores: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_config(f'endpoint = "{stores["file"]}"\n')
        for name in ("variable", "flag"):
            Path(name).write_text(f'endpoint = "{stores[name]}"\n')
        monkeypatch.setenv("CACHER_CONFIG", "variable")
        assert cacher("list").text.startswith("variable\t")
        assert cacher("list", "--config", "flag").text.startswith("flag\t")

    @pytest.mark.parametrize("argv", [["--config", "none"], []])
    def test_one_that_was_named_must_be_there(
        self, cacher: Run, monkeypatch: pytest.MonkeyPatch, argv: list[str]
    ) -> None:
        if not argv:
            monkeypatch.setenv("CACHER_CONFIG", "none")
        assert "no config file none" in cacher("list", *argv).failed(2)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("endpont = 1\n", "unknown key 'endpont' (line 1)"),
            ("jobs = 0\n", "'0': not a number from 1 to 64"),
            ("jobs 1\n", "is not TOML"),
        ],
    )
    def test_a_bad_one(self, cacher: Run, text: str, says: str) -> None:
        path = write_config(text)
        err = cacher("list").failed(2)
        assert says in err
        assert str(path) in err


BAD = [
    ("endpoint", "ftp://h", "an endpoint is http(s)://HOST"),
    ("jobs", "0", "not a number from 1 to 64"),
    ("part-size", "1MiB", "a part has 5MiB to 1GiB"),
]


class TestValues:
    @pytest.mark.parametrize(("name", "value", "says"), BAD)
    def test_a_bad_flag(self, cacher: Run, name: str, value: str, says: str) -> None:
        err = cacher("list", f"--{name}", value).failed(2)
        assert says in err
        assert f"error: --{name}: " in err

    @pytest.mark.parametrize(("name", "value", "says"), BAD)
    def test_a_bad_variable(
        self, cacher: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
    ) -> None:
        variable = f"CACHER_{name.upper().replace('-', '_')}"
        monkeypatch.setenv(variable, value)
        err = cacher("list").failed(2)
        assert says in err
        assert f"error: {variable}: " in err

    def test_part_size_and_jobs_are_used(self, cacher: Run, bucket: BucketPlace) -> None:
        Path("f").write_bytes(blob(13 * MIB))
        assert cacher("upload", "k", "f", "--part-size", "6M", "--jobs", "1").status == 0
        parts = bucket.server.select(operation="UploadPart")
        assert [record.body_length for record in parts] == [6 * MIB, 6 * MIB, MIB]

    @pytest.mark.parametrize("variable", ["CACHER_CA_FILE", "AWS_CA_BUNDLE", "SSL_CERT_FILE"])
    def test_a_private_authority(
        self,
        cacher: Run,
        serve: Serve,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        variable: str,
    ) -> None:
        pair = write_certificate(tmp_path)
        serve(tls=pair)
        err = cacher("exists", "k").failed(3)
        assert "the certificate is not accepted" in err
        assert "--ca-file" in err
        monkeypatch.setenv(variable, str(pair[0]))
        assert cacher("exists", "k").status == 1

    def test_a_certificate_file_that_is_not_there(self, cacher: Run, bucket: BucketPlace) -> None:
        assert "--ca-file: no such file" in cacher("exists", "k", "--ca-file", "none").failed(2)

    @pytest.mark.parametrize("source", ["--ca-file", "SSL_CERT_FILE", "AWS_CA_BUNDLE"])
    def test_a_certificate_file_that_is_a_fifo(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch, source: str
    ) -> None:
        os.mkfifo("ff")
        flags = []
        if source.startswith("--"):
            flags = [source, "ff"]
        else:
            monkeypatch.setenv(source, "ff")
        error = cacher("exists", "k", *flags).failed(2)
        assert f"{source}: is not a regular file: ff" in error
        assert "hint: it takes a file of PEM certificates" in error

    def test_a_certificate_file_that_is_a_directory(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "--ca-file: is a directory: ." in cacher("exists", "k", "--ca-file", ".").failed(2)
        monkeypatch.setenv("SSL_CERT_FILE", "/etc")
        assert "SSL_CERT_FILE: is a directory: /etc" in cacher("exists", "k").failed(2)


class TestSwitches:
    def test_quiet(self, cacher: Run, place: Place) -> None:
        place.put("k", b"abc")
        Path("f").write_bytes(b"abcd")
        for argv, status in (
            (("exists", "k"), 0),
            (("exists", "none"), 1),
            (("download", "k", "g"), 0),
            (("delete", "none"), 0),
        ):
            ended = cacher(*argv, "-q")
            assert (ended.status, ended.err) == (status, "")
        assert cacher("upload", "k", "f", "-q").err.startswith("cacher: warning: ")
        assert "cacher: error: " in cacher("upload", "k", "none", "--quiet").err

    def test_verbose(self, cacher: Run, place: Place) -> None:
        for key in ("a", "b"):
            place.put(key, b"abc")
        assert "cacher: deleted a\n" in cacher("delete", "a", "-v").err
        assert cacher("delete", "b").err == "cacher: deleted b\n"

    @pytest.mark.parametrize("given", ["flag", "variable"])
    def test_debug(
        self, cacher: Run, place: Place, monkeypatch: pytest.MonkeyPatch, given: str
    ) -> None:
        argv = ["--debug"] if given == "flag" else []
        if not argv:
            monkeypatch.setenv("CACHER_DEBUG", "1")
        ended = cacher("upload", "k", "none", *argv)
        assert ended.status == 7
        assert "FileNotFoundError" in ended.err
        assert "Traceback (most recent call last)" in ended.err

    def test_debug_shows_where_a_bug_is_that_needs_no_store(
        self, cacher: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def confuse(*_: object, **_more: object) -> None:
            raise AssertionError("never")

        monkeypatch.setattr("cacher.keys.template.resolve_template", confuse)
        ended = cacher("key", "k", "--debug")
        assert ended.status == 70
        assert "in confuse" in ended.err

    def test_debug_shows_where_a_bug_is(
        self, cacher: Run, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def confuse(*_: object) -> None:
            raise RuntimeError("confused")

        monkeypatch.setattr("cacher.commands.exists.exists", confuse)
        ended = cacher("exists", "k")
        assert "a bug in cacher: RuntimeError: confused" in ended.failed(70)
        ended = cacher("exists", "k", "--debug")
        assert ended.status == 70
        assert "in confuse" in ended.err

    @pytest.mark.parametrize("off", ["0", "false", "no", "off", ""])
    def test_a_variable_can_say_no(
        self, cacher: Run, place: Place, monkeypatch: pytest.MonkeyPatch, off: str
    ) -> None:
        for name in ("JSON", "QUIET", "DEBUG"):
            monkeypatch.setenv(f"CACHER_{name}", off)
        assert cacher("exists", "k").err == "cacher: miss k\n"

    @pytest.mark.parametrize("name", ["JSON", "QUIET", "VERBOSE", "DEBUG"])
    def test_a_variable_that_says_neither(
        self, cacher: Run, place: Place, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv(f"CACHER_{name}", "maybe")
        for argv in (("exists", "k"), ("version",), ("key", "k")):
            ended = cacher(*argv)
            assert ended.status == 2
            line = f"cacher: error: CACHER_{name}: 'maybe' is neither yes nor no\n"
            assert ended.err == f"{line}cacher: hint: use 1 or 0\n"
        assert cacher("--help").status == 0

    @pytest.mark.parametrize("on", ["1", "true", "YES", "On", " 1 "])
    def test_a_variable_can_say_yes(
        self, cacher: Run, place: Place, monkeypatch: pytest.MonkeyPatch, on: str
    ) -> None:
        monkeypatch.setenv("CACHER_QUIET", on)
        assert cacher("exists", "k").err == ""


class TestHelp:
    @pytest.mark.parametrize("argv", [["--version"], ["-V"], ["version"], ["version", "-q"]])
    def test_version(self, cacher: Run, argv: list[str]) -> None:
        ended = cacher(*argv)
        assert (ended.status, ended.text, ended.err) == (0, f"cacher {__version__}\n", "")

    @pytest.mark.parametrize(
        "argv",
        [["nope"], ["exists"], ["exists", "a", "b"], ["list", "--nope"], ["list", "--jso"]],
    )
    def test_a_command_line_that_is_none(self, cacher: Run, argv: list[str]) -> None:
        ended = cacher(*argv)
        assert re.search("cacher: hint: .*`cacher .*--help`", ended.failed(2))
        assert ended.out == b""

    def test_the_hint_names_the_command_if_there_is_one(self, cacher: Run) -> None:
        assert "hint: `cacher --help` shows how" in cacher("--nope").failed(2)
        assert "hint: `cacher exists --help` shows how" in cacher("exists", "k", "-x").failed(2)
