"""The documents are in plain English, as far as a test can read them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "docs/cacher.1",
    ROOT / "docs/index.html",
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "changelog.md"),
]

OLD = re.compile(
    r"\b(told|tells?|anew|mend(s|ed)?|so it is|so is it|of ours)\b"
    r"|(?<!there )\bis (no|none)\b|\bwhat [a-z]+ [a-z]+ is that\b|\bone (seconds|entries|files)\b"
    r"|\b1 (seconds|entries|files)\b",
    re.IGNORECASE,
)
"""Words that readers stumble over, and plurals that are wrong."""


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_words_are_those_that_everybody_uses(path: Path) -> None:
    text = path.read_text()
    found = [
        f"{path.name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for match in OLD.finditer(text)
    ]
    assert found == []
