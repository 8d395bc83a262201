"""What cannot become a project page: one line says why, and nothing else has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.pages import make_tree, refused, rewrite
from tests.packaging.sites import ARTIFACTS, TEMPLATE, VERSION


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree")


@pytest.mark.parametrize("epoch", ["9" * 30, "1.5", "now"])
def test_a_time_that_sources_cannot_have(tree: Path, epoch: str) -> None:
    refused(tree, "SOURCE_DATE_EPOCH is not a time: ", SOURCE_DATE_EPOCH=epoch)


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        (TEMPLATE, "{{BUILT}}", "{{WHEN}}", "unknown placeholder WHEN"),
        (TEMPLATE, "{{BUILT}}", "{{ BUILT }}", "the template has no placeholder BUILT"),
        (TEMPLATE, "{{BUILT}}", "{{BUILT}} {{built}}", "would be left over in line"),
        (TEMPLATE, "{{SHA_SDIST}}", "", "the template has no placeholder SHA_SDIST"),
        ("docs/changelog.md", f"[{VERSION}]", "[9.9]", f"docs/changelog.md has no [{VERSION}]"),
        ("docs/changelog.md", " - 2026-01-02", "", "docs/changelog.md has no date for [0.0.1]"),
        ("docs/changelog.md", "## [0.0.1]", "## 0.0.1", "docs/changelog.md:20: not a version"),
        ("docs/changelog.md", "* First", "1. First", "docs/changelog.md:22: not understood"),
        ("docs/changelog.md", "* First", "<p>First", "docs/changelog.md:22: not understood"),
        ("docs/changelog.md", "https://example.org/?", "javascript:", "leads nowhere here"),
        ("cacher/__init__.py", "__version__ =", "version =", "has no __version__"),
    ],
)
def test_what_does_not_fit_is_refused(tree: Path, path: str, old: str, new: str, said: str) -> None:
    rewrite(tree, path, old, new)
    refused(tree, said)
    assert not (tree / "dist/index.html").exists()


@pytest.mark.parametrize("name", ARTIFACTS)
def test_every_artifact_must_be_there(tree: Path, name: str) -> None:
    path = tree / "dist" / name
    path.write_bytes(b"")
    refused(tree, f"page: {path} is empty\n")
    path.unlink()
    refused(tree, f"page: {path}: No such file or directory\n")
    assert not (tree / "dist/index.html").exists()
