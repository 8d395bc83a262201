"""Images through real engines, stores and registries: what comes back is what went in."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Run, Spawn
from tests.cli.test_signals import until
from tests.support import images
from tests.support.cli_helpers import LocalPlace
from tests.support.configs import name_server
from tests.support.daemons import docker
from tests.support.daemons.docker import Daemon, StartDaemon
from tests.support.daemons.podman import Podman
from tests.support.daemons.registry import Registry
from tests.support.images import Image
from tests.support.servers import programs
from tests.support.servers.base import Server

pytestmark = pytest.mark.timeout(1200)

Use = Callable[[Daemon], None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Let the environment name a daemon, and its client be `docker`."""

    def name(daemon: Daemon) -> None:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        monkeypatch.setenv("CACHER_DOCKER", str(daemon.program))

    return name


def files(daemon: Daemon, image: str) -> dict[str, tuple[int, int, int, str, bytes]]:
    """All that a container of the image has in it."""
    name = daemon.run("create", image, "/none").stdout.decode().strip()
    try:
        archive = daemon.root / f"{name}.tar"
        daemon.run("export", "--output", archive, name)
        with tarfile.open(archive) as tar:
            return {
                member.name: (member.mode, member.uid, member.size, member.linkname, member.type)
                for member in tar
            }
    finally:
        daemon.run("rm", name)


class TestRoundTrip:
    def test_debian_into_another_daemon(
        self,
        cacher: Run,
        each_server: Server,
        monkeypatch: pytest.MonkeyPatch,
        use: Use,
        docker_daemon: Daemon,
        fresh_daemon: Daemon,
        built_image: Image,
    ) -> None:
        name_server(monkeypatch, replace(each_server, bucket=each_server.new_bucket()))
        use(docker_daemon)
        stored = cacher("docker", "upload", "k", built_image.tag)
        assert stored.status == 0, stored.err
        use(fresh_daemon)
        assert cacher("docker", "exists", "k", built_image.tag).status == 0
        hit = cacher("docker", "download", "k", built_image.tag)
        assert hit.status == 0, hit.err
        assert fresh_daemon.images() == {built_image.tag: built_image.id}
        assert files(fresh_daemon, built_image.tag) == files(docker_daemon, built_image.tag)
        again = cacher("docker", "download", "k", built_image.tag)
        assert again.err == f"cacher: hit k, {built_image.tag} is here already\n"

    @pytest.mark.parametrize("client", docker.clients() or [None], ids=str)
    def test_several_images_and_every_client(
        self,
        cacher: Run,
        local: LocalPlace,
        use: Use,
        docker_daemon: Daemon,
        fresh_daemon: Daemon,
        client: Path | None,
    ) -> None:
        here, there = (
            replace(daemon, program=client or daemon.program)
            for daemon in (docker_daemon, fresh_daemon)
        )
        first, second = images.small(here), images.small(here)
        use(here)
        assert cacher("docker", "upload", "k", first.tag, second.tag).status == 0
        use(there)
        done = cacher("docker", "download", "k")
        assert done.status == 0, done.err
        assert there.images() == {first.tag: first.id, second.tag: second.id}
        assert "here already" in cacher("docker", "download", "k").err

    def test_an_image_without_a_name(
        self, cacher: Run, local: LocalPlace, use: Use, docker_daemon: Daemon, fresh_daemon: Daemon
    ) -> None:
        image = images.small(docker_daemon)
        use(docker_daemon)
        assert cacher("docker", "upload", "k", image.id.removeprefix("sha256:")[:12]).status == 0
        use(fresh_daemon)
        done = cacher("docker", "download", "k")
        assert done.status == 0, done.err
        assert fresh_daemon.image_id(image.id) == image.id

    def test_names_that_are_missing(
        self, cacher: Run, local: LocalPlace, use: Use, docker_daemon: Daemon, small_image: Image
    ) -> None:
        use(docker_daemon)
        done = cacher("docker", "upload", "k", small_image.tag, "cacher-test/none:1")
        assert done.status == 6
        assert "docker has no image cacher-test/none:1\n" in done.err
        assert local.keys() == []


class TestShell:
    def test_both_ways(
        self,
        cacher: Run,
        local: LocalPlace,
        use: Use,
        docker_daemon: Daemon,
        fresh_daemon: Daemon,
        small_image: Image,
    ) -> None:
        """`docker save | zstd` is an entry; `zstd -d | docker load` takes one."""
        archive = docker_daemon.run("save", small_image.tag).stdout
        packed = subprocess.run(
            [programs.require("zstd"), "-q"], input=archive, stdout=subprocess.PIPE, check=True
        )
        local.put("shell", packed.stdout, "")
        use(fresh_daemon)
        done = cacher("docker", "download", "shell", small_image.tag)
        assert done.status == 0, done.err
        assert fresh_daemon.images() == {small_image.tag: small_image.id}
        fresh_daemon.run("rmi", small_image.tag)
        use(docker_daemon)
        assert cacher("docker", "upload", "ours", small_image.tag).status == 0
        entry = local.get("ours")
        assert entry is not None
        opened = subprocess.run(
            [programs.require("zstd"), "-qd"], input=entry, stdout=subprocess.PIPE, check=True
        )
        fresh_daemon.run("load", input=opened.stdout)
        assert fresh_daemon.images() == {small_image.tag: small_image.id}


class TestPodman:
    def test_there_and_back(
        self,
        cacher: Run,
        local: LocalPlace,
        use: Use,
        docker_daemon: Daemon,
        fresh_daemon: Daemon,
        podman: Podman,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        first, second = images.small(docker_daemon), images.small(docker_daemon)
        use(docker_daemon)
        assert cacher("docker", "upload", "k", first.tag, second.tag).status == 0
        with monkeypatch.context() as patch:
            for name, value in podman.env.items():
                patch.setenv(name, value)
            patch.setenv("CACHER_DOCKER", "podman")
            done = cacher("docker", "download", "k")
            assert done.status == 0, done.err
            assert podman.image_id(first.tag) == first.id.removeprefix("sha256:")
            assert podman.image_id(second.tag) == second.id.removeprefix("sha256:")
            assert "here already" in cacher("docker", "download", "k", second.tag).err
            stored = cacher("docker", "upload", "p", first.tag, second.tag)
            assert stored.status == 0, stored.err
            missing = cacher("docker", "upload", "q", "cacher-test/none:1")
            assert missing.status == 6
            assert "podman has no image cacher-test/none:1" in missing.err
        use(fresh_daemon)
        back = cacher("docker", "download", "p", first.tag)
        assert back.status == 0, back.err
        # podman calls it localhost/..., docker does not.
        assert fresh_daemon.image_id(first.tag) == first.id
        assert set(fresh_daemon.images().values()) == {first.id, second.id}


class TestPull:
    def test_a_miss_is_pulled_and_stored(
        self,
        cacher: Run,
        local: LocalPlace,
        use: Use,
        docker_daemon: Daemon,
        start_daemon: StartDaemon,
        registry: Registry,
        small_image: Image,
    ) -> None:
        name = registry.name("app:1")
        docker_daemon.run("tag", small_image.tag, name)
        docker_daemon.run("push", name)
        for number in range(2):
            with start_daemon() as daemon:
                use(daemon)
                done = cacher("docker", "download", "k", name, "--pull")
                assert done.status == 0, done.err
                said = f"pulled {name}, stored" if number == 0 else f"hit k ({name}, "
                assert said in done.err
                assert daemon.image_id(name) == small_image.id

    def test_what_the_registry_does_not_have(
        self, cacher: Run, local: LocalPlace, use: Use, docker_daemon: Daemon, registry: Registry
    ) -> None:
        use(docker_daemon)
        name = registry.name("none:1")
        done = cacher("docker", "download", "k", name, "--pull")
        assert done.status == 6
        assert f"error: docker pull {name}: " in done.err
        assert "hint: check the name and the tag" in done.err
        assert local.keys() == []


class TestTrouble:
    def test_a_full_disk(
        self,
        cacher: Run,
        local: LocalPlace,
        use: Use,
        docker_daemon: Daemon,
        start_daemon: StartDaemon,
        debian_image: Image,
    ) -> None:
        use(docker_daemon)
        assert cacher("docker", "upload", "k", debian_image.tag).status == 0
        with start_daemon(size=64 * 1024 * 1024) as daemon:
            use(daemon)
            done = cacher("docker", "download", "k", debian_image.tag)
            assert done.status == 6
            assert "no space left on device" in done.err
            assert "hint: the engine's disk is full" in done.err
            assert daemon.images() == {}

    def test_an_entry_that_is_cut_off_leaves_no_image(
        self,
        cacher: Run,
        local: LocalPlace,
        use: Use,
        docker_daemon: Daemon,
        fresh_daemon: Daemon,
        built_image: Image,
    ) -> None:
        use(docker_daemon)
        assert cacher("docker", "upload", "k", built_image.tag).status == 0
        entry = local.get("k")
        assert entry is not None
        use(fresh_daemon)
        for cut in (len(entry) // 2, len(entry) - 512, len(entry) - 513):
            local.put("k", entry[:cut], "")
            done = cacher("docker", "download", "k", built_image.tag)
            # Without its seal it is whole as a shell would have stored it.
            assert done.status == (0 if cut == len(entry) - 512 else 5)
            expected = {built_image.tag: built_image.id} if done.status == 0 else {}
            assert fresh_daemon.images() == expected
            if expected:
                fresh_daemon.run("rmi", built_image.tag)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    def test_a_signal_in_the_middle_leaves_no_image(
        self,
        cacher: Run,
        spawn: Spawn,
        local: LocalPlace,
        use: Use,
        docker_daemon: Daemon,
        fresh_daemon: Daemon,
        debian_image: Image,
        number: signal.Signals,
    ) -> None:
        use(docker_daemon)
        assert cacher("docker", "upload", "k", debian_image.tag).status == 0
        use(fresh_daemon)
        process = spawn("docker", "download", "k", debian_image.tag)
        until(lambda: len(children(process.pid)) > 0 and loading(process.pid))
        process.send_signal(number)
        _, err = process.communicate(timeout=600)
        if number == signal.SIGKILL:
            assert process.returncode == -number
        else:
            assert process.returncode == 128 + number, err
        time.sleep(0.5)
        assert fresh_daemon.images() == {}
        assert cacher("docker", "download", "k", debian_image.tag).status == 0
        assert fresh_daemon.images() == {debian_image.tag: debian_image.id}


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def loading(pid: int) -> bool:
    """Whether one of its children is `docker load`."""
    for child in children(pid):
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"load" in words:
            return True
    return False


class TestCosts:
    def test_no_file_is_written(
        self,
        local: LocalPlace,
        docker_daemon: Daemon,
        fresh_daemon: Daemon,
        small_image: Image,
        tmp_path: Path,
        each_server: Server,
    ) -> None:
        """By cacher, or by the client that it runs; what the daemon writes is its own."""
        strace = programs.require("strace")
        server = replace(each_server, bucket=each_server.new_bucket())
        for number, (daemon, verb) in enumerate(
            [(docker_daemon, "upload"), (fresh_daemon, "download")]
        ):
            trace = tmp_path / f"trace-{number}"
            environ = {
                **{name: value for name, value in os.environ.items() if "CACHER" not in name},
                **environment(server),
                "DOCKER_HOST": daemon.host,
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            calls = "trace=open,openat,openat2,creat,memfd_create"
            command = [sys.executable, "-m", "cacher", "docker", verb, "k", small_image.tag]
            subprocess.run(
                [strace, "-f", "-qq", "-e", calls, "-e", "signal=none", "-o", trace, *command],
                env=environ,
                check=True,
                timeout=600,
            )
            assert written(trace.read_text()) == set()
        assert fresh_daemon.image_id(small_image.tag) == small_image.id


def environment(server: Server) -> Mapping[str, str]:
    return {
        "CACHER_ENDPOINT": server.endpoint,
        "CACHER_REGION": server.region,
        "CACHER_BUCKET": server.bucket,
        "CACHER_S3_KEY_ID": server.access_key,
        "CACHER_S3_SECRET": server.secret_key,
    }


def written(trace: str) -> set[str]:
    """The files that a trace shows to have been opened for writing."""
    opened = re.findall(r'(?:open|openat2?|creat)\((?:AT_FDCWD, )?"([^"]+)", ([^)]*)\) = \d', trace)
    assert opened
    modes = ("O_WRONLY", "O_RDWR", "O_CREAT", "flags=O_RDWR")
    files = {path for path, flags in opened if any(mode in flags for mode in modes)}
    return files - {"/dev/null", "/dev/tty"}
