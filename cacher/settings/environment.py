"""Mistakes in the environment: a variable that is not read, a bucket without an endpoint.

Knows names of variables, and shows no value of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cacher.errors import UsageError
from cacher.settings.config import Settings, source_text
from cacher.settings.options import SETTINGS, SWITCHES, attribute

_CREDENTIALS = ("CACHER_S3_KEY_ID", "CACHER_S3_SECRET", "CACHER_S3_SESSION_TOKEN")

_PREFIX = "CACHER_"
_TEST_PREFIX = "CACHER_TEST_"
"""The beginning of the variables of the project's own tests; no setting will ever begin so."""

_KNOWN = frozenset(
    [
        *(variable for *_, variable, _ in SETTINGS),
        *(variable for *_, variable, _ in SWITCHES),
        *_CREDENTIALS,
        "CACHER_CONFIG",
        "CACHER_DOCKER",
    ]
)


_ALIASES = {
    # Names that other tools have for it, too far from the known ones for `_nearest`.
    "ACCESS_KEY": "S3_KEY_ID",
    "ACCESS_KEY_ID": "S3_KEY_ID",
    "AWS_ACCESS_KEY_ID": "S3_KEY_ID",
    "AWS_SECRET_ACCESS_KEY": "S3_SECRET",
    "CACERT": "CA_FILE",
    "CA_BUNDLE": "CA_FILE",
    "CA_CERT": "CA_FILE",
    "CONCURRENCY": "JOBS",
    "HOST": "ENDPOINT",
    "KEY": "S3_KEY_ID",
    "KEY_ID": "S3_KEY_ID",
    "S3_ACCESS_KEY": "S3_KEY_ID",
    "S3_ACCESS_KEY_ID": "S3_KEY_ID",
    "S3_HOST": "ENDPOINT",
    "S3_SECRET_ACCESS_KEY": "S3_SECRET",
    "S3_TOKEN": "S3_SESSION_TOKEN",
    "S3_URL": "ENDPOINT",
    "SECRET": "S3_SECRET",
    "SECRET_ACCESS_KEY": "S3_SECRET",
    "SECRET_KEY": "S3_SECRET",
    "SERVER": "ENDPOINT",
    "TOKEN": "S3_SESSION_TOKEN",
    "URL": "ENDPOINT",
}


def unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each `CACHER_*` variable that is not read, with the nearest known one."""
    for name in _unread(environ):
        near = _nearest_variable(name)
        yield f"cacher reads no variable {name}" + (f"; did you mean {near}?" if near else "")


def is_default(settings: Settings) -> bool:
    """Return whether the store is the embedded default, because no endpoint is set."""
    return settings.sources.get("endpoint") == "default"


def check_endpoint(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raise `UsageError` where a bucket was meant, and no endpoint is set.

    The local store would be used then: a directory that most CI machines lose with the job. The
    credentials of `AWS_*` variables are no sign of a bucket: many jobs have them for other tools.
    """
    if not is_default(settings):
        return
    misspelt = next((name for name in _unread(environ) if _is_misspelt(name, environ)), "")
    meant = next(_signs_of_a_bucket(settings, environ), misspelt)
    if not meant:
        return
    state = "empty" if "CACHER_ENDPOINT" in environ else "not set"
    hint = "set CACHER_ENDPOINT=https://HOST, or =file:///DIRECTORY to use a local store"
    if meant == misspelt:
        hint = f"is CACHER_ENDPOINT meant? without {misspelt}, the local store would be used"
    elif misspelt:
        hint = f"there is a variable {misspelt}: is CACHER_ENDPOINT meant?"
    raise UsageError(f"{meant} is set, but CACHER_ENDPOINT is {state}", hint)


def _is_misspelt(name: str, environ: Mapping[str, str]) -> bool:
    """Return whether a variable that is not read probably holds the endpoint."""
    return bool(environ[name].strip()) and _nearest_variable(name) == "CACHER_ENDPOINT"


def _signs_of_a_bucket(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the sources of settings that only a bucket needs."""
    if settings.bucket:
        yield source_text(settings, "bucket")
    yield from (name for name in _CREDENTIALS if environ.get(name, "").strip())
    for name in ("key-file", "secret-file", "region"):
        source = source_text(settings, name)
        if getattr(settings, attribute(name)) and not source.startswith("AWS_"):
            yield source


def _unread(environ: Mapping[str, str]) -> list[str]:
    """Return the variables that look like known ones, and are not read. Their case matters."""
    return sorted(
        name
        for name in environ
        if (name.startswith(_PREFIX) or name.upper() in _KNOWN)
        and name not in _KNOWN
        and not name.startswith(_TEST_PREFIX)
    )


def _nearest_variable(name: str) -> str:
    """Return the known variable nearest to one that is not read; empty if none is near."""
    # The common prefix would make every two of them alike.
    ending = name.upper().removeprefix(_PREFIX)
    if ending in _ALIASES:
        return _PREFIX + _ALIASES[ending]
    from difflib import get_close_matches  # takes long to load, and only a mistake needs it

    near = get_close_matches(ending, sorted(known.removeprefix(_PREFIX) for known in _KNOWN), n=1)
    return _PREFIX + near[0] if near else ""
