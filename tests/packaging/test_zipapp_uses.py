"""What people do with the zipapp, by a Python that has nothing but itself.

The store is the fake S3 server, so that urllib3, ssl and zstandard have their share; none of them
may come from this Python's site.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from cacher.cli.completion.scripts import script
from tests.cli.test_signals import LONG, stop, until
from tests.fakes.certificates import write_certificate
from tests.fakes.docker_scenes import FakeDocker
from tests.fakes.faults import Fault, Stall
from tests.fakes.origin import Origin, Reply
from tests.fakes.s3server import FakeS3Server
from tests.packaging.isolated_zipapp import Zipapp
from tests.support.cli_helpers import MIB, BucketPlace, blob, sha256, temporary_names
from tests.support.doctor_helpers import CHECKS, Chart
from tests.support.servers import programs
from tests.unit.http.test_tls import STRANGER

FILE = blob(6 * MIB)
"""Two parts and two ranges."""


@pytest.fixture
def cacher(pyzs: Path, tmp_path: Path) -> Iterator[Zipapp]:
    """The zipapp; whatever it does, it leaves no temporary file anywhere."""
    zipapp = Zipapp(pyzs / "cacher.pyz", tmp_path)
    (zipapp.work / "f").write_bytes(FILE)
    yield zipapp
    assert os.listdir(zipapp.temporary) == []
    assert temporary_names(tmp_path) == []


def serving(server: FakeS3Server) -> Iterator[BucketPlace]:
    """A store in it, in which nothing is left half done."""
    with server:
        yield BucketPlace(server)
        assert not server.uploads
        assert server.violations == []


@pytest.fixture
def bucket(cacher: Zipapp) -> Iterator[BucketPlace]:
    """A store over http, which the environment names."""
    for place in serving(FakeS3Server()):
        cacher.lead(place.environment)
        yield place


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A private authority's certificate, and its key."""
    return write_certificate(tmp_path)


@pytest.fixture
def secure(cacher: Zipapp, certificate: tuple[Path, Path]) -> Iterator[BucketPlace]:
    """A store over https, which the environment names, by a private authority."""
    for place in serving(FakeS3Server(tls=certificate)):
        cacher.lead(place.environment)
        yield place


def test_nothing_is_taken_from_elsewhere(cacher: Zipapp, bucket: BucketPlace) -> None:
    """Python tells of each module who loaded it."""
    (cacher.work / "tree").mkdir()
    done = cacher("dir", "upload", "k", "tree", python=("-v",))
    assert done.status == 0, done.err
    loaded = {
        line.split("'")[1]: line.split(" # ")[1]
        for line in done.err.splitlines()
        if line.startswith("import '") and " # " in line
    }
    ours = ("cacher", "urllib3", "zstandard")
    mine = {name: by for name, by in loaded.items() if name.partition(".")[0] in ours}
    assert {"cacher.cli.main", "urllib3", "zstandard", "zstandard.backend_c"} <= set(mine)
    by = {told.partition(" ")[0] for told in mine.values()}
    assert by == {"<zipimporter"}
    assert bucket.keys() == ["k"]


class TestTLS:
    @pytest.mark.parametrize("way", ["--ca-file", "AWS_CA_BUNDLE"])
    def test_a_private_authority(
        self, cacher: Zipapp, secure: BucketPlace, certificate: tuple[Path, Path], way: str
    ) -> None:
        told: list[str | Path] = ["--ca-file", certificate[0]] if way == "--ca-file" else []
        if not told:
            cacher.lead({way: str(certificate[0])})
        assert cacher("exists", "k", *told).status == 1
        stored = cacher("upload", "k", "f", *told)
        assert stored.status == 0, stored.err
        assert secure.get("k") == FILE
        assert secure.digest("k") == sha256(FILE)
        assert secure.server.count(operation="UploadPart") == 2
        hit = cacher("download", "k", "again", *told)
        assert hit.status == 0, hit.err
        assert (cacher.work / "again").read_bytes() == FILE

    @pytest.mark.parametrize("known", ["nobody's", "another's"])
    def test_an_authority_that_is_not_known(
        self, cacher: Zipapp, secure: BucketPlace, tmp_path: Path, known: str
    ) -> None:
        secure.put("k", FILE)
        if known == "another's":
            (tmp_path / "stranger.pem").write_text(STRANGER)
            cacher.lead({"AWS_CA_BUNDLE": str(tmp_path / "stranger.pem")})
        for argv in (("exists", "k"), ("download", "k", "again"), ("upload", "new", "f")):
            err = cacher(*argv).failed(3)
            assert "the certificate is not accepted" in err
            assert "cacher: hint: --ca-file FILE adds" in err
        assert secure.server.requests == []
        assert secure.keys() == ["k"]
        assert os.listdir(cacher.work) == ["f"]


class TestURL:
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_what_is_missing_comes_from_there_once(
        self, cacher: Zipapp, bucket: BucketPlace, certificate: tuple[Path, Path], scheme: str
    ) -> None:
        told: list[str | Path] = ["--ca-file", certificate[0]] if scheme == "https" else []
        with Origin(certificate if told else None) as origin:
            url = origin.script("/f", Reply(body=FILE[::-1]))
            assert url.startswith(f"{scheme}://")
            for name in ("first", "second"):
                done = cacher("download", "k", name, "--url", url, *told)
                assert done.status == 0, done.err
                assert (cacher.work / name).read_bytes() == FILE[::-1]
            assert len(origin.seen) == 1
        assert bucket.get("k") == FILE[::-1]
        assert bucket.digest("k") == sha256(FILE[::-1])

    def test_an_authority_that_is_not_known(
        self, cacher: Zipapp, bucket: BucketPlace, certificate: tuple[Path, Path]
    ) -> None:
        with Origin(certificate) as origin:
            url = origin.script("/f", Reply(body=FILE))
            err = cacher("download", "k", "again", "--url", url).failed(6)
            assert "the certificate is not accepted" in err
            assert origin.seen == []
        assert bucket.keys() == []
        assert os.listdir(cacher.work) == ["f"]

    def test_what_is_missing_there_too(self, cacher: Zipapp, bucket: BucketPlace) -> None:
        with Origin() as origin:
            err = cacher("download", "k", "again", "--url", origin.url("/f")).failed(6)
            assert "404" in err
        assert bucket.keys() == []
        assert os.listdir(cacher.work) == ["f"]


class TestDocker:
    def test_an_image_and_back(
        self, cacher: Zipapp, bucket: BucketPlace, fake_docker: FakeDocker
    ) -> None:
        cacher.lead(fake_docker.env)
        image = fake_docker.add("app:1", size=12 * MIB)
        assert cacher("docker", "exists", "k").status == 1
        stored = cacher("docker", "upload", "k", "app:1")
        assert stored.status == 0, stored.err
        (save,) = fake_docker.calls("save")
        entry = bucket.get("k")
        assert entry is not None
        whole = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
        assert sha256(whole.decompress(entry)) == save.stdout.sha256
        assert cacher("docker", "exists", "k").status == 0
        fake_docker.forget()
        hit = cacher("docker", "download", "k", "app:1")
        assert hit.status == 0, hit.err
        assert fake_docker.images == {"app:1": image}
        (load,) = fake_docker.calls("load")
        assert load.stdin == save.stdout

    def test_an_image_that_is_not_whole(
        self, cacher: Zipapp, bucket: BucketPlace, fake_docker: FakeDocker
    ) -> None:
        cacher.lead(fake_docker.env)
        fake_docker.add("app:1", size=12 * MIB)
        fake_docker.on("save", after=7 * MIB, status=1, stderr="disk on fire")
        assert "disk on fire" in cacher("docker", "upload", "k", "app:1").failed(6)
        assert bucket.keys() == bucket.leftovers() == []


@pytest.mark.parametrize("operation", ["HeadObject", "UploadPart"])
def test_ctrl_c_while_a_directory_is_uploaded(
    cacher: Zipapp, bucket: BucketPlace, operation: str
) -> None:
    tree = cacher.work / "tree"
    tree.mkdir()
    for number in range(4):
        (tree / f"{number}").write_bytes(blob(5 * MIB, number))
    hang = bucket.server.inject(Fault(Stall(LONG), operation=operation))
    process = cacher.start("dir", "upload", "k", "tree")
    try:
        until(lambda: hang.hits)
        stop(process, signal.SIGINT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert bucket.keys() == bucket.leftovers() == []
    assert sorted(os.listdir(cacher.work)) == ["f", "tree"]


def test_completion_in_bash(cacher: Zipapp) -> None:
    """What it prints is what bash takes, and then offers."""
    bash = programs.require("bash")
    done = cacher("completion", "bash")
    assert (done.status, done.err) == (0, "")
    assert done.text == script("bash") + "\n"
    asked = """\
set -e
eval "$1"
set -- $(complete -p cacher)
while [ "$1" != -F ]; do shift; done
COMP_WORDS=(cacher dow) COMP_CWORD=1 COMP_LINE='cacher dow' COMP_POINT=10
"$2" cacher dow cacher || :
printf '%s\\n' "${COMPREPLY[@]}"
"""
    offered = subprocess.run(
        [bash, "--norc", "--noprofile", "-c", asked, "bash", done.text],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (offered.stdout.split(), offered.stderr) == (["download"], "")


class TestSetup:
    def test_init_and_doctor(self, cacher: Zipapp, bucket: BucketPlace) -> None:
        """The config file alone leads there afterwards."""
        cacher.forget("CACHER_PART_SIZE")  # init would record it
        config = cacher.home / ".config/cacher/config.toml"
        wanted = {"endpoint": bucket.server.endpoint, "bucket": bucket.server.bucket}
        wanted["region"] = bucket.server.region
        done = cacher("init", *(word for item in wanted.items() for word in option(*item)))
        assert (done.status, done.out) == (0, b""), done.err
        assert tomllib.loads(config.read_text()) == wanted
        assert stat.S_IMODE(config.stat().st_mode) == 0o600
        cacher.forget("CACHER_ENDPOINT", "CACHER_BUCKET", "CACHER_REGION")
        done = cacher("doctor")
        assert (done.status, done.err) == (0, "cacher: everything works\n")
        chart = Chart(done)
        assert [line.name for line in chart.lines][-len(CHECKS) :] == list(CHECKS)
        assert chart.names("fail", "warn") == []
        assert bucket.keys() == []

    def test_a_secret_that_is_wrong(self, cacher: Zipapp, bucket: BucketPlace) -> None:
        cacher.lead({"CACHER_S3_SECRET": "another"})
        cacher("init").failed(4)
        assert not cacher.home.exists()
        cacher("doctor").failed(4)
        cacher("upload", "k", "f").failed(4)
        assert bucket.keys() == []


def option(name: str, value: str) -> tuple[str, str]:
    return f"--{name}", value
