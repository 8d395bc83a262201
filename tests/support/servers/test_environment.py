"""What `tests/conftest.py` promises every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

LEAKS = ("AWS_PROFILE", "CACHER_ENDPOINT", "HTTP_PROXY", "https_proxy", "NO_PROXY")


@pytest.fixture(scope="module")
def settings_of_the_user() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in LEAKS:
            patch.setenv(name, "leaked")
        yield


@pytest.mark.usefixtures("settings_of_the_user")
def test_no_setting_of_the_user_is_seen(tmp_path: Path) -> None:
    assert not [name for name in LEAKS if name in os.environ]
    assert Path.home().is_relative_to(tmp_path)
    assert Path(os.environ["XDG_CONFIG_HOME"]).is_relative_to(tmp_path)
    assert Path(os.environ["XDG_CACHE_HOME"]).is_relative_to(tmp_path)


@pytest.mark.parametrize(
    ("name", "marks"), [("juicefs", {"server"}), ("garage", {"server", "garage"})]
)
def test_a_test_that_names_a_server_is_marked(
    name: str, marks: set[str], request: pytest.FixtureRequest
) -> None:
    assert {mark.name for mark in request.node.iter_markers()} == {"parametrize", *marks}


def test_a_test_that_names_none_is_not_marked(request: pytest.FixtureRequest) -> None:
    assert not list(request.node.iter_markers())
