"""The documents in docs/ as HTML, for the project page.

Knows the Markdown that they are written in: headings, paragraphs, lists of one level, tables,
fenced code, and within these code, bold and links. Reads no file.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator

from changes import Unfit, inline

_MARKER = re.compile(r"(?P<bullet>[*-]|[0-9]+\.) +(?=\S)")

_LONG = re.compile(r"(?<!<pre tabindex=\"0\">)<code>(?=[^<]{25})")
"""Code in a line that has to break on a phone; shorter code, as `--url`, must not."""

_CELLS = re.compile(r"(?<!\\)\|")
"""Between two cells; `\\|` is a bar in one."""


def document(name: str, text: str) -> tuple[str, str]:
    """The title and the body of `docs/NAME`. Raises `Unfit`, with the line, for other Markdown."""
    blocks = list(_blocks(f"docs/{name}", text.splitlines()))
    if not blocks or not (title := re.fullmatch(r'<h1 id="[^"]*">(.*)</h1>', blocks[0])):
        raise Unfit(f"docs/{name} does not begin with a title")
    body = "\n".join(blocks)
    return html.unescape(re.sub("<[^>]*>", "", title[1])), _LONG.sub('<code class="long">', body)


def slug(heading: str) -> str:
    """What links call a heading: as forges make it of its text."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


def _blocks(place: str, lines: list[str]) -> Iterator[str]:
    at = 0
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
        return f'<h{level} id="{slug(text)}">{inline(text, _linked(place))}</h{level}>'
    if lines[0].startswith("|"):
        return _table(place, lines)
    if marker := _MARKER.match(lines[0]):
        return _list(place, lines, "ol" if marker["bullet"][0].isdigit() else "ul")
    if re.match(r"[ \t>#<]", lines[0]):
        raise Unfit(f"{place}: not understood: {lines[0]}")
    return f"<p>{inline(' '.join(lines), _linked(place))}</p>"


def _list(place: str, lines: list[str], kind: str) -> str:
    items: list[str] = []
    for line in lines:
        if marker := _MARKER.match(line):
            items.append(line[marker.end() :])
        elif line.startswith("  "):
            items[-1] += f" {line.strip()}"
        else:
            raise Unfit(f"{place}: not understood: {line}")
    shown = "\n".join(f"<li>{inline(item, _linked(place))}</li>" for item in items)
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
        told = (
            "".join(cell.format(inline(text, _linked(place))) for text in row) for row in of_part
        )
        shown += [f"<{part}>", *(f"<tr>{row}</tr>" for row in told), f"</{part}>"]
    table = "\n".join(["<table>", *shown, "</table>"])
    return f'<div class="wide" tabindex="0">\n{table}\n</div>'


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _CELLS.split(line.strip())[1:-1]]


def _linked(place: str) -> Callable[[str], str]:
    """Where a link leads on the site: a document is there as HTML."""

    def linked(url: str) -> str:
        if re.match(r"https?://|#", url):
            return url
        if url == "changelog.md":
            return "index.html#changelog"
        if match := re.fullmatch(r"([a-z]+)\.md(#.*)?", url):
            return f"{match[1]}.html{match[2] or ''}"
        raise Unfit(f"{place}: a link that leads nowhere on the site: {url}")

    return linked
