"""A local store below DIR: it is not packed into itself, and no restore takes it away."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fakes.origin import Origin, Reply
from tests.support.cli_helpers import LocalPlace
from tests.support.tree_snapshots import snapshot
from tests.support.trees import FULL, build, make_removable
from tests.support.zstd_streams import unzstd

STORE = "proj/.cache/ci/store"


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> LocalPlace:
    """A store in the directory that is stored in it."""
    Path("proj").mkdir()
    (Path("proj") / "f").write_bytes(b"first")
    place = LocalPlace(Path(STORE).resolve())
    monkeypatch.setenv("CACHER_ENDPOINT", place.environment["CACHER_ENDPOINT"])
    return place


def names_in(place: LocalPlace, key: str) -> list[str]:
    """The names in a stored archive."""
    stored = place.get(key)
    assert stored
    with tarfile.open(fileobj=io.BytesIO(unzstd(stored))) as archive:
        return archive.getnames()


def kept(place: LocalPlace) -> dict[str, object]:
    """All of the store, with what a mere copy of it would not have."""
    found: dict[str, object] = dict(snapshot(place.root))
    found["inodes"] = [path.lstat().st_ino for path in sorted(place.root.rglob("*"))]
    return found


@pytest.mark.parametrize("dest", ["proj", ".", "link", "proj/.cache"])
def test_it_is_left_out_of_an_upload(cacher: Run, inside: LocalPlace, dest: str) -> None:
    Path("link").symlink_to("proj")
    Path("proj/.cache/ci").mkdir(parents=True)
    Path("proj/.cache/ci/other").touch()
    for _ in range(2):
        ended = cacher("dir", "upload", "k", dest, "--force", "--json")
        assert ended.status == 0, ended.err
        left_out = os.path.relpath(inside.root, Path(dest).resolve())
        assert ended.json["warnings"] == [f"k: left out {left_out}: it is the local store"]
        names = names_in(inside, "k")
        assert not [name for name in names if "store" in name]
        assert any(name.endswith("ci/other") for name in names)


def test_a_store_elsewhere_is_no_reason_for_a_warning(cacher: Run, local: LocalPlace) -> None:
    Path("tree").mkdir()
    build(Path("tree"), FULL)
    assert cacher("dir", "upload", "k", "tree").warnings == []
    for flags in ((), ("--clean",)):
        assert cacher("dir", "download", "k", "tree", *flags).warnings == []
    assert os.listdir() == ["tree"]
    make_removable(Path("tree"))


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("dest", ["proj", "working directory", "link"])
def test_no_restore_takes_it_away(
    cacher: Run, inside: LocalPlace, monkeypatch: pytest.MonkeyPatch, dest: str, clean: bool
) -> None:
    Path("link").symlink_to("proj")
    assert cacher("dir", "upload", "k", "proj").status == 0
    for path in ("f", "sub/new", ".cache/new", ".cache/ci/new"):
        Path("proj", path).parent.mkdir(exist_ok=True)
        Path("proj", path).write_bytes(b"changed")
    before = kept(inside)
    if dest == "working directory":
        monkeypatch.chdir("proj")
        dest = "."
    ended = cacher("dir", "download", "k", dest, *(["--clean"] if clean else []))
    assert ended.status == 0, ended.err
    assert ended.warnings == []
    assert kept(inside) == before
    root = inside.root.parents[2]
    assert (root / "f").read_bytes() == b"first"
    new = [path for path in ("sub/new", ".cache/new", ".cache/ci/new") if (root / path).exists()]
    assert new == ([] if clean else ["sub/new", ".cache/new", ".cache/ci/new"])
    assert cacher("exists", "k").status == 0


@pytest.mark.parametrize("clean", [False, True])
def test_an_entry_that_has_no_way_to_it(cacher: Run, inside: LocalPlace, clean: bool) -> None:
    Path("tree").mkdir()
    Path("tree/g").write_bytes(b"only this")
    Path("tree").chmod(0o555)
    assert cacher("dir", "upload", "k", "tree").status == 0
    Path("proj/.cache").chmod(0o750)
    Path("proj/.cache/ci").chmod(0o705)
    before = kept(inside)
    assert cacher("dir", "download", "k", "proj", *(["--clean"] if clean else [])).status == 0
    assert kept(inside) == before
    assert sorted(os.listdir("proj")) == ([".cache", "g"] if clean else [".cache", "f", "g"])
    modes = [
        path.stat().st_mode & 0o7777
        for path in map(Path, ("proj", "proj/.cache", "proj/.cache/ci"))
    ]
    assert modes == [0o555, 0o750, 0o705]
    Path("proj").chmod(0o755)


@pytest.mark.parametrize("clean", [False, True])
def test_an_entry_with_a_store_in_its_place(cacher: Run, inside: LocalPlace, clean: bool) -> None:
    """Packed by another program, say."""
    Path("tree", STORE).parent.mkdir(parents=True)
    shutil.move("proj", "tree/proj")
    Path("tree", STORE).mkdir(exist_ok=True)
    Path("tree", STORE, "k").write_bytes(b"from the archive")
    Path("tree/proj/new").touch()
    assert cacher("dir", "upload", "k", "tree/proj").status == 0
    before = kept(inside)
    ended = cacher("dir", "download", "k", "proj", *(["--clean"] if clean else []))
    assert ended.status == 0
    assert ended.warnings == ["k: left out .cache/ci/store: DIR has the local store there"]
    assert kept(inside) == before
    assert Path("proj/new").exists()


@pytest.mark.parametrize("obstacle", ["file", "link"])
def test_an_entry_that_would_cut_the_way_to_it(
    cacher: Run, inside: LocalPlace, obstacle: str
) -> None:
    Path("tree/.cache").mkdir(parents=True)
    if obstacle == "file":
        Path("tree/.cache/ci").touch()
    else:
        Path("tree/.cache/ci").symlink_to("/tmp")
    assert cacher("dir", "upload", "k", "tree").status == 0
    before, all_of_it = kept(inside), snapshot(Path("proj"))
    for flags in ((), ("--clean",)):
        told = cacher("dir", "download", "k", "proj", *flags).failed(7)
        assert "cacher: error: .cache/ci is not a directory in the entry, but DIR has" in told
        assert (kept(inside), snapshot(Path("proj"))) == (before, all_of_it)


@pytest.mark.parametrize(
    "command", [("upload", "l"), ("download", "k"), ("download", "k", "--clean")], ids=" ".join
)
@pytest.mark.parametrize("place", ["", ".cacher", ".cacher/meta", "sub", "link"])
def test_no_dir_is_the_store_or_inside_it(
    cacher: Run, inside: LocalPlace, command: tuple[str, ...], place: str
) -> None:
    Path("tree").mkdir()
    for key in ("k", "sub/k"):
        assert cacher("dir", "upload", key, "tree").status == 0
    if place == "link":
        Path("link").symlink_to(inside.root / "sub")
        directory = "link"
    else:
        directory = os.path.join(STORE, place).rstrip("/")
    before = kept(inside)
    verb, key, *flags = command
    error = cacher("dir", verb, key, directory, *flags).failed(2)
    kind = f"is inside the local store {inside.root}" if place else "is the directory of the local"
    assert f"cacher: error: {directory} {kind}" in error
    assert "cacher: hint: name a DIR outside the local store" in error
    assert kept(inside) == before


@pytest.mark.parametrize("url", [False, True])
@pytest.mark.parametrize("place", ["k", "new", ".cacher/lock", "sub/new/k", "link/new"])
def test_no_file_is_written_into_it(
    cacher: Run, inside: LocalPlace, origin: Origin, place: str, url: bool
) -> None:
    inside.put("k", b"abc")
    inside.put("sub/k", b"abc")
    dest = os.path.join(STORE, place)
    if place.startswith("link"):
        Path("link").symlink_to(inside.root / "sub")
        dest = place
    before = kept(inside)
    flags = ("--url", origin.script("/f", Reply(body=b"from the origin"))) if url else ()
    error = cacher("download", "missing" if url else "k", dest, *flags).failed(2)
    assert f"cacher: error: {dest} is inside the local store {inside.root}" in error
    assert "cacher: hint: name a DEST outside the local store" in error
    assert kept(inside) == before
    assert not origin.seen


def test_no_directory_is_made_in_it(cacher: Run, inside: LocalPlace) -> None:
    inside.put("sub/k", b"abc")
    before = kept(inside)
    error = cacher("dir", "download", "k", f"{STORE}/sub/new").failed(2)
    assert f"{STORE}/sub/new is inside the local store" in error
    assert kept(inside) == before


def test_a_store_that_is_not_there_yet_gets_no_file(cacher: Run, local: LocalPlace) -> None:
    for dest in (local.root, local.root / "sub" / "f"):
        cacher("download", "k", dest).failed(2)
        cacher("dir", "download", "k", dest).failed(2)
    assert not local.root.exists()


def test_a_link_to_an_entry_is_replaced(cacher: Run, inside: LocalPlace) -> None:
    inside.put("k", b"abc")
    Path("link").symlink_to(inside.root / "k")
    before = kept(inside)
    assert cacher("download", "k", "link").status == 0
    assert not Path("link").is_symlink()
    assert kept(inside) == before


def test_a_killed_clean_keeps_it(
    cacher: Run, inside: LocalPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does a later run with another store, which removes what the killed one left."""
    assert cacher("dir", "upload", "k", "proj").status == 0
    for number in range(3):
        Path(f"proj/new{number}").touch()
    before = snapshot(inside.root)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    script = (
        "import os, signal, sys; from cacher.replace.merge_in_place import InPlaceMerge\n"
        "InPlaceMerge._move_names = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from cacher.cli.main import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", script, "dir", "download", "k", "proj", "--clean"]
    assert subprocess.run(command, env=environ, check=False).returncode == -9
    assert any(name.startswith(".proj.cacher-") for name in os.listdir())
    assert snapshot(inside.root) == before
    Path("other").mkdir()
    monkeypatch.setenv("CACHER_ENDPOINT", Path("other").absolute().as_uri())
    Path("tree").mkdir()
    Path("tree/g").touch()
    assert cacher("dir", "upload", "l", "tree").status == 0
    assert cacher("dir", "download", "l", "proj").status == 0
    assert snapshot(inside.root) == before
    assert {".cache", "f", "g"} <= {*os.listdir("proj")}
    assert not any(".cacher-" in name for name in os.listdir())


def test_a_store_that_is_all_of_what_is_included(cacher: Run, inside: LocalPlace) -> None:
    assert cacher("upload", "other", "proj/f").status == 0
    err = cacher("dir", "upload", "k", "proj", "--include", ".cache/ci/store").failed(7)
    assert "hint: the local store is left out: .cache/ci/store\n" in err
    assert inside.get("k") is None
