"""`.builds/publish`, with doubles of what builds and of `hut`: all that agrees, and in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging import build_host
from tests.packaging.releases import RELEASED, VERSION, publish
from tests.packaging.sites import DOCUMENTS

ZIPAPP = """\
import pathlib, sys
if sys.argv[1] == "--download":
    sys.exit()
assert sys.argv[1] == "--out"
assert sys.argv.count("--python") == 4
for edition in ("", "-linux-amd64", "-linux-arm64", "-darwin-amd64", "-darwin-arm64"):
    pathlib.Path(sys.argv[2], f"cacher{edition}.pyz").write_text("pyz" + edition)
"""


PYTHONS = f"""\
#!/bin/sh
for number in 1 2 3 4
do
    echo {sys.executable}
done
"""


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A checkout that is tagged."""
    changes = {"docs/changelog.md": RELEASED, ".builds/zipapp": ZIPAPP, ".builds/pythons": PYTHONS}
    place = build_host.checkout(tmp_path / "cacher", changes)
    build_host.git(place, "tag", "-a", "-m", "first", VERSION)
    # It is only looked for: who calls it is a double.
    go = tmp_path / "bin/go"
    go.parent.mkdir()
    go.write_text("#!/bin/sh\nexit 1\n")
    go.chmod(0o755)
    return place


@pytest.mark.slow
def test_publishes(released: Path, tmp_path: Path) -> None:
    done = publish(released)
    assert done.returncode == 0, done.stderr
    attach, page = (tmp_path / "hut.log").read_text().splitlines()
    out = tmp_path / "out"
    assert page == f"pages publish --domain example.org {out / 'site.tar.gz'}"
    words = f"git artifact upload --rev {VERSION} "
    assert attach.startswith(words)
    files = [Path(name) for name in attach.removeprefix(words).split()]
    # One name for one release: git.sr.ht takes a name only once.
    assert all(VERSION in file.name and file.is_file() for file in files)
    assert len({file.name for file in files}) == 8
    listing = subprocess.run(["tar", "tzf", out / "site.tar.gz"], capture_output=True, text=True)
    names = listing.stdout.split()
    assert "index.html" in names
    sums = [line.split()[1] for line in (out / "checksums.txt").read_text().splitlines()]
    assert sums == sorted(sums)
    documents = [f"{name}.html" for name in DOCUMENTS]
    assert sorted(names) == sorted([*sums, *documents, "checksums.txt", "index.html"])
    address = "https://example.org/cacher.pyz"
    assert f"curl -fsSLO {address} " in (out / "index.html").read_text()
    check = ["sha256sum", "--check", "--strict", "checksums.txt"]
    subprocess.run(check, cwd=out, check=True, capture_output=True)


@pytest.mark.slow
def test_the_page_is_not_published_before_the_files(released: Path, tmp_path: Path) -> None:
    done = publish(released, status="1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("publish: failed: hut git artifact upload ")
    assert "pages" not in (tmp_path / "hut.log").read_text()


def retag(place: Path, *argv: str) -> None:
    build_host.git(place, "tag", "-d", VERSION)
    if argv:
        build_host.git(place, "tag", *argv)


def rewrite(place: Path, name: str, old: str, new: str) -> None:
    text = (place / name).read_text()
    assert old in text
    (place / name).write_text(text.replace(old, new))
    build_host.git(place, "commit", "-q", "-a", "-m", "changed")
    retag(place, "-a", "-m", "again", VERSION)


def ignored(place: Path) -> None:
    """A module that git does not even tell of."""
    (place / ".git/info/exclude").write_text("extra.py\n")
    (place / "cacher/extra.py").write_text("")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (retag, "no annotated tag"),
        (lambda place: retag(place, VERSION), "no annotated tag"),
        (lambda place: retag(place, "-a", "-m", "a", "9.9"), "the tag is 9.9, but"),
        (
            lambda place: rewrite(place, "cacher/__init__.py", f'"{VERSION}"', '"9.9"'),
            f"the tag is {VERSION}, but cacher/__init__.py has 9.9",
        ),
        (
            lambda place: rewrite(place, "docs/changelog.md", f"[{VERSION}]", "[Unreleased]"),
            f"docs/changelog.md has no [{VERSION}]",
        ),
        (lambda place: (place / "README.md").write_text("other"), "changes that are not in the"),
        (lambda place: (place / "cacher/extra.py").write_text(""), "changes that are not in the"),
        (ignored, "changes that are not in the"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_what_does_not_agree_is_not_published(
    released: Path,
    tmp_path: Path,
    options: list[str],
    change: Callable[[Path], object],
    said: str,
) -> None:
    change(released)
    done = publish(released, *options)
    assert done.returncode == 1
    assert re.fullmatch(r"publish: .*\n", done.stderr)
    assert said in done.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "hut.log").exists()


def test_a_site_is_needed(released: Path, tmp_path: Path) -> None:
    done = publish(released, site="")
    assert (done.returncode, done.stderr) == (1, "publish: SITE is not set\n")
    assert not (tmp_path / "out").exists()


def test_nothing_old_is_published(released: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").touch()
    done = publish(released)
    assert (done.returncode, done.stderr) == (1, f"publish: {tmp_path}/out is not empty\n")
    assert os.listdir(tmp_path / "out") == ["old"]
    assert not (tmp_path / "hut.log").exists()
