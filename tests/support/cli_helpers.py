"""What the tests of the command line look at: stores from the inside, and how a run ended."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - it is loaded late, and nobody may not be able to read it
import functools
import hashlib
import json
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.fakes.s3server import FakeS3Server

MIB = 1 << 20

RECORD = "cacher-sha256"
"""The metadata name of an entry's digest."""


@functools.lru_cache(8)
def blob(size: int, seed: int = 0) -> bytes:
    """Bytes that look like nothing, always the same ones."""
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> str:
    """The hex SHA-256."""
    return hashlib.sha256(data).hexdigest()


def temporary_names(directory: Path) -> list[str]:
    """What a download writes to before its DEST is there."""
    return sorted(str(path) for path in directory.rglob(".*.cacher-*"))


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Stdout as text."""
        return self.out.decode()

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout."""
        assert self.out.count(b"\n") == 1
        assert self.out.endswith(b"\n")
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value

    @property
    def warnings(self) -> list[str]:
        """The warnings on stderr."""
        start = "cacher: warning: "
        return [line[len(start) :] for line in self.err.splitlines() if line.startswith(start)]

    @property
    def last(self) -> str:
        """The closing line."""
        return self.err.splitlines()[-1]

    def failed(self, status: int) -> str:
        """Assert that it failed so, cleanly; what it said."""
        assert self.status == status, self.err
        assert "Traceback" not in self.err
        assert "cacher: error: " in self.err
        return self.err


class Unprivileged:
    """A `with` block with nobody's rights, since root may read and write anything."""

    def __enter__(self) -> None:
        self._was = os.geteuid()
        if self._was == 0:
            os.seteuid(65534)

    def __exit__(self, *exc: object) -> None:
        os.seteuid(self._was)


class Place(Protocol):
    """A store, seen from the inside."""

    environment: Mapping[str, str]
    """The variables that lead there."""

    name: str
    """As messages name it."""

    def put(self, key: str, body: bytes, digest: str | None = None) -> None:
        """Store an entry, with its digest unless another is given; '' is none."""
        ...

    def get(self, key: str) -> bytes | None:
        """The bytes under a key, or None."""
        ...

    def digest(self, key: str) -> str:
        """The digest recorded with an entry."""
        ...

    def corrupt(self, key: str, body: bytes | None = None) -> None:
        """Change an entry's bytes, and nothing else of it: one bit, or all of them."""
        ...

    def keys(self) -> list[str]:
        """All keys, sorted."""
        ...

    def leftovers(self) -> list[str]:
        """What is there besides entries: temporary files, open uploads."""
        ...


class LocalPlace:
    """A store in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = str(root)
        self.environment = {"CACHER_ENDPOINT": root.as_uri()}

    def put(self, key: str, body: bytes, digest: str | None = None) -> None:
        path, meta = self.root / key, self._meta(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        meta.parent.mkdir(parents=True, exist_ok=True)
        digest = sha256(body) if digest is None else digest
        metadata = {RECORD: digest} if digest else {}
        meta.write_text(json.dumps({"format": 1, "size": len(body), "metadata": metadata}))

    def get(self, key: str) -> bytes | None:
        path = self.root / key
        return path.read_bytes() if path.is_file() else None

    def digest(self, key: str) -> str:
        content = json.loads(self._meta(key).read_text())
        return str(content["metadata"].get(RECORD, ""))

    def corrupt(self, key: str, body: bytes | None = None) -> None:
        path = self.root / key
        old = path.read_bytes()
        path.write_bytes(old[:-1] + bytes([old[-1] ^ 1]) if body is None else body)

    def keys(self) -> list[str]:
        paths = (path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file())
        return sorted(str(path) for path in paths if path.parts[0] != ".cacher")

    def leftovers(self) -> list[str]:
        temporary = self.root / ".cacher" / "tmp"
        return os.listdir(temporary) if temporary.exists() else []

    def _meta(self, key: str) -> Path:
        return self.root / ".cacher" / "meta" / f"{key}.json"


class BucketPlace:
    """A store in a bucket of the fake server."""

    def __init__(self, server: FakeS3Server) -> None:
        self.server = server
        self.name = f"s3://{server.bucket}"
        self.environment = {
            "CACHER_ENDPOINT": server.endpoint,
            "CACHER_REGION": server.region,
            "CACHER_BUCKET": server.bucket,
            "CACHER_S3_KEY_ID": server.access_key,
            "CACHER_S3_SECRET": server.secret_key,
        }

    def put(self, key: str, body: bytes, digest: str | None = None) -> None:
        digest = sha256(body) if digest is None else digest
        self.server.put_object(key, body, {RECORD: digest} if digest else {})

    def get(self, key: str) -> bytes | None:
        found = self.server.objects.get(key)
        return found.body if found else None

    def digest(self, key: str) -> str:
        return self.server.objects[key].metadata.get(RECORD, "")

    def corrupt(self, key: str, body: bytes | None = None) -> None:
        self.server.corrupt(key, body)

    def keys(self) -> list[str]:
        return sorted(self.server.objects)

    def leftovers(self) -> list[str]:
        return sorted(self.server.uploads)
