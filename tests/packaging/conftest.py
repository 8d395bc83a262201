"""The zipapps, built once for all tests of them; such a test is marked `release`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging import zipapps


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
