"""The zipapps, built once for all tests of them; such a test is marked `release`. And the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging import browser, zipapps
from tests.packaging.browser import Browser
from tests.packaging.sites import make_site
from tests.support.servers import programs


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "pyzs" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.release)
            item.add_marker(pytest.mark.timeout(3000))  # the first may build and download


@pytest.fixture(scope="session")
def pyzs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with every edition."""
    out = tmp_path_factory.mktemp("pyzs")
    zipapps.build("--out", out, "--wheels", zipapps.wheels(), *zipapps.compilers())
    return out


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, the documents and stand-ins for the artifacts."""
    return make_site(tmp_path_factory.mktemp("site") / "dist")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser without a window."""
    try:
        with browser.start(tmp_path_factory.mktemp("chromium")) as running:
            yield running
    except programs.ProgramNotFound as missing:
        programs.unavailable(missing)
