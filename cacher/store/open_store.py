"""A store on a bucket, opened as the settings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from cacher.errors import UsageError
from cacher.http.transport import Host, Transport
from cacher.s3.client import Client
from cacher.s3.session import Endpoint, Session
from cacher.settings import config, credentials
from cacher.settings.config import Settings
from cacher.store.s3_store import S3Store
from cacher.time_limits import Clocks, Limits


def open_bucket(
    settings: Settings,
    environ: Mapping[str, str],
    transport: Transport,
    clocks: Clocks,
    limits: Limits,
    note: Callable[[str], None],
) -> tuple[S3Store, credentials.Credentials]:
    """Return the store on the bucket of the settings, and the credentials; send no request yet.

    `note` gets details for people who debug. Raises `UsageError` without a bucket or credentials.
    """
    require_bucket(settings)
    found = credentials.find_credentials(settings, environ)
    session = Session(endpoint_of(settings), found.keys, transport, clocks, limits, note)
    store = S3Store(
        Client(session), settings.prefix, part_size=settings.part_size, jobs=settings.jobs
    )
    return store, found


def require_bucket(settings: Settings) -> None:
    """Raise `UsageError` unless a bucket is named."""
    if not settings.bucket:
        source = config.source_text(settings, "endpoint")
        hint = "set CACHER_BUCKET or --bucket; CACHER_ENDPOINT=file:///DIRECTORY uses a local store"
        url = urlsplit(settings.endpoint)
        name = url.path.strip("/").rpartition("/")[2]
        if name:
            hint = f"is it --endpoint {_without(url, [name])} --bucket {name}?"
        raise UsageError(
            f"{source} is set, but CACHER_BUCKET is not: no bucket for {settings.endpoint}", hint
        )


def _without(url: SplitResult, names: Sequence[str]) -> str:
    """Return the endpoint without the last `names` of its path."""
    path = url.path.rstrip("/").removesuffix("/" + "/".join(names))
    return f"{url.scheme}://{url.netloc}{path}"


def endpoint_of(settings: Settings) -> Endpoint:
    """Return the endpoint of the settings.

    Raises `UsageError` if the endpoint's path has the bucket in it: requests would
    go to `/BUCKET/BUCKET`, where a store has nothing, or takes it for another key.
    """
    url = urlsplit(settings.endpoint)
    names = url.path.strip("/").split("/")
    if settings.bucket and settings.bucket in names:
        address = _without(url, names[names.index(settings.bucket) :])
        raise UsageError(
            f"the endpoint {settings.endpoint} has the bucket in its path",
            f"use --endpoint {address} --bucket {settings.bucket}",
        )
    return Endpoint(Host.of(url), settings.bucket, settings.region, url.path.rstrip("/"))
