"""What the README tells a reader to type does what it shows."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from cacher.arguments import build
from cacher.options import SETTINGS, SWITCHES

ROOT = Path(__file__).parents[2]


def blocks(path: Path, language: str) -> list[str]:
    text = path.read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def without_numbers(text: str) -> str:
    """Times and rates differ from run to run."""
    return re.sub(r"\d+ B/s\S*|\d+\.\d+ \S+", "N", text)


def test_the_first_command(tmp_path: Path) -> None:
    command = next(block for block in blocks(ROOT / "README.md", "sh") if "venv" in block)
    shown = blocks(ROOT / "README.md", "text")[0]
    command = command.replace("/tmp/cacher-try", str(tmp_path / "try"))
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        ["sh", "-ec", command],
        cwd=ROOT,
        env={**environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    said = [line for line in done.stdout.splitlines() if not line.startswith("[notice]")]
    assert without_numbers("\n".join(said).strip()) == without_numbers(shown.strip())
    assert done.returncode == 0


def test_the_test_command_is_there() -> None:
    assert [b for b in blocks(ROOT / "README.md", "sh") if "run" in b] == ["tests/run\n"]
    assert os.access(ROOT / "tests/run", os.X_OK)
    assert os.access(ROOT / ".ci/run", os.X_OK)


@pytest.mark.parametrize("command", build()._subparsers._group_actions[0].choices)  # type: ignore[union-attr,arg-type]
def test_every_command_is_in_the_manual(command: str) -> None:
    if command != "version":
        assert command in (ROOT / "docs/manual.md").read_text()
        assert f"`{command}" in (ROOT / "README.md").read_text()


def test_every_option_is_in_the_manual() -> None:
    manual = (ROOT / "docs/manual.md").read_text()
    for name, metavar, variable, _ in SETTINGS:
        assert f"| `--{name} {metavar}` | `{variable}`" in manual
    for flags, _, variable, _ in SWITCHES:
        assert f"| {', '.join(f'`{flag}`' for flag in flags)} | `{variable}` |" in manual


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
