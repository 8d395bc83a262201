"""Which credentials are used; that half a pair never is, and that nothing secret is ever shown."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacher.errors import UsageError
from cacher.settings import config, credentials
from cacher.settings.credentials import Credentials

KEY, SECRET, TOKEN = "CACHER_S3_KEY_ID", "CACHER_S3_SECRET", "CACHER_S3_SESSION_TOKEN"
AWS_KEY, AWS_SECRET, AWS_TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"

OWN = {KEY: "own-id", SECRET: "own-secret"}
AWS = {AWS_KEY: "aws-id", AWS_SECRET: "aws-secret"}

NOTHING: Mapping[str, str] = {}


class Files:
    """A key file, a secret file and a config file, none of which exists yet."""

    def __init__(self, directory: Path) -> None:
        self.key = directory / "key"
        self.secret = directory / "secret"
        self.config = directory / "config.toml"

    def write(self, key: bytes = b"file-id\n", secret: bytes = b"file-secret\n") -> None:
        for path, content in ((self.key, key), (self.secret, secret)):
            path.write_bytes(content)
            path.chmod(0o600)

    @property
    def flags(self) -> dict[str, str | None]:
        return {"key_file": str(self.key), "secret_file": str(self.secret)}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def find(
    environ: Mapping[str, str] = NOTHING, flags: Mapping[str, str | None] = NOTHING
) -> Credentials:
    whole = {"HOME": "/nowhere", **environ}
    return credentials.find_credentials(config.load_settings(flags, whole), whole)


def pair(found: Credentials) -> tuple[str, str, str]:
    return found.keys.key_id, found.keys.secret, found.keys.token


# --- which source --------------------------------------------------------------------------------


def test_the_order_of_sources(files: Files) -> None:
    files.write()
    assert pair(find(OWN | AWS, files.flags)) == ("own-id", "own-secret", "")
    assert pair(find(AWS, files.flags)) == ("file-id", "file-secret", "")
    assert pair(find(AWS)) == ("aws-id", "aws-secret", "")


def test_the_source_that_won(files: Files) -> None:
    files.write()
    assert find(OWN | AWS, files.flags).source == f"{KEY} and {SECRET}"
    assert find(AWS, files.flags).source == f"{files.key} and {files.secret}"
    assert find(AWS).source == f"{AWS_KEY} and {AWS_SECRET}"


def test_files_are_named_by_flags_variables_or_the_config_file(files: Files) -> None:
    files.write()
    files.config.write_text(f"key-file = '{files.key}'\nsecret-file = '{files.secret}'\n")
    variables = {"CACHER_KEY_FILE": str(files.key), "CACHER_SECRET_FILE": str(files.secret)}
    for found in (
        find(flags=files.flags),
        find(variables),
        find({"CACHER_CONFIG": str(files.config)}),
    ):
        assert pair(found) == ("file-id", "file-secret", "")


def test_files_in_the_users_home(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write()
    monkeypatch.setenv("HOME", str(files.key.parent))
    assert pair(find(flags={"key_file": "~/key", "secret_file": "~/secret"}))[0] == "file-id"


def test_a_session_token_goes_with_its_own_pair_only(files: Files) -> None:
    files.write()
    tokens = {TOKEN: "own-token", AWS_TOKEN: "aws-token"}
    assert pair(find(OWN | AWS | tokens))[2] == "own-token"
    assert pair(find(OWN | AWS | {AWS_TOKEN: "aws-token"}))[2] == ""
    assert pair(find(tokens, files.flags))[2] == ""
    assert pair(find(AWS | tokens))[2] == "aws-token"
    assert pair(find(AWS | {TOKEN: "own-token"}))[2] == ""


def test_no_credentials_at_all() -> None:
    with pytest.raises(UsageError, match=r"^no credentials for http://h$") as caught:
        find(flags={"endpoint": "http://h"})
    assert KEY in caught.value.hint
    with pytest.raises(UsageError, match="no credentials"):
        find({TOKEN: "t", AWS_TOKEN: "t"})


# --- half a pair ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "secret"), [(KEY, SECRET), (AWS_KEY, AWS_SECRET)])
@pytest.mark.parametrize("blank", [None, "", "\n", " \r\n"])
def test_half_a_pair_of_variables(key: str, secret: str, blank: str | None) -> None:
    for given_name, missing in ((key, secret), (secret, key)):
        environ = {given_name: "s3cr3t"} | ({} if blank is None else {missing: blank})
        with pytest.raises(UsageError) as caught:
            find(environ)
        assert caught.value.message == (
            f"{given_name} is set, {missing} is not: half a pair of credentials"
        )


@pytest.mark.parametrize("blank", ["", "\n", "  "])
def test_blank_variables_are_unset_ones(blank: str) -> None:
    assert pair(find({KEY: blank, SECRET: blank} | AWS))[0] == "aws-id"
    with pytest.raises(UsageError, match="no credentials"):
        find({KEY: blank, SECRET: blank, AWS_KEY: blank, AWS_SECRET: blank})


def test_half_a_pair_of_our_own_is_not_passed_over_for_another(files: Files) -> None:
    files.write()
    for name in (KEY, SECRET):
        with pytest.raises(UsageError, match="half a pair"):
            find({name: OWN[name]} | AWS, files.flags)
    for name in files.flags:
        with pytest.raises(UsageError, match="half a pair"):
            find(AWS, {name: files.flags[name]})


RANKS = ("nowhere", "flag", "variable", "config")


@pytest.mark.parametrize(
    ("key_from", "secret_from"),
    [
        (a, b)
        for a, b in itertools.product(RANKS, RANKS)
        if a != b and {a, b} != {"flag", "variable"}
    ],
)
def test_half_a_pair_of_files_from_anywhere(files: Files, key_from: str, secret_from: str) -> None:
    """Two halves of two sources are no pair: who set one of them meant another other half."""
    files.write()
    flags: dict[str, str | None] = {}
    environ: dict[str, str] = {"CACHER_CONFIG": str(files.config)}
    lines = []
    for option, source, path in (
        ("key-file", key_from, files.key),
        ("secret-file", secret_from, files.secret),
    ):
        if source == "flag":
            flags[option.replace("-", "_")] = str(path)
        elif source == "variable":
            environ["CACHER_" + option.upper().replace("-", "_")] = str(path)
        elif source == "config":
            lines.append(f"{option} = '{path}'")
    files.config.write_text("\n".join(lines))
    with pytest.raises(UsageError, match="half a pair of credentials") as caught:
        find(environ, flags)
    for option, source in (("key-file", key_from), ("secret-file", secret_from)):
        names = {
            "nowhere": f"--{option}",
            "flag": f"--{option}",
            "variable": "CACHER_" + option.upper().replace("-", "_"),
            "config": f"{option} in {files.config}",
        }
        assert names[source] in caught.value.message


@pytest.mark.parametrize("flag", ["key_file", "secret_file"])
@pytest.mark.parametrize("configured", [True, False])
def test_a_flag_and_a_variable_are_a_pair(files: Files, flag: str, configured: bool) -> None:
    """Both were given for this run, whatever the config file has."""
    files.write()
    files.config.write_text("key-file = '/k'\nsecret-file = '/s'\n" if configured else "")
    environ = {"CACHER_CONFIG": str(files.config)}
    for name, path in files.flags.items():
        if name != flag:
            environ[f"CACHER_{name.upper()}"] = str(path)
    found = find(environ, {flag: files.flags[flag]})
    assert pair(found)[:2] == ("file-id", "file-secret")
    assert found.source == f"{files.key} and {files.secret}"


def test_a_flag_over_half_of_the_config_file_is_half_a_pair(files: Files) -> None:
    files.write()
    files.config.write_text(f"key-file = '{files.key}'\nsecret-file = '{files.secret}'\n")
    for name in files.flags:
        with pytest.raises(UsageError, match="half a pair"):
            find({"CACHER_CONFIG": str(files.config)}, {name: files.flags[name]})


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n"])
def test_line_breaks_at_the_end_are_not_part_of_it(files: Files, end: bytes) -> None:
    files.write(b"file-id" + end, b"file-secret" + end)
    found = find(flags=files.flags)
    assert pair(found) == ("file-id", "file-secret", "")
    stray = len(end.replace(b"\r\n", b"\n")) > 1
    assert bool(found.notes) is stray


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n"])
def test_an_empty_file(files: Files, content: bytes) -> None:
    files.write(secret=content)
    with pytest.raises(UsageError, match="that --secret-file names is empty"):
        find(flags=files.flags)


def test_a_file_that_cannot_be_read(files: Files) -> None:
    with pytest.raises(UsageError, match="--key-file names: no such file or directory") as caught:
        find(flags=files.flags)
    # It may be the credential itself, given in place of its file.
    assert str(files.key) not in caught.value.message
    files.key.mkdir()
    with pytest.raises(UsageError, match="--key-file names: is a directory"):
        find(flags=files.flags)


def test_files_that_everybody_can_read_are_noted(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write()
    assert find(flags=files.flags).notes == ()
    files.secret.chmod(0o604)
    expected = "can be read by everybody on this machine"
    assert find(flags=files.flags).notes == (f"{files.secret} {expected}",)
    monkeypatch.chdir(files.secret.parent)
    relative = {"key_file": "key", "secret_file": "secret"}
    assert find(flags=relative).notes == (f"secret {expected}",)


def test_a_file_with_the_name_of_a_variable_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / SECRET).write_text("x")
    monkeypatch.chdir(tmp_path)
    assert find(OWN).notes == ()


# --- notes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kept", "note"),
    [
        ("s3cr3t\n", "s3cr3t", "ends in a stray newline (ignored)"),
        ("s3cr3t\r\n", "s3cr3t", "ends in a stray newline (ignored)"),
        (" s3cr3t", " s3cr3t", "begins or ends with a space"),
        ("s3cr3t ", "s3cr3t ", "begins or ends with a space"),
        ("s3c r3t", "s3c r3t", "holds a space"),
        ('"s3cr3t"', '"s3cr3t"', "holds a quote"),
        ("'s3cr3t'", "'s3cr3t'", "holds a quote"),
    ],
)
def test_what_looks_odd_is_used_and_noted(value: str, kept: str, note: str) -> None:
    found = find({KEY: "own-id", SECRET: value})
    assert found.keys.secret == kept
    assert found.notes == (f"{SECRET} {note}",)
    found = find({KEY: value, SECRET: "own-secret"})
    assert found.keys.key_id == kept
    assert found.notes == (f"{KEY} {note}",)


@pytest.mark.parametrize(
    "value",
    ["s3c\nr3t", "s3c\rr3t", "s3cr3t\u00e9", "s3c\tr3t", "s3c\0r3t", "\ufeffs3cr3t", "s3\udcff"],
)
def test_what_no_header_can_hold_is_refused(value: str, files: Files) -> None:
    for environ, name in (
        ({KEY: value, SECRET: "x"}, KEY),
        ({KEY: "x", SECRET: value}, SECRET),
        ({**OWN, TOKEN: value}, "the session token"),
        ({AWS_KEY: "x", AWS_SECRET: value}, AWS_SECRET),
    ):
        with pytest.raises(UsageError, match=f"^{name} holds a line break or another") as caught:
            find(environ)
        assert "s3" not in caught.value.message
    files.write(secret=value.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match="holds a line break or another"):
        find(flags=files.flags)


# --- secrecy -------------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(max_size=20),
    places=st.sets(st.sampled_from([KEY, SECRET, TOKEN, AWS_KEY, AWS_SECRET, AWS_TOKEN, "file"])),
)
def test_nothing_secret_is_ever_told(text: str, places: set[str], files: Files) -> None:
    """Whatever a secret is, and wherever it is: no error, source, note or repr holds it."""
    mark = "Zq9~"
    secret = f"{mark}{text}{mark}"
    environ = dict.fromkeys(places - {"file"}, secret)
    files.write(b"file-id", secret.encode(errors="surrogatepass"))
    try:
        found = find(environ, files.flags if "file" in places else NOTHING)
    except UsageError as error:
        texts = [error.message, error.hint, repr(error)]
        cause = error.__cause__
        texts += [str(cause), repr(cause)]
    else:
        key_id = repr(found.keys.key_id)
        texts = [found.source, *found.notes, repr(found).replace(key_id, "")]
    assert not [line for line in texts if mark in line]
