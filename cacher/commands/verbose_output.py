"""The lines of `-v` and `--debug`: requests, and the sources of the settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from cacher.http import redact_url
from cacher.report import Report
from cacher.settings import config
from cacher.settings.config import Settings

if TYPE_CHECKING:
    from cacher.http.transport import SentRequest

HIDDEN = "…"

_SECRET = re.compile(
    r"auth|cookie|credential|key$|key-|passw|secret|session|signature|token", re.IGNORECASE
)
"""Part of the names of headers whose values are secrets, or may be: `authorization`,
`proxy-authorization`, `x-amz-security-token`, `set-cookie`, `x-api-key`."""

_LOGIN = re.compile(r"\b(?:basic|bearer|digest|negotiate|aws4-hmac-\w+)\s+\S.*", re.IGNORECASE)
"""A login in the value of any header."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*://.*", re.IGNORECASE | re.DOTALL)
"""To the end of the value: a password that is not encoded may hold anything."""

_ADDRESSES = ("location", "content-location")

_QUERY = re.compile(r"[?#]\S*")


def show_request(report: Report, sent: SentRequest, *, headers: bool) -> None:
    """Show a request and its answer in one line; with `headers` also those, without secrets."""
    again = f" (try {sent.tries})" if sent.tries > 1 else ""
    how = f"HTTP {sent.status}" if sent.status else sent.failure
    report.note(f"{sent.method} {sent.subject}: {how} after {sent.seconds:.3f} s{again}")
    if headers:
        for mark, shown in ((">", sent.request_headers), ("<", sent.response_headers)):
            for name, value in masked(shown):
                report.note(f"  {mark} {name}: {value}")


def settings_line(settings: Settings) -> str:
    """Return a line with the settings of the store and their sources."""
    names = ["endpoint", "prefix"] if settings.is_local else _BUCKETS
    values = [(name, str(getattr(settings, name))) for name in names]
    parts = [f"{name} {value} ({_source(settings, name)})" for name, value in values if value]
    return f"store: {', '.join(parts)}"


_BUCKETS = ["endpoint", "bucket", "prefix", "region"]


def _source(settings: Settings, name: str) -> str:
    source = settings.sources.get(name, "default")
    return source if source == "default" else f"from {config.source_text(settings, name)}"


def masked(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield headers with lower-case names, without values that are or may be secrets."""
    for name, value in headers.items():
        show = _shown_address if name.lower() in _ADDRESSES else _without_secrets
        yield name.lower(), HIDDEN if _SECRET.search(name) else show(value)


def _shown_address(value: str) -> str:
    """Return a URL, or a path of the same host, without secrets."""
    if value.startswith("/") and "@" not in value:
        return _QUERY.sub(f"?{HIDDEN}", value)
    return redact_url.redacted(value)


def _without_secrets(value: str) -> str:
    value = _LOGIN.sub(HIDDEN, value)
    value = _URL.sub(lambda match: redact_url.redacted(match[0]), value)
    # A relative address may have a query, too, with a signature in it.
    return _QUERY.sub(f"?{HIDDEN}", value)
