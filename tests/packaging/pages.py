"""`.builds/page.py` in a tree of its own, with a changelog that tests can change."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.packaging.sites import ROOT, TEMPLATE, VERSION, make_artifacts

CHANGELOG = f"""\
# Changelog

Not shown.

## [Unreleased]

- Not shown either.

## [{VERSION}] - 2026-02-03

A paragraph, over
two lines.

### Added

- `{{{{hash}}}}` & <b>tags</b>, **bold**, a
  [link with `code`](https://example.org/?a=1&b=2).
- Another.

## [0.0.1] - 2026-01-02

* First.
"""


def make_tree(root: Path) -> Path:
    """What the page is made from, and stand-ins for the artifacts in `dist`."""
    scripts = (".builds/page.py", ".builds/documents.py")
    for name in (*scripts, "cacher/__init__.py", TEMPLATE):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (root / "docs/changelog.md").write_text(CHANGELOG)
    make_artifacts(root / "dist")
    return root


def render(root: Path, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, str(root / ".builds/page.py")]
    places = ["--artifacts", str(root / "dist"), "--out", str(root / "dist/index.html")]
    return subprocess.run(
        [*script, *places, *options],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=600,
    )


def refused(root: Path, said: str, *options: str, **environ: str) -> None:
    """One line that holds `said`, and what was there before is all there is."""
    before = _content(root)
    done = render(root, *options, **environ)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"page: .*\n", done.stderr)
    assert said in done.stderr
    assert _content(root) == before


def _content(root: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def rewrite(root: Path, path: str, old: str, new: str) -> None:
    text = (root / path).read_text()
    assert old in text
    (root / path).write_text(text.replace(old, new))
