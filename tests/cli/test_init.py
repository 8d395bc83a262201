"""`init` where the store works: the config file holds what was given, and never a secret."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fakes.faults import Fault, Respond
from tests.fakes.profile import AWS, DEFAULT_KEY, GARAGE, AccessKey
from tests.support.cli_helpers import BucketPlace, LocalPlace
from tests.support.configs import flags_of, read
from tests.support.doctor_helpers import Serve

SECRET = "MARKED-s3cret-0123456789abcdef"
TOKEN = "MARKED-token"
MARKED = AccessKey("MARKED-key-id", SECRET)


class TestLocal:
    def test_the_embedded_default(self, cacher: Run, config: Path, tmp_path: Path) -> None:
        store = tmp_path / "home/.cache/cacher/store"
        ended = cacher("init")
        assert ended.status == 0
        assert ended.out == b""
        assert ended.err == (
            f"cacher: no endpoint is set: using the local store {store}\n"
            f"cacher: wrote {config}; {store} works\n"
        )
        assert read(config) == {"endpoint": store.as_uri()}
        assert LocalPlace(store).keys() == LocalPlace(store).leftovers() == []
        Path("f").write_bytes(b"abc")
        assert cacher("upload", "k", "f").status == 0
        assert LocalPlace(store).get("k") == b"abc"

    def test_a_relative_cache_directory_is_not_used(
        self, cacher: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "cache")
        assert cacher("init").status == 0
        assert read(config) == {"endpoint": (tmp_path / "home/.cache/cacher/store").as_uri()}

    @pytest.mark.parametrize("home", ["", "relative"])
    def test_a_home_that_is_empty_or_relative_is_not_used(
        self, cacher: Run, local: LocalPlace, monkeypatch: pytest.MonkeyPatch, home: str
    ) -> None:
        monkeypatch.setenv("HOME", home)
        monkeypatch.setenv("XDG_CONFIG_HOME", home)
        err = cacher("init").failed(2)
        assert "init: there is no home directory for the config file" in err
        assert os.listdir() == []

    @pytest.mark.parametrize("name", ["", "-"])
    def test_a_config_file_that_cannot_be_meant(
        self, cacher: Run, local: LocalPlace, name: str
    ) -> None:
        for command in (["init"], ["exists", "k"]):
            cacher(*command, "--config", name).failed(2)
        assert os.listdir() == []

    def test_another_directory(self, cacher: Run, config: Path, tmp_path: Path) -> None:
        uri = (tmp_path / "elsewhere").as_uri()
        assert cacher("init", "--endpoint", uri, "--prefix", "team").status == 0
        assert read(config) == {"endpoint": uri, "prefix": "team"}

    def test_the_store_of_a_variable_is_checked_and_written(
        self, cacher: Run, config: Path, local: LocalPlace
    ) -> None:
        assert f"{local.root} works" in cacher("init", "--jobs", "2").last
        assert read(config) == {"endpoint": local.root.as_uri(), "jobs": "2"}


class TestBucket:
    def test_what_was_given_is_written(self, cacher: Run, config: Path, unnamed: Serve) -> None:
        place = unnamed()
        ended = cacher("init", *flags_of(place), "--prefix", "team", "--region", "garage")
        assert ended.status == 0
        assert ended.err == f"cacher: wrote {config}; s3://cache/team works\n"
        assert read(config) == {
            "endpoint": place.server.endpoint,
            "region": "garage",
            "bucket": "cache",
            "prefix": "team",
        }
        Path("f").write_bytes(b"abc")
        assert cacher("upload", "k", "f").status == 0
        assert place.get("team/k") == b"abc"
        place.server.delete_object("team/k")

    def test_never_a_secret(
        self, cacher: Run, config: Path, unnamed: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = unnamed(keys=[MARKED])
        for name, value in (
            ("CACHER_S3_SESSION_TOKEN", TOKEN),
            ("AWS_ACCESS_KEY_ID", MARKED.id),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_SESSION_TOKEN", TOKEN),
        ):
            monkeypatch.setenv(name, value)
        for more in ([], ["--no-check"], ["--debug", "-v"], ["--json"]):
            ended = cacher("init", *flags_of(place), *more)
            assert ended.status == 0
            assert "MARKED" not in config.read_text() + ended.text + ended.err

    def test_files_get_absolute_names(self, cacher: Run, config: Path, unnamed: Serve) -> None:
        place = unnamed(keys=[MARKED])
        for name, text in (("id", MARKED.id), ("secret", SECRET), ("ca", "")):
            Path(name).write_text(f"{text}\n")
        files = (
            "--key-file",
            "id",
            "--secret-file",
            "./secret",
            "--ca-file",
            f"../{Path.cwd().name}/ca",
        )
        assert cacher("init", *flags_of(place), *files).status == 0
        written = read(config)
        here = os.getcwd()
        assert written["key-file"] == f"{here}/id"
        assert written["secret-file"] == f"{here}/secret"
        assert written["ca-file"] == f"{here}/ca"
        assert "MARKED" not in config.read_text()

    def test_the_files_are_used_from_elsewhere(
        self, cacher: Run, config: Path, unnamed: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = unnamed()
        for name, variable in (("id", "CACHER_S3_KEY_ID"), ("secret", "CACHER_S3_SECRET")):
            Path(name).write_text(place.environment[variable])
            monkeypatch.delenv(variable)
        files = ("--key-file", "id", "--secret-file", "secret")
        assert cacher("init", *flags_of(place), *files).status == 0
        monkeypatch.chdir("/")
        assert cacher("exists", "k").status == 1

    def test_again_with_other_flags(self, cacher: Run, config: Path, unnamed: Serve) -> None:
        first, second = unnamed(), unnamed()
        assert cacher("init", *flags_of(first), "--jobs", "2").status == 0
        assert cacher("init", "--prefix", "team", "--timeout", "60").status == 0
        expected = {"endpoint": first.server.endpoint, "bucket": "cache", "jobs": "2"}
        expected |= {"prefix": "team", "timeout": "60"}
        assert read(config) == expected
        assert cacher("init", "--endpoint", second.server.endpoint, "--prefix", "").status == 0
        expected["endpoint"] = second.server.endpoint
        del expected["prefix"]  # an empty value takes a setting back
        assert read(config) == expected

    def test_variables_are_written_like_flags(
        self, cacher: Run, config: Path, unnamed: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = unnamed()
        for name, value in (
            ("CACHER_BUCKET", place.server.bucket),
            ("CACHER_PREFIX", "team"),
            ("CACHER_JOBS", "2"),
            ("AWS_ENDPOINT_URL_S3", place.server.endpoint),
            ("AWS_REGION", "garage"),
        ):
            monkeypatch.setenv(name, value)
        assert cacher("init").status == 0
        assert read(config) == {
            "endpoint": place.server.endpoint,
            "region": "garage",
            "bucket": place.server.bucket,
            "prefix": "team",
            "jobs": "2",
        }
        for name in os.environ:
            if name.startswith(("CACHER_", "AWS_")) and "CACHER_S3_" not in name:
                monkeypatch.delenv(name)
        ended = cacher("exists", "k")
        assert (ended.status, ended.err) == (1, "cacher: miss k\n")

    def test_a_file_that_a_variable_names_is_written_with_its_whole_name(
        self, cacher: Run, config: Path, unnamed: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = unnamed(keys=[MARKED])
        for name, value in (
            ("CACHER_S3_KEY_ID", ""),
            ("CACHER_S3_SECRET", ""),
            ("CACHER_KEY_FILE", "id"),
            ("CACHER_SECRET_FILE", "secret"),
        ):
            monkeypatch.setenv(name, value)
        Path("id").write_text(MARKED.id)
        Path("secret").write_text(SECRET)
        assert cacher("init", *flags_of(place)).status == 0
        assert read(config)["key-file"] == f"{os.getcwd()}/id"
        assert read(config)["secret-file"] == f"{os.getcwd()}/secret"
        assert "MARKED" not in config.read_text()
        monkeypatch.setenv("CACHER_SECRET_FILE", SECRET)  # the secret itself, by mistake
        err = cacher("init", *flags_of(place), "--no-check").failed(2)
        assert "CACHER_SECRET_FILE names no file" in err
        assert SECRET not in err + config.read_text()

    @pytest.mark.parametrize("argv", [("--bucket", "cache"), ("--region", "r")])
    def test_a_bucket_without_an_endpoint_is_not_written(
        self, cacher: Run, config: Path, argv: tuple[str, ...]
    ) -> None:
        assert f"{argv[0]} is set, but CACHER_ENDPOINT is not" in cacher("init", *argv).failed(2)
        assert not config.exists()

    def test_what_was_written_by_hand_is_kept(
        self, cacher: Run, config: Path, unnamed: Serve
    ) -> None:
        config.parent.mkdir(parents=True)
        config.write_text('part_size = "8MiB"\njobs = 2\n')
        assert cacher("init", *flags_of(unnamed())).status == 0
        written = read(config)
        assert (written["part-size"], written["jobs"]) == ("8MiB", "2")

    @pytest.mark.parametrize("how", ["flag", "variable"])
    def test_another_file(
        self, cacher: Run, config: Path, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        other = Path("deep/er/other.toml")
        if how == "variable":
            monkeypatch.setenv("CACHER_CONFIG", str(other))
        assert cacher("init", *(["--config", other] if how == "flag" else [])).status == 0
        assert set(read(other)) == {"endpoint"}
        assert not config.exists()

    def test_nothing_is_left_in_the_bucket(self, cacher: Run, config: Path, unnamed: Serve) -> None:
        place = unnamed()
        assert cacher("init", *flags_of(place), "--prefix", "team").status == 0
        (written,) = place.server.select(operation="PutObject")
        assert written.key.startswith("team/cacher-doctor-")
        assert place.server.count(operation="DeleteObject", key=written.key) == 1

    def test_json(self, cacher: Run, config: Path, unnamed: Serve) -> None:
        place = unnamed()
        expected = {
            "command": "init",
            "outcome": "written",
            "status": 0,
            "config": str(config),
            "settings": {"endpoint": place.server.endpoint, "bucket": "cache"},
            "checked": True,
            "warnings": [],
        }
        assert cacher("init", *flags_of(place), "--json").json == expected
        told = cacher("init", *flags_of(place), "--json", "--no-check").json
        assert told == expected | {"checked": False}


class TestRegion:
    def test_one_that_the_store_tells_is_written(
        self, cacher: Run, config: Path, unnamed: Serve
    ) -> None:
        place = unnamed(AWS)
        ended = cacher("init", *flags_of(place))
        assert (ended.status, ended.warnings) == (0, [])
        assert read(config)["region"] == "us-east-1"
        place.server.forget()
        assert cacher("exists", "k").status == 1
        assert len(place.server.requests) == 2  # HEADs of the object and of the bucket

    def test_a_wrong_one_is_put_right(self, cacher: Run, config: Path, unnamed: Serve) -> None:
        ended = cacher("init", *flags_of(unnamed()), "--region", "elsewhere")
        assert ended.status == 0
        assert ended.warnings == ["the store's region is garage, not elsewhere"]
        assert read(config)["region"] == "garage"

    @pytest.mark.parametrize("region", ["garage", "whatever"])
    def test_one_that_nobody_told_is_not_made_up(
        self, cacher: Run, config: Path, unnamed: Serve, region: str
    ) -> None:
        place = unnamed(replace(GARAGE, region=region, require_region=region == "garage"))
        assert cacher("init", *flags_of(place)).status == 0
        assert "region" not in read(config)


class TestPermissions:
    @pytest.mark.parametrize(
        ("read_it", "write_it", "warning"),
        [
            (True, False, "this key may only read: nothing will be stored with it"),
            (False, True, "this key may only write: nothing will be found with it"),
        ],
    )
    def test_half_of_them_will_do(
        self,
        cacher: Run,
        config: Path,
        unnamed: Serve,
        read_it: bool,
        write_it: bool,
        warning: str,
    ) -> None:
        place = unnamed(keys=[replace(DEFAULT_KEY, read=read_it, write=write_it)])
        ended = cacher("init", *flags_of(place))
        assert (ended.status, ended.warnings) == (0, [warning])
        assert read(config)["bucket"] == "cache"
        assert cacher("init", "--json").json["warnings"] == [warning]

    def test_a_key_that_may_not_delete(
        self, cacher: Run, config: Path, bucket: BucketPlace
    ) -> None:
        bucket.server.inject(Fault(Respond(403, "AccessDenied"), operation="DeleteObject"))
        ended = cacher("init")
        (left,) = bucket.keys()
        assert ended.status == 0
        assert ended.warnings == [f"this key may not delete: {left} stays in the bucket"]
