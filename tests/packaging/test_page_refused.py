"""What cannot become a project page: one line says why, and nothing else has changed."""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path

import pytest

from tests.packaging.pages import make_tree, refused, render, rewrite
from tests.packaging.sites import ARTIFACTS, TEMPLATE, VERSION


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree")


@pytest.mark.parametrize(
    "epoch", ["-1", "253402300800", "9" * 30, "9" * 5000, "1.5", "1_0", " 1", "+1", "now", "\u0661"]
)
def test_a_time_that_sources_cannot_have(tree: Path, epoch: str) -> None:
    said = "the time of the build is wrong: SOURCE_DATE_EPOCH is not a number of seconds from 0"
    refused(tree, said, SOURCE_DATE_EPOCH=epoch)


@pytest.mark.parametrize(
    "told",
    [
        "9999-12-31T23:59:59-00:01",
        "0001-01-01T00:00:00+00:01",
        "10000-01-01",
        "2026-02-31",
        "2026-02-03T24:01",
        "2026-02-03T04:05:06+24:00",
        "yesterday\nor so",
        "\udcff",
        "",
    ],
)
def test_a_time_that_is_none(tree: Path, told: str) -> None:
    refused(tree, "the time of the build is wrong: --built ", "--built", told)


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


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("2026-01-02", "2026-02-31", "docs/changelog.md:20: not a date: 2026-02-31"),
        ("2026-01-02", "0000-01-02", "docs/changelog.md:20: not a date: 0000-01-02"),
        ("2026-01-02", "\u0662026-01-02", "docs/changelog.md:20: not a version: ## [0.0.1]"),
        ("[0.0.1] -", "[0.0.1, or so] -", "docs/changelog.md:20: not a version: ## [0.0.1, or"),
        ("[0.0.1] -", f"[{VERSION}] -", f"docs/changelog.md:20: [{VERSION}] is there twice"),
        ("[0.0.1] -", f"[{VERSION}.0] -", f"docs/changelog.md:20: [{VERSION}.0] is there twice"),
        ("[0.0.1] -", "[10.0] -", f"docs/changelog.md:20: [10.0] is newer than [{VERSION}]"),
        (
            "[0.0.1] - 2026-01-02",
            "[Unreleased]",
            "docs/changelog.md:20: [Unreleased] is not the first",
        ),
        ("## [Unreleased]", "## [10.0] - 2026-02-04", f"has [10.0], which is newer than {VERSION}"),
        ("[Unreleased]", "[Unreleased] - 2026-02-04", "docs/changelog.md:5: [Unreleased] has a d"),
        ("* First.", "", "docs/changelog.md:20: [0.0.1] is empty\n"),
        ("* First.", "### Added", "docs/changelog.md:20: [0.0.1] is empty below Added"),
        ("### Added", "### Fixed\n\n### Added", f"[{VERSION}] is empty below Fixed"),
        ("### Added", "### ", "docs/changelog.md:14: not understood: ###"),
        ("- Another.", "- ", "docs/changelog.md:18: not understood: -"),
    ],
)
def test_a_changelog_that_cannot_be(tree: Path, old: str, new: str, said: str) -> None:
    rewrite(tree, "docs/changelog.md", old, new)
    refused(tree, said)


def test_what_is_unreleased_must_come_first(tree: Path) -> None:
    rewrite(tree, "docs/changelog.md", "[0.0.1] - 2026-01-02", "[Unreleased]")
    rewrite(tree, "docs/changelog.md", "## [Unreleased]\n\n- Not shown either.\n", "")
    refused(tree, "docs/changelog.md:17: [Unreleased] is not the first")


@pytest.mark.parametrize("path", ["cacher/__init__.py", "docs/changelog.md", TEMPLATE])
def test_a_source_that_cannot_be_read(tree: Path, path: str) -> None:
    text = (tree / path).read_bytes()
    (tree / path).write_bytes(text + b"\n\xff\n")
    line = text.count(b"\n") + 2
    refused(tree, f"cannot read {path}: line {line} is not UTF-8")
    (tree / path).unlink()
    refused(tree, f"cannot read {path}: No such file or directory")
    (tree / path).mkdir()
    refused(tree, f"cannot read {path}: Is a directory")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("__version__ = (", "is not Python: "),
        ("\0", "is not Python: "),
        ('__version__ = "1/../2"', "has a version that no release can have: '1/../2'"),
        ('__version__ = "1.0-rc.1"', "has a version that no release can have: '1.0-rc.1'"),
    ],
)
def test_a_version_that_is_none(tree: Path, text: str, said: str) -> None:
    (tree / "cacher/__init__.py").write_text(text)
    refused(tree, f"page: cacher/__init__.py {said}")


@pytest.mark.parametrize("name", ARTIFACTS)
def test_every_artifact_must_be_there(tree: Path, name: str) -> None:
    said = f"page: no artifact {name} in {tree}/dist: "
    (tree / "dist" / name).write_bytes(b"")
    refused(tree, f"{said}it is empty\n")
    (tree / "dist" / name).unlink()
    refused(tree, f"{said}No such file or directory\n")
    (tree / "dist" / name).mkdir()
    refused(tree, f"{said}Is a directory\n")
    assert not (tree / "dist/index.html").exists()


@pytest.mark.parametrize(
    ("name", "why"), [("none", "No such file"), ("docs/changelog.md", "Not a directory")]
)
def test_no_directory_of_artifacts(tree: Path, name: str, why: str) -> None:
    place = str(tree / name)
    refused(tree, f"page: no artifact cacher.pyz in {place}: {why}", "--artifacts", place)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("none/index.html", "No such file or directory"),
        ("docs/changelog.md/index.html", "Not a directory"),
        ("docs", "it is not a file"),
        ("pipe", "it is not a file"),
        ("a" * 300, "File name too long"),
    ],
)
def test_a_page_that_cannot_be_written(tree: Path, name: str, why: str) -> None:
    os.mkfifo(tree / "pipe")
    out = tree / name
    refused(tree, f"page: cannot write {out}: {why}\n", "--out", str(out))
    assert stat.S_ISFIFO((tree / "pipe").stat().st_mode)


def test_a_page_is_written_all_or_nothing(tree: Path) -> None:
    out = tree / "dist/index.html"
    out.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # In this process, of which render's inherits it. What is written here is shorter.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        refused(tree, f"page: cannot write {out}: File too large\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert out.read_text() == "old"
    refused(tree, "--built", "--built", "never")
    assert out.read_text() == "old"
    done = render(tree)
    assert (done.returncode, done.stderr) == (0, "")
    assert out.read_text().startswith("<!DOCTYPE html>\n")
