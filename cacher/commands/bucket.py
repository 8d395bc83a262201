"""A store on a bucket, opened as the settings say."""

from __future__ import annotations

from urllib.parse import urlsplit

from cacher import credentials
from cacher.commands.run import USER_AGENT, Run
from cacher.config import Settings
from cacher.errors import UsageError
from cacher.s3.client import Client
from cacher.s3.session import Endpoint, Session
from cacher.s3.transport import Host
from cacher.store.bucket import BucketStore


def open_bucket(run: Run) -> BucketStore:
    """The bucket that the run's settings name; nothing is asked of it yet.

    Raises `UsageError` where there is no bucket, or no credentials.
    """
    settings = run.settings
    require_bucket(settings)
    found = credentials.find(settings, run.environ)
    for oddity in found.oddities:
        run.report.note(oddity)
    session = Session(
        endpoint_of(settings),
        found.keys,
        run.transport,
        user_agent=USER_AGENT,
        clock=run.clock,
        pause=run.pause,
        random=run.random,
    )
    return BucketStore(
        Client(session), settings.prefix, part_size=settings.part_size, jobs=settings.jobs
    )


def require_bucket(settings: Settings) -> None:
    """Raises `UsageError` unless a bucket is named."""
    if not settings.bucket:
        raise UsageError(
            f"no bucket for {settings.endpoint}", "set --bucket or CACHER_BUCKET, or run init"
        )


def endpoint_of(settings: Settings) -> Endpoint:
    """Where the settings' store is."""
    url = urlsplit(settings.endpoint)
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    host = Host(url.scheme, url.hostname or "", port)
    return Endpoint(host, settings.bucket, settings.region, url.path.rstrip("/"))
