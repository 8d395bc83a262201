"""The documents as HTML, beside the project page."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.packaging.browser import Browser
from tests.packaging.pages import make_tree, render
from tests.packaging.sites import DOCUMENTS, ROOT
from tests.packaging.test_page_shown import CONTRAST, TOO_WIDE, Elements
from tests.support.servers import programs

SCRIPT = "import documents, sys; print(documents.document('a.md', sys.stdin.read())[1])"

every_document = pytest.mark.parametrize("name", DOCUMENTS)


def converted(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-Bc", SCRIPT],
        cwd=ROOT / ".builds",
        input=text,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\ntwo `<b>` **bold**", "<p>one two <code>&lt;b&gt;</code> <strong>bold</strong></p>"),
        ("## A `b` (c): d", '<h2 id="a-b-c-d">A <code>b</code> (c): d</h2>'),
        ("* one\n  more\n* two", "<ul>\n<li>one more</li>\n<li>two</li>\n</ul>"),
        (f"`{'a' * 24}`", f"<p><code>{'a' * 24}</code></p>"),
        (f"`{'a' * 25}`", f'<p><code class="long">{"a" * 25}</code></p>'),
        ("1. one\n2. two", "<ol>\n<li>one</li>\n<li>two</li>\n</ol>"),
        ("```sh\na <b\n\n# c\n```", '<pre tabindex="0"><code>a &lt;b\n\n# c</code></pre>'),
        ("text\n```\ncode\n```", '<p>text</p>\n<pre tabindex="0"><code>code</code></pre>'),
        ("[a](manual.md#keys)", '<p><a href="manual.html#keys">a</a></p>'),
        ("[a](https://e.org/?a&b)", '<p><a href="https://e.org/?a&amp;b">a</a></p>'),
        (
            "| a | b |\n|---|---|\n| `x \\| y` | |",
            '<div class="wide" tabindex="0">\n<table>\n<thead>\n<tr><th scope="col">a</th>'
            '<th scope="col">b</th></tr>\n</thead>\n<tbody>\n'
            "<tr><td><code>x | y</code></td><td></td></tr>\n</tbody>\n</table>\n</div>",
        ),
    ],
)
def test_what_markdown_becomes(text: str, shown: str) -> None:
    done = converted(f"# T\n\n{text}\n")
    assert (done.stdout, done.stderr) == (f'<h1 id="t">T</h1>\n{shown}\n', "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no title", "docs/a.md does not begin with a title"),
        ("", "docs/a.md does not begin with a title"),
        ("# T\n\n```\ncode", "docs/a.md:3: code that does not end"),
        ("# T\n\n> quoted", "docs/a.md:3: not understood: > quoted"),
        ("# T\n\n<br>", "docs/a.md:3: not understood: <br>"),
        ("# T\n\n* one\ntwo", "docs/a.md:3: not understood: two"),
        ("# T\n\n| a |\n| b |\n| c |", "docs/a.md:3: a table without a head"),
        ("# T\n\n| a |\n|---|\n| b | c |", "docs/a.md:3: rows of different lengths"),
        ("# T\n\n[a](../README.md)", "docs/a.md:3: a link that leads nowhere on the site"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, said: str) -> None:
    done = converted(text)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"documents.Unfit: {said}")


def test_a_document_that_is_not_understood_leaves_the_page_as_it_was(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    for name in DOCUMENTS:
        (tree / f"docs/{name}.md").write_text("# Title\n")
    (tree / "docs/stores.md").write_text("# Title\n\n> quoted\n")
    done = render(tree, "--documents")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "page: docs/stores.md:3: not understood: > quoted\n"
    assert not list((tree / "dist").glob("*.html"))


@every_document
def test_links_and_anchors_lead_somewhere(site: Path, name: str) -> None:
    page = Elements((site / f"{name}.html").read_text())
    assert page.loads == ["data:,"]
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    for link in page.links:
        parts = urlsplit(link)
        if not parts.scheme:
            target = site / (parts.path or f"{name}.html")
            assert target.is_file(), link
            assert not parts.fragment or parts.fragment in Elements(target.read_text()).ids, link


@every_document
def test_all_of_the_text_is_there(site: Path, name: str) -> None:
    """And no Markdown is left over, outside of code."""
    text = (site / f"{name}.html").read_text()
    source = (ROOT / f"docs/{name}.md").read_text()
    body = text[text.index("<main") :]
    words = re.findall(r"\w+", html.unescape(re.sub("<[^>]*>", " ", body)))
    wanted = re.sub(r"^```\w*$|\]\([^)]*\)|^\|[-|]+$|^\d\. ", " ", source, flags=re.MULTILINE)
    assert words == re.findall(r"\w+", wanted)
    outside = re.sub(r"<pre.*?</pre>|<code[^>]*>.*?</code>", "", body, flags=re.DOTALL)
    assert not re.search(r"\*\*|```|\]\(|^\||^#|`", outside, re.MULTILINE)


@every_document
def test_the_html_is_valid(site: Path, name: str) -> None:
    tidy = programs.require("tidy", provider="apt-get install tidy")
    command = [str(tidy), "-quiet", "-errors", str(site / f"{name}.html")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@every_document
def test_in_a_browser(chromium: Browser, site: Path, name: str) -> None:
    url = (site / f"{name}.html").as_uri()
    for width, scheme in ((320, "light"), (1280, "dark")):
        chromium.open(url, width=width, height=844, scheme=scheme)
        assert chromium.evaluate(TOO_WIDE) == []
        assert chromium.evaluate("document.documentElement.scrollWidth <= innerWidth")
        contrasts: list[Any] = chromium.evaluate(CONTRAST)
        assert min(contrasts)[0] >= 4.5
