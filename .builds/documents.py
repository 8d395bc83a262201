"""The documents in docs/ and the changelog as HTML, for the project page.

Knows the Markdown that they are written in: headings, paragraphs, lists of one level, tables,
fenced code, and within these code, bold and links; and how https://keepachangelog.com/en/1.1.0/
writes a version. Reads no file.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import pairwise

CHANGELOG = "docs/changelog.md"
"""Its name in messages."""

_UNRELEASED = "Unreleased"

_VERSION = re.compile(r"## \[([^\[\]]+)\](?: - ([0-9]{4}-[0-9]{2}-[0-9]{2}))?")

_INLINE = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|\*\*(?P<bold>[^*]+)\*\*"
    r"|\[(?P<text>(?:[^\[\]`]|`[^`]+`)+)\]\((?P<url>[^()\s]+)\)"
)

_MARKER = re.compile(r"(?P<bullet>[*-]|[0-9]+\.) +(?=\S)")

_LONG = re.compile(r"(?<!<pre tabindex=\"0\">)<code>(?=[^<]{25})")
"""Code in a line that has to break on a phone; shorter code, as `--url`, must not."""

_CELLS = re.compile(r"(?<!\\)\|")
"""Between two cells; `\\|` is a bar in one."""


class Unfit(Exception):
    """The page cannot be made; the message says why in one line."""


def document(name: str, text: str) -> tuple[str, str]:
    """The title and the body of `docs/NAME`. Raises `Unfit`, with the line, for other Markdown."""
    blocks = list(_blocks(f"docs/{name}", text.splitlines()))
    if not blocks or not (title := re.fullmatch(r'<h1 id="[^"]*">(.*)</h1>', blocks[0])):
        raise Unfit(f"docs/{name} does not begin with a title")
    body = "\n".join(blocks)
    return html.unescape(re.sub("<[^>]*>", "", title[1])), _LONG.sub('<code class="long">', body)


def changelog(text: str, release: str, *, draft: bool) -> str:
    """The changelog's versions as HTML: all of them, and what is unreleased in a draft.

    Raises `Unfit`.
    """
    lines = text.splitlines()
    heads = [number for number, line in enumerate(lines) if line.startswith("## ")]
    released = any(lines[head].startswith(f"## [{release}]") for head in heads)
    if not released and not draft:
        raise Unfit(f"{CHANGELOG} has no [{release}]")
    shown = []
    for head, end in pairwise([*heads, len(lines)]):
        version = _VERSION.fullmatch(lines[head])
        if version is None:
            raise Unfit(f"{CHANGELOG}:{head + 1}: not a version: {lines[head]}")
        name, date = version.groups()
        if name == _UNRELEASED and released:
            continue
        if name != _UNRELEASED and not date:
            raise Unfit(f"{CHANGELOG} has no date for [{name}]")
        when = f' <time datetime="{date}">{date}</time>' if date else ""
        shown.append(f"<h3>{name}{when}</h3>")
        blocks = _blocks(CHANGELOG, lines[:end], head + 1)
        # One level below the version; no id, as every version has the same headings.
        shown += [re.sub("<h3[^>]*>(.*)</h3>", r"<h4>\1</h4>", block) for block in blocks]
    return "\n".join(shown)


def slug(heading: str) -> str:
    """What links call a heading: as forges make it of its text."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


def _blocks(place: str, lines: list[str], at: int = 0) -> Iterator[str]:
    while at < len(lines):
        line = lines[at]
        end = at + 1
        if line.startswith("```"):
            while end < len(lines) and lines[end] != "```":
                end += 1
            if end == len(lines):
                raise Unfit(f"{place}:{at + 1}: code that does not end")
            code = html.escape("\n".join(lines[at + 1 : end]))
            yield f'<pre tabindex="0"><code>{code}</code></pre>'
            end += 1
        elif line.strip():
            while end < len(lines) and _goes_on(line, lines[end]):
                end += 1
            yield _block(f"{place}:{at + 1}", lines[at:end])
        at = end


def _goes_on(first: str, line: str) -> bool:
    """Whether a line belongs to the block that `first` begins."""
    if not line.strip() or first.startswith("#"):
        return False
    return not line.startswith(("```", "#")) and line.startswith("|") == first.startswith("|")


def _block(place: str, lines: list[str]) -> str:
    if heading := re.fullmatch(r"(#{1,4}) (.+)", lines[0]):
        level, text = len(heading[1]), heading[2]
        return f'<h{level} id="{slug(text)}">{_inline(text, place)}</h{level}>'
    if lines[0].startswith("|"):
        return _table(place, lines)
    if marker := _MARKER.match(lines[0]):
        return _list(place, lines, "ol" if marker["bullet"][0].isdigit() else "ul")
    if re.match(r"[ \t>#<]", lines[0]):
        raise Unfit(f"{place}: not understood: {lines[0]}")
    return f"<p>{_inline(' '.join(lines), place)}</p>"


def _list(place: str, lines: list[str], kind: str) -> str:
    items: list[str] = []
    for line in lines:
        if marker := _MARKER.match(line):
            items.append(line[marker.end() :])
        elif line.startswith("  ") and not _MARKER.match(line.strip()):
            items[-1] += f" {line.strip()}"
        else:
            raise Unfit(f"{place}: not understood: {line}")
    shown = "\n".join(f"<li>{_inline(item, place)}</li>" for item in items)
    return f"<{kind}>\n{shown}\n</{kind}>"


def _table(place: str, lines: list[str]) -> str:
    rows = [_cells(line) for line in lines]
    if len(rows) < 3 or not all(re.fullmatch(":?-+:?", cell) for cell in rows[1]):
        raise Unfit(f"{place}: a table without a head")
    if any(len(row) != len(rows[0]) for row in rows):
        raise Unfit(f"{place}: rows of different lengths")
    parts = {"thead": rows[:1], "tbody": rows[2:]}
    shown = []
    for part, of_part in parts.items():
        cell = '<th scope="col">{}</th>' if part == "thead" else "<td>{}</td>"
        told = ("".join(cell.format(_inline(text, place)) for text in row) for row in of_part)
        shown += [f"<{part}>", *(f"<tr>{row}</tr>" for row in told), f"</{part}>"]
    table = "\n".join(["<table>", *shown, "</table>"])
    return f'<div class="wide" tabindex="0">\n{table}\n</div>'


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _CELLS.split(line.strip())[1:-1]]


def _inline(text: str, place: str) -> str:
    """Code, links and bold; all else is escaped."""
    done, end = "", 0
    for match in _INLINE.finditer(text):
        if match["code"]:
            element = f"<code>{html.escape(match['code'])}</code>"
        elif match["bold"]:
            element = f"<strong>{_inline(match['bold'], place)}</strong>"
        else:
            url = html.escape(_linked(match["url"], place))
            element = f'<a href="{url}">{_inline(match["text"], place)}</a>'
        done += html.escape(text[end : match.start()]) + element
        end = match.end()
    return done + html.escape(text[end:])


def _linked(url: str, place: str) -> str:
    """Where a link leads on the site: a document is there as HTML."""
    if re.match(r"https?://|#", url):
        return url
    if url == "changelog.md":
        return "index.html#changelog"
    if match := re.fullmatch(r"([a-z]+)\.md(#.*)?", url):
        return f"{match[1]}.html{match[2] or ''}"
    raise Unfit(f"{place}: a link that leads nowhere on the site: {url}")
