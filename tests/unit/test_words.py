"""Everything that the program can say is in plain English, as far as a test can read it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support.module_imports import ROOT

OLD = re.compile(
    r"\b(told|tells?|anew|mend(s|ed)?|so it is|of ours)\b"
    r"|(?<!there )\bis (no|none)\b|\b1 (entries|files|tries|seconds)\b",
    re.IGNORECASE,
)
"""Words that readers stumble over, and plurals that are wrong."""

SAY = re.compile(r"\bTell whether\b")
"""The plain verb of a page of help, which stays."""


def messages(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each string of several words that is not a docstring."""
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if id(node) not in documents and " " in node.value.strip():
            yield node.lineno, node.value


MODULES = sorted(path for path in ROOT.rglob("*.py") if "completion" not in path.parts)


def test_messages_are_in_words_that_everybody_uses() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in MODULES
        for line, text in messages(ast.parse(path.read_text()))
        if OLD.search(SAY.sub("", text))
    ]
    assert found == []


def test_no_hint_advises_to_overwrite() -> None:
    """What is in the way may be somebody else's; only `--force` itself is described."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in MODULES
        for line, text in messages(ast.parse(path.read_text()))
        if "--force" in text
    ]
    assert found == []


@pytest.mark.parametrize("text", ["it tells why", "read it anew", "it is no tar", "1 entries"])
def test_what_is_looked_for_is_found(text: str) -> None:
    ((_, found),) = messages(ast.parse(f'"""Told."""\nx = {text!r}'))
    assert OLD.search(found)
    assert not OLD.search("there is no command; it shows 1 entry again")
