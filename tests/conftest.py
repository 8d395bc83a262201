"""What every test gets: an environment that is nobody's, real servers on demand, and their marks.

The servers are session fixtures: started by the first test that asks, stopped when the session
ends, however it ends. A test that asks for one is marked `server` (and `garage`) by itself.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import hypothesis
import pytest

from tests.servers import garage as garage_server
from tests.servers import juicefs as juicefs_server
from tests.servers import programs
from tests.servers import rclone as rclone_server
from tests.servers import seaweedfs as seaweedfs_server
from tests.servers.base import Server

_SERVERS = ("seaweedfs", "juicefs", "garage")
"""The stores that every promise is tested on: `each_server`."""

_FIXTURES = {*_SERVERS, "seaweedfs_tls", "rclone"}

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
    """Mark what needs a server: its fixture is asked for, or named by a parameter.

    And the unit tests first: some fork often, which takes long once a process has grown.
    """
    items.sort(key=lambda item: "unit" not in item.path.parts)
    for item in items:
        callspec = getattr(item, "callspec", None)
        parameters = callspec.params.values() if callspec else ()
        named = {name for name in parameters if isinstance(name, str)}
        wanted = _FIXTURES & {*getattr(item, "fixturenames", ()), *named}
        if wanted:
            item.add_marker(pytest.mark.server)
        if "garage" in wanted:
            item.add_marker(pytest.mark.garage)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the user's reaches a test, and no test touches the user's files."""
    for name in os.environ:
        if name.startswith(("CACHER_", "AWS_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, place in (
        ("HOME", "home"),
        ("XDG_CONFIG_HOME", "home/.config"),
        ("XDG_CACHE_HOME", "home/.cache"),
    ):
        monkeypatch.setenv(name, str(tmp_path / place))


@contextmanager
def _provided(start: Callable[[], AbstractContextManager[Server]]) -> Iterator[Server]:
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
