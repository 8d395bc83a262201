"""`doctor` where all is well or little is not: what it looks at, and that it leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Spawn
from tests.cli.test_hanging import SCALED, SLACK
from tests.cli.test_signals import LONG, stop, until
from tests.fakes.faults import CutAnswer, Fault, Replace, Reset, Respond, Stall
from tests.support.cli_helpers import BucketPlace, LocalPlace, Unprivileged
from tests.support.doctor_helpers import CHECKS, Chart

LOST_REPLIES = [
    ("PutObject", "write"),
    ("UploadPart", "multipart"),
    ("AbortMultipartUpload", "abort"),
    ("DeleteObject", "delete"),
]
"""Requests that are executed but never answered, and the first check that must fail.

Not `CreateMultipartUpload`, whose reply holds the id that aborting needs.
"""

LOCAL_CHECKS = ["directory", "write", "read", "delete", "list"]


class TestLocal:
    def test_all_is_well(self, cacher: Run, local: LocalPlace) -> None:
        local.put("a/b", b"abc")
        ended = cacher("doctor")
        assert (ended.status, ended.err) == (0, "cacher: everything works\n")
        chart = Chart(ended)
        assert chart.names("fail", "warn", "skip") == []
        assert chart.names("ok")[-len(LOCAL_CHECKS) :] == LOCAL_CHECKS
        assert str(local.root) in chart["directory"].text
        assert " free" in chart["directory"].text
        assert chart["list"].text == "1 entry"
        assert local.keys() == ["a/b"]
        assert local.leftovers() == []

    def test_the_embedded_default(self, cacher: Run, tmp_path: Path) -> None:
        ended = cacher("doctor")
        store = tmp_path / "home/.cache/cacher/store"
        assert ended.status == 0
        chart = Chart(ended)
        assert chart["config"].text.startswith("no config file")
        assert chart["endpoint"].text == f"no endpoint is set: using the local store {store}"
        assert chart["directory"].text == f"{store} would be created"
        assert chart.names("warn") == ["endpoint"]
        assert ended.last == "cacher: everything works, 1 warning"
        assert not (tmp_path / "home/.cache").exists()

    def test_a_store_that_is_not_there_is_not_made(self, cacher: Run, local: LocalPlace) -> None:
        ended = cacher("doctor")
        assert ended.status == 0
        assert Chart(ended)["directory"] == ("ok", "directory", f"{local.root} would be created")
        assert Chart(ended).names("ok")[-1] == "directory"
        assert not local.root.exists()

    def test_a_directory_without_a_store_stays_as_it_is(
        self, cacher: Run, local: LocalPlace
    ) -> None:
        local.root.mkdir()
        (local.root / "file").write_bytes(b"abc")
        ended = cacher("doctor")
        assert ended.status == 0
        assert Chart(ended)["directory"].text.endswith("free; the store in it would be created")
        assert Chart(ended).names("ok")[-1] == "directory"
        assert os.listdir(local.root) == ["file"]

    def test_a_file_where_the_directory_should_be(
        self, cacher: Run, local: LocalPlace, tmp_path: Path
    ) -> None:
        local.root.write_bytes(b"abc")
        ended = cacher("doctor")
        assert "is not a directory" in ended.failed(2)
        assert Chart(ended).names("fail") == ["directory"]
        assert local.root.read_bytes() == b"abc"

    def test_a_parent_that_is_not_a_directory(
        self, cacher: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_bytes(b"abc")
        monkeypatch.setenv("CACHER_ENDPOINT", (tmp_path / "file/store").as_uri())
        ended = cacher("doctor")
        assert f"{tmp_path}/file is not a directory" in ended.failed(2)
        assert Chart(ended).names("fail") == ["directory"]

    def test_a_parent_that_cannot_be_written(
        self, cacher: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cacher("doctor")  # everything is loaded while it may be read
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:
            os.chmod(directory, 0o555)
            monkeypatch.setenv("CACHER_ENDPOINT", f"file://{directory}/a/store")
            with Unprivileged():
                ended = cacher("doctor")
            assert os.listdir(directory) == []
        assert f"could not create {directory}/a/store: permission denied" in ended.failed(4)
        assert f"needs write access to {directory}" in ended.err
        assert Chart(ended).names("fail") == ["directory"]

    def test_a_store_that_cannot_be_written(self, cacher: Run, local: LocalPlace) -> None:
        local.put("a", b"abc")
        (local.root / ".cacher/tmp").write_bytes(b"")
        ended = cacher("doctor")
        ended.failed(3)
        assert Chart(ended).names("fail")[0] == "write"
        for name in ("read", "delete"):
            assert Chart(ended)[name] == ("skip", name, "nothing was written")

    def test_an_entry_that_is_lost_at_once(
        self, cacher: Run, local: LocalPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        local.put("a", b"abc")
        monkeypatch.setattr("cacher.store.local.store.LocalStore.open", lambda *_: None)
        ended = cacher("doctor")
        assert "what was just written is not there" in ended.failed(3)
        assert Chart(ended).names("fail") == ["read"]
        assert Chart(ended)["delete"].state == "ok"
        assert local.keys() == ["a"]
        assert local.leftovers() == []


class TestBucket:
    def test_all_is_well(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.put("a/b", b"abc")
        ended = cacher("doctor")
        assert (ended.status, ended.err) == (0, "cacher: everything works\n")
        chart = Chart(ended)
        assert chart.names("fail", "warn") == []
        assert chart.names("skip") == ["tls"]
        assert [line.name for line in chart.lines][-len(CHECKS) :] == list(CHECKS)
        assert chart.lines[0][:2] == ("ok", "zstd")
        assert "from CACHER_S3_KEY_ID and CACHER_S3_SECRET" in chart["credentials"].text
        assert ": key id of 26 characters, " in chart["credentials"].text
        assert f"secret of {len(bucket.server.secret_key)}" in chart["credentials"].text
        assert bucket.server.secret_key not in ended.text
        assert bucket.server.access_key not in ended.text
        assert bucket.keys() == ["a/b"]

    def test_it_has_really_been_tried(self, cacher: Run, bucket: BucketPlace) -> None:
        assert cacher("doctor").status == 0
        counts = {
            operation: bucket.server.count(operation=operation)
            for operation in (
                "CreateMultipartUpload",
                "UploadPart",
                "CompleteMultipartUpload",
                "AbortMultipartUpload",
                "ListParts",
                "ListObjectsV2",
                "DeleteObject",
            )
        }
        assert counts == {
            "CreateMultipartUpload": 2,
            "UploadPart": 3,
            "CompleteMultipartUpload": 1,
            "AbortMultipartUpload": 1,
            "ListParts": 1,
            "ListObjectsV2": 1,
            "DeleteObject": 1,
        }
        first, last, _aborted = bucket.server.select(operation="UploadPart")
        assert first.body_length >= 5 << 20  # no store takes less
        assert last.body_length == 1
        plain, ranged = bucket.server.select(operation="GetObject")
        assert "range" not in plain.headers
        assert ranged.headers["range"].startswith("bytes=")
        conditional = bucket.server.select(operation="PutObject")[1]
        assert conditional.headers["if-none-match"] == "*"
        assert conditional.status == 200  # as Garage has it
        assert bucket.keys() == []

    def test_it_stays_below_the_prefix(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.put("team/k", b"abc")
        ended = cacher("doctor", "--prefix", "team")
        assert ended.status == 0
        assert Chart(ended)["list"].text == "the prefix has entries"
        keys = {record.key for record in bucket.server.requests} - {""}
        assert len(keys) == 1
        assert keys.pop().startswith("team/cacher-doctor-")
        assert bucket.keys() == ["team/k"]

    def test_the_source_of_each_setting(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        config = tmp_path / "home/.config/cacher/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'jobs = 2\nbucket = "{bucket.server.bucket}"\n')
        monkeypatch.delenv("CACHER_BUCKET")
        ended = cacher("doctor", "--part-size", "8MiB")
        assert ended.status == 0
        chart = Chart(ended)
        assert chart["config"].text == str(config)
        assert chart["jobs"].text == f"2 (from {config})"
        assert chart["part-size"].text == f"{8 << 20} (from --part-size)"
        assert chart["endpoint"].text == f"{bucket.server.endpoint} (from CACHER_ENDPOINT)"
        assert chart.lines[4].text == f"{bucket.server.bucket} (from {config})"
        assert "timeout" not in chart

    def test_a_config_that_is_wrong(self, cacher: Run, tmp_path: Path) -> None:
        config = tmp_path / "home/.config/cacher/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text("job = 2\n")
        ended = cacher("doctor")
        assert "unknown key 'job' (line 1)" in ended.failed(2)
        assert Chart(ended).lines[-1][:2] == ("fail", "config")

    def test_json(self, cacher: Run, bucket: BucketPlace) -> None:
        told = cacher("doctor", "--json").json
        assert told["command"] == "doctor"
        assert told["outcome"] == "healthy"
        assert told["status"] == 0
        assert told["warnings"] == []
        assert "error" not in told
        checks = told["checks"]
        assert [check["name"] for check in checks][-len(CHECKS) :] == list(CHECKS)
        assert all(set(check) == {"name", "state", "text"} for check in checks)
        assert {check["state"] for check in checks} == {"ok", "skip"}

    def test_json_of_a_failure(
        self, cacher: Run, bucket: BucketPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CACHER_REGION", "elsewhere")
        ended = cacher("doctor", "--json")
        ended.failed(4)
        told = ended.json
        assert (told["outcome"], told["status"]) == ("unhealthy", 4)
        assert told["error"]["kind"] == "access"
        assert told["error"]["hint"] == "set --region garage"
        failed = [check["name"] for check in told["checks"] if check["state"] == "fail"]
        assert failed == ["region"]

    def test_quiet_prints_what_is_wrong_only(self, cacher: Run, bucket: BucketPlace) -> None:
        ended = cacher("doctor", "-q")
        assert (ended.status, ended.out, ended.err) == (0, b"", "")
        bucket.server.inject(Fault(Respond(403, "AccessDenied"), operation="PutObject", times=None))
        ended = cacher("doctor", "-q")
        ended.failed(4)
        assert {line.state for line in Chart(ended).lines} == {"fail", "warn"}
        assert Chart(ended).names("fail") == ["write"]
        assert Chart(ended).names("warn") == ["permissions"]


def leave_unanswered(bucket: BucketPlace, operation: str | None) -> None:
    bucket.server.inject(Fault(Stall(LONG), operation=operation, times=None))


class TestSilence:
    def test_the_first_check_without_an_answer_is_the_last(
        self, cacher: Run, bucket: BucketPlace
    ) -> None:
        leave_unanswered(bucket, None)
        began = time.monotonic()
        ended = cacher("doctor", limits=SCALED)
        assert time.monotonic() - began < SCALED.stall + SLACK
        assert "hint: the store or the network hangs" in ended.failed(3)
        chart = Chart(ended)
        assert chart.names("fail") == ["clock"]
        asking = CHECKS[CHECKS.index("clock") + 1 :]
        assert chart.names("skip") == ["tls", *asking]
        assert {chart[name].text for name in asking} == {"needs an answer"}
        assert bucket.server.count() == 1

    @pytest.mark.parametrize(
        ("operation", "check"),
        [
            ("GetBucketLocation", "region"),
            ("ListObjectsV2", "list"),
            ("PutObject", "write"),
            ("GetObject", "read"),
            ("CompleteMultipartUpload", "multipart"),
            ("UploadPart", "multipart"),
        ],
    )
    def test_what_may_have_been_written_is_deleted(
        self, cacher: Run, bucket: BucketPlace, operation: str, check: str
    ) -> None:
        leave_unanswered(bucket, operation)
        limits = SCALED._replace(write=LONG, commit=LONG)  # for those who store something
        began = time.monotonic()
        ended = cacher("doctor", limits=limits)
        assert time.monotonic() - began < limits.stall + limits.undo + SLACK
        ended.failed(3)
        chart = Chart(ended)
        assert chart.names("fail") == [check]
        skipped = CHECKS[CHECKS.index(check) + 1 : -1]
        assert [chart[name].state for name in skipped] == ["skip"] * len(skipped)
        wrote = check not in ("region", "list")
        assert chart["delete"].state == ("ok" if wrote else "skip")
        assert bucket.server.count(operation="DeleteObject") == wrote
        assert "permissions" not in chart
        assert bucket.keys() == bucket.leftovers() == []

    def test_deleting_has_little_time_then(self, cacher: Run, bucket: BucketPlace) -> None:
        for operation in ("PutObject", "DeleteObject"):
            leave_unanswered(bucket, operation)
        began = time.monotonic()
        ended = cacher("doctor", limits=SCALED)
        assert time.monotonic() - began < SCALED.stall + SCALED.undo + SLACK
        ended.failed(3)
        assert Chart(ended).names("fail") == ["write", "delete"]
        assert bucket.server.count(operation="DeleteObject") == 1


class TestHints:
    @pytest.mark.parametrize(
        "action",
        [
            Respond(403, "Odd"),
            Respond(409, "Odd"),
            Respond(403, "AccessDenied", "Operation is not allowed for this key"),
            Respond(500, "InternalError"),
            Reset(),
        ],
    )
    @pytest.mark.parametrize("operation", [None, "GetObject"])
    def test_none_is_to_run_what_runs(
        self,
        cacher: Run,
        bucket: BucketPlace,
        action: Respond | Reset,
        operation: str | None,
    ) -> None:
        bucket.server.inject(Fault(action, operation=operation, times=None))
        ended = cacher("doctor")
        assert ended.status in (3, 4)
        (hint,) = re.findall("^cacher: hint: (.*)$", ended.err, re.MULTILINE)
        assert hint
        assert "`cacher doctor`" not in ended.err + ended.text


class TestRegion:
    def test_a_page_proves_none(self, cacher: Run, bucket: BucketPlace) -> None:
        headers = {"Content-Type": "text/html"}
        for status in (401, 403):
            page = Respond(status, headers=headers, body=b"<html><title>Log in</title></html>")
            bucket.server.inject(Fault(page, times=None))
            ended = cacher("doctor")
            assert ended.status in (3, 4)
            assert Chart(ended)["region"].state in ("fail", "skip")
            assert "accepts it" not in ended.text

    def test_a_key_that_may_not_ask_for_it(self, cacher: Run, bucket: BucketPlace) -> None:
        denied = Respond(403, "AccessDenied")
        bucket.server.inject(Fault(denied, operation="GetBucketLocation", times=None))
        ended = cacher("doctor")
        assert ended.status == 0
        assert Chart(ended)["region"].state == "ok"
        bucket.server.inject(Fault(denied, operation="HeadBucket", nth=2))
        assert Chart(cacher("doctor"))["region"].state == "skip"


class TestCleaning:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("operation", "nth", "seconds"),
        [
            ("ListObjectsV2", 1, LONG),
            ("PutObject", 1, LONG),
            ("GetObject", 1, LONG),
            ("PutObject", 2, LONG),
            ("CreateMultipartUpload", 1, 1.0),  # without the id nobody could abort it
            ("UploadPart", 1, LONG),
            ("UploadPart", 2, LONG),
            ("CompleteMultipartUpload", 1, LONG),
            ("GetObject", 2, LONG),
            ("CreateMultipartUpload", 2, 1.0),
            ("UploadPart", 3, LONG),
            ("AbortMultipartUpload", 1, LONG),
            ("ListParts", 1, LONG),
            ("DeleteObject", 1, LONG),
        ],
    )
    def test_signals(
        self,
        spawn: Spawn,
        bucket: BucketPlace,
        operation: str,
        nth: int,
        seconds: float,
    ) -> None:
        hang = bucket.server.inject(Fault(Stall(seconds), operation=operation, nth=nth))
        process = spawn("doctor")
        until(lambda: hang.hits)

        def done() -> int:
            return sum(bool(seen.status) for seen in bucket.server.select(operation=operation))

        # The store has done as it was told, which it does not take back once it is told to delete.
        until(lambda: done() >= nth)
        stop(process, signal.SIGTERM)
        assert bucket.keys() == bucket.leftovers() == []

    def test_a_timeout(self, cacher: Run, bucket: BucketPlace) -> None:
        hang = bucket.server.inject(Fault(Stall(LONG), operation="UploadPart", nth=2))
        err = cacher("doctor", "--timeout", "1").failed(3)
        assert "not done after 1 s" in err
        assert hang.hits == 1
        assert bucket.keys() == bucket.leftovers() == []

    def test_nobody_reads_the_lines(self, spawn: Spawn, bucket: BucketPlace) -> None:
        hang = bucket.server.inject(Fault(Stall(0.5), operation="GetObject"))
        process = spawn("doctor")
        until(lambda: hang.hits)
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(LONG) == 128 + signal.SIGPIPE
        assert bucket.keys() == bucket.leftovers() == []

    @pytest.mark.parametrize(
        ("operation", "check", "skipped"),
        [
            ("HeadBucket", "clock", ["tls"]),
            ("ListObjectsV2", "list", ["tls"]),
            (
                "PutObject",
                "write",
                ["tls", "read", "conditional", "multipart", "range", "abort"],
            ),
            ("GetObject", "read", ["tls"]),
            ("CreateMultipartUpload", "multipart", ["tls", "range"]),
            ("UploadPart", "multipart", ["tls", "range"]),
            ("CompleteMultipartUpload", "multipart", ["tls", "range"]),
        ],
    )
    @pytest.mark.parametrize(
        "action", [Respond(500, "InternalError"), Reset("before-answer")], ids=["500", "reset"]
    )
    def test_it_goes_on_after_a_failure(
        self,
        cacher: Run,
        bucket: BucketPlace,
        operation: str,
        check: str,
        skipped: list[str],
        action: Respond | Reset,
    ) -> None:
        bucket.server.inject(Fault(action, operation=operation, times=None))
        ended = cacher("doctor")
        ended.failed(3)
        chart = Chart(ended)
        assert chart.names("fail")[0] == check
        assert chart.names("skip") == skipped
        assert chart["delete"].state == "ok"
        assert "the first: " in ended.err
        assert "cacher: hint: " in ended.err
        assert bucket.keys() == bucket.leftovers() == []

    @pytest.mark.parametrize(("operation", "check"), LOST_REPLIES)
    def test_replies_that_are_lost(
        self, cacher: Run, bucket: BucketPlace, operation: str, check: str
    ) -> None:
        bucket.server.inject(Fault(Reset("executed"), operation=operation, times=None))
        ended = cacher("doctor")
        ended.failed(3)
        assert Chart(ended).names("fail")[0] == check
        assert bucket.keys() == bucket.leftovers() == []

    @pytest.mark.parametrize(("nth", "fails"), [(1, "read"), (2, "range")])
    def test_answers_that_are_cut_off(
        self, cacher: Run, bucket: BucketPlace, nth: int, fails: str
    ) -> None:
        cut = Fault(CutAnswer(0, reset=True), operation="GetObject", nth=nth, times=None)
        bucket.server.inject(cut)
        ended = cacher("doctor")
        ended.failed(3)
        assert Chart(ended).names("fail")[0] == fails
        assert cut.hits >= 2  # it was tried again
        assert bucket.keys() == []

    def test_what_is_read_is_not_what_was_written(self, cacher: Run, bucket: BucketPlace) -> None:
        bucket.server.inject(Fault(Replace(b"other"), operation="GetObject"))
        ended = cacher("doctor")
        assert "other bytes were read than were written" in ended.failed(5)
        assert Chart(ended).names("fail") == ["read"]
        assert bucket.keys() == []

    def test_an_abort_that_is_refused_is_told(self, cacher: Run, bucket: BucketPlace) -> None:
        failure = Respond(500, "InternalError", executed=True)
        bucket.server.inject(Fault(failure, operation="AbortMultipartUpload", times=None))
        ended = cacher("doctor")
        ended.failed(3)
        assert Chart(ended).names("fail") == ["abort"]
        assert bucket.keys() == bucket.leftovers() == []

    def test_a_canary_that_cannot_be_deleted_is_told(
        self, cacher: Run, bucket: BucketPlace
    ) -> None:
        bucket.server.inject(
            Fault(Respond(403, "AccessDenied"), operation="DeleteObject", times=None)
        )
        ended = cacher("doctor")
        (left,) = bucket.keys()
        assert f"deleting {left}" in ended.failed(4)
        assert Chart(ended).names("fail") == ["delete"]
        assert os.listdir() == []
