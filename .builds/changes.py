"""The changelog as HTML, for the project page.

Knows https://keepachangelog.com/en/1.1.0/, what makes versions follow each other, and the few
words of Markdown that a changelog needs. Reads no file.
"""

from __future__ import annotations

import datetime
import html
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

CHANGELOG = "docs/changelog.md"
"""What messages call it."""

_UNRELEASED = "Unreleased"

# What https://packaging.python.org/en/latest/specifications/version-specifiers/ calls normal, or
# else the names of the wheel and the source would be others; of it, what a release here can be.
_VERSION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})*)(?:(a|b|rc)([0-9]{1,9}))?")

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
    """What a `## ` of the changelog begins, in which line, and the numbered lines below."""

    line: int
    name: str
    date: str
    body: list[tuple[int, str]]


def is_version(text: str) -> bool:
    """Whether a release can be called this."""
    return _VERSION.fullmatch(text) is not None


def changelog(text: str, release: str, *, draft: bool) -> str:
    """The changelog's versions as HTML: all of them, and what is unreleased in a draft.

    https://keepachangelog.com/en/1.1.0/: `## [VERSION] - DATE`. Raises `Unfit`.
    """
    sections = _sections(text)
    names = [section.name for section in sections]
    if release not in names and not (draft and _UNRELEASED in names):
        raise Unfit(f"{CHANGELOG} has no [{release}]")
    _in_order(sections, release)
    shown = []
    for section in sections:
        if section.name == _UNRELEASED and release in names:
            continue
        date = section.date
        when = f' <time datetime="{date}">{date}</time>' if date else ""
        shown.append(f"<h3>{section.name}{when}</h3>")
        shown.extend(_told(section))
    return "\n".join(shown)


def _sections(text: str) -> list[_Section]:
    sections: list[_Section] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            match = re.fullmatch(r"## \[([^\[\]]+)\](?: - ([0-9]{4}-[0-9]{2}-[0-9]{2}))?", line)
            if match is None or not (match[1] == _UNRELEASED or _VERSION.fullmatch(match[1])):
                raise Unfit(f"{CHANGELOG}:{number}: not a version: {line}")
            sections.append(_Section(number, match[1], match[2] or "", []))
        elif sections:
            sections[-1].body.append((number, line))
    return sections


def _in_order(sections: Sequence[_Section], release: str) -> None:
    """Raises `Unfit` unless each version is there once, with a date, the newest first, and none is
    newer than the release.

    By their numbers, and not by their dates: an old version may be corrected after a newer one.
    """
    above: list[_Section] = []
    for section in sections:
        place = f"{CHANGELOG}:{section.line}: "
        if section.name == _UNRELEASED:
            if section is not sections[0]:
                raise Unfit(f"{place}[{_UNRELEASED}] is not the first")
            if section.date:
                raise Unfit(f"{place}[{_UNRELEASED}] has a date")
            continue
        _dated(section)
        rank = _rank(section.name)
        if rank in [_rank(other.name) for other in above]:
            raise Unfit(f"{place}[{section.name}] is there twice")
        if above and rank > _rank(above[-1].name):
            raise Unfit(f"{place}[{section.name}] is newer than [{above[-1].name}] above it")
        above.append(section)
    if above and _rank(above[0].name) > _rank(release):
        raise Unfit(f"{CHANGELOG} has [{above[0].name}], which is newer than {release}")


def _dated(section: _Section) -> None:
    """Raises `Unfit` if the version has no date, or one that no calendar has."""
    if not section.date:
        raise Unfit(f"{CHANGELOG} has no date for [{section.name}]")
    try:
        datetime.date.fromisoformat(section.date)
    except ValueError as error:
        raise Unfit(f"{CHANGELOG}:{section.line}: not a date: {section.date}: {error}") from error


def _rank(name: str) -> tuple[list[int], str, int]:
    """What sorts versions: 1.0 is 1, and comes after its candidates. Raises `Unfit`."""
    match = _VERSION.fullmatch(name)
    if match is None:
        raise Unfit(f"not a version: {name}")
    numbers = [int(number) for number in match[1].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers, match[2] or "released", int(match[3] or 0)


def _told(section: _Section) -> list[str]:
    """A section's blocks. Raises `Unfit` if there are none, or none below one of its headings."""
    blocks = list(_blocks(section.body))
    place = f"{CHANGELOG}:{section.line}: [{section.name}] is empty"
    for block, below in pairwise([*blocks, "<h4>"]):
        if block.startswith("<h4>") and below.startswith("<h4>"):
            raise Unfit(f"{place} below {html.unescape(block[4:-5])}")
    if not blocks and section.name != _UNRELEASED:
        raise Unfit(place)
    return blocks or ["<p>Nothing yet.</p>"]


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
