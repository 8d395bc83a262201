"""Settings: which source wins, and what is legal."""

from __future__ import annotations

import pwd
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacher.errors import UsageError
from cacher.settings import config
from cacher.settings.config import Settings
from cacher.settings.options import SETTINGS, attribute

MIB = 1024 * 1024

HOME = "/home/somebody"

EXAMPLES: dict[str, tuple[list[str], list[object]]] = {
    # What each option may be given as, and what it then is: flag, variable, file, default.
    "endpoint": (
        ["http://flag:3900", "https://env", "file:///file"],
        ["http://flag:3900", "https://env", "file:///file", f"file://{HOME}/.cache/cacher/store"],
    ),
    "region": (["flag", "env", "file"], ["flag", "env", "file", ""]),
    "bucket": (["flag", "env", "file"], ["flag", "env", "file", ""]),
    "prefix": (["/flag/", "env/a", "file"], ["flag", "env/a", "file", ""]),
    "key-file": (["flag", "env", "file"], ["flag", "env", "file", ""]),
    "secret-file": (["flag", "env", "file"], ["flag", "env", "file", ""]),
    "ca-file": (["flag", "env", "file"], ["flag", "env", "file", ""]),
    "timeout": (["1", "2.5", "30"], [1.0, 2.5, 30.0, None]),
    "jobs": (["1", "64", "7"], [1, 64, 7, 4]),
    "part-size": (["5MiB", "1GiB", "6M"], [5 * MIB, 1024 * MIB, 6 * MIB, None]),
}


NOTHING: Mapping[str, str] = {}


def load(
    flags: Mapping[str, str | None] = NOTHING, environ: Mapping[str, str] = NOTHING
) -> Settings:
    return config.load_settings(flags, {"HOME": HOME, **environ})


def value(settings: Settings, name: str) -> object:
    return getattr(settings, attribute(name))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


# --- which source wins ---------------------------------------------------------------------------


def test_every_setting_has_an_example() -> None:
    assert set(EXAMPLES) == {name for name, *_ in SETTINGS}


@pytest.mark.parametrize(
    ("name", "variable"), [(name, variable) for name, _, variable, _ in SETTINGS]
)
def test_flags_over_variables_over_the_file_over_defaults(
    name: str, variable: str, file: Path
) -> None:
    (flag, env, filed), expected = EXAMPLES[name]
    file.write_text(f"{name} = '{filed}'\n")
    flags: dict[str, str | None] = {attribute(name): flag}
    environ = {"HOME": HOME, "CACHER_CONFIG": str(file), variable: env}
    found = [config.load_settings(flags, environ), config.load_settings({}, environ)]
    del environ[variable]
    found.append(config.load_settings({attribute(name): None}, environ))
    del environ["CACHER_CONFIG"]
    found.append(config.load_settings({}, environ))
    assert [value(settings, name) for settings in found] == expected
    sources = [settings.sources[attribute(name)] for settings in found]
    assert sources == [f"--{name}", variable, str(file), "default"]


@pytest.mark.parametrize(
    ("name", "variable"), [(name, variable) for name, _, variable, _ in SETTINGS]
)
def test_an_empty_variable_is_an_unset_one(name: str, variable: str) -> None:
    settings = load(environ={variable: ""})
    assert value(settings, name) == EXAMPLES[name][1][-1]
    assert settings.sources[attribute(name)] == "default"


def test_an_empty_flag_is_a_flag() -> None:
    settings = load({"prefix": "", "timeout": ""}, {"CACHER_PREFIX": "p", "CACHER_TIMEOUT": "3"})
    assert (settings.prefix, settings.timeout) == ("", None)
    assert settings.sources["prefix"] == "--prefix"


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_certificates_of_other_programs_are_for_want_of_our_own(variable: str, file: Path) -> None:
    others = {variable: "/other.pem"}
    settings = load(environ=others)
    assert (settings.ca_file, settings.sources["ca_file"]) == ("/other.pem", variable)
    assert load({"ca_file": "/our.pem"}, others).ca_file == "/our.pem"
    assert load(environ=others | {"CACHER_CA_FILE": "/our.pem"}).ca_file == "/our.pem"
    for own in ("/our.pem", ""):
        file.write_text(f"ca-file = '{own}'")
        assert load(environ=others | {"CACHER_CONFIG": str(file)}).ca_file == own


# --- where the file is, and what it is for -------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "environ", "expected"),
    [
        (None, {"HOME": "/h"}, ("/h/.config/cacher/config.toml", False)),
        (None, {"HOME": "/h", "XDG_CONFIG_HOME": "/x"}, ("/x/cacher/config.toml", False)),
        (
            None,
            {"HOME": "/h", "XDG_CONFIG_HOME": ""},
            ("/h/.config/cacher/config.toml", False),
        ),
        (None, {"HOME": "/h", "CACHER_CONFIG": "/c"}, ("/c", True)),
        (None, {"HOME": "/h", "CACHER_CONFIG": ""}, ("/h/.config/cacher/config.toml", False)),
        ("f", {"HOME": "/h", "CACHER_CONFIG": "/c"}, ("f", True)),
    ],
)
def test_where_the_file_is(
    flag: str | None, environ: dict[str, str], expected: tuple[str, bool]
) -> None:
    assert config.config_path(flag, environ) == expected


def test_the_default_store_is_in_the_users_cache() -> None:
    assert load().directory == f"{HOME}/.cache/cacher/store"
    assert load(environ={"XDG_CACHE_HOME": "/x"}).directory == "/x/cacher/store"
    assert load(environ={"XDG_CACHE_HOME": ""}).directory == f"{HOME}/.cache/cacher/store"
    assert load().is_local


@given(
    st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60
    )
)
def test_the_default_store_is_found_whatever_the_home_is_called(name: str) -> None:
    home = "/home/" + name.replace("/", "").strip(".") + "x"
    assert config.load_settings({}, {"HOME": home}).directory == f"{home}/.cache/cacher/store"


# --- what is legal -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", MIB),
        ("16MiB", 16 * MIB),
        ("16mib", 16 * MIB),
        ("16 MiB", 16 * MIB),
        (" 16M ", 16 * MIB),
        ("16MB", 16_000_000),
        ("1.5G", 3 * 512 * MIB),
        ("1TiB", 1024**4),
        ("1TB", 1000**4),
        ("2kb", 2000),
        ("2K", 2048),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert config.parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "M", "-1", "1e6", "1,5M", "16Q", "16MiBs", "1.M", ".5M", "\u0661M", "9" * 400]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        config.parse_size(text)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://127.0.0.1:3900", "http://127.0.0.1:3900"),
        ("https://s3.example.org/", "https://s3.example.org"),
        ("https://s3.example.org./", "https://s3.example.org."),
        (f"https://{'a' * 63}.ü.org", f"https://{'a' * 63}.ü.org"),
        ("https://example.org/s3/", "https://example.org/s3"),
        ("http://[::1]:3900", "http://[::1]:3900"),
        ("file:///srv/cache", "file:///srv/cache"),
        ("file://localhost/srv/cache", "file://localhost/srv/cache"),
        ("file:///a%20b%3F", "file:///a%20b%3F"),
        ("FILE:///srv/Cache", "file:///srv/Cache"),
        ("File://LOCALHOST/srv", "file://LOCALHOST/srv"),
        ("HTTP://H.example:80/S3", "http://H.example:80/S3"),
        ("HTTPS://s3.example.org", "https://s3.example.org"),
        (" https://s3.example.org\n", "https://s3.example.org"),
        ("file:///a%0Ab", "file:///a%0Ab"),
        ("file:///100%", "file:///100%"),
    ],
)
def test_endpoints(given: str, kept: str) -> None:
    assert load({"endpoint": given}).endpoint == kept


def test_the_directory_of_an_endpoint() -> None:
    assert load({"endpoint": "file:///a%20b%3F%23"}).directory == "/a b?#"
    assert load({"endpoint": "file://localhost/srv"}).directory == "/srv"
    assert load({"endpoint": "file://LOCALHOST/srv"}).directory == "/srv"
    assert load({"endpoint": "FILE:///srv"}).directory == "/srv"
    assert load({"endpoint": "FILE:///srv"}).is_local
    assert load({"endpoint": "file:///a%0A%ff%"}).directory == "/a\n\udcff%"
    assert load({"endpoint": "file:///a\udcffb"}).directory == "/a\udcffb"
    assert load(environ={"HOME": "/h\udcff"}).directory == "/h\udcff/.cache/cacher/store"
    assert not load({"endpoint": "https://h"}).is_local


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("endpoint", "", "'': an endpoint is http(s)://HOST[:PORT] or file:///DIRECTORY, not an "),
        ("endpoint", "s3.example.org", "an endpoint is"),
        ("endpoint", "localhost:3900", "an endpoint is"),
        ("endpoint", "ftp://h", "an endpoint is"),
        ("endpoint", "s3://bucket", "an endpoint is"),
        ("endpoint", "http://", "an endpoint is"),
        ("endpoint", "https://:443", "an endpoint is"),
        ("endpoint", "http://h:x", "not a URL, or its port"),
        ("endpoint", "http://h:65536", "not a URL, or its port"),
        ("endpoint", "http://h:0", "not a URL, or its port"),
        ("endpoint", "http://a..b", "not the name of a host"),
        ("endpoint", "http://.", "not the name of a host"),
        ("endpoint", f"http://{'a' * 64}.org", "not the name of a host"),
        ("endpoint", "http://a b/", "not the name of a host"),
        ("endpoint", "file:///a%00b", "cannot hold %00"),
        ("endpoint", "file:///%00", "cannot hold %00"),
        ("endpoint", "FILE://srv/cache", "three slashes"),
        ("endpoint", "HTTP://h/?x=1", "no query"),
        ("endpoint", "file://~nobody-of-that-name/x", "no home directory"),
        ("endpoint", "http://[::1", "not a URL, or its port"),
        ("endpoint", "http://h/?x=1", "no query"),
        ("endpoint", "http://h/#x", "no query"),
        ("endpoint", "file://srv/cache", "three slashes"),
        ("endpoint", "file:srv", "three slashes"),
        ("endpoint", "file:///a?b", "%3F"),
        ("endpoint", "file:///a#b", "%23"),
        ("bucket", "a", "not a bucket name"),
        ("bucket", "a/b", "not a bucket name"),
        ("bucket", "-ab", "not a bucket name"),
        ("bucket", "a" * 256, "not a bucket name"),
        ("bucket", "abc--x-s3", "directory buckets"),
        ("region", "eu west", "not a region name"),
        ("region", "garage/s3", "not a region name"),
        ("prefix", "a//b", "holds '//'"),
        ("prefix", "a/../b", "segment '..'"),
        ("timeout", "0", "it must be more than 0"),
        ("timeout", "0.0", "it must be more than 0"),
        ("timeout", "-1", "not a number of seconds"),
        ("timeout", "1e3", "not a number of seconds"),
        ("timeout", "nan", "not a number of seconds"),
        ("timeout", "9" * 400, "not a number of seconds"),
        ("jobs", "0", "from 1 to 64"),
        ("jobs", "65", "from 1 to 64"),
        ("jobs", "2.0", "from 1 to 64"),
        ("jobs", "", "from 1 to 64"),
        ("part-size", "4MiB", "5MiB to 1GiB"),
        ("part-size", "1025MiB", "5MiB to 1GiB"),
        ("part-size", "much", "not a size"),
        ("part-size", "9" * 400, "not a size"),
    ],
)
def test_what_is_not_legal_names_its_source(name: str, text: str, reason: str, file: Path) -> None:
    variable = {known: variable for known, _, variable, _ in SETTINGS}[name]
    for source, flags, environ in (
        (f"--{name}", {attribute(name): text}, {}),
        *([(variable, {}, {variable: text})] if text else []),
        (str(file), {}, {"CACHER_CONFIG": str(file)}),
    ):
        file.write_text(f"{name} = '{text}'")
        with pytest.raises(UsageError) as caught:
            config.load_settings(flags, {"HOME": HOME, **environ})
        assert caught.value.message.startswith(f"{source}: ")
        assert reason in caught.value.message
        assert "\n" not in caught.value.message


@pytest.mark.parametrize("code", [0, 1, 9, 10, 13, 27, 31, 127])
@pytest.mark.parametrize("endpoint", ["file:///a{}b", "http://h{}/p", "http://h/a{}b", "h{}h"])
def test_a_control_character_in_an_endpoint_is_refused(endpoint: str, code: int) -> None:
    with pytest.raises(UsageError, match="control character") as caught:
        load({"endpoint": endpoint.format(chr(code))})
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("endpoint", ["http://h\udcff", "http://h/\udcff"])
def test_a_host_is_text(endpoint: str) -> None:
    with pytest.raises(UsageError, match="not the name of a host") as caught:
        load({"endpoint": endpoint})
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("name", ["key-file", "secret-file", "ca-file"])
def test_a_file_name_without_meaning(name: str) -> None:
    with pytest.raises(UsageError, match="cannot hold a NUL character") as caught:
        load({attribute(name): "~MARKED\0"})
    assert caught.value.message.startswith(f"--{name}: ")
    assert ("MARKED" in caught.value.message) == (name == "ca-file")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("s3.example.org", "https://s3.example.org"),
        ("s3.example.org/", "https://s3.example.org/"),
        ("s3.example.org:9000", "https://s3.example.org:9000"),
        ("localhost:3900", "http://localhost:3900"),
        ("localhost", "http://localhost"),
        ("minio:9000", "http://minio:9000"),
        ("127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("10.1.2.3", "http://10.1.2.3"),
        ("[::1]:3900", "http://[::1]:3900"),
        ("https:/s3.example.org", "https://s3.example.org"),
        ("http:s3.example.org:9000/", "http://s3.example.org:9000/"),
        ("/srv/cache", "file:///srv/cache"),
        ("~/cache", "file://~/cache"),
    ],
)
def test_an_endpoint_without_a_scheme_is_offered_with_one(given: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({"endpoint": given})
    assert caught.value.hint == f"did you mean {meant}?"
    assert caught.value.message.startswith(f"--endpoint: '{given}': an endpoint is ")
    if "~" not in meant:
        load({"endpoint": meant})


@pytest.mark.parametrize("given", ["", "ftp://h", "user:Passw0rd", "h:1/x?y", "a b", "3"])
def test_what_is_like_no_endpoint_is_not_offered(given: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({"endpoint": given})
    assert "did you mean" not in caught.value.hint


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("h:9000/cache", "did you mean http://h:9000 with --bucket cache?"),
        ("s3.example.org/cache", "did you mean https://s3.example.org with --bucket cache?"),
        ('"https://s3.example.org"', "leave out the quotes: https://s3.example.org"),
        ("'http://h:9000'", "leave out the quotes: http://h:9000"),
        ("s3://cache", "did you mean --bucket cache? an endpoint is the address of the store"),
        ("s3://cache/", "did you mean --bucket cache? an endpoint is the address of the store"),
        ("", "is the variable set?"),
        ("ftp://h", "write http(s)://HOST[:PORT] or file:///DIRECTORY"),
        ('"https://u:Passw0rd@h"', "write http(s)://HOST[:PORT] or file:///DIRECTORY"),
    ],
)
def test_what_else_was_meant_by_an_endpoint(given: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({"endpoint": given})
    assert caught.value.hint == hint
    assert "Passw0rd" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("bucket", "my_bücket", "3 to 255 letters, digits, dots, hyphens and underscores"),
        ("bucket", "ab", "3 to 255 letters"),
        ("region", "eu west", "letters, digits, dots, hyphens and underscores"),
        ("timeout", "0", "write seconds, such as 60 or 2.5"),
        ("jobs", "0", "write a whole number; the default is 4"),
        ("part-size", "1", "write a size from 5MiB to 1GiB"),
        ("key-file", "a\0", "write the name of a file"),
    ],
)
def test_a_hint_says_the_rule(name: str, text: str, rule: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({attribute(name): text})
    assert rule in caught.value.hint


def test_a_hint_of_its_own_is_kept() -> None:
    with pytest.raises(UsageError) as caught:
        load({"prefix": "a//b"})
    assert "segments between single slashes" in caught.value.hint


def test_home_directories(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setenv("HOME", HOME)
    for name in ("key-file", "secret-file", "ca-file"):
        assert value(load({attribute(name): "~/x"}), name) == f"{HOME}/x"
        assert value(load({attribute(name): "./~/x"}), name) == "./~/x"
        file.write_text(f'{name} = "~/x"\n')
        assert value(load(environ={"CACHER_CONFIG": str(file)}), name) == f"{HOME}/x"
    root = pwd.getpwuid(0).pw_dir
    assert load({"key_file": "~root/x"}).key_file == f"{root}/x"
    assert load({"key_file": "~nobody-of-that-name/x"}).key_file == "~nobody-of-that-name/x"
    assert load({"endpoint": "file://~/a%20b"}).directory == f"{HOME}/a b"
    assert load({"endpoint": "file://~root/c"}).directory == f"{root}/c"
    assert config.config_path("~/c.toml", {}) == (f"{HOME}/c.toml", True)
    assert config.config_path(None, {"CACHER_CONFIG": "~/c.toml"}) == (f"{HOME}/c.toml", True)


# --- secrets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://user:s3cr3t@host",
        "https://user:s3cr3t@host:3900/path",
        "https://s3cr3t@host",
        "https://user:s3cr/3t@host",
        "https://user:12s3cr3t@host:x",
        "https://user:s3cr?3t@host",
        "https://user:s3cr#3t@host",
        "https://user:s3cr@3t@host",
        "https://user:[s3cr3t@host",
        "https://user:s3cr3t\u2100@host",
        "user:s3cr3t@host",
        "ftp://user:s3cr3t@host",
        "file://user:s3cr3t@host/srv",
        "https://host/?token=s3cr3t",
        "https://user:s3cr3t\n@host",
    ],
)
def test_a_password_in_an_endpoint_is_refused_and_not_shown(endpoint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({"endpoint": endpoint})
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cr" not in str(error)
        assert "3t" not in str(error)
        error = error.__cause__
    assert "host" in caught.value.message


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20))
def test_no_password_is_ever_shown(secret: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({"endpoint": f"https://user:~{secret}~@host"})
    assert "~" not in caught.value.message


def test_settings_hold_nothing_that_is_not_a_setting() -> None:
    names = {attribute(name) for name, *_ in SETTINGS} | {"sources", "config_file"}
    assert set(Settings._fields) == names
