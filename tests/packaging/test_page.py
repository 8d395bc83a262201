"""What fills the template of the project page, and how it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.packaging.pages import CHANGELOG, make_tree, render
from tests.packaging.sites import ARTIFACTS, VERSION, sha256


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree")


def test_all_is_filled_in(tree: Path) -> None:
    done = render(tree, SOURCE_DATE_EPOCH="1770087906")
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


def test_it_tells_the_size_of_the_file(tree: Path) -> None:
    for name, mebibytes in (("cacher.pyz", 3.21), ("cacher-linux-amd64.pyz", 1.5)):
        with open(tree / "dist" / name, "r+b") as file:
            file.truncate(int(mebibytes * 2**20))
    assert render(tree).returncode == 0
    page = (tree / "dist/index.html").read_text()
    assert "<b>3.2 MiB</b>" in page
    assert "1.5 MiB for Linux on x86-64" in page


@pytest.mark.parametrize(
    ("domain", "address"),
    [("cacher.srht.site", "https://cacher.srht.site/"), ("", "https://cacher.example.org/")],
)
def test_it_tells_where_it_is(tree: Path, domain: str, address: str) -> None:
    assert render(tree, SITE=domain).returncode == 0
    assert f"curl -fsSLO {address}cacher.pyz " in (tree / "dist/index.html").read_text()


def test_an_unreleased_version_is_a_draft(tree: Path) -> None:
    text = CHANGELOG.replace(f"## [{VERSION}] - 2026-02-03\n", "")
    (tree / "docs/changelog.md").write_text(text)
    assert render(tree).returncode == 1
    assert not (tree / "dist/index.html").exists()
    assert render(tree, "--draft").returncode == 0
    assert "<h3>Unreleased</h3>" in (tree / "dist/index.html").read_text()
