"""The credentials in force, and their source.

The only module that reads secrets. It never shows one: it reports sources, and what looks wrong
about a value.
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
    """The key pair in force, its source, and notes about values that look wrong."""

    keys: Keys
    source: str
    notes: tuple[str, ...] = ()
    ignored: str = ""
    """A warning about flags that were given, and are not used; empty if there are none."""


def find_credentials(settings: Settings, environ: Mapping[str, str]) -> Credentials:
    """Return the credentials of the first source. Raises `UsageError` for half a pair or none."""
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
    notes = [note for name, value in pair for note in _notes_about(name, value)]
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
    """Return a warning about credential flags that the variables in `used` override, or nothing."""
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
    if _is_config_file(key) != _is_config_file(secret):
        # Half a pair that was given for this run must not be completed from the config file. A flag
        # and a variable were both given for it.
        raise UsageError(f"{key} and {secret} are each half a pair of credentials", _HINT)
    return (
        (settings.key_file, _read(settings.key_file, key)),
        (settings.secret_file, _read(settings.secret_file, secret)),
    )


def _source_name(source: str, option: str) -> str:
    """Return where the name of a credentials file was given, or can be."""
    if source in ("", "default"):
        return option
    return f"{option[2:]} in {source}" if _is_config_file(source) else source


def _is_config_file(source: str) -> bool:
    return not source.startswith(("--", "CACHER_"))


def _pair(key: _Named, secret: _Named) -> tuple[_Named, _Named] | None:
    if not key[1] and not secret[1]:
        return None
    if not key[1] or not secret[1]:
        given, missing = (key[0], secret[0]) if key[1] else (secret[0], key[0])
        raise UsageError(f"{given} is set, {missing} is not: half a pair of credentials", _HINT)
    return key, secret


def _read(path: str, source: str) -> str:
    """Return the credential in a file. Errors omit its name: it may be the secret by mistake."""
    try:
        content = read_small(os.path.expanduser(path), 65536)
    except OSError as error:
        raise UsageError(
            f"cannot read the file that {source} names: {os_reason(error)}", _HINT
        ) from None
    value = content.decode(errors="surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
    if not value.strip():
        raise UsageError(f"the file that {source} names is empty", _HINT)
    return value.removesuffix("\n").removesuffix("\r")


def _stripped(value: str) -> str:
    """Return a value without line breaks at its end, which no header can hold."""
    return value.rstrip("\r\n")


def _notes_about(name: str, value: str) -> list[str]:
    """Return notes about a value that looks wrong, without showing it."""
    notes = []
    if value != _stripped(value):
        notes.append(f"{name} ends in a stray newline (ignored)")
    value = _stripped(value)
    if value != value.strip():
        notes.append(f"{name} begins or ends with a space")
    elif " " in value or "\t" in value:
        notes.append(f"{name} holds a space")
    if re.search("[\"'`]", value):
        notes.append(f"{name} holds a quote")
    return notes


def _is_open_to_all(path: str) -> bool:
    try:
        return bool(os.stat(os.path.expanduser(path)).st_mode & stat.S_IROTH)
    except OSError:
        return False
