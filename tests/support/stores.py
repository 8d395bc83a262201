"""Bucket stores for tests, on any endpoint: time, chance and sleep are in the test's hands."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cacher.http.transport import Host, Transport
from cacher.s3.client import Client
from cacher.s3.session import Endpoint, Session
from cacher.s3.signing import Keys
from cacher.store.s3_store import JOBS, S3Store
from cacher.time_limits import LIMITS, Clocks, Limits
from tests.fakes.profile import AccessKey
from tests.fakes.s3server import FakeS3Server


@dataclass
class Pauses:
    """Sleep that is not slept but written down. For use by several threads."""

    seconds: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, seconds: float) -> None:
        with self._lock:
            self.seconds.append(seconds)


def endpoint_of(url: str, bucket: str, region: str = "") -> Endpoint:
    """Where `url` leads; without a region the client starts with its default one."""
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    return Endpoint(Host(parts.scheme, parts.hostname, parts.port), bucket, region)


def open_store(
    endpoint: Endpoint,
    keys: Keys,
    *,
    prefix: str = "",
    part_size: int | None = None,
    jobs: int = JOBS,
    transport: Transport | None = None,
    clock: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
    limits: Limits = LIMITS,
) -> S3Store:
    """A store on `endpoint`; `chance` is the client's source of jitter, in [0, 1)."""
    session = Session(
        endpoint,
        keys,
        transport or Transport(),
        Clocks(pause, chance, time.monotonic, clock),
        limits,
    )
    return S3Store(Client(session), prefix, part_size=part_size, jobs=jobs)


def open_fake(
    server: FakeS3Server,
    pauses: Callable[[float], None],
    *,
    prefix: str = "",
    key: AccessKey | None = None,
    bucket: str = "",
    region: str | None = None,
    part_size: int | None = None,
    jobs: int = JOBS,
    transport: Transport | None = None,
    clock: Callable[[], float] = time.time,
    chance: float = 0.0,
    limits: Limits = LIMITS,
) -> S3Store:
    """A store on the fake server; `chance` is what its dice always show: 0 is not to wait at all.

    Its region is the server's, unless another is given, or an empty one.
    """
    key = key or server.keys[0]
    region = server.region if region is None else region
    return open_store(
        endpoint_of(server.endpoint, bucket or server.bucket, region),
        Keys(key.id, key.secret),
        prefix=prefix,
        part_size=part_size,
        jobs=jobs,
        transport=transport,
        clock=clock,
        pause=pauses,
        chance=lambda: chance,
        limits=limits,
    )
