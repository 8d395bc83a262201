"""What fills the template of the project page, and how it is written."""

from __future__ import annotations

import datetime
import os
import re
import stat
from pathlib import Path

import pytest

from tests.packaging.pages import CHANGELOG, make_tree, refused, render, rewrite
from tests.packaging.sites import ARTIFACTS, VERSION, sha256


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree")


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


def times(root: Path) -> list[str]:
    page = (root / "dist/index.html").read_text()
    return re.findall(r"<dd>(<time .*)</dd>", page)


@pytest.mark.parametrize(
    ("epoch", "shown"),
    [
        ("0", '<time datetime="1970-01-01T00:00:00Z">1970-01-01 00:00 UTC</time>'),
        ("315532800", '<time datetime="1980-01-01T00:00:00Z">1980-01-01 00:00 UTC</time>'),
        ("253402300799", '<time datetime="9999-12-31T23:59:59Z">9999-12-31 23:59 UTC</time>'),
    ],
)
def test_the_time_is_that_of_the_sources(tree: Path, epoch: str, shown: str) -> None:
    assert render(tree, SOURCE_DATE_EPOCH=epoch).returncode == 0
    assert times(tree) == [shown]


def test_without_any_time_it_is_now(tree: Path) -> None:
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    assert render(tree, SOURCE_DATE_EPOCH="").returncode == 0
    (told,) = re.findall(r'datetime="(.*?)"', "".join(times(tree)))
    assert before <= datetime.datetime.fromisoformat(told) <= datetime.datetime.now(datetime.UTC)


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        # Wherever this runs: the same page.
        ("2026-02-03", '<time datetime="2026-02-03T00:00:00Z">2026-02-03 00:00 UTC</time>'),
        ("0987-02-03T04:05", '<time datetime="0987-02-03T04:05:00Z">0987-02-03 04:05 UTC</time>'),
        ("0001-01-01", '<time datetime="0001-01-01T00:00:00Z">0001-01-01 00:00 UTC</time>'),
        (
            "9999-12-31T23:59:59.9",
            '<time datetime="9999-12-31T23:59:59Z">9999-12-31 23:59 UTC</time>',
        ),
    ],
)
def test_a_time_without_a_zone_is_utc(tree: Path, told: str, shown: str) -> None:
    done = render(tree, "--built", told, TZ="Asia/Tokyo", SOURCE_DATE_EPOCH="not read")
    assert (done.returncode, done.stderr) == (0, "")
    assert times(tree) == [shown]


def test_versions_are_in_the_order_of_versions(tree: Path) -> None:
    """Not of their letters, nor of their dates: an old branch may be corrected later."""
    old = "".join(
        f"## [{name}] - 2026-0{month}-01\n\n- Something.\n\n"
        for month, name in enumerate(["0.0.10", "0.0.9.1", "0.0.9", "0.0.9rc2", "0.0.9b3"], 4)
    )
    rewrite(tree, "docs/changelog.md", "## [0.0.1]", f"{old}## [0.0.1]")
    done = render(tree)
    assert (done.returncode, done.stderr) == (0, "")
    page = (tree / "dist/index.html").read_text()
    assert re.findall(r"<h3>(\S+) <time", page) == [
        VERSION,
        "0.0.10",
        "0.0.9.1",
        "0.0.9",
        "0.0.9rc2",
        "0.0.9b3",
        "0.0.1",
    ]


def test_many_words_of_one_paragraph(tree: Path) -> None:
    rewrite(tree, "docs/changelog.md", "* First.", "* First" + " `word`" * 5000)
    done = render(tree)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tree / "dist/index.html").read_text().count("<code>word</code>") == 5000


@pytest.mark.parametrize("level", ["1", "2"])
def test_it_needs_neither_docstrings_nor_assertions(tree: Path, level: str) -> None:
    refused(tree, "--built", "--built", "never", PYTHONOPTIMIZE=level)
    done = render(tree, PYTHONOPTIMIZE=level)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = render(tree, "--help", PYTHONOPTIMIZE=level)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--artifacts DIR" in done.stdout


def test_an_unreleased_version_is_a_draft(tree: Path) -> None:
    text = CHANGELOG.replace(f"## [{VERSION}] - 2026-02-03\n", "")
    (tree / "docs/changelog.md").write_text(text)
    assert render(tree).returncode == 1
    assert not (tree / "dist/index.html").exists()
    assert render(tree, "--draft").returncode == 0
    assert "<h3>Unreleased</h3>" in (tree / "dist/index.html").read_text()


def test_a_draft_of_nothing_yet(tree: Path) -> None:
    rewrite(tree, "cacher/__init__.py", f'"{VERSION}"', '"9.9"')
    rewrite(tree, "docs/changelog.md", "- Not shown either.\n", "")
    for name in ARTIFACTS:
        (tree / "dist" / name).rename(tree / "dist" / name.replace(VERSION, "9.9"))
    done = render(tree, "--draft")
    assert (done.returncode, done.stderr) == (0, "")
    assert "<h3>Unreleased</h3>\n<p>Nothing yet.</p>\n" in (tree / "dist/index.html").read_text()


def test_a_page_as_any_other_file(tree: Path) -> None:
    """Under a link's other end, and with the mode that a server can read."""
    (tree / "site").mkdir()
    (tree / "dist/index.html").symlink_to("../site/page.html")
    before = sorted(os.listdir(tree / "dist"))
    mask = os.umask(0o022)
    try:
        assert render(tree).returncode == 0
    finally:
        os.umask(mask)
    assert sorted(os.listdir(tree / "dist")) == before
    assert (tree / "dist/index.html").is_symlink()
    assert os.listdir(tree / "site") == ["page.html"]
    assert stat.S_IMODE((tree / "site/page.html").stat().st_mode) == 0o644
