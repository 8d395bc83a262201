"""Which credentials are used, and where they came from.

The only module that reads secrets. It never shows one: what it tells of them are sources, lengths
and what looks odd.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from typing import NamedTuple

from cacher.errors import UsageError, os_reason
from cacher.fileio import read_small
from cacher.s3.signing import Keys
from cacher.settings.config import Settings

_KEY_ID = "CACHER_S3_KEY_ID"

_HINT = "set CACHER_S3_KEY_ID and CACHER_S3_SECRET, or --key-file and --secret-file"


class Credentials(NamedTuple):
    """The key pair in force, the source that won, and what looks odd about it."""

    keys: Keys
    source: str
    notes: tuple[str, ...] = ()
    ignored: str = ""
    """A warning about flags that were given, and are not used."""


def find_credentials(settings: Settings, environ: Mapping[str, str]) -> Credentials:
    """The first source that has credentials. Raises `UsageError` for half a pair, or for none."""
    pair = _from_variables(environ, _KEY_ID, "CACHER_S3_SECRET")
    token = environ.get("CACHER_S3_SESSION_TOKEN", "") if pair else ""
    exposed: list[str] = []
    if pair is None:
        pair = _from_files(settings)
        exposed = [path for path, _ in pair or () if _is_open_to_all(path)]
    if pair is None:
        pair = _from_variables(environ, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        token = environ.get("AWS_SESSION_TOKEN", "") if pair else ""
    if pair is None:
        raise UsageError(f"no credentials for {settings.endpoint}", _HINT)
    (key_name, key_id), (secret_name, secret) = pair
    notes = [odd for name, value in pair for odd in _notes_about(name, value)]
    notes += [f"{path} can be read by everybody on this machine" for path in exposed]
    key_id, secret, token = (_stripped(value) for value in (key_id, secret, token))
    for name, value in ((key_name, key_id), (secret_name, secret), ("the session token", token)):
        if re.search(r"[^\x20-\x7e]", value):
            raise UsageError(
                f"{name} holds a line break or another character that no credential has",
                "check how it was written; it must be one line of plain text",
            )
    source = f"{key_name} and {secret_name}"
    ignored = _ignored(settings, source) if key_name == _KEY_ID else ""
    return Credentials(Keys(key_id, secret, token), source, tuple(notes), ignored)


def _ignored(settings: Settings, used: str) -> str:
    """A warning about credential flags that lose to the variables in `used`; empty without any."""
    flags = [
        flag
        for name, flag in (("key_file", "--key-file"), ("secret_file", "--secret-file"))
        if getattr(settings, name) and settings.sources.get(name) == flag
    ]
    if not flags:
        return ""
    verb = "are" if len(flags) > 1 else "is"
    return f"{' and '.join(flags)} {verb} not used: {used} are set, and come first"


_Named = tuple[str, str]


def _from_variables(
    environ: Mapping[str, str], key: str, secret: str
) -> tuple[_Named, _Named] | None:
    def value(name: str) -> str:
        # An unset secret of a CI service arrives as an empty variable, or as a blank one.
        text = environ.get(name, "")
        return text if text.strip() else ""

    return _pair((key, value(key)), (secret, value(secret)))


def _from_files(settings: Settings) -> tuple[_Named, _Named] | None:
    key, secret = (
        _source_name(settings.sources.get(name, ""), option)
        for name, option in (("key_file", "--key-file"), ("secret_file", "--secret-file"))
    )
    if _pair((key, settings.key_file), (secret, settings.secret_file)) is None:
        return None
    if (_source_kind(key) == "file") != (_source_kind(secret) == "file"):
        # Half a pair that was told for this run must not be made whole by the config file's other
        # half. A flag and a variable were both told for it.
        raise UsageError(f"{key} and {secret} are each half a pair of credentials", _HINT)
    return (
        (settings.key_file, _read(settings.key_file, key)),
        (settings.secret_file, _read(settings.secret_file, secret)),
    )


def _source_name(source: str, option: str) -> str:
    """Where the name of a credentials file was told, or where it would be."""
    if source in ("", "default"):
        return option
    return source if _source_kind(source) != "file" else f"{option[2:]} in {source}"


def _source_kind(told: str) -> str:
    if told.startswith("--"):
        return "flag"
    return "variable" if told.startswith("CACHER_") else "file"


def _pair(key: _Named, secret: _Named) -> tuple[_Named, _Named] | None:
    if not key[1] and not secret[1]:
        return None
    if not key[1] or not secret[1]:
        given, missing = (key[0], secret[0]) if key[1] else (secret[0], key[0])
        raise UsageError(f"{given} is set, {missing} is not: half a pair of credentials", _HINT)
    return key, secret


def _read(path: str, told: str) -> str:
    """The credential in a file. Messages leave the name out: it may be the secret, by mistake."""
    try:
        content = read_small(os.path.expanduser(path), 65536)
    except OSError as error:
        raise UsageError(
            f"cannot read the file that {told} names: {os_reason(error)}", _HINT
        ) from None
    value = content.decode(errors="surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
    if not value.strip():
        raise UsageError(f"the file that {told} names is empty", _HINT)
    return value.removesuffix("\n").removesuffix("\r")


def _stripped(value: str) -> str:
    """Without line breaks at the end, which no credential has and no header can hold."""
    return value.rstrip("\r\n")


def _notes_about(name: str, value: str) -> list[str]:
    """What looks odd about a value, without showing it."""
    odd = []
    if value != _stripped(value):
        odd.append(f"{name} ends in a stray newline (ignored)")
    value = _stripped(value)
    if value != value.strip():
        odd.append(f"{name} begins or ends with a space")
    elif " " in value or "\t" in value:
        odd.append(f"{name} holds a space")
    if re.search("[\"'`]", value):
        odd.append(f"{name} holds a quote")
    return odd


def _is_open_to_all(path: str) -> bool:
    try:
        return bool(os.stat(os.path.expanduser(path)).st_mode & stat.S_IROTH)
    except OSError:
        return False
