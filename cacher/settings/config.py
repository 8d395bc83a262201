"""Settings: flags over environment over config.toml over defaults, each with its source.

Knows which values are legal; must not know their use, and never holds a secret.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit

from cacher.errors import LocalError, UsageError, os_reason
from cacher.fileio import read_small
from cacher.http.redact_url import redacted as shown_url
from cacher.keys.template import check_prefix
from cacher.settings.options import SETTINGS, attribute

MIN_PART_SIZE = 5 * 1024 * 1024
"""The smallest part that stores take (AWS, Ceph, SeaweedFS, Swift)."""

MAX_PART_SIZE = 1024 * 1024 * 1024

JOBS = 4
MAX_JOBS = 64

_UNITS = {"": 1}
for _power, _letter in enumerate("KMGT", 1):
    _UNITS |= {
        _letter: 1024**_power,
        f"{_letter}IB": 1024**_power,
        f"{_letter}B": 1000**_power,
    }

_HOST_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"

_NOT_SHOWN = ("key-file", "secret-file")
"""Settings whose value may be the secret itself, by mistake."""

_BUCKET = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,253}[a-zA-Z0-9]")
"""The widest rule of any store (AWS until 2018); each store checks its own, narrower one."""

_VARIABLES_OF_OTHERS = {
    "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "ca-file": ("AWS_CA_BUNDLE", "SSL_CERT_FILE"),
}
"""Variables of other programs, which are read last: a job may have them for something else."""


class Settings(NamedTuple):
    """All settings. `sources` has where each came from: a flag, a variable, a file, `default`."""

    endpoint: str
    region: str = ""
    bucket: str = ""
    prefix: str = ""
    key_file: str = ""
    secret_file: str = ""
    ca_file: str = ""
    timeout: float | None = None
    jobs: int = JOBS
    part_size: int | None = None
    sources: Mapping[str, str] = MappingProxyType({})
    config_file: str = ""

    @property
    def is_local(self) -> bool:
        """Return whether the store is a directory."""
        return self.endpoint.startswith("file:")

    @property
    def directory(self) -> str:
        """Return the directory of a local store."""
        # Names are bytes, which need not be UTF-8.
        return os.fsdecode(unquote_to_bytes(os.fsencode(urlsplit(self.endpoint).path)))


def config_path(flag: str | None, environ: Mapping[str, str]) -> tuple[str, bool]:
    """Return the config file, and whether it was named and so must exist.

    Raises `UsageError` for a name that is empty or `-`.
    """
    if flag == "":
        raise UsageError("--config is an empty string", "is the variable set?")
    named = flag or environ.get("CACHER_CONFIG", "")
    if named == "-":
        raise UsageError("the config file - is neither stdin nor stdout", "name a file")
    if named:
        return os.path.expanduser(named), True
    home = _home(environ)
    base = _absolute(environ, "XDG_CONFIG_HOME") or (home and os.path.join(home, ".config"))
    if not base:
        return "", False
    return os.path.join(base, "cacher", "config.toml"), False


def default_endpoint(environ: Mapping[str, str]) -> str:
    """Return the default: a local store in the user's cache directory; empty without HOME."""
    home = _home(environ)
    base = _absolute(environ, "XDG_CACHE_HOME") or (home and os.path.join(home, ".cache"))
    if not base:
        return ""
    return "file://" + quote(os.fsencode(os.path.join(base, "cacher", "store")))


def load_settings(
    flags: Mapping[str, str | None], environ: Mapping[str, str], config: str | None = None
) -> Settings:
    """Return the settings in force. Raises `UsageError` for an illegal one, naming its source.

    `flags` has attribute names; `config` is the file that `--config` names.
    """
    path, required = config_path(config, environ)
    return make_settings(flags, environ, read_file(path, required=required), path)


def make_settings(
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    file: Mapping[str, str],
    path: str,
) -> Settings:
    """Return the settings in force over those of a config file. Raises `UsageError`."""
    values, sources = gather(flags, environ, file, path)
    if not values["endpoint"] and sources["endpoint"] == "default":
        raise UsageError("no endpoint is set, and no HOME for a local store", "set CACHER_ENDPOINT")
    parsed = {
        attribute(name): _parse(name, value, sources[attribute(name)], path)
        for name, value in values.items()
    }
    return Settings(**parsed, sources=sources, config_file=path if file else "")  # type: ignore[arg-type]


def gather(
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    file: Mapping[str, str],
    path: str,
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the text of each setting, by name, and its source, by attribute."""
    values: dict[str, str] = {}
    sources: dict[str, str] = {}
    for name, _, variable, _ in SETTINGS:
        for value, source in (
            (flags.get(attribute(name)), f"--{name}"),
            (environ.get(variable) or None, variable),
            (file.get(name), path),
            *((environ.get(other) or None, other) for other in _VARIABLES_OF_OTHERS.get(name, ())),
            (_default(name, environ), "default"),
        ):
            if value is not None:
                values[name], sources[attribute(name)] = value, source
                break
    return values, sources


_CONFIG_LIMIT = 1024 * 1024
"""Bytes of a config file that are read: hundreds of times what all settings take."""


def read_file(path: str, *, required: bool) -> dict[str, str]:
    """Return the settings in a config file by name. A missing file is empty unless `required`."""
    try:
        content = read_small(path, _CONFIG_LIMIT)
    except (FileNotFoundError, NotADirectoryError) as error:
        if required:
            raise UsageError(
                f"no config file {path}", "`cacher init` writes one; --config names another"
            ) from error
        return {}
    except OSError as error:
        if isinstance(error, PermissionError) and not required:
            # HOME may be somebody else's in a container, and nobody asked for this file.
            return {}
        raise UsageError(f"cannot read {path}: {os_reason(error)}") from error
    # Loaded here, since most jobs have no file and want to start at once.
    import tomllib

    try:
        document = tomllib.loads(content.decode())
    except ValueError as error:
        raise UsageError(
            f"{path} is not TOML: {_not_toml(error)}",
            "correct it, or remove it and run `cacher init`",
        ) from error
    known = {name for name, *_ in SETTINGS}
    settings = {}
    for key, value in document.items():
        name = key.replace("_", "-")
        if name not in known:
            raise UsageError(
                f"{path}: unknown key {key!r}{_line_of(content.decode(), key)}",
                f"the keys are: {', '.join(sorted(known))}",
            )
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise UsageError(
                f"{path}: {key!r} must be a string or a number{_line_of(content.decode(), key)}",
                _PARSERS[name][1],
            )
        settings[name] = str(value)
    return settings


def write_file(path: str, settings: Mapping[str, str]) -> None:
    """Write a config file, whole or not at all, that only its owner can read."""
    lines = ["# Written by `cacher init`. Holds no credentials, only the names of files with them."]
    lines += [f"{name} = {_toml(settings[name])}" for name, *_ in SETTINGS if name in settings]
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        # A rename would replace /dev/null, for the whole system.
        raise LocalError(
            f"cannot write {path}: it is not a regular file", "--config names another file"
        )
    directory = os.path.dirname(os.path.abspath(path))
    temporary = os.path.join(directory, f".config.toml.{os.urandom(4).hex()}")
    try:
        os.makedirs(directory, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
        try:
            with open(fd, "w", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except UnicodeEncodeError as error:
        raise UsageError(f"cannot write {path}: a setting is not valid UTF-8") from error
    except OSError as error:
        raise LocalError(
            f"cannot write {path}: {os_reason(error)}", "--config names another file"
        ) from error


def source_text(settings: Settings, name: str) -> str:
    """Return where a setting was set, for a message: `--bucket`, a variable, `bucket in FILE`."""
    source = settings.sources.get(attribute(name), "default")
    if source == "default":
        return f"--{name}"
    is_file = source == settings.config_file
    return f"{name} in {source}" if is_file else source


def parse_size(text: str) -> int:
    """Return the bytes of `16MiB`, `16M` (the same), `16MB` or `16`. Raises `ValueError`."""
    match = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([A-Za-z]*)", text.strip())
    if not match or match[2].upper() not in _UNITS:
        raise ValueError("not a size such as 16MiB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _home(environ: Mapping[str, str]) -> str:
    """Return the home directory; empty for a user without one, such as a bare number."""
    if "HOME" in environ:
        return _absolute(environ, "HOME")
    home = os.path.expanduser("~")
    return "" if home.startswith("~") else home


def _absolute(environ: Mapping[str, str], name: str) -> str:
    """Return the directory in a variable; empty if it is relative, so another one in each job."""
    path = environ.get(name, "")
    return path if os.path.isabs(path) else ""


def _default(name: str, environ: Mapping[str, str]) -> str:
    if name == "endpoint":
        return default_endpoint(environ)
    return str(JOBS) if name == "jobs" else ""


def _not_toml(error: ValueError) -> str:
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _line_of(text: str, key: str) -> str:
    """Return where a key is in a file, ` (line N)`; empty if it is not found."""
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"""\s*\[{{0,2}}\s*["']?{re.escape(key)}["']?\s*[].=]""", line):
            return f" (line {number})"
    return ""


def _toml(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\u{ord(m[0]):04x}", escaped) + '"'


def _parse(name: str, value: str, source: str, file: str) -> str | int | float | None:
    parser, usual_hint = _PARSERS[name]
    try:
        return parser(value)
    except (ValueError, UsageError) as error:
        given = "" if name in _NOT_SHOWN else repr(value) + ": "
        hint = getattr(error, "hint", "")
        if name == "endpoint" and not hint:
            # It may hold a password or a token by mistake; of what does not, a hint shows more.
            given = repr(shown_url(value)) + ": "
        where = f"{file}: {name}" if source == file else source
        raise UsageError(f"{where}: {given}{error}", hint or usual_hint) from error


def _endpoint(value: str) -> str:
    value = value.strip()
    if re.search(r"[\x00-\x1f\x7f]", value):  # urlsplit would leave some of them out
        raise ValueError("an endpoint has no line break and no other control character")
    try:
        url = urlsplit(value)
        if url.port == 0:
            raise ValueError
    except ValueError:
        # Its own words hold what may be a password.
        raise ValueError("not a URL, or its port is not a number from 1 to 65535") from None
    # A scheme is the same in any case, and the rest of the program knows it in lower case.
    value = url.scheme + value[len(url.scheme) :]
    if url.scheme == "file":
        return _directory(url, value)
    if url.scheme not in ("http", "https") or not url.hostname:
        rule = "an endpoint is http(s)://HOST[:PORT] or file:///DIRECTORY"
        if not value:
            raise UsageError(f"{rule}, not an empty string", "is the variable set?")
        raise UsageError(rule, _endpoint_hint(value))
    if "@" in value:  # wherever it is: a password may hold a slash
        raise ValueError("an endpoint must not hold credentials")
    if url.query or url.fragment:
        raise ValueError("an endpoint has no query")
    if not _is_host(url.hostname) or not value.isprintable():
        raise ValueError("not the name of a host")
    return value.rstrip("/")


def _is_host(name: str) -> bool:
    """Return whether a name is an address, or has labels as in RFC 1035, section 2.3.4."""
    labels = name.removesuffix(".").split(".")
    return ":" in name or (all(0 < len(label) < 64 for label in labels) and " " not in name)


def _directory(url: SplitResult, value: str) -> str:
    """Return the endpoint of a local store; `file://~/DIRECTORY` is below the home directory."""
    if url.query or url.fragment:
        raise ValueError("in a directory's name, write %3F for ? and %23 for #")
    home = ""
    if url.netloc.startswith("~"):
        home = os.path.expanduser(url.netloc)
        if home == url.netloc:
            raise ValueError("this user has no home directory")
        value = f"file://{quote(os.fsencode(home))}{url.path}"
    elif url.netloc.lower() not in ("", "localhost") or not url.path.startswith("/"):
        raise ValueError("a local store is file:///DIRECTORY, with three slashes")
    if b"\0" in unquote_to_bytes(os.fsencode(url.path)):
        raise ValueError("a directory's name cannot hold %00")
    return value


def _endpoint_hint(value: str) -> str:
    """Return a hint with the endpoint that was probably meant; empty if nothing is near."""
    if "@" in value:
        return ""  # a URL without its scheme, perhaps, with a password
    if value.startswith(("/", "~")):
        return f"did you mean file://{value}?"
    if quoted := re.fullmatch(r"""(["'])(https?://[\w.:/\[\]-]+)\1""", value):
        return f"leave out the quotes: {quoted[2]}"
    if named := re.fullmatch(rf"s3://({_BUCKET.pattern})/?", value):
        return f"did you mean --bucket {named[1]}? an endpoint is the address of the store"
    match = re.fullmatch(
        rf"(https?:/?)?({_HOST_NAME}|\[[0-9A-Fa-f:]+\])(:[0-9]{{1,5}})?(/(?:{_BUCKET.pattern})?)?",
        value,
    )
    if not match or match[2].isdigit():
        return ""
    scheme, host, port, path = (part or "" for part in match.groups())
    # Behind an address or a name without a dot there is rarely a certificate.
    is_plain = "." not in host or re.fullmatch(r"[0-9.]+", host)
    scheme = scheme.partition(":")[0] or ("http" if is_plain else "https")
    bucket = path.strip("/")
    return f"did you mean {scheme}://{host}{port}{f' with --bucket {bucket}' if bucket else path}?"


def _path(value: str) -> str:
    """Return a file's name; `~` and `~USER` at its start are home directories."""
    if "\0" in value:
        raise ValueError("a file's name cannot hold a NUL character")
    return os.path.expanduser(value)


def _bucket(value: str) -> str:
    if value and not _BUCKET.fullmatch(value):
        raise ValueError("not a bucket name")
    if value.endswith("--x-s3"):
        raise ValueError("S3 Express directory buckets are not supported")
    return value


def _region(value: str) -> str:
    if value and not re.fullmatch(r"[A-Za-z0-9._-]+", value):
        raise ValueError("not a region name")
    return value


def _timeout(value: str) -> float | None:
    if not value:
        return None
    if not re.fullmatch(r"\d+(\.\d+)?", value) or float(value) >= 10**7:
        raise ValueError("not a number of seconds")
    if not float(value):
        raise ValueError("it must be more than 0")
    return float(value)


def _jobs(value: str) -> int:
    if not re.fullmatch(r"\d{1,4}", value) or not 1 <= int(value) <= MAX_JOBS:
        raise ValueError(f"not a number from 1 to {MAX_JOBS}")
    return int(value)


def _part_size(value: str) -> int | None:
    if not value:
        return None
    size = parse_size(value)
    if not MIN_PART_SIZE <= size <= MAX_PART_SIZE:
        raise ValueError("a part has 5MiB to 1GiB")
    return size


_FILE_HINT = "write the name of a file"

_PARSERS: Mapping[str, tuple[Callable[[str], str | int | float | None], str]] = {
    "endpoint": (_endpoint, "write http(s)://HOST[:PORT] or file:///DIRECTORY"),
    "region": (
        _region,
        "write letters, digits, dots, hyphens and underscores, such as eu-west-1",
    ),
    "bucket": (
        _bucket,
        "a name has 3 to 255 letters, digits, dots, hyphens and underscores, and begins and "
        "ends with a letter or a digit",
    ),
    "prefix": (check_prefix, ""),
    "key-file": (_path, _FILE_HINT),
    "secret-file": (_path, _FILE_HINT),
    "ca-file": (_path, _FILE_HINT),
    "timeout": (_timeout, "write seconds, such as 60 or 2.5"),
    "jobs": (_jobs, f"write a whole number; the default is {JOBS}"),
    "part-size": (_part_size, "write a size from 5MiB to 1GiB, such as 16MiB"),
}
"""By name: the parser of a setting, and the hint for its errors that have none of their own."""
