"""Where Python or the installation lacks something: said in a line, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SITE = """\
import sys
for name in {names!r}:
    sys.modules[name] = None
"""

NO_SUCH = "http://127.0.0.1:9"

BUCKET = ["--endpoint", NO_SUCH, "--bucket", "bucket"]


def lacking(
    directory: Path, names: list[str], *argv: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run the program where these modules are not to be had."""
    (directory / "site").mkdir()
    (directory / "site" / "sitecustomize.py").write_text(SITE.format(names=names))
    environ["PYTHONPATH"] = os.pathsep.join([str(directory / "site"), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "cacher", *argv],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.parametrize(
    ("names", "argv", "said"),
    [
        (["typing"], ["exists", "k"], "this Python has no module typing"),
        (["json"], ["exists", "k", *BUCKET], "this Python has no module json"),
        (["socket"], ["exists", "k", *BUCKET], "this Python has no module socket"),
        (["ssl"], ["exists", "k", *BUCKET], "this Python has no module ssl"),
        (["urllib3"], ["exists", "k", *BUCKET], "urllib3 is not installed"),
        (["cacher.cli.dispatch"], ["exists", "k"], "loading cacher: "),
    ],
)
def test_a_module_that_is_not_there(
    tmp_path: Path, names: list[str], argv: list[str], said: str
) -> None:
    keys = {"CACHER_S3_KEY_ID": "k", "CACHER_S3_SECRET": "s"}
    done = lacking(tmp_path, names, *argv, **keys)
    assert done.returncode == 7, done.stderr
    error, hint = done.stderr.splitlines()
    assert error.startswith(f"cacher: error: {said}")
    assert hint.startswith("cacher: hint: ")
    assert done.stdout == ""


def test_the_key_needs_little(tmp_path: Path) -> None:
    """What Debian's python3-minimal has."""
    done = lacking(tmp_path, ["json", "ssl", "typing", "urllib3"], "key", "x")
    assert (done.returncode, done.stdout, done.stderr) == (0, "x\n", "")


def test_doctor_looks_for_zstd(tmp_path: Path) -> None:
    """Which directories and images need: files do without, and so would not show it."""
    done = lacking(tmp_path, ["zstandard", "compression", "compression.zstd"], "doctor")
    assert done.returncode == 7
    assert done.stdout.startswith("fail  zstd         CPython ")
    assert done.stdout.count("fail") == 1
    _default_store, error, hint = done.stderr.splitlines()
    assert " checks failed; the first: CPython " in error
    assert hint.startswith("cacher: hint: `pip install zstandard`")
