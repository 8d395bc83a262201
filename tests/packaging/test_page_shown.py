"""The project page in a browser: valid, readable in both schemes, and whole by itself."""

from __future__ import annotations

import re
import subprocess
import tomllib
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cacher.time_limits import LIMITS
from tests.packaging.browser import Browser
from tests.packaging.sites import ARTIFACTS, ROOT, TEMPLATE
from tests.support.servers import programs


class Elements(HTMLParser):
    """What a page links to, is linked by, and loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.described: list[str] = []
        self.loads: list[str] = []
        self.headings: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "href":
                (self.links if tag == "a" else self.loads).append(value or "")
            elif name == "id":
                self.ids.append(value or "")
            elif name == "aria-labelledby":
                self.described.append(value or "")
            elif name in ("src", "srcset", "data", "poster", "action", "style") or name[:2] == "on":
                self.loads.append(f"{name}={value}")
        if tag in ("script", "iframe", "object", "form"):
            self.loads.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))


def test_links_lead_somewhere(site: Path) -> None:
    page = Elements((site / "index.html").read_text())
    assert len(page.ids) == len(set(page.ids))
    assert set(page.described) <= set(page.ids)
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        elif not urlsplit(link).scheme:
            assert (site / link).is_file(), link
    assert {*ARTIFACTS, "checksums.txt"} <= set(page.links)


def test_what_is_judged_first_comes_first(site: Path) -> None:
    text = (site / "index.html").read_text()
    places = [text.index(f'data-run="{name}"') for name in ("before", "after", "start")]
    places += [text.index('class="figures"'), text.index('class="sha"')]
    assert places == sorted(places)


def test_the_figures_are_those_of_the_project() -> None:
    text = (ROOT / TEMPLATE).read_text()
    figures = text[
        text.index('class="figures"') : text.index("</ul>", text.index('class="figures"'))
    ]
    pins = (ROOT / "tests/run").read_text()
    names = ("Garage", "SeaweedFS", "JuiceFS", "rclone")
    for name in names:
        (version,) = set(re.findall(rf"\b{name.upper()}=([0-9.]+)", pins))
        assert f"{name} {version}" in figures
    assert f"<b>{len(names)} stores</b>" in figures
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    minors = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    assert f"<b>{minors[0]} to {minors[-1]}</b>" in figures
    assert len(project["dependencies"]) == 2
    manual = " ".join((ROOT / "docs/manual.md").read_text().split())
    memory = re.search(
        r"Memory: about (\d+ MiB) .*? (\d+ MiB) to store .* (\d+ MiB) to restore", manual
    )
    assert memory is not None
    assert all(figure in figures for figure in memory.groups())
    seconds = re.findall(r"refuses connections .*? (\d+) s, one that is silent (\d+) s", text)
    assert [tuple(map(float, found)) for found in seconds] == [(LIMITS.refused, LIMITS.silent)]


def test_nothing_is_loaded(site: Path) -> None:
    text = (site / "index.html").read_text()
    assert Elements(text).loads == ["data:,"]  # no icon, so that none is asked for
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style


def test_headings_are_in_order(site: Path) -> None:
    levels = Elements((site / "index.html").read_text()).headings
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_html_is_valid(site: Path) -> None:
    tidy = programs.require("tidy")
    command = [str(tidy), "-quiet", "-errors", str(site / "index.html")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio, for every element with text of its own
CONTRAST = """
(() => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => v / 255).map(
      v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
      if (color[3] !== 0) throw new Error('half transparent');
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.body.querySelectorAll('*')) {
    if (![...element.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const front = parse(getComputedStyle(element).color);
    const [a, b] = [light(front), light(behind(element))].sort((p, q) => q - p);
    found.push([(a + 0.05) / (b + 0.05), element.outerHTML.slice(0, 80)]);
  }
  return found;
})()
"""

TOO_WIDE = """
[...document.querySelectorAll('body *')].filter(element =>
  !element.closest('pre, .wide, .skip') &&
  element.getBoundingClientRect().right > document.documentElement.clientWidth
).map(element => element.outerHTML.slice(0, 80))
"""

AA = 4.5
"""https://www.w3.org/TR/WCAG22/#contrast-minimum, for text of any size."""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_in_a_browser(chromium: Browser, site: Path, width: int, scheme: str) -> None:
    url = (site / "index.html").as_uri()
    chromium.open(url, width=width, height=844, scheme=scheme)
    # Only what is too wide scrolls, not the page.
    assert chromium.evaluate(TOO_WIDE) == []
    assert chromium.evaluate("document.documentElement.scrollWidth <= innerWidth")
    contrasts = chromium.evaluate(CONTRAST)
    assert len(contrasts) > 80
    assert [told for told in contrasts if told[0] < AA] == []
    said = [
        event["params"]
        for event in chromium.events
        if event["method"]
        in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    ]
    assert said == []
    asked = {
        event["params"]["request"]["url"]
        for event in chromium.events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert asked <= {url, "data:,"}
    assert url in asked
