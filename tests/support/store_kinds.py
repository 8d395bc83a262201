"""What the contract is tested on: a kind of store, and what its tests need to know of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cacher.s3.signing import Keys
from cacher.store.interface import Store
from cacher.store.local.store import LocalStore
from tests.fakes.s3server import FakeS3Server
from tests.support.servers.base import Server
from tests.support.stores import endpoint_of, open_fake, open_store

MIB = 1 << 20

StoreFactory = Callable[[str], Store]
"""Makes a store whose keys lie under the given prefix."""


def _no_complaints() -> list[str]:
    return []


@dataclass(frozen=True)
class StoreKind:
    """A kind of store, and what its tests need to know of it."""

    make: StoreFactory

    leftovers: Callable[[], list[str]]
    """What unfinished writers left behind in the whole store: uploads, temporary files."""

    complaints: Callable[[], list[str]] = _no_complaints
    """What the store has against its callers."""

    part_size: int = 5 * MIB
    """The bytes of a part of the stores that `make` makes: the tests go to both sides of it."""

    ordered: bool = True
    """Whether listings come in UTF-8 byte order."""

    atomic: bool = True
    """Whether an entry's bytes and metadata are replaced at once, as readers among writers see."""

    crowd: int = 1001
    """How many keys fill more than one page of a listing."""


def directory(root: Path) -> StoreKind:
    """A store in a directory."""

    def leftovers() -> list[str]:
        temporary = root / ".cacher" / "tmp"
        return sorted(os.listdir(temporary)) if temporary.exists() else []

    return StoreKind(make=lambda prefix: LocalStore(str(root), prefix), leftovers=leftovers)


def fake_bucket(server: FakeS3Server, *, part_size: int = 5 * MIB) -> StoreKind:
    """The bucket of the fake server, which keeps no secrets of its callers."""
    return StoreKind(
        make=lambda prefix: open_fake(server, time.sleep, prefix=prefix, part_size=part_size),
        leftovers=lambda: [upload.key for upload in server.uploads.values()],
        complaints=lambda: server.violations,
        part_size=part_size,
        crowd=server.profile.page_size + 1,
    )


def real_bucket(server: Server, *, ordered: bool = True, atomic: bool = True) -> StoreKind:
    """A new bucket of a real server, seen by a foreign client where ours must not be trusted."""
    bucket, client = server.new_bucket(), server.client()
    endpoint = endpoint_of(server.endpoint, bucket, server.region)
    keys = Keys(server.access_key, server.secret_key)
    return StoreKind(
        make=lambda prefix: open_store(endpoint, keys, prefix=prefix, part_size=5 * MIB),
        leftovers=lambda: open_uploads(client, bucket),
        ordered=ordered,
        atomic=atomic,
    )


def open_uploads(client: Any, bucket: str) -> list[str]:
    """The keys of the multipart uploads under way in `bucket`, as botocore's `client` lists them.

    SeaweedFS gives the same page for ever: the listing ends where its marker does not advance.
    """
    found: list[str] = []
    seen: set[tuple[str, str]] = set()
    markers: dict[str, str] = {}
    while True:
        page = client.list_multipart_uploads(Bucket=bucket, **markers)
        uploads = [(upload["Key"], upload["UploadId"]) for upload in page.get("Uploads", [])]
        fresh = [upload for upload in uploads if upload not in seen]
        seen.update(fresh)
        found += [key for key, _ in fresh]
        if not page.get("IsTruncated") or not fresh:
            return found
        markers = {
            "KeyMarker": page.get("NextKeyMarker", ""),
            "UploadIdMarker": page.get("NextUploadIdMarker", ""),
        }
