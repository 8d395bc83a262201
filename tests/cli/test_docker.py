"""`docker upload`, `docker download`, `docker exists`, against a double that fails as told."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import zstandard

from cacher.commands import open_sealed_entry
from tests.cli.conftest import Run, Spawn
from tests.cli.test_signals import stop, until
from tests.fakes.docker_scenes import FakeDocker
from tests.fakes.faults import Fault, Respond, Stall
from tests.fakes.origin import Origin, Reply
from tests.support.cli_helpers import MIB, BucketPlace, Place

BIG = 12 * MIB
"""Bytes: more than what is held back, all the pipes, and a part."""


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHER_PART_SIZE", "5MiB")


@pytest.fixture
def place(bucket: BucketPlace) -> BucketPlace:
    """A bucket, whose unfinished uploads would be left over: one kind of store is enough here."""
    return bucket


def quiet(fake_docker: FakeDocker) -> bool:
    """Whether no process of the double's is left, not even a zombie."""
    end = time.monotonic() + 50
    while any(call.alive() for call in fake_docker.calls()):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def entry(place: Place, key: str = "k") -> bytes:
    """The bytes of an entry, which there is."""
    data = place.get(key)
    assert data is not None
    return data


def saved(fake_docker: FakeDocker, *names: str) -> bytes:
    """What `docker save` gives."""
    return subprocess.run(
        [fake_docker.program, "save", *names],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, **fake_docker.env},
    ).stdout


class TestUpload:
    @pytest.mark.parametrize("kind", ["local", "bucket"])
    def test_an_image_and_back(
        self, cacher: Run, request: pytest.FixtureRequest, kind: str, fake_docker: FakeDocker
    ) -> None:
        place: Place = request.getfixturevalue(kind)
        id_ = fake_docker.add("app:1", size=BIG)
        stored = cacher("docker", "upload", "img/k", "app:1")
        assert stored.status == 0, stored.err
        assert stored.err.startswith("cacher: stored img/k (app:1, ")
        assert place.keys() == ["img/k"]
        fake_docker.forget()
        hit = cacher("docker", "download", "img/k", "app:1")
        assert hit.status == 0, hit.err
        assert hit.err.startswith("cacher: hit img/k (app:1, ")
        assert fake_docker.images == {"app:1": id_}
        assert fake_docker.calls("load")[0].stdin == fake_docker.calls("save")[0].stdout
        assert place.leftovers() == []
        assert quiet(fake_docker)

    def test_several_images(self, cacher: Run, place: Place, fake_docker: FakeDocker) -> None:
        ids = {name: fake_docker.add(name) for name in ("app:1", "db:2", "docker.io/x/y:3")}
        stored = cacher("docker", "upload", "k", "app:1", "db:2", "x/y:3", "--json")
        told = json.loads(stored.out)
        assert told["images"] == {name.removeprefix("docker.io/"): ids[name] for name in ids}
        fake_docker.forget()
        assert cacher("docker", "download", "k").status == 0
        assert set(fake_docker.images.values()) == set(ids.values())
        again = json.loads(cacher("docker", "download", "k", "--json").out)
        assert (again["outcome"], again["images"]) == ("present", ["app:1", "db:2", "x/y:3"])

    def test_an_entry_is_not_replaced(
        self, cacher: Run, place: Place, fake_docker: FakeDocker
    ) -> None:
        fake_docker.add("app:1")
        cacher("docker", "upload", "k", "app:1")
        before = place.get("k")
        again = cacher("docker", "upload", "k", "app:1")
        assert (again.status, again.err) == (
            0,
            "cacher: exists k, not saved again\n",
        )
        fake_docker.add("app:1")
        other = cacher("docker", "upload", "k", "app:1")
        assert other.status == 0
        assert "warning: k is stored already, with another app:1: " in other.err
        assert place.get("k") == before
        assert len(fake_docker.calls("save")) == 1
        assert cacher("docker", "upload", "k", "app:1", "--force").status == 0
        assert place.get("k") != before

    def test_an_image_must_be_there(
        self, cacher: Run, place: Place, fake_docker: FakeDocker
    ) -> None:
        fake_docker.add("app:1")
        done = cacher("docker", "upload", "k", "app:1", "nope:1", "app:2")
        assert done.status == 6
        assert "error: docker has no image nope:1, app:2\n" in done.err
        assert "hint: `docker images` lists them" in done.err
        assert place.keys() == place.leftovers() == []
        assert fake_docker.calls("save") == []

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            ({"after": 7 * MIB, "status": 1, "stderr": "disk on fire"}, "disk on fire"),
            ({"after": 0, "status": 1, "stderr": "Error response from daemon: x"}, ": x\n"),
            ({"after": 100, "status": 0}, "the saved data is not an archive of images"),
            ({"after": 7 * MIB, "signal": signal.SIGKILL}, "ended by signal 9"),
            ({"after": 7 * MIB, "status": 1}, "exit status 1"),
            ({"status": 1, "stderr": "at the very end"}, "at the very end"),
            ({"status": 3, "flood": 10 * MIB, "stderr": "said last"}, "said last"),
        ],
        ids=["half", "none", "short", "killed", "silent", "whole", "flood"],
    )
    def test_a_save_that_fails_stores_nothing(
        self,
        cacher: Run,
        place: Place,
        fake_docker: FakeDocker,
        fault: dict[str, int],
        reason: str,
    ) -> None:
        fake_docker.add("app:1", size=BIG)
        fake_docker.on("save", **fault)  # type: ignore[arg-type]
        done = cacher("docker", "upload", "k", "app:1")
        assert done.status == 6
        assert "cacher: error: " in done.err
        assert reason in done.err
        assert place.keys() == place.leftovers() == []
        assert quiet(fake_docker)

    @pytest.mark.parametrize(
        ("ending", "says"),
        [
            ("echo disk on fire >&2; exit 3", "engine save: disk on fire"),
            ("exit 3", "engine save: exit status 3"),
            ("exit 0", "not an archive of images"),
        ],
    )
    def test_what_a_save_says_is_told_and_not_its_garbage(
        self, cacher: Run, place: Place, ending: str, says: str
    ) -> None:
        image = f'[{{"Id":"sha256:{"1" * 64}"}}]'
        engine = Path("engine")
        engine.write_text(
            "#!/bin/sh\n"
            f"case $1 in image) echo '{image}'; exit;; save) ;; *) exit;; esac\n"
            f"yes '<b>garbage</b>' | head -c 600\n{ending}\n"
        )
        engine.chmod(0o755)
        err = cacher("docker", "upload", "k", "app:1", "--docker", "./engine").failed(6)
        assert says in err
        assert "garbage" not in err
        assert place.keys() == place.leftovers() == []

    def test_an_older_entry_stays_when_a_save_fails(
        self, cacher: Run, place: Place, fake_docker: FakeDocker
    ) -> None:
        fake_docker.add("app:1", size=BIG)
        cacher("docker", "upload", "k", "app:1")
        before = place.get("k")
        fake_docker.on("save", after=7 * MIB, status=1)
        assert cacher("docker", "upload", "k", "app:1", "--force").status == 6
        assert place.get("k") == before
        assert place.leftovers() == []

    def test_a_flood_of_words_is_no_deadlock(
        self, cacher: Run, place: Place, fake_docker: FakeDocker
    ) -> None:
        fake_docker.add("app:1")
        fake_docker.on("save", flood=10 * MIB)
        assert cacher("docker", "upload", "k", "app:1").status == 0

    def test_an_image_that_changes_meanwhile(
        self, cacher: Run, place: Place, fake_docker: FakeDocker
    ) -> None:
        fake_docker.add("app:1")
        fake_docker.on("inspect", call=2, status=1, stderr="Error: No such image: app:1")
        done = cacher("docker", "upload", "k", "app:1")
        assert done.status == 6
        assert "app:1 changed while it was saved; nothing was stored" in done.err
        assert place.keys() == place.leftovers() == []

    def test_a_store_that_fails_ends_the_save(
        self, cacher: Run, bucket: BucketPlace, fake_docker: FakeDocker
    ) -> None:
        fake_docker.add("app:1", size=BIG)
        bucket.server.inject(Fault(Respond(403, "AccessDenied"), operation="UploadPart"))
        assert cacher("docker", "upload", "k", "app:1").status == 4
        assert bucket.keys() == bucket.leftovers() == []
        assert quiet(fake_docker)

    @pytest.mark.parametrize("name", ["-v", "--help=1", "a b", "", "a;b"])
    def test_what_is_no_name(
        self, cacher: Run, place: Place, fake_docker: FakeDocker, name: str
    ) -> None:
        done = cacher("docker", "upload", "k", "--", name)
        assert done.status == 2
        assert "is not the name of an image" in done.err
        assert fake_docker.calls() == []

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("number", "deaf"), [(signal.SIGTERM, False), (signal.SIGINT, True)], ids=["term", "deaf"]
    )
    def test_a_signal_while_it_hangs(
        self, spawn: Spawn, place: Place, fake_docker: FakeDocker, number: int, deaf: bool
    ) -> None:
        fake_docker.add("app:1", size=BIG)
        fake_docker.on("save", after=7 * MIB, hang=True, deaf=deaf)
        process = spawn("docker", "upload", "k", "app:1")
        until(lambda: fake_docker.calls("save"))
        time.sleep(0.3)
        stop(process, number)
        assert place.keys() == place.leftovers() == []
        assert quiet(fake_docker)

    def test_a_time_out_while_it_hangs(
        self, cacher: Run, place: Place, fake_docker: FakeDocker
    ) -> None:
        fake_docker.add("app:1")
        fake_docker.on("save", after=100, hang=True)
        assert cacher("docker", "upload", "k", "app:1", "--timeout", "1").status == 3
        assert place.keys() == place.leftovers() == []
        assert quiet(fake_docker)

    def test_secrets_are_not_dockers(
        self, cacher: Run, bucket: BucketPlace, fake_docker: FakeDocker
    ) -> None:
        fake_docker.add("app:1")
        assert cacher("docker", "upload", "k", "app:1").status == 0
        seen = set().union(*(call.environment for call in fake_docker.calls()))
        assert "PATH" in seen
        assert not [name for name in seen if name.startswith("CACHER_S3")]


class TestDownload:
    @pytest.fixture
    def id_(self, cacher: Run, place: Place, fake_docker: FakeDocker) -> str:
        """An entry `k` with app:1, which the engine does not have; the image's id."""
        id_ = fake_docker.add("app:1", size=BIG)
        assert cacher("docker", "upload", "k", "app:1").status == 0
        fake_docker.forget()
        return id_

    def test_what_is_there_is_not_transferred(
        self, cacher: Run, bucket: BucketPlace, fake_docker: FakeDocker
    ) -> None:
        fake_docker.add("app:1", size=BIG)
        cacher("docker", "upload", "k", "app:1")
        before = len(bucket.server.requests)
        done = cacher("docker", "download", "k", "app:1")
        assert (done.status, done.err) == (0, "cacher: hit k, app:1 is here already\n")
        assert [one.operation for one in bucket.server.requests[before:]] == ["HeadObject"]
        assert fake_docker.calls("load") == []

    def test_another_image_of_that_name_is_replaced(
        self, cacher: Run, id_: str, fake_docker: FakeDocker
    ) -> None:
        fake_docker.add("app:1")
        assert cacher("docker", "download", "k", "app:1").status == 0
        assert fake_docker.images["app:1"] == id_

    def test_a_miss(self, cacher: Run, place: Place, fake_docker: FakeDocker) -> None:
        done = cacher("docker", "download", "k", "app:1")
        assert (done.status, done.err) == (1, "cacher: miss k\n")
        assert fake_docker.calls("load") == []

    def test_another_image_than_wanted(
        self, cacher: Run, id_: str, fake_docker: FakeDocker
    ) -> None:
        done = cacher("docker", "download", "k", "app:2")
        assert done.status == 6
        assert "error: k holds app:1, not app:2\n" in done.err
        assert fake_docker.images == {}

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            ({"after": 0, "status": 1, "stderr": "refused"}, "refused"),
            ({"after": 7 * MIB, "status": 1, "stderr": "Error: half way"}, "half way"),
            ({"after": 7 * MIB, "status": 0}, "ended before the end of the archive"),
            ({"after": 7 * MIB, "signal": signal.SIGKILL}, "ended by signal 9"),
            ({"status": 1, "stderr": "write: no space left on device"}, "disk is full"),
            ({"status": 1, "flood": 10 * MIB, "stderr": "late"}, "late"),
            ({"registers": "nothing"}, "app:1"),
            ({"registers": "other"}, "as recorded"),
            ({"after": 5000, "status": 1, "linger": 0.3, "stderr": "slow"}, "slow"),
        ],
        ids=[
            "refused",
            "half",
            "early",
            "killed",
            "full",
            "flood",
            "nothing",
            "other",
            "lingers",
        ],
    )
    def test_a_load_that_fails(
        self, cacher: Run, id_: str, fake_docker: FakeDocker, fault: dict[str, int], reason: str
    ) -> None:
        fake_docker.on("load", **fault)  # type: ignore[arg-type]
        done = cacher("docker", "download", "k", "app:1")
        assert done.status == 6
        assert "cacher: error: " in done.err
        assert reason in done.err
        assert id_ not in fake_docker.images.values()
        assert quiet(fake_docker)
        fake_docker.well()
        assert cacher("docker", "download", "k", "app:1").status == 0

    @pytest.mark.parametrize("at", [1000, -513, -1])
    def test_an_entry_that_is_cut_off_is_not_loaded(
        self, cacher: Run, id_: str, place: Place, fake_docker: FakeDocker, at: int
    ) -> None:
        place.corrupt("k", entry(place)[:at])
        done = cacher("docker", "download", "k", "app:1")
        assert done.status == 5
        assert "cacher: error: k: " in done.err
        assert fake_docker.images == {}
        assert quiet(fake_docker)

    @pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
    def test_an_entry_that_is_damaged_is_not_loaded(
        self, cacher: Run, id_: str, place: Place, fake_docker: FakeDocker, share: float
    ) -> None:
        data = bytearray(entry(place))
        data[int(len(data) * share)] ^= 1
        place.corrupt("k", bytes(data))
        assert cacher("docker", "download", "k", "app:1").status == 5
        assert fake_docker.images == {}
        assert quiet(fake_docker)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("number", "deaf"), [(signal.SIGINT, False), (signal.SIGTERM, True)], ids=["int", "deaf"]
    )
    def test_a_signal_while_it_hangs(
        self, spawn: Spawn, id_: str, fake_docker: FakeDocker, number: int, deaf: bool
    ) -> None:
        fake_docker.on("load", after=7 * MIB, hang=True, deaf=deaf)
        process = spawn("docker", "download", "k", "app:1")
        until(lambda: fake_docker.calls("load"))
        time.sleep(0.5)
        stop(process, number)
        assert fake_docker.images == {}
        assert quiet(fake_docker)

    @pytest.mark.slow
    def test_being_killed_loads_nothing(
        self, cacher: Run, spawn: Spawn, bucket: BucketPlace, fake_docker: FakeDocker
    ) -> None:
        """docker gets an end of input then, and must not take it for the archive's."""
        fake_docker.add("app:1", size=BIG)
        assert cacher("docker", "upload", "k", "app:1").status == 0
        fake_docker.forget()
        # In the first request, for the second may be that for the seal, which has no such byte.
        hang = bucket.server.inject(Fault(Stall(30, after=6 * MIB), operation="GetObject"))
        process = spawn("docker", "download", "k", "app:1")
        until(lambda: hang.hits and fake_docker.calls("load"))
        time.sleep(0.3)
        process.kill()
        process.communicate()
        assert quiet(fake_docker)
        assert fake_docker.images == {}

    @pytest.mark.slow
    @pytest.mark.parametrize("wrap", [zstandard.compress, bytes])
    def test_what_a_shell_has_stored(
        self, cacher: Run, place: Place, fake_docker: FakeDocker, wrap: object
    ) -> None:
        assert callable(wrap)
        id_ = fake_docker.add("app:1", size=BIG)
        place.put("k", wrap(saved(fake_docker, "app:1")), "")
        fake_docker.forget()
        assert cacher("docker", "download", "k", "app:1").status == 0
        assert fake_docker.images == {"app:1": id_}
        other = cacher("docker", "download", "k", "app:2")
        assert other.status == 6
        assert "docker load has loaded app:1, not app:2" in other.err
        fake_docker.forget()
        plain = cacher("docker", "download", "k")
        assert plain.err.startswith("cacher: hit k (app:1, ")

    @pytest.mark.slow
    def test_what_a_shell_has_stored_of_half_an_image(
        self, cacher: Run, place: Place, fake_docker: FakeDocker
    ) -> None:
        fake_docker.add("app:1", size=3 * MIB)
        data = saved(fake_docker, "app:1")
        fake_docker.forget()
        for cut in range(0, len(data) - 10240, 512 * 640):
            place.put("k", zstandard.compress(data[:cut]), "")
            assert cacher("docker", "download", "k", "app:1").status == 5
            assert fake_docker.images == {}

    def test_an_entry_of_another_kind(
        self, cacher: Run, place: Place, fake_docker: FakeDocker
    ) -> None:
        Path("d").mkdir()
        Path("d/file").touch()
        cacher("dir", "upload", "k", "d")
        for verb in ("download", "exists"):
            done = cacher("docker", verb, "k", "app:1")
            assert done.status == 2
            assert "k is an entry of another kind: dir" in done.err
            assert "hint: `cacher dir download` restores it" in done.err
        fake_docker.add("app:1")
        assert "another kind: dir" in cacher("docker", "upload", "k", "app:1").err
        cacher("docker", "upload", "i", "app:1")
        done = cacher("dir", "download", "i", "e")
        assert done.status == 2
        assert "i is an entry of another kind: image" in done.err
        assert not Path("e").exists()

    def test_a_form_that_is_not_known(
        self, cacher: Run, place: Place, fake_docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fake_docker.add("app:1")
        with monkeypatch.context() as patch:
            patch.setattr(open_sealed_entry, "FORMATS", ("1", "2"))
            assert cacher("docker", "upload", "k", "app:1").status == 0
        fake_docker.forget()
        done = cacher("docker", "download", "k", "app:1")
        assert done.status == 7
        assert "k has format 2, which this cacher does not know" in done.err
        fake_docker.offer("app:1")
        before = place.get("k")
        assert cacher("docker", "download", "k", "app:1", "--pull").status == 0
        assert place.get("k") == before
        assert fake_docker.calls("load") == []


class TestEngine:
    @pytest.mark.parametrize("verb", ["upload", "download"])
    def test_no_program(
        self, cacher: Run, place: Place, monkeypatch: pytest.MonkeyPatch, verb: str
    ) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        done = cacher("docker", verb, "k", "app:1")
        assert done.status == 7
        assert "error: none of docker, podman, nerdctl was found on PATH" in done.err
        assert "hint: " in done.err

    @pytest.mark.parametrize("verb", ["upload", "download"])
    def test_a_program_that_is_not_there(
        self, cacher: Run, place: Place, monkeypatch: pytest.MonkeyPatch, verb: str
    ) -> None:
        done = cacher("docker", verb, "k", "app:1", "--docker", "dokker")
        assert (done.status, done.err.splitlines()[0]) == (7, "cacher: error: dokker was not found")
        monkeypatch.setenv("CACHER_DOCKER", "/not/there")
        assert "error: /not/there was not found" in cacher("docker", verb, "k", "app:1").failed(7)

    @pytest.mark.parametrize("verb", ["upload", "download"])
    def test_a_program_that_cannot_be_run(self, cacher: Run, place: Place, verb: str) -> None:
        Path("directory").mkdir()
        os.mkfifo("fifo")
        Path("file").touch()
        for name in ("directory", "fifo", "file"):
            error = cacher("docker", verb, "k", "app:1", "--docker", f"./{name}").failed(7)
            assert f"error: ./{name} is not a program that can be run" in error
            assert "hint: --docker (CACHER_DOCKER) names the program" in error

    @pytest.mark.parametrize("verb", ["upload", "download"])
    def test_no_daemon(
        self, cacher: Run, bucket: BucketPlace, fake_docker: FakeDocker, verb: str
    ) -> None:
        fake_docker.add("app:1")
        cacher("docker", "upload", "k", "app:1")
        fake_docker.reachable(False)
        before = len(bucket.server.requests)
        done = cacher("docker", verb, "k", "app:1")
        assert done.status == 7
        assert "docker cannot be used: Cannot connect to the Docker daemon" in done.err
        assert "hint: does its daemon run?" in done.err
        assert {one.operation for one in bucket.server.requests[before:]} <= {"HeadObject"}
        assert cacher("docker", "exists", "k").status == 0

    def test_no_daemon_and_no_names(
        self, cacher: Run, place: Place, fake_docker: FakeDocker
    ) -> None:
        fake_docker.add("app:1")
        place.put("k", zstandard.compress(saved(fake_docker, "app:1")), "")
        fake_docker.reachable(False)
        done = cacher("docker", "download", "k")
        assert done.status == 7
        assert "docker cannot be used" in done.err

    def test_the_program_is_chosen(
        self, cacher: Run, place: Place, fake_docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fake_docker.add("app:1")
        Path("engine").symlink_to(fake_docker.program)
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        assert cacher("docker", "upload", "k", "app:1", "--docker", "./engine").status == 0
        monkeypatch.setenv("CACHER_DOCKER", str(fake_docker.program))
        assert cacher("docker", "download", "k", "app:1").status == 0
        assert cacher("docker", "download", "k", "app:1", "--docker", "").status == 2


class TestFallback:
    def test_a_pull_on_a_miss(self, cacher: Run, place: Place, fake_docker: FakeDocker) -> None:
        id_ = fake_docker.offer("app:1")
        done = cacher("docker", "download", "k", "app:1", "--pull")
        assert done.status == 0
        assert done.err.splitlines() == [
            "cacher: miss k, pulling app:1",
            "cacher: miss k, pulled app:1, stored",
        ]
        assert fake_docker.images == {"app:1": id_}
        fake_docker.forget()
        assert cacher("docker", "download", "k", "app:1").status == 0
        assert fake_docker.images == {"app:1": id_}

    def test_nothing_is_stored_if_so_told(
        self, cacher: Run, place: Place, fake_docker: FakeDocker
    ) -> None:
        fake_docker.offer("app:1")
        assert cacher("docker", "download", "k", "app:1", "--pull", "--no-store").status == 0
        assert place.keys() == []

    def test_a_pull_that_lies(self, cacher: Run, place: Place, fake_docker: FakeDocker) -> None:
        engine = Path("engine")
        engine.write_text('#!/bin/sh\n[ "$1" = pull ] || exec docker "$@"\n')
        engine.chmod(0o755)
        done = cacher("docker", "download", "k", "app:1", "--pull", "--docker", "./engine")
        assert done.status == 6
        assert "app:1 is not there after `engine pull`" in done.err
        assert place.keys() == []

    @pytest.mark.parametrize("flags", [("--pull",), ("--url", "http://127.0.0.1:9/x")])
    def test_no_daemon(
        self, cacher: Run, place: Place, fake_docker: FakeDocker, flags: tuple[str, ...]
    ) -> None:
        fake_docker.reachable(False)
        done = cacher("docker", "download", "k", "app:1", *flags)
        assert done.status == 7
        assert "docker cannot be used: Cannot connect" in done.err
        assert fake_docker.calls("pull") == []

    def test_a_pull_that_fails(self, cacher: Run, place: Place, fake_docker: FakeDocker) -> None:
        fake_docker.on("pull", status=1, stderr="manifest for app:1 not found: manifest unknown")
        done = cacher("docker", "download", "k", "app:1", "--pull")
        assert done.status == 6
        assert "error: docker pull app:1: manifest for app:1 not found" in done.err
        assert "hint: check the name and the tag" in done.err
        assert place.keys() == []

    def test_a_pull_needs_a_name(self, cacher: Run, place: Place) -> None:
        done = cacher("docker", "download", "k", "--pull")
        assert done.status == 2
        assert "--pull needs IMAGE" in done.err

    def test_a_failed_seed_is_a_warning(
        self, cacher: Run, place: Place, fake_docker: FakeDocker
    ) -> None:
        id_ = fake_docker.offer("app:1", size=BIG)
        fake_docker.on("save", after=7 * MIB, status=1, stderr="disk on fire")
        done = cacher("docker", "download", "k", "app:1", "--pull", "--json")
        told = json.loads(done.out)
        assert (done.status, told["outcome"], told["stored"]) == (0, "pulled", False)
        assert "not stored for next time: docker save: disk on fire" in told["warnings"][0]
        assert fake_docker.images == {"app:1": id_}
        assert place.keys() == place.leftovers() == []

    def test_a_store_that_is_not_there(
        self, cacher: Run, bucket: BucketPlace, fake_docker: FakeDocker
    ) -> None:
        fake_docker.offer("app:1")
        bucket.server.inject(Fault(Respond(403, "AccessDenied"), operation=None, times=None))
        done = cacher("docker", "download", "k", "app:1", "--pull")
        assert done.status == 0
        assert "warning: " in done.err
        assert "continuing without the cache" in done.err
        assert "app:1" in fake_docker.images

    @pytest.mark.parametrize("wound", ["cut", "other"])
    def test_a_bad_entry_is_replaced(
        self, cacher: Run, place: Place, fake_docker: FakeDocker, wound: str
    ) -> None:
        fake_docker.add("app:1" if wound == "cut" else "app:0")
        cacher("docker", "upload", "k", *fake_docker.images)
        if wound == "cut":
            place.corrupt("k", entry(place)[:-700])
        fake_docker.forget()
        id_ = fake_docker.offer("app:1")
        done = cacher("docker", "download", "k", "app:1", "--pull")
        assert done.status == 0
        assert "; getting it again" in done.err
        fake_docker.forget()
        assert cacher("docker", "download", "k", "app:1").status == 0
        assert fake_docker.images == {"app:1": id_}

    @pytest.mark.parametrize("wrap", [bytes, gzip.compress])
    def test_a_url_on_a_miss(
        self, cacher: Run, place: Place, fake_docker: FakeDocker, origin: Origin, wrap: object
    ) -> None:
        assert callable(wrap)
        id_ = fake_docker.add("app:1", size=BIG)
        url = origin.script("/app", Reply(body=wrap(saved(fake_docker, "app:1"))))
        fake_docker.forget()
        done = cacher("docker", "download", "k", "--url", url)
        assert done.status == 0, done.err
        assert done.err.startswith(f"cacher: miss k, fetched {url} (app:1; ")
        assert done.err.endswith(", stored\n")
        assert fake_docker.images == {"app:1": id_}
        fake_docker.forget()
        assert cacher("docker", "download", "k", "app:1").status == 0
        assert fake_docker.images == {"app:1": id_}

    @pytest.mark.slow
    @pytest.mark.parametrize("ranges", [True, False])
    def test_a_url_that_breaks_off_goes_on(
        self, cacher: Run, place: Place, fake_docker: FakeDocker, origin: Origin, ranges: bool
    ) -> None:
        id_ = fake_docker.add("app:1", size=BIG)
        data = saved(fake_docker, "app:1")
        fake_docker.forget()
        url = origin.script(
            "/app",
            Reply(body=data, cut=6 * MIB, ranges=ranges),
            Reply(body=data, cut=3 * MIB, ranges=ranges),
            Reply(body=data, ranges=ranges),
        )
        done = cacher("docker", "download", "k", "app:1", "--url", url)
        assert done.status == 0, done.err
        assert fake_docker.images == {"app:1": id_}

    @pytest.mark.slow
    @pytest.mark.parametrize("size", [None, 3 * MIB], ids=["another", "shorter"])
    def test_a_url_whose_archive_is_replaced_meanwhile(
        self,
        cacher: Run,
        place: Place,
        fake_docker: FakeDocker,
        origin: Origin,
        size: int | None,
    ) -> None:
        fake_docker.add("app:1", size=BIG)
        fake_docker.add("app:2", size=BIG)
        first = saved(fake_docker, "app:1")
        replies = [
            Reply(body=first, cut=6 * MIB),
            Reply(body=first[:size] if size else saved(fake_docker, "app:2")),
        ]
        fake_docker.forget()
        url = origin.script("/app", *replies)
        done = cacher("docker", "download", "k", "--url", url)
        assert done.status == 6
        assert f"fetching {url}: it was replaced meanwhile" in done.err
        assert fake_docker.images == {}
        assert place.keys() == []
        assert quiet(fake_docker)

    def test_a_url_whose_rest_is_of_another_version(
        self, cacher: Run, place: Place, fake_docker: FakeDocker, origin: Origin
    ) -> None:
        """A CDN that ignores `If-Range`: what was read already cannot be taken back."""
        fake_docker.add("app:1", size=BIG)
        fake_docker.add("app:2", size=BIG)
        first, second, at = saved(fake_docker, "app:1"), saved(fake_docker, "app:2"), 6 * MIB
        told = {"Content-Range": f"bytes {at}-{len(first) - 1}/{len(first)}"}
        replies = [
            Reply(body=first, cut=at, etag='"v1"'),
            Reply(206, second[at:], told, etag='"v2"'),
            Reply(body=second, etag='"v2"'),
        ]
        fake_docker.forget()
        url = origin.script("/app", *replies)
        done = cacher("docker", "download", "k", "--url", url)
        assert done.status == 6
        assert f"fetching {url}: it was replaced meanwhile" in done.err
        assert [seen.header("range") for seen in origin.seen] == ["", f"bytes={at}-", ""]
        assert fake_docker.images == {}
        assert place.keys() == []
        assert quiet(fake_docker)

    @pytest.mark.parametrize(
        ("wound", "status", "reason"),
        [
            ("cut", 5, "cut off"),
            ("digest", 5, "expected " + "0" * 64),
            ("xz", 5, "it is compressed by xz"),
            ("page", 5, "it is not a tar archive, nor one in gzip or zstd"),
            ("missing", 6, "HTTP 404 Not Found"),
        ],
    )
    def test_a_url_that_does_not_deliver(
        self,
        cacher: Run,
        place: Place,
        fake_docker: FakeDocker,
        origin: Origin,
        wound: str,
        status: int,
        reason: str,
    ) -> None:
        fake_docker.add("app:1")
        data = saved(fake_docker, "app:1")
        fake_docker.forget()
        body = {"cut": data[: len(data) // 2], "xz": b"\xfd7zXZ\0 and so on", "page": b"<p>" * 999}
        url = origin.script("/app", Reply(body=body.get(wound, data)))
        if wound == "missing":
            url += "/not"
        digest = ("--sha256", "0" * 64) if wound == "digest" else ()
        done = cacher("docker", "download", "k", "app:1", "--url", url, *digest)
        assert done.status == status
        assert reason in done.err
        assert fake_docker.images == {}
        assert place.keys() == []
        assert quiet(fake_docker)
        id_ = fake_docker.offer("app:1")
        pulled = cacher("docker", "download", "k", "app:1", "--url", url, *digest, "--pull")
        assert pulled.status == 0
        assert "warning: " in pulled.err
        assert fake_docker.images == {"app:1": id_}

    @pytest.mark.slow
    def test_a_signal_while_it_is_fetched(
        self, spawn: Spawn, place: Place, fake_docker: FakeDocker, origin: Origin
    ) -> None:
        fake_docker.add("app:1", size=BIG)
        data = saved(fake_docker, "app:1")
        fake_docker.forget()
        url = origin.script("/app", Reply(body=data, stall=30, stall_after=9 * MIB))
        process = spawn("docker", "download", "k", "app:1", "--url", url)
        until(lambda: fake_docker.calls("load"))
        time.sleep(0.3)
        stop(process, signal.SIGTERM)
        assert fake_docker.images == {}
        assert quiet(fake_docker)


class TestNames:
    def test_behind_options(self, cacher: Run, place: Place, fake_docker: FakeDocker) -> None:
        ids = {name: fake_docker.add(name) for name in ("app:1", "app:2")}
        assert cacher("docker", "upload", "k", "app:1", "--force", "app:2").status == 0
        fake_docker.forget()
        assert cacher("docker", "download", "k", "-v", "app:2").status == 0
        assert fake_docker.images == ids
        for argv in (["k", "app:1", "-v", "app:2"], ["k", "--nope", "app:1"], ["k", "-v", "-x"]):
            done = cacher("docker", "download", *argv)
            assert done.status == 2
            assert re.search("unexpected argument '|has no option -", done.err)

    def test_alike_in_one_engine(self, cacher: Run, place: Place, fake_docker: FakeDocker) -> None:
        ids = {name: fake_docker.add(name) for name in ("localhost/app:1", "app:1")}
        assert cacher("docker", "upload", "k", *ids).status == 0
        fake_docker.forget()
        assert cacher("docker", "download", "k").status == 0
        assert fake_docker.images == ids
        assert "here already" in cacher("docker", "download", "k", "localhost/app:1").err

    def test_of_another_engine(self, cacher: Run, place: Place, fake_docker: FakeDocker) -> None:
        id_ = fake_docker.add("localhost/app:1")
        assert cacher("docker", "upload", "k", "localhost/app:1").status == 0
        fake_docker.forget()
        fake_docker.add("app:1")
        assert cacher("docker", "download", "k", "app:1").status == 0
        assert fake_docker.images["app:1"] == id_

    def test_by_digest(self, cacher: Run, place: Place, fake_docker: FakeDocker) -> None:
        name = "app@sha256:" + "a" * 64
        fake_docker.add(name)
        done = cacher("docker", "upload", "k", name)
        assert done.status == 2
        assert "is named by a digest, which engines drop when they load an image" in done.err
        assert place.keys() == []

    def test_one_without_a_tag_is_not_all_tags(
        self, cacher: Run, place: Place, fake_docker: FakeDocker
    ) -> None:
        id_ = fake_docker.add("app:latest")
        fake_docker.add("app:1")
        assert cacher("docker", "upload", "k", "app").status == 0
        fake_docker.forget()
        assert cacher("docker", "download", "k", "app").status == 0
        assert fake_docker.images == {"app:latest": id_}

    @pytest.mark.slow
    def test_too_many_to_tell(self, cacher: Run, place: Place, fake_docker: FakeDocker) -> None:
        names = [f"app:{number}" for number in range(30)]
        ids = {name: fake_docker.add(name, size=1000) for name in names}
        stored = cacher("docker", "upload", "k", *names)
        assert "(app:0, app:1, app:2, app:3, app:4 and 25 more, " in stored.err
        fake_docker.forget()
        assert cacher("docker", "download", "k").status == 0
        assert fake_docker.images == ids
        done = cacher("docker", "download", "k", "app:29")
        assert done.status == 0  # loaded again: it was not recorded


class TestExists:
    def test_it_tells(self, cacher: Run, place: Place, fake_docker: FakeDocker) -> None:
        assert cacher("docker", "exists", "k").status == 1
        id_ = fake_docker.add("app:1")
        cacher("docker", "upload", "k", "app:1")
        fake_docker.reachable(False)
        assert cacher("docker", "exists", "k").status == 0
        done = cacher("docker", "exists", "k", "docker.io/library/app:1", "--json")
        assert (done.status, json.loads(done.out)["images"]) == (0, {"app:1": id_})
        assert cacher("docker", "exists", "k", "--json", "app:1").status == 0
        other = cacher("docker", "exists", "k", "app")
        assert (other.status, other.err) == (1, "cacher: miss k: it holds app:1, not app\n")

    def test_of_a_shell(self, cacher: Run, place: Place, fake_docker: FakeDocker) -> None:
        fake_docker.add("app:1")
        place.put("k", zstandard.compress(saved(fake_docker, "app:1")), "")
        done = cacher("docker", "exists", "k", "app:1", "-v")
        assert done.status == 0
        assert "k does not record which images are in it" in done.err
