"""What package managers and git leave, stored and restored: nothing differs from what tar does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support import real_trees
from tests.support.cli_helpers import LocalPlace
from tests.support.trees import look
from tests.support.zstd_streams import unzstd

MANY = 20_000

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(params=[pytest.param("npm", marks=pytest.mark.release), "virtualenv", "repository"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Each kind of tree."""
    make: dict[str, Callable[[], Path]] = {
        "npm": real_trees.npm,
        "virtualenv": real_trees.virtualenv,
        "repository": lambda: real_trees.repository(tmp_path / "repository"),
    }
    path = make[request.param]()
    if request.param == "npm":
        assert sum(len(files) for _, _, files in os.walk(path)) >= MANY
    return path


def test_it_comes_back_as_it_was(cacher: Run, local: LocalPlace, tree: Path) -> None:
    """Modes, times in nanoseconds, link targets, groups of hard links, contents."""
    before = look(tree)
    assert cacher("dir", "upload", "k", tree).status == 0
    ended = cacher("dir", "download", "k", "ours", "--json")
    assert ended.status == 0
    assert ended.json["members"] == len(before)
    assert look(Path("ours")) == before

    Path("theirs").mkdir()
    subprocess.run(["tar", "c", "--format=pax", "-C", tree, "-f", "a.tar", "."], check=True)
    subprocess.run(["tar", "xp", "-C", "theirs", "-f", "a.tar"], check=True)
    assert look(Path("theirs")) == before

    archive = unzstd(local.get("k") or b"")
    listed = subprocess.run(["tar", "t"], input=archive, stdout=subprocess.PIPE, check=True)
    assert listed.stdout.count(b"\n") == len(before)


def test_over_what_is_there(cacher: Run, local: LocalPlace, tmp_path: Path) -> None:
    """As the next job finds it."""
    tree = real_trees.repository(tmp_path / "repository")
    assert cacher("dir", "upload", "k", tree).status == 0
    assert cacher("dir", "download", "k", "d").status == 0
    for path in list(Path("d").rglob("*"))[::50]:
        if path.is_file() and not path.is_symlink():
            path.unlink()
    Path("d/more").write_text("stays")
    before = look(tree)
    assert cacher("dir", "download", "k", "d").status == 0
    merged = look(Path("d"))
    assert merged.pop("more").content == b"stays"
    assert merged == before
    assert cacher("dir", "download", "k", "d", "--clean").status == 0
    assert look(Path("d")) == before
