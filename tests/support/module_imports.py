"""The imports and the dotted names of a module, read from its source.

Knows no rule; `test_layers.py` has them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cacher

ROOT = Path(cacher.__file__).parent


@dataclass(frozen=True)
class Module:
    """One module's name, its tree, and the names of all modules of the package."""

    name: str
    tree: ast.Module
    ours: frozenset[str]

    def imports(self) -> set[str]:
        """The full names of everything imported anywhere, `from` imports by name and by module."""
        return set(_imported(ast.walk(self.tree)))

    def imports_at_once(self) -> set[str]:
        """The imports at import time: not in functions, not for type checkers only."""
        return set(_imported(_outer(self.tree.body)))

    def own_imports(self) -> set[str]:
        """The modules of the package among its imports."""
        return self.imports() & self.ours

    def uses(self) -> set[str]:
        """Dotted names of imported things (`os.environ`), whatever their alias."""
        meant = dict(_meanings(self.tree))
        split = (_dotted(node).partition(".") for node in ast.walk(self.tree))
        return {f"{meant[first]}{dot}{rest}" for first, dot, rest in split if first in meant}


def modules() -> dict[str, Module]:
    """Every module of the package by its full name."""
    trees = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        trees[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text())
    return {name: Module(name, tree, frozenset(trees)) for name, tree in trees.items()}


def parsed(source: str, name: str = "cacher.sample") -> Module:
    """A module that exists only as text."""
    return Module(name, ast.parse(source), frozenset([name, "cacher", "cacher.errors"]))


def _imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"{'.' * node.level}{node.module or ''}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _outer(body: list[ast.stmt]) -> Iterator[ast.AST]:
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from _outer(node.orelse)
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            children = ast.iter_child_nodes(node)
            yield from _outer([child for child in children if isinstance(child, ast.stmt)])
        else:
            yield node


def _meanings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""
