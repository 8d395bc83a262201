"""What cannot become a project page: one line says why, and nothing else has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.pages import make_tree, refused, rewrite
from tests.packaging.sites import ARTIFACTS, TEMPLATE, VERSION


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree")


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        (TEMPLATE, "{{BUILT}}", "{{WHEN}}", "lacks the placeholder BUILT, or has one more"),
        (TEMPLATE, "{{SHA_SDIST}}", "", "lacks the placeholder SHA_SDIST, or has one more"),
        ("docs/changelog.md", f"[{VERSION}]", "[9.9]", f"docs/changelog.md has no [{VERSION}]"),
        ("docs/changelog.md", " - 2026-01-02", "", "docs/changelog.md has no date for [0.0.1]"),
        ("docs/changelog.md", "## [0.0.1]", "## 0.0.1", "docs/changelog.md:20: not a version"),
        ("docs/changelog.md", "* First", "<p>First", "docs/changelog.md:22: not understood"),
        ("docs/changelog.md", "https://example.org/?", "javascript:", "leads nowhere on the site"),
    ],
)
def test_what_does_not_fit_is_refused(tree: Path, path: str, old: str, new: str, said: str) -> None:
    rewrite(tree, path, old, new)
    refused(tree, said)
    assert not (tree / "dist/index.html").exists()


@pytest.mark.parametrize("name", ARTIFACTS)
def test_every_artifact_must_be_there(tree: Path, name: str) -> None:
    path = tree / "dist" / name
    path.unlink()
    refused(tree, f"page: {path}: No such file or directory\n")
    assert not (tree / "dist/index.html").exists()
