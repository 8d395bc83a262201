"""What the README tells a reader to type does what it shows."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from cacher.cli.arguments import build
from cacher.settings.options import SETTINGS, SWITCHES
from cacher.time_limits import LIMITS

ROOT = Path(__file__).parents[2]


def blocks(path: Path, language: str) -> list[str]:
    text = path.read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def without_numbers(text: str) -> str:
    """Times and rates differ from run to run."""
    return re.sub(r"\d+ B/s\S*|\d+\.\d+ \S+", "N", text)


@pytest.mark.release
def test_the_first_command(tmp_path: Path) -> None:
    """Twice, since who likes it shows it to somebody."""
    command = next(block for block in blocks(ROOT / "README.md", "sh") if "venv" in block)
    shown = blocks(ROOT / "README.md", "text")[0]
    environ = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONPATH" and not name.startswith(("CACHER_", "AWS_"))
    }
    for _ in range(2):
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=ROOT,
            env={**environ, "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        said = [line for line in done.stdout.splitlines() if not line.startswith("[notice]")]
        assert without_numbers("\n".join(said).strip()) == without_numbers(shown.strip())
        assert done.returncode == 0


def test_it_is_installed_as_install_md_says() -> None:
    (block,) = [block for block in blocks(ROOT / "README.md", "sh") if "checksums" in block]
    assert block == blocks(ROOT / "docs/install.md", "sh")[0]


@pytest.mark.parametrize("page", ["README.md", "docs/install.md", "docs/index.html"])
def test_the_namesake_of_the_package_index_is_named_in_bold(page: str) -> None:
    text = " ".join((ROOT / page).read_text().split())
    bold = re.findall(r"\*\*(.*?)\*\*|<strong>(.*?)</strong>", text)
    words = [re.sub("<[^>]*>|`", "", one or other) for one, other in bold]
    assert [
        said
        for said in words
        if said.startswith("The package index has an unrelated package with the name cacher.")
        and said.endswith("Do not run pip install cacher.")
    ]
    assert not re.search(r"^[^#]*\bpip install (-q )?cacher$", (ROOT / page).read_text(), re.M)


def test_the_seconds_of_a_dead_store_are_the_limits() -> None:
    text = (ROOT / "README.md").read_text()
    (table,) = re.findall(r"^## What a dead store costs\n(.*?)^## ", text, re.M | re.DOTALL)
    seconds = [int(row) for row in re.findall(r"^\|.*\|[^|]*?\b(\d+) s\b[^|]*\|$", table, re.M)]
    assert seconds == [
        LIMITS.refused,
        LIMITS.unreachable,
        LIMITS.silent,
        LIMITS.slow + LIMITS.silent,
        LIMITS.write,
        LIMITS.commit + LIMITS.silent,
        LIMITS.for_background().write,
        LIMITS.undo,
    ]


def test_the_commands_for_contributors_are_there() -> None:
    text = (ROOT / "docs/contributing.md").read_text()
    for program in ("tests/run", ".builds/publish"):
        done = subprocess.run([ROOT / program, "--help"], capture_output=True, text=True)
        assert done.returncode == 0
        flags = set(re.findall(rf"{re.escape(program)} (--[a-z-]+)", text))
        assert flags
        assert flags <= set(re.findall(r"--[a-z-]+", done.stdout))
    for path in re.findall(r"`((?:tests|docs|cacher|\.ci|\.builds)/[^` ]*)", text):
        assert (ROOT / path).exists(), path


def test_it_is_read_in_minutes() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 170


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
