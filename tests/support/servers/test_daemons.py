"""The engines and the registry do what tests of images build on, apart from the machine's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.docker_scenes import FakeDocker
from tests.support import images
from tests.support.daemons import docker, namespace, podman, registry
from tests.support.daemons.docker import Daemon, StartDaemon
from tests.support.daemons.podman import Podman
from tests.support.daemons.registry import Registry
from tests.support.images import Image
from tests.support.servers import programs

MIB = 1024 * 1024


def ended(pid: int) -> bool:
    """Whether the process is gone, or a zombie of somebody else's."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def test_every_client_restores_what_it_saved(
    docker_daemon: Daemon, fresh_daemon: Daemon, small_image: Image
) -> None:
    assert docker_daemon.image_id(small_image.tag) == small_image.id
    assert fresh_daemon.images() == {}
    clients = docker.clients()
    assert clients
    for client in clients:
        saved = replace(docker_daemon, program=client).run("save", small_image.tag).stdout
        loaded = replace(fresh_daemon, program=client).run("load", input=saved)
        assert loaded.stdout == f"Loaded image: {small_image.tag}\n".encode()
        assert fresh_daemon.images() == {small_image.tag: small_image.id}
        fresh_daemon.run("rmi", small_image.tag)
        assert fresh_daemon.image_id(small_image.tag) is None


def test_small_images_are_distinct(docker_daemon: Daemon) -> None:
    one, other = images.small(docker_daemon), images.small(docker_daemon, size=MIB)
    assert (one.tag, one.id) != (other.tag, other.id)
    sizes = [len(docker_daemon.run("save", image.tag).stdout) for image in (one, other)]
    assert images.SMALL < sizes[0] < images.SMALL + 64 * 1024
    assert MIB < sizes[1] < MIB + 64 * 1024


def test_debian_is_whole_and_built_upon(
    docker_daemon: Daemon, debian_image: Image, built_image: Image
) -> None:
    form = "{{len .RootFS.Layers}}"
    for image, layers in ((debian_image, b"1\n"), (built_image, b"2\n")):
        told = docker_daemon.run("image", "inspect", "--format", form, image.id)
        assert told.stdout == layers
    argv = ["run", "--rm", "--network", "none", built_image.tag, "sh", "-c"]
    ran = docker_daemon.run(*argv, "cat /etc/debian_version; wc -c < /data")
    version, size = ran.stdout.decode().split()
    assert version.startswith("12.")
    assert int(size) == images.SMALL


def test_a_daemon_leaves_nothing(start_daemon: StartDaemon) -> None:
    with start_daemon() as daemon:
        images.small(daemon)
        space = namespace.of(daemon.pid)
        assert space
        pids = namespace.members(space)
        assert len(pids) >= 2, "dockerd and its containerd"
        assert (daemon.data / "overlay2").is_dir() or (daemon.data / "vfs").is_dir()
    assert all(map(ended, pids))
    assert not namespace.members(space)
    assert not daemon.root.exists()
    assert str(daemon.root) not in Path("/proc/self/mounts").read_text()


def test_a_killed_daemon_leaves_nothing(
    start_daemon: StartDaemon, debian_image: Image, docker_daemon: Daemon
) -> None:
    saved = docker_daemon.run("save", debian_image.tag).stdout
    with start_daemon() as daemon:
        daemon.run("load", input=saved)
        sleep = ["run", "--detach", "--network", "none", debian_image.tag, "sleep", "600"]
        daemon.run(*sleep)
        space = namespace.of(daemon.pid)
        assert space
        pids = namespace.members(space)
        assert any(Path(f"/proc/{pid}/comm").read_text() == "sleep\n" for pid in pids)
        assert list(Path("/sys/fs/cgroup").glob(f"**/{daemon.root.name}"))
        os.kill(daemon.pid, signal.SIGKILL)
    assert all(map(ended, pids))
    assert not daemon.root.exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{daemon.root.name}"))


def test_a_small_disk_is_full_soon(start_daemon: StartDaemon, docker_daemon: Daemon) -> None:
    big = images.small(docker_daemon, size=48 * MIB)
    saved = docker_daemon.run("save", big.tag).stdout
    with start_daemon(size=32 * MIB) as daemon:
        loaded = daemon.run("load", input=saved, check=False)
        assert loaded.returncode == 1
        assert b"no space left on device" in loaded.stderr
        assert daemon.images() == {}
        assert shutil.disk_usage(daemon.data).total == 32 * MIB
        images.small(daemon)  # what fits still goes in
    docker_daemon.run("rmi", big.tag)


def test_a_command_that_fails_says_why(docker_daemon: Daemon) -> None:
    with pytest.raises(RuntimeError, match=r"docker save exited 1: .*reference does not exist"):
        docker_daemon.run("save", "cacher-test/none:1")
    assert docker_daemon.run("save", "cacher-test/none:1", check=False).returncode == 1


def test_a_registry_keeps_what_is_pushed(
    registry: Registry, docker_daemon: Daemon, fresh_daemon: Daemon, small_image: Image
) -> None:
    name = registry.name("pushed:1")
    assert registry.tags("pushed") == set()
    docker_daemon.run("tag", small_image.tag, name)
    docker_daemon.run("push", name)
    assert registry.tags("pushed") == {"1"}
    fresh_daemon.run("pull", name)
    assert fresh_daemon.images() == {name: small_image.id}
    missing = fresh_daemon.run("pull", registry.name("pushed:2"), check=False)
    assert missing.returncode == 1
    assert b"manifest unknown" in missing.stderr


def test_podman_and_docker_restore_each_others(
    podman: Podman, docker_daemon: Daemon, fresh_daemon: Daemon, small_image: Image
) -> None:
    podman.run("load", input=docker_daemon.run("save", small_image.tag).stdout)
    assert podman.image_id(small_image.tag) == small_image.id.removeprefix("sha256:")
    fresh_daemon.run("load", input=podman.run("save", small_image.tag).stdout)
    assert fresh_daemon.images() == {f"localhost/{small_image.tag}": small_image.id}
    podman.run("rmi", small_image.tag)
    assert podman.image_id(small_image.tag) is None


def test_podman_pulls_from_the_registry_it_trusts(
    podman: Podman, registry: Registry, docker_daemon: Daemon, small_image: Image
) -> None:
    name = registry.name("for-podman:1")
    docker_daemon.run("tag", small_image.tag, name)
    docker_daemon.run("push", name)
    podman.trust(registry.address)
    podman.run("pull", name)
    assert podman.image_id(name) == small_image.id.removeprefix("sha256:")
    with pytest.raises(RuntimeError, match="podman pull exited 125: "):
        podman.run("pull", "no-registry-is-searched:1")


def test_plain_podman_is_this_one(
    podman: Podman, fake_docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = untouched()
    for name, value in podman.env.items():
        monkeypatch.setenv(name, value)
    fake_docker.add("cacher-test/plain:1")
    content = fake_docker.run("save", "cacher-test/plain:1").stdout
    subprocess.run(["podman", "load"], input=content, check=True, capture_output=True, timeout=600)
    assert podman.image_id("cacher-test/plain:1")
    assert untouched() == before


def untouched() -> list[tuple[str, float]]:
    """What podman keeps of its own where nobody told it to, as root."""
    roots = [Path("/var/lib/containers"), Path("/run/containers"), Path("/run/libpod")]
    lock, scratch = Path("/dev/shm/libpod_lock"), Path("/var/tmp")
    paths = [lock, scratch, *(path for root in roots for path in (root, *root.rglob("*")))]
    return [(str(path), path.stat().st_mtime) for path in paths if path.exists()]


def test_the_double_and_docker_load_each_others(
    fake_docker: FakeDocker, fresh_daemon: Daemon
) -> None:
    real, double = fresh_daemon.run, fake_docker.run
    made = fake_docker.add("double:1", "double:2", size=2 * MIB)
    assert real("load", input=double("save", "double").stdout).stdout == (
        b"Loaded image: double:1\nLoaded image: double:2\n"
    )
    assert fresh_daemon.images() == {"double:1": made, "double:2": made}
    image = images.small(fresh_daemon, "real:1")
    fake_docker.forget()
    for names in (("real:1", "double:1"), ("double:1", image.id), (made, image.id)):
        archive = real("save", *names).stdout
        assert double("load", input=archive).stdout == real("load", input=archive).stdout
    assert fake_docker.images == {"double:1": made, "real:1": image.id}
    for name in ("double:1", "real:1"):
        argv = ("image", "inspect", "--format", "{{json .RootFS}}", name)
        assert json.loads(double(*argv).stdout) == json.loads(real(*argv).stdout)


SAYINGS = (
    ("image", "inspect", "-f", "{{.Id}} {{.RepoTags}} {{json .Os}}", "double:1", "no", "sha256:ab"),
    ("image", "inspect", "-f", "{{.Id}}", "no:1", "double"),
    ("image", "inspect", "-f", "{{.Nope}}", "double:1"),
    ("image", "inspect", "no"),
    ("save", "double:1", "no:1"),
    ("save", "no"),
    ("save", f"sha256:{'ab' * 32}"),
    ("tag", "no:1", "other:1"),
    ("rmi", "no"),
    ("image", "rm", "no:1"),
    ("load",),
    ("load", "-i", "no.tar"),
)

SAYINGS_WITHOUT_A_DAEMON = (
    ("image", "inspect", "no"),
    ("image", "inspect", "-f", "{{.Id}}", "no"),
    ("version", "-f", "{{.Server.Version}}"),
    ("save", "no"),
    ("load",),
    ("pull", "no"),
    ("pull", "--quiet", "no"),
)


def test_the_double_says_what_docker_says(fake_docker: FakeDocker, fresh_daemon: Daemon) -> None:
    fake_docker.add("double:1")
    fresh_daemon.run("load", input=fake_docker.run("save", "double:1").stdout)
    compared = 0
    for client in docker.clients():
        daemon = replace(fresh_daemon, program=client)
        version = daemon.run("version", "-f", "{{.Client.Version}}").stdout.decode()
        if not version.startswith(("20.10.", "28.")):
            continue  # the double does as these do
        fake_docker.become("20.10.24" if version.startswith("20.10.") else "28.2.2")
        for argv in SAYINGS:
            expected, got = daemon.run(*argv, check=False), fake_docker.run(*argv, check=False)
            assert told(got) == told(expected), (version, argv)
        fake_docker.reachable(False)
        down = replace(daemon, host="unix:///no.sock")
        for argv in SAYINGS_WITHOUT_A_DAEMON:
            expected = down.run(*argv, check=False)
            got = fake_docker.run("--host", down.host, *argv, check=False)
            assert told(got) == told(expected), (version, argv)
        fake_docker.well()
        compared += 1
    assert compared, "Debian's client is one of them"


def told(done: subprocess.CompletedProcess[bytes]) -> tuple[int, str, str]:
    """A status and what was printed, without the daemon's own directories."""
    places = r"/\S*(/tmp/docker-import-|/image/overlay2/)\d*"
    return done.returncode, done.stdout.decode(), re.sub(places, r"\1", done.stderr.decode())


def test_without_an_engine_the_command_that_provides_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(docker, "PATH", "")
    starts: dict[str, Callable[[], AbstractContextManager[object]]] = {
        "apt-get install docker.io": docker.start,
        "apt-get install podman": podman.start,
        "apt-get install docker-registry": registry.start,
    }
    for provider, start in starts.items():
        with ExitStack() as stack, pytest.raises(programs.ProgramNotFound, match=provider):
            stack.enter_context(start())


@pytest.fixture(scope="module")
def engines_of_the_user() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINERS_CONF", "CONTAINER_HOST"):
            patch.setenv(name, "leaked")
        yield


@pytest.mark.usefixtures("engines_of_the_user")
def test_no_engine_of_the_user_is_seen(tmp_path: Path) -> None:
    assert "leaked" not in os.environ.values()
    assert os.environ["DOCKER_HOST"].startswith(f"unix://{tmp_path}/")
    assert not list(tmp_path.glob("*.sock"))


@pytest.mark.parametrize("name", ["docker_daemon", "podman", "registry"])
def test_a_test_that_names_an_engine_is_marked(name: str, request: pytest.FixtureRequest) -> None:
    assert {mark.name for mark in request.node.iter_markers()} == {"parametrize", "docker"}


def test_a_test_of_an_image_is_marked(request: pytest.FixtureRequest, small_image: Image) -> None:
    assert {mark.name for mark in request.node.iter_markers()} == {"docker"}


def test_the_double_is_no_engine(request: pytest.FixtureRequest, fake_docker: FakeDocker) -> None:
    assert not list(request.node.iter_markers())
