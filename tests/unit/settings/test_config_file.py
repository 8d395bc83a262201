"""The config file: read with its faults named, written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacher.errors import LocalError, UsageError
from cacher.settings import config
from cacher.settings.options import SETTINGS

NAMES = [name for name, *_ in SETTINGS]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def refusal(file: Path, content: str | bytes) -> UsageError:
    """Return the error for a file with this content."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError) as caught:
        config.read_file(str(file), required=True)
    assert str(file) in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value


# --- reading -------------------------------------------------------------------------------------


def test_strings_and_numbers(file: Path) -> None:
    file.write_text('endpoint = "http://h"\njobs = 8\ntimeout = 2.5\nkey_file = """k"""\n')
    assert config.read_file(str(file), required=True) == {
        "endpoint": "http://h",
        "jobs": "8",
        "timeout": "2.5",
        "key-file": "k",
    }


def test_an_empty_file_is_fine(file: Path) -> None:
    file.write_text("# nothing yet\n")
    assert config.read_file(str(file), required=True) == {}


def test_a_missing_file_is_a_fault_only_if_it_was_named(file: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    for missing in (file, tmp_path / "plain" / "config.toml"):
        assert config.read_file(str(missing), required=False) == {}
        with pytest.raises(UsageError, match=r"no config file .*config\.toml") as caught:
            config.read_file(str(missing), required=True)
        assert "cacher init" in caught.value.hint


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    for required in (False, True):
        with pytest.raises(UsageError, match=r"cannot read .*: is a directory"):
            config.read_file(str(tmp_path), required=required)


@pytest.mark.parametrize(
    ("content", "key", "line"),
    [
        ("bukket = 'b'", "bukket", 1),
        ("# note\n\n  jobs = 1\nsecret-key = 'x'\n", "secret-key", 4),
        ("jobs = 1\n'odd one' = 1\n", "odd one", 2),
        ('jobs = 1\n\n"quoted" = 1\n', "quoted", 3),
        ("jobs = 1\n[section]\nbucket = 'b'\n", "section", 2),
        ("jobs = 1\ndotted.bucket = 'b'\n", "dotted", 2),
        ("[[list]]\n", "list", 1),
        ("jobs = 1\nJOBS = 1\n", "JOBS", 2),
    ],
)
def test_an_unknown_key_is_named_with_its_line(
    file: Path, content: str, key: str, line: int
) -> None:
    error = refusal(file, content)
    assert error.message == f"{file}: unknown key {key!r} (line {line})"
    assert all(name in error.hint for name in NAMES)


def test_a_secret_under_an_unknown_key_is_not_shown(file: Path) -> None:
    error = refusal(file, "secret = 's3cr3t'")
    assert "s3cr3t" not in error.message + error.hint


@pytest.mark.parametrize("value", ["true", "[1]", "{a = 1}", "2024-05-01", "12:00:00"])
def test_other_types_are_refused(file: Path, value: str) -> None:
    error = refusal(file, f"jobs = {value}")
    assert error.message == f"{file}: 'jobs' must be a string or a number (line 1)"
    assert error.hint == "write a whole number; the default is 4"


def test_a_value_that_is_wrong_names_its_key(file: Path) -> None:
    file.write_text("jobs = 'x'")
    with pytest.raises(UsageError) as caught:
        config.load_settings({}, {"HOME": "/"}, str(file))
    assert caught.value.message.startswith(f"{file}: jobs: 'x': ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("bucket\n", "line 1"),
        ("jobs = 1\nbucket = b\n", "line 2"),
        ("jobs = 1\njobs = 2\n", "line 2"),
        ("bucket = 'b\n'", "line 1"),
        (b"bucket = '\xff'", "it is not UTF-8"),
    ],
)
def test_what_is_not_toml(file: Path, content: str | bytes, reason: str) -> None:
    error = refusal(file, content)
    assert error.message.startswith(f"{file} is not TOML: ")
    assert reason in error.message


# --- writing -------------------------------------------------------------------------------------


@given(st.dictionaries(st.sampled_from(NAMES), st.text(st.characters(exclude_categories=["Cs"]))))
def test_what_is_written_is_read(settings: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "config.toml")
        config.write_file(path, settings)
        assert config.read_file(path, required=True) == settings
        assert os.listdir(directory) == ["config.toml"]


@pytest.mark.parametrize(
    "value", ['"', "\\", "'''", '"""', "\\n", "a\r\nb\t\0\x7f", "é😀\u2028", ""]
)
def test_awkward_values(file: Path, value: str) -> None:
    config.write_file(str(file), {"key-file": value})
    assert config.read_file(str(file), required=True) == {"key-file": value}
    assert tomllib.loads(file.read_text()) == {"key-file": value}


def test_it_is_for_its_owner_only_whatever_it_was(file: Path) -> None:
    file.write_text("bucket = 'old'")
    file.chmod(0o644)
    before = os.umask(0)
    try:
        config.write_file(str(file), {"bucket": "new"})
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert config.read_file(str(file), required=True) == {"bucket": "new"}


def test_directories_are_made(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "config.toml"
    config.write_file(str(file), {"bucket": "b"})
    assert config.read_file(str(file), required=True) == {"bucket": "b"}


def test_a_name_without_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config.write_file("config.toml", {"bucket": "b"})
    assert os.listdir() == ["config.toml"]


@pytest.mark.parametrize("call", ["open", "replace"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(
    file: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_file(str(file), {"bucket": "old"})

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(LocalError, match=r"cannot write .*: no space left on device") as caught:
            config.write_file(str(file), {"bucket": "new"})
    assert caught.value.hint
    assert config.read_file(str(file), required=True) == {"bucket": "old"}
    assert os.listdir(file.parent) == ["config.toml"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(file: Path) -> None:
    """The writing itself fails, at a limit on the size of files."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    config.write_file(str(file), {"bucket": "old"})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(LocalError, match=r"cannot write .*: file too large"):
            config.write_file(str(file), {"bucket": "b" * 1000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert config.read_file(str(file), required=True) == {"bucket": "old"}
    assert os.listdir(file.parent) == ["config.toml"]


def test_what_cannot_be_written_in_utf_8(file: Path) -> None:
    config.write_file(str(file), {"bucket": "old"})
    with pytest.raises(UsageError, match="not valid UTF-8"):
        config.write_file(str(file), {"key-file": "/\udcff"})
    assert config.read_file(str(file), required=True) == {"bucket": "old"}
    assert os.listdir(file.parent) == ["config.toml"]


@pytest.mark.parametrize("kind", ["FIFO", "link"])
def test_no_device_is_replaced(tmp_path: Path, kind: str) -> None:
    """Least of all /dev/null, by root."""
    place = tmp_path / "null"
    if kind == "FIFO":
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/null")
    before = place.lstat()
    with pytest.raises(LocalError, match="it is not a regular file"):
        config.write_file(str(place), {})
    assert place.lstat() == before
    assert os.listdir(tmp_path) == ["null"]


def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with pytest.raises(LocalError, match="cannot write"):
        config.write_file(str(tmp_path / "plain" / "config.toml"), {})
    with pytest.raises(LocalError, match=r"cannot write .*: is a directory"):
        config.write_file(str(tmp_path), {})
    assert not [name for name in os.listdir(tmp_path.parent) if name.startswith(".config.toml")]


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match=r"cannot read .*: nobody writes to this fifo"):
        config.read_file(str(tmp_path / "fifo"), required=True)
