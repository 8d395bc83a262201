"""What changes under our hands, or never ends: a file without its times, an origin that cuts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cacher.store.source_file import SourceFile
from tests.cli.conftest import Run
from tests.fakes.origin import Origin, Reply
from tests.support.cli_helpers import BucketPlace, Place, blob, sha256


def test_a_file_that_changes_without_its_times(
    cacher: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As through a mapping: only the bytes tell."""
    Path("f").write_bytes(b"old")
    true = SourceFile.sha256

    def then_changed(content: SourceFile) -> str:
        digest = true(content)
        if content.name == "f":
            Path("f").write_bytes(b"new")
        return digest

    monkeypatch.setattr(SourceFile, "sha256", then_changed)
    monkeypatch.setattr(SourceFile, "require_unchanged", lambda _content: None)
    assert "changed while it was read" in cacher("upload", "k", "f").failed(7)
    assert place.keys() == place.leftovers() == []


def test_times_that_are_put_back(cacher: Run, bucket: BucketPlace) -> None:
    Path("f").write_bytes(b"old")
    fd = os.open("f", os.O_RDONLY)
    content = SourceFile.of(fd, "f")
    Path("f").write_bytes(b"new")
    os.utime("f", ns=(content.times_ns[0], content.times_ns[0]))
    with pytest.raises(Exception, match="changed while it was read"):
        content.require_unchanged()
    os.close(fd)


@pytest.mark.parametrize("etag", ["", 'W/"x"', '""'])
def test_an_origin_that_always_cuts_is_given_up(
    cacher: Run, bucket: BucketPlace, etag: str
) -> None:
    with Origin() as origin:
        origin.script("/cut", Reply(body=blob(1 << 20), cut=500_000, etag=etag))
        origin.script("/mirror", Reply(body=b"whole"))
        urls = ("--url", origin.url("/cut"), "--url", origin.url("/mirror"))
        assert cacher("download", "k", "d", *urls).status == 0
        assert len(origin.seen) <= 8
    assert Path("d").read_bytes() == b"whole"


@pytest.mark.parametrize("command", [("download", "k", "d"), ("upload", "k", "f")])
def test_an_empty_digest_is_none(cacher: Run, place: Place, command: tuple[str, ...]) -> None:
    Path("f").write_bytes(b"abc")
    assert "--sha256 is empty" in cacher(*command, "--sha256", "").failed(2)
    assert place.keys() == []


def test_another_digest_than_told_with_an_entry_there(cacher: Run, place: Place) -> None:
    Path("f").write_bytes(b"abc")
    assert cacher("upload", "k", "f").status == 0
    assert cacher("upload", "k", "f", "--sha256", sha256(b"abc")).status == 0
    assert "expected" in cacher("upload", "k", "f", "--sha256", sha256(b"other")).failed(5)


def test_names_of_open_descriptors(cacher: Run, place: Place, tmp_path: Path) -> None:
    place.put("k", b"new")
    with open(tmp_path / "out", "w+b", buffering=0) as out:
        out.write(b"header ")
        assert cacher("download", "k", f"/dev/fd/{out.fileno()}").status == 0
        assert cacher("download", "k", f"/proc/self/fd/{out.fileno()}").status == 0
    assert (tmp_path / "out").read_bytes() == b"header newnew"


def test_a_file_that_is_named_through_proc(cacher: Run, place: Place) -> None:
    place.put("k", b"new")
    Path("d").write_bytes(b"a longer one")
    assert cacher("download", "k", "/proc/self/cwd/d").status == 0
    assert Path("d").read_bytes() == b"new"


def test_a_redirect_in_raw_utf8(cacher: Run, place: Place) -> None:
    with Origin() as origin:
        origin.script("/a", Reply(302, headers={"Location": "/ä".encode().decode("latin-1")}))
        origin.script("/%C3%A4", Reply(body=b"abc"))
        assert cacher("download", "k", "d", "--url", origin.url("/a")).status == 0
    assert Path("d").read_bytes() == b"abc"


def test_nobodys_home(cacher: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert "no HOME for a local store" in cacher("exists", "k").failed(2)
    assert os.listdir() == []
