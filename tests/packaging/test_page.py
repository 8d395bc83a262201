"""What fills the template of the project page, and what is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.sites import ARTIFACTS, ROOT, TEMPLATE, VERSION, make_artifacts, sha256

CHANGELOG = f"""\
# Changelog

Not shown.

## [Unreleased]

- Not shown either.

## [{VERSION}] - 2026-02-03

A paragraph, over
two lines.

### Added

- `{{{{hash}}}}` & <b>tags</b>, **bold**, a
  [link with `code`](https://example.org/?a=1&b=2).
- Another.

## [0.0.1] - 2026-01-02

* First.

[0.0.1]: https://example.org/
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What the page is made from, and stand-ins for the artifacts in `dist`."""
    root = tmp_path / "tree"
    for name in (".builds/page", "cacher/__init__.py", TEMPLATE):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (root / "docs/changelog.md").write_text(CHANGELOG)
    make_artifacts(root / "dist")
    return root


def render(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, str(root / ".builds/page")]
    places = ["--artifacts", str(root / "dist"), "--out", str(root / "dist/index.html")]
    return subprocess.run([*script, *places, *options], capture_output=True, text=True)


def test_all_is_filled_in(tree: Path) -> None:
    done = render(tree, "--built", "2026-02-03T04:05:06+01:00")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    page = (tree / "dist/index.html").read_text()
    for name in ARTIFACTS:
        row = re.search(rf'<tr><td><a href="{re.escape(name)}">(.*?)</tr>', page)
        assert row is not None
        assert sha256(tree / "dist" / name) in row[1]
    assert page.count('<time datetime="2026-02-03T03:05:06Z">2026-02-03 03:05 UTC</time>') == 1
    assert f"<dt>Version</dt><dd>{VERSION}</dd>" in page
    assert (
        f"""<h3>{VERSION} <time datetime="2026-02-03">2026-02-03</time></h3>
<p>A paragraph, over two lines.</p>
<h4>Added</h4>
<ul>
<li><code>{{{{hash}}}}</code> &amp; &lt;b&gt;tags&lt;/b&gt;, <strong>bold</strong>, a \
<a href="https://example.org/?a=1&amp;b=2">link with <code>code</code></a>.</li>
<li>Another.</li>
</ul>
<h3>0.0.1 <time datetime="2026-01-02">2026-01-02</time></h3>
<ul>
<li>First.</li>
</ul>
</section>"""
        in page
    )
    assert "Not shown" not in page


def test_the_time_is_that_of_the_sources(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "315532800")
    assert render(tree).returncode == 0
    assert '<time datetime="1980-01-01T00:00:00Z">' in (tree / "dist/index.html").read_text()


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
        ("cacher/__init__.py", "__version__ =", "version =", "tells no __version__"),
    ],
)
def test_what_does_not_fit_is_refused(tree: Path, path: str, old: str, new: str, said: str) -> None:
    text = (tree / path).read_text()
    assert old in text
    (tree / path).write_text(text.replace(old, new))
    done = render(tree)
    assert done.returncode == 1
    assert re.fullmatch(r"page: .*\n", done.stderr)
    assert said in done.stderr
    assert not (tree / "dist/index.html").exists()


@pytest.mark.parametrize("name", ARTIFACTS)
def test_every_artifact_must_be_there(tree: Path, name: str) -> None:
    (tree / "dist" / name).unlink()
    done = render(tree)
    assert done.returncode == 1
    assert done.stderr.startswith(f"page: no artifact {name}: ")
    assert not (tree / "dist/index.html").exists()


def test_an_unreleased_version_is_a_draft(tree: Path) -> None:
    text = CHANGELOG.replace(f"## [{VERSION}] - 2026-02-03\n", "")
    (tree / "docs/changelog.md").write_text(text)
    assert render(tree).returncode == 1
    assert not (tree / "dist/index.html").exists()
    assert render(tree, "--draft").returncode == 0
    assert "<h3>Unreleased</h3>" in (tree / "dist/index.html").read_text()
