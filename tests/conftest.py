"""What every test gets: an environment that is nobody's, real servers on demand, and their marks.

The servers are session fixtures: started by the first test that asks, stopped when the session
ends, however it ends. Each worker of pytest-xdist has its own, which start within a second. A test
that asks for one is marked `server` (and `garage`) by itself; one that asks for a container engine,
an image or a registry is marked `docker`.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest

from tests.fakes.docker_scenes import FakeDocker
from tests.support import images
from tests.support.daemons import docker
from tests.support.daemons import podman as podman_engine
from tests.support.daemons import registry as docker_registry
from tests.support.daemons.docker import Daemon, StartDaemon
from tests.support.daemons.podman import Podman
from tests.support.daemons.registry import Registry
from tests.support.images import Image
from tests.support.servers import garage as garage_server
from tests.support.servers import juicefs as juicefs_server
from tests.support.servers import programs
from tests.support.servers import rclone as rclone_server
from tests.support.servers import seaweedfs as seaweedfs_server
from tests.support.servers.base import Server

pytest_plugins = ("tests.support.progress_file", "tests.support.time_limit")

_SERVERS = ("seaweedfs", "juicefs", "garage")
"""The stores that every promise is tested on: `each_server`."""

_FIXTURES = {*_SERVERS, "seaweedfs_tls", "rclone"}

_ENGINES = {"docker_daemon", "start_daemon", "podman", "registry"}
"""What the rest, as `debian_image`, is made with."""

_Provided = TypeVar("_Provided")


# Deadlines measure the machine's other work. In CI the examples are the same for everybody.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")


def pytest_configure() -> None:
    """A shell starts background jobs with SIGINT ignored, and nohup any with SIGHUP.

    What is tested here would take that over and honour it. Handlers it does not take over, so
    these two do nothing, as before, but let the tests' processes have their defaults.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server: its fixture is asked for, or named by a parameter."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        parameters = callspec.params.values() if callspec else ()
        named = {name for name in parameters if isinstance(name, str)}
        asked = {*getattr(item, "fixturenames", ()), *named}
        wanted = _FIXTURES & asked
        if wanted:
            item.add_marker(pytest.mark.server)
        if _ENGINES & asked:
            item.add_marker(pytest.mark.docker)
        if "garage" in wanted:
            item.add_marker(pytest.mark.garage)
    items.sort(key=_turn)


def pytest_collection_finish() -> None:
    """Keep the tests, ten thousand, out of garbage collections: each took 0.3 s."""
    gc.collect()
    gc.freeze()


def _turn(item: pytest.Item) -> int:
    """Return the test's place in the order.

    `--dist worksteal` gives each worker a run of tests, from whose end the idle ones take. So what
    needs an image of Debian, or the zipapps, comes first: one worker makes them. Then the unit
    tests: some fork often, which takes long once a process has grown.
    """
    if item.get_closest_marker("docker"):
        return 0
    if item.get_closest_marker("release"):
        return 1
    return 2 if "unit" in item.path.parts else 3


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the user's reaches a test, and no test touches the user's files."""
    settings = ("CACHER_", "AWS_", "DOCKER_", "CONTAINER")
    for name in os.environ:
        if name.startswith(settings) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, place in (
        ("HOME", "home"),
        ("XDG_CONFIG_HOME", "home/.config"),
        ("XDG_CACHE_HOME", "home/.cache"),
    ):
        monkeypatch.setenv(name, str(tmp_path / place))
    # Not the machine's own daemon, whose place is where docker looks without this.
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-docker.sock")


@contextmanager
def _provided(start: Callable[[], AbstractContextManager[_Provided]]) -> Iterator[_Provided]:
    with ExitStack() as stack:
        try:
            server = stack.enter_context(start())
        except programs.ProgramNotFound as missing:
            programs.unavailable(missing)
        yield server


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[Server]:
    """SeaweedFS over http."""
    with _provided(seaweedfs_server.start) as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs_tls() -> Iterator[Server]:
    """SeaweedFS over https, its certificate signed by a private authority (`ca_file`)."""
    with _provided(partial(seaweedfs_server.start, https=True)) as server:
        yield server


@pytest.fixture(scope="session")
def juicefs() -> Iterator[Server]:
    """JuiceFS's gateway."""
    with _provided(juicefs_server.start) as server:
        yield server


@pytest.fixture(scope="session")
def garage() -> Iterator[Server]:
    """Garage."""
    with _provided(garage_server.start) as server:
        yield server


@pytest.fixture(scope="session")
def rclone() -> Iterator[Server]:
    """`rclone serve s3`."""
    with _provided(rclone_server.start) as server:
        yield server


@pytest.fixture(scope="session", params=_SERVERS)
def each_server(request: pytest.FixtureRequest) -> Server:
    """One of the servers: the test runs on each."""
    server = request.getfixturevalue(request.param)
    assert isinstance(server, Server)
    return server


@pytest.fixture(scope="session")
def docker_daemon() -> Iterator[Daemon]:
    """A docker daemon for all tests: remove no image that a test did not make."""
    with _provided(docker.start) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def start_daemon() -> StartDaemon:
    """Starts other docker daemons: `with start_daemon(size=BYTES) as daemon: ...`."""

    def start(*, size: int | None = None) -> AbstractContextManager[Daemon]:
        return _provided(partial(docker.start, size=size))

    return start


@pytest.fixture
def fresh_daemon(start_daemon: StartDaemon) -> Iterator[Daemon]:
    """A docker daemon for this test alone, without images."""
    with start_daemon() as daemon:
        yield daemon


@pytest.fixture(scope="session")
def debian_image(docker_daemon: Daemon) -> Image:
    """A minimal Debian in `docker_daemon`: 120 MB in one layer."""
    try:
        return images.import_debian(docker_daemon, "cacher-test/debian:1")
    except programs.ProgramNotFound as missing:
        programs.unavailable(missing)


@pytest.fixture(scope="session")
def built_image(docker_daemon: Daemon, debian_image: Image) -> Image:
    """Another layer on top of `debian_image`, in `docker_daemon`."""
    return images.built(docker_daemon, "cacher-test/built:1", debian_image)


@pytest.fixture
def small_image(docker_daemon: Daemon) -> Image:
    """A small image in `docker_daemon`, new for each test; `images.small` makes more."""
    return images.small(docker_daemon)


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """A registry on loopback, empty at first."""
    with _provided(docker_registry.start) as running:
        yield running


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """podman with a storage of its own."""
    with _provided(podman_engine.start) as engine:
        yield engine


@pytest.fixture
def fake_docker(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> FakeDocker:
    """A `docker` first on `PATH` that does as it is told, without images or failures at first."""
    fake = FakeDocker(tmp_path_factory.mktemp("fake") / "docker")
    for name, value in fake.env.items():
        monkeypatch.setenv(name, value)
    return fake
