"""The changelog as HTML, for the project page.

Knows https://keepachangelog.com/en/1.1.0/, and the few words of Markdown that a changelog needs.
Reads no file.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

CHANGELOG = "docs/changelog.md"
"""What messages call it."""

_UNRELEASED = "Unreleased"

_INLINE = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|\*\*(?P<bold>[^*]+)\*\*"
    r"|\[(?P<text>(?:[^\[\]`]|`[^`]+`)+)\]\((?P<url>[^()\s]+)\)"
)


class Unfit(Exception):
    """The page cannot be made; the message says why, in one line, whatever it quotes."""

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())


class _Section(NamedTuple):
    """What a `## ` of the changelog begins, and the numbered lines below."""

    name: str
    date: str
    body: list[tuple[int, str]]


def changelog(text: str, release: str, *, draft: bool) -> str:
    """The changelog's versions as HTML: all of them, and what is unreleased in a draft.

    https://keepachangelog.com/en/1.1.0/: `## [VERSION] - DATE`. Raises `Unfit`.
    """
    sections = _sections(text)
    names = [section.name for section in sections]
    if release not in names and not (draft and _UNRELEASED in names):
        raise Unfit(f"{CHANGELOG} has no [{release}]")
    for section in sections:
        if section.name != _UNRELEASED and not section.date:
            raise Unfit(f"{CHANGELOG} has no date for [{section.name}]")
    shown = []
    for section in sections:
        if section.name == _UNRELEASED and release in names:
            continue
        date = section.date
        when = f' <time datetime="{date}">{date}</time>' if date else ""
        shown.append(f"<h3>{section.name}{when}</h3>")
        shown.extend(list(_blocks(section.body)) or ["<p>Nothing yet.</p>"])
    return "\n".join(shown)


def _sections(text: str) -> list[_Section]:
    sections: list[_Section] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            match = re.fullmatch(r"## \[([^\[\]]+)\](?: - ([0-9]{4}-[0-9]{2}-[0-9]{2}))?", line)
            if match is None:
                raise Unfit(f"{CHANGELOG}:{number}: not a version: {line}")
            sections.append(_Section(match[1], match[2] or "", []))
        elif sections:
            sections[-1].body.append((number, line))
    return sections


def _blocks(lines: list[tuple[int, str]]) -> Iterator[str]:
    """Headings, lists of one level and paragraphs; anything else is `Unfit`."""
    kind, words = "", list[str]()
    for number, line in [*lines, (0, "")]:
        begins, text = _begins(line, kind, number)
        if begins == "more":
            words.append(text)
            continue
        if words:
            yield f"<{kind}>{inline(' '.join(words), _outside)}</{kind}>"
        # A blank line does not end a list; the end of all does, and so does another block.
        listed = "li" if kind == "li" and begins in ("li", "") and number else ""
        if kind == "li" and not listed:
            yield "</ul>"
        if begins == "li" and not listed:
            yield "<ul>"
        kind, words = begins or listed, [text] if text else []


def _begins(line: str, kind: str, number: int) -> tuple[str, str]:
    """The element that a line begins, or "more" of that before, or none; and its text."""
    text = line.strip()
    if not text or re.match(r"\[[^\]]+\]: ", line):  # the latter is where a version's name links to
        return "", ""
    marker, _, rest = line.partition(" ")
    if rest.strip() and marker in ("###", "-", "*"):
        return ("h4" if marker == "###" else "li"), rest.strip()
    if kind == "li" and re.match(r"  (?![ *+-])", line):
        return "more", text
    if re.match(r"[^\s#>|`~<!*+\d-]|`[^`]|\*\*", line):
        return ("more" if kind == "p" else "p"), text
    raise Unfit(f"{CHANGELOG}:{number}: not understood: {line}")


def inline(text: str, linked: Callable[[str], str]) -> str:
    """Code, links and bold; all else is escaped. `linked` says where a link leads."""
    done, end = "", 0
    for match in _INLINE.finditer(text):
        if match["code"]:
            element = f"<code>{html.escape(match['code'])}</code>"
        elif match["bold"]:
            element = f"<strong>{inline(match['bold'], linked)}</strong>"
        else:
            url = html.escape(linked(match["url"]))
            element = f'<a href="{url}">{inline(match["text"], linked)}</a>'
        done += html.escape(text[end : match.start()]) + element
        end = match.end()
    return done + html.escape(text[end:])


def _outside(url: str) -> str:
    if not re.match(r"https?://|#", url):
        raise Unfit(f"{CHANGELOG}: a link that leads nowhere here: {url}")
    return url
