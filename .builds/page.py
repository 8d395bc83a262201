#!/usr/bin/env python3
"""Fill the template of the project page, docs/index.html, for the artifacts of one release.

Knows the template's placeholders, where the version is written, and the documents that go beside
the page. Publishes nothing. Exits 1, with one line, if version, changelog, documents and template
do not fit together, or if something cannot be read or written.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import html
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

# Before the first import from here, which would leave a directory in what is published.
sys.dont_write_bytecode = True

import documents  # noqa: E402
from documents import CHANGELOG, Unfit, changelog  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]

VERSION, TEMPLATE = "cacher/__init__.py", "docs/index.html"

DOCUMENTS = (
    "manual",
    "recipes",
    "install",
    "stores",
    "security",
    "formats",
    "design",
    "contributing",
)
"""Of docs/, in the order of the page's links."""

EDITIONS = ("", "-linux-amd64", "-linux-arm64", "-darwin-amd64", "-darwin-arm64")

_DOCUMENT = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
{head}
</head>
<body>
<a class="skip" href="#main">To the content</a>
<nav aria-label="Documents">
<ul>
{links}
</ul>
</nav>
<main id="main" class="document">
{body}
</main>
</body>
</html>
"""

_PLACEHOLDER = re.compile(r"\{\{(.+?)\}\}")


def source(name: str) -> str:
    """The text of a file of this checkout. Raises OSError."""
    return (ROOT / name).read_text("utf-8")


def version() -> str:
    """The version in `cacher/__init__.py`, which is not imported for that."""
    match = re.search('^__version__ = "(.+)"$', source(VERSION), re.MULTILINE)
    assert match
    return match[1]


def artifacts(release: str) -> dict[str, str]:
    """The file's name for each placeholder."""
    names = {}
    for edition in EDITIONS:
        name = f"cacher{edition}.pyz"
        names["SHA_" + re.sub(r"\W", "_", name).upper()] = name
    names["SHA_WHEEL"] = f"cacher-{release}-py3-none-any.whl"
    names["SHA_SDIST"] = f"cacher-{release}.tar.gz"
    return names


def digest(path: Path) -> str:
    """The SHA-256 of a file: 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def size(path: Path) -> str:
    """As people say it, for a file that is there."""
    return f"{path.stat().st_size / 2**20:.1f} MiB"


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with all its placeholders filled, in one pass: values hold none.

    Raises `Unfit` unless the template has each of the placeholders, and no other.
    """
    used = set(_PLACEHOLDER.findall(template))
    if differing := sorted(used ^ set(values)):
        raise Unfit(f"{TEMPLATE} lacks the placeholder {differing[0]}, or has one more")
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


def built() -> str:
    """When, in UTC, as HTML: `SOURCE_DATE_EPOCH`, or else now."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or time.time()
    moment = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC).replace(tzinfo=None)
    return f'<time datetime="{moment.isoformat()}Z">{moment.isoformat(" ", "minutes")} UTC</time>'


def site() -> str:
    """The address of the published page: its domain is $SITE, as for `publish`."""
    return f"https://{os.environ.get('SITE') or 'cacher.example.org'}"


def render(directory: Path, *, draft: bool = False) -> str:
    """The page for the artifacts in `directory`. Raises `Unfit`, OSError."""
    release = version()
    values = {key: digest(directory / name) for key, name in artifacts(release).items()}
    values["SIZE"] = size(directory / "cacher.pyz")
    values["SIZE_LINUX"] = size(directory / "cacher-linux-amd64.pyz")
    values["SITE"] = html.escape(site())
    values["VERSION"] = html.escape(release)
    values["BUILT"] = built()
    values["CHANGELOG"] = changelog(source(CHANGELOG), release, draft=draft)
    return fill(source(TEMPLATE), values)


def rendered_documents() -> dict[str, str]:
    """The documents as HTML, in the page's style, by the names of their files. Raises `Unfit`."""
    template = source(TEMPLATE)
    style = re.search("<style>.*?</style>", template, re.DOTALL)
    icon = re.search('<link rel="icon"[^>]*>', template)
    if style is None or icon is None:
        raise Unfit(f"{TEMPLATE} has no style or no icon")
    head = f"{icon[0]}\n{style[0]}"
    pages = {}
    for name in DOCUMENTS:
        title, body = documents.document(f"{name}.md", source(f"docs/{name}.md"))
        title = f"{title} - cacher {version()}"
        pages[f"{name}.html"] = _DOCUMENT.format(
            title=html.escape(title), head=head, links=_links(name), body=body
        )
    return pages


def _links(here: str) -> str:
    links = ['<li><a href="index.html">cacher</a></li>']
    for name in DOCUMENTS:
        title = name.title()
        shown = f"<b>{title}</b>" if name == here else f'<a href="{name}.html">{title}</a>'
        links.append(f"<li>{shown}</li>")
    return "\n".join(links)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description="Render the project page.")
    parser.add_argument("--artifacts", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--draft", action="store_true", help="of a version that is unreleased")
    parser.add_argument("--documents", action="store_true", help="beside FILE, as HTML")
    options = parser.parse_args()
    try:
        page = render(options.artifacts, draft=options.draft)
        for name, text in rendered_documents().items() if options.documents else ():
            (options.out.parent / name).write_text(text, "utf-8")
        options.out.write_text(page, "utf-8")
    except Unfit as error:
        sys.exit(f"page: {error}")
    except OSError as error:
        sys.exit(f"page: {error.filename}: {error.strerror}")


if __name__ == "__main__":
    main()
