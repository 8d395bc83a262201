"""What is done where no endpoint is set, and which variables name one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support.cli_helpers import BucketPlace, LocalPlace
from tests.support.doctor_helpers import Chart

COMMANDS = [
    ("download", "k", "f"),
    ("upload", "k", "f"),
    ("dir", "upload", "k", "d"),
    ("dir", "download", "k", "d"),
    ("docker", "upload", "k", "i"),
    ("docker", "download", "k"),
    ("docker", "exists", "k"),
    ("exists", "k"),
    ("list",),
    ("delete", "k"),
    ("init",),
    ("doctor",),
]
"""Every command that has a use for a store."""

SIGNS = [
    ({"CACHER_BUCKET": "cache"}, (), "CACHER_BUCKET"),
    ({}, ("--bucket", "cache"), "--bucket"),
    ({"CACHER_S3_KEY_ID": "id"}, (), "CACHER_S3_KEY_ID"),
    ({"CACHER_S3_SECRET": "MARKED"}, (), "CACHER_S3_SECRET"),
    ({"CACHER_S3_SESSION_TOKEN": "MARKED"}, (), "CACHER_S3_SESSION_TOKEN"),
    ({"CACHER_KEY_FILE": "id"}, (), "CACHER_KEY_FILE"),
    ({}, ("--secret-file", "secret"), "--secret-file"),
    ({"CACHER_REGION": "garage"}, (), "CACHER_REGION"),
]
"""What shows that a bucket was meant, and the name that is told."""


@pytest.fixture
def default(tmp_path: Path) -> Path:
    """The embedded default store."""
    Path("d").mkdir()
    Path("f").write_bytes(b"abc")
    return tmp_path / "home/.cache/cacher/store"


@pytest.fixture
def bare(bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch) -> BucketPlace:
    """A bucket whose endpoint and region the environment does not name."""
    for name in ("CACHER_ENDPOINT", "CACHER_REGION"):
        monkeypatch.delenv(name)
    return bucket


class TestForgotten:
    @pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
    def test_every_command_refuses_a_bucket_without_an_endpoint(
        self, cacher: Run, default: Path, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
    ) -> None:
        monkeypatch.setenv("CACHER_BUCKET", "cache")
        err = cacher(*argv).failed(2)
        assert "CACHER_BUCKET is set, but CACHER_ENDPOINT is not set\n" in err
        assert "set CACHER_ENDPOINT=https://HOST" in err
        assert "local store " not in err.partition("cacher: hint")[0]
        assert not default.exists()

    @pytest.mark.parametrize(("environ", "argv", "name"), SIGNS)
    def test_what_is_set_is_named(
        self,
        cacher: Run,
        default: Path,
        monkeypatch: pytest.MonkeyPatch,
        environ: dict[str, str],
        argv: tuple[str, ...],
        name: str,
    ) -> None:
        for variable, value in environ.items():
            monkeypatch.setenv(variable, value)
        err = cacher("upload", "k", "f", *argv).failed(2)
        assert f"error: {name} is set, but CACHER_ENDPOINT is not set\n" in err
        assert "MARKED" not in err
        assert not default.exists()

    def test_a_bucket_in_the_config_file(self, cacher: Run, default: Path) -> None:
        Path("c.toml").write_text('bucket = "cache"\n')
        err = cacher("upload", "k", "f", "--config", "c.toml").failed(2)
        assert "error: bucket in c.toml is set, but CACHER_ENDPOINT is not set\n" in err

    def test_an_empty_endpoint_is_called_empty(
        self, cacher: Run, default: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CACHER_BUCKET", "cache")
        monkeypatch.setenv("CACHER_ENDPOINT", "")
        assert "but CACHER_ENDPOINT is empty\n" in cacher("upload", "k", "f").failed(2)
        assert not default.exists()

    @pytest.mark.parametrize("name", ["CACHER_ENDPONT", "CACHER_ENDPOINT_URL", "CACHER_ENPOINT"])
    def test_a_misspelt_endpoint_is_named(
        self,
        cacher: Run,
        default: Path,
        bare: BucketPlace,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
    ) -> None:
        monkeypatch.setenv(name, bare.server.endpoint)
        ended = cacher("upload", "k", "f")
        assert "error: CACHER_BUCKET is set, but CACHER_ENDPOINT is not set\n" in ended.failed(2)
        assert f"hint: there is a variable {name}: is CACHER_ENDPOINT meant?\n" in ended.err
        assert ended.warnings == [f"cacher reads no variable {name}; did you mean CACHER_ENDPOINT?"]
        assert not default.exists()

    @pytest.mark.parametrize(
        ("argv", "name"),
        [
            *((argv, "CACHER_ENDPOIN") for argv in COMMANDS),
            *((("exists", "k"), name) for name in ("CACHER_Endpoint", "CACHER_URL")),
        ],
    )
    def test_a_misspelt_endpoint_alone_is_no_default(
        self,
        cacher: Run,
        default: Path,
        monkeypatch: pytest.MonkeyPatch,
        argv: tuple[str, ...],
        name: str,
    ) -> None:
        monkeypatch.setenv(name, "http://MARKED")
        err = cacher(*argv).failed(2)
        assert f"{name} is set, but CACHER_ENDPOINT is not set\n" in err
        assert (
            f"hint: is CACHER_ENDPOINT meant? without {name}, the local store would be used\n"
            in err
        )
        assert "MARKED" not in err
        assert not default.exists()

    def test_a_misspelt_endpoint_that_is_empty_or_not_needed(
        self, cacher: Run, default: Path, local: LocalPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CACHER_ENDPOIN", "http://127.0.0.1:9")
        assert cacher("upload", "k", "f").status == 0
        assert local.keys() == ["k"]
        monkeypatch.setenv("CACHER_ENDPOIN", "")
        monkeypatch.delenv("CACHER_ENDPOINT")
        assert cacher("exists", "k").status == 1
        assert not default.exists()

    def test_doctor_fails_at_the_settings(
        self, cacher: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CACHER_BUCKET", "cache")
        ended = cacher("doctor")
        ended.failed(2)
        assert Chart(ended).names("fail") == ["config"]

    def test_an_endpoint_without_a_bucket_names_both(
        self, cacher: Run, bare: BucketPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CACHER_BUCKET")
        for name in ("CACHER_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
            with monkeypatch.context() as patch:
                patch.setenv(name, bare.server.endpoint)
                err = cacher("exists", "k").failed(2)
            assert f"error: {name} is set, but CACHER_BUCKET is not: " in err
        assert bare.server.requests == []


class TestDefault:
    @pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
    def test_every_command_says_that_it_uses_the_local_store(
        self, cacher: Run, default: Path, argv: tuple[str, ...]
    ) -> None:
        line = f"cacher: no endpoint is set: using the local store {default}\n"
        assert cacher(*argv).err.count(line) == 1
        assert "local store" not in cacher(*argv, "-q").err
        told = cacher(*argv, "--json")
        if argv not in [("list",), ("init",)]:  # by now there is a config file
            assert told.json["default_store"] == str(default)

    def test_credentials_for_other_programs_are_no_sign_of_a_bucket(
        self, cacher: Run, default: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            monkeypatch.setenv(name, "x")
        monkeypatch.setenv("CACHER_S3_KEY_ID", "")  # as a secret that is not set arrives
        monkeypatch.setenv("CACHER_S3_SECRET", " ")
        ended = cacher("upload", "k", "f")
        assert ended.status == 0
        assert f"using the local store {default}\n" in ended.err
        assert (default / "k").read_bytes() == b"abc"

    def test_an_endpoint_that_is_set_needs_no_words(
        self, cacher: Run, local: LocalPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CACHER_BUCKET", "cache")
        monkeypatch.setenv("CACHER_S3_KEY_ID", "id")
        uri = local.root.as_uri()
        assert cacher("exists", "k").err == "cacher: miss k\n"
        monkeypatch.delenv("CACHER_ENDPOINT")
        assert cacher("exists", "k", "--endpoint", uri).err == "cacher: miss k\n"
        Path("c.toml").write_text(f'endpoint = "{uri}"\n')
        ended = cacher("exists", "k", "--config", "c.toml", "--json")
        assert ended.err == "cacher: miss k\n"
        assert "default_store" not in ended.json

    @pytest.mark.parametrize(
        "argv", [("key", "k"), ("version",), ("completion", "bash"), ("--help",), ("list", "-h")]
    )
    def test_what_needs_no_store_says_nothing(
        self, cacher: Run, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
    ) -> None:
        assert cacher(*argv).err == ""
        monkeypatch.setenv("CACHER_BUCKET", "cache")
        monkeypatch.setenv("CACHER_ENDPONT", "x")
        assert cacher(*argv).err == ""


class TestOtherVariables:
    @pytest.mark.parametrize(
        ("endpoint", "region"),
        [
            ("AWS_ENDPOINT_URL_S3", "AWS_REGION"),
            ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"),
        ],
    )
    def test_those_of_aws_name_a_store(
        self,
        cacher: Run,
        bare: BucketPlace,
        monkeypatch: pytest.MonkeyPatch,
        endpoint: str,
        region: str,
    ) -> None:
        bare.put("k", b"abc")
        monkeypatch.setenv(endpoint, bare.server.endpoint)
        monkeypatch.setenv(region, bare.server.region)
        assert cacher("exists", "k").err == "cacher: hit k (3 B)\n"
        chart = Chart(cacher("doctor"))
        assert chart["endpoint"].text == f"{bare.server.endpoint} (from {endpoint})"
        assert chart.texts("region", "ok")[0] == f"{bare.server.region} (from {region})"

    def test_a_region_meant_for_others_is_a_warning(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CACHER_REGION")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        ended = cacher("doctor")
        assert ended.status == 0
        (text,) = Chart(ended).texts("region", "warn")
        assert text == "AWS_REGION is eu-west-1; CACHER_REGION=garage spares a request of each run"


class TestUnknownVariables:
    @pytest.mark.parametrize(
        ("name", "near"),
        [
            ("CACHER_BUKET", "CACHER_BUCKET"),
            ("CACHER_PARTSIZE", "CACHER_PART_SIZE"),
            ("CACHER_S3_KEYID", "CACHER_S3_KEY_ID"),
            ("CACHER_jobs", "CACHER_JOBS"),
            ("cacher_bucket", "CACHER_BUCKET"),
            ("CACHER_Endpoint", "CACHER_ENDPOINT"),
            ("CACHER_URL", "CACHER_ENDPOINT"),
            ("CACHER_ACCESS_KEY", "CACHER_S3_KEY_ID"),
            ("CACHER_ACCESS_KEY_ID", "CACHER_S3_KEY_ID"),
            ("CACHER_SECRET_KEY", "CACHER_S3_SECRET"),
            ("CACHER_SECRET_ACCESS_KEY", "CACHER_S3_SECRET"),
            ("CACHER_TOKEN", "CACHER_S3_SESSION_TOKEN"),
            ("CACHER_CA_BUNDLE", "CACHER_CA_FILE"),
            ("CACHER_ZZZ", ""),
        ],
    )
    def test_one_is_a_warning_with_the_nearest_name(
        self, cacher: Run, local: LocalPlace, monkeypatch: pytest.MonkeyPatch, name: str, near: str
    ) -> None:
        monkeypatch.setenv(name, "MARKED")
        text = f"cacher reads no variable {name}" + (f"; did you mean {near}?" if near else "")
        ended = cacher("exists", "k")
        assert (ended.status, ended.warnings) == (1, [text])
        assert "MARKED" not in ended.err
        assert cacher("exists", "k", "-q").warnings == [text]
        assert cacher("exists", "k", "--json").json["warnings"] == [text]

    def test_those_that_are_read_are_known(
        self, cacher: Run, local: LocalPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("id").write_text("id")
        Path("c.toml").write_text("")
        values = {"PREFIX": "p", "JOBS": "2", "TIMEOUT": "60", "PART_SIZE": "5MiB"}
        values |= {"KEY_FILE": "id", "SECRET_FILE": "id", "CA_FILE": "id", "CONFIG": "c.toml"}
        values |= {"S3_KEY_ID": "x", "S3_SECRET": "x", "S3_SESSION_TOKEN": "x", "DOCKER": "docker"}
        values |= dict.fromkeys(("JSON", "QUIET", "VERBOSE", "DEBUG"), "0")
        values |= {"REGION": "r", "BUCKET": "bucket", "TEST_CACHE": "x", "TEST_WHATEVER": "x"}
        for name, value in values.items():
            monkeypatch.setenv(f"CACHER_{name}", value)
        assert cacher("exists", "k").err == "cacher: miss k\n"
        assert all(name not in os.environ for name in ("AWS_REGION", "AWS_ENDPOINT_URL"))
