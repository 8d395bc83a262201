"""What the environment says by mistake: a variable nobody reads, a bucket without an endpoint.

Knows names of variables, and shows no value of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cacher.config import Settings, source_text
from cacher.errors import UsageError
from cacher.options import SETTINGS, SWITCHES

_CREDENTIALS = ("CACHER_S3_KEY_ID", "CACHER_S3_SECRET", "CACHER_S3_SESSION_TOKEN")

_OURS = "CACHER_"
_TESTS = "CACHER_TEST_"
"""What the project's own tests are told by; no setting will ever begin so."""

_KNOWN = frozenset(
    [
        *(variable for *_, variable, _ in SETTINGS),
        *(variable for *_, variable, _ in SWITCHES),
        *_CREDENTIALS,
        "CACHER_CONFIG",
        "CACHER_DOCKER",
    ]
)


def unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """A warning for every `CACHER_*` variable that is not read, with the name it is nearest to."""
    for name in _unknown(environ):
        near = _nearest(name, sorted(_KNOWN))
        yield f"cacher reads no variable {name}" + (f"; did you mean {near}?" if near else "")


def is_default(settings: Settings) -> bool:
    """Whether the store is the embedded default, because no endpoint is set."""
    return settings.sources.get("endpoint") == "default"


def check_endpoint(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raise `UsageError` where a bucket was meant, and no endpoint is set.

    The local store would be used then: a directory that most CI machines lose with the job. The
    credentials of `AWS_*` variables are no sign of a bucket: many jobs have them for other tools.
    """
    if not is_default(settings):
        return
    meant = next(_signs_of_a_bucket(settings, environ), "")
    if not meant:
        return
    state = "empty" if "CACHER_ENDPOINT" in environ else "not set"
    misspelt = _nearest("CACHER_ENDPOINT", _unknown(environ))
    if misspelt:
        hint = f"there is a variable {misspelt}: is CACHER_ENDPOINT meant?"
    else:
        hint = "set CACHER_ENDPOINT=https://HOST, or =file:///DIRECTORY to use a local store"
    raise UsageError(f"{meant} is set, but CACHER_ENDPOINT is {state}", hint)


def _signs_of_a_bucket(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """The settings that only a bucket has a use for, by the names they were set with."""
    if settings.bucket:
        yield source_text(settings, "bucket")
    yield from (name for name in _CREDENTIALS if environ.get(name, "").strip())
    for name in ("key-file", "secret-file", "region"):
        source = source_text(settings, name)
        if getattr(settings, name.replace("-", "_")) and not source.startswith("AWS_"):
            yield source


def _unknown(environ: Mapping[str, str]) -> list[str]:
    return sorted(
        name
        for name in environ
        if name.startswith(_OURS) and name not in _KNOWN and not name.startswith(_TESTS)
    )


def _nearest(name: str, names: Sequence[str]) -> str:
    """The one of `names` that is most like `name`; empty if none is."""
    if not names:
        return ""
    from difflib import get_close_matches  # takes long to load, and only a mistake needs it

    # What all of them begin with would make every two of them alike.
    endings = {other.removeprefix(_OURS): other for other in names}
    near = get_close_matches(name.removeprefix(_OURS), endings, n=1)
    return endings[near[0]] if near else ""
