"""An S3 server in this process, for tests: a double that checks its callers.

    with FakeS3Server() as server:
        fault = server.inject(Fault(Respond(503, "SlowDown"), operation="UploadPart", nth=2))
        ...                               # a client against server.endpoint, server.bucket, ...
        assert fault.hits == 1
        assert server.count(operation="UploadPart") == 3
        assert not server.uploads and not server.violations

It verifies every signature independently, refuses (and records) what the request profile forbids,
behaves like Garage unless a `Profile` says otherwise, and fails on request. HTTP/1.1 on
127.0.0.1, a thread for each connection; standard library only. This module is its life cycle and
what tests may ask it; the work is done in the modules beside it.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.fakes.connection import Backstage, Connection
from tests.fakes.faults import Fault, Schedule
from tests.fakes.journal import Journal, Query, Record, has_query
from tests.fakes.objects import Bucket, Condition, StoredObject, Upload
from tests.fakes.profile import DEFAULT_KEY, GARAGE, AccessKey, Profile
from tests.fakes.service import Service

NO_METADATA: Mapping[str, str] = {}

PATIENCE = 100.0  # seconds that stopping may take; more is a bug of the double


class FakeS3Server:
    """One bucket on a port of the loopback interface.

    `keys`: who may come in, the first being the default. `tls`: a certificate and its key, PEM
    files. `clock`: POSIX seconds; the profile's `clock_offset` is added to it. `port`: 0 is
    any that is free. Used as a context manager, or with `start` and `stop`.
    """

    def __init__(
        self,
        profile: Profile = GARAGE,
        *,
        bucket: str = "cache",
        keys: Sequence[AccessKey] = (DEFAULT_KEY,),
        tls: tuple[str | Path, str | Path] | None = None,
        clock: Callable[[], float] = time.time,
        port: int = 0,
    ) -> None:
        self.profile = profile
        self.bucket = bucket
        self.keys = tuple(keys)
        self.port = port

        def now() -> float:
            return clock() + profile.clock_offset

        self._bucket = Bucket(bucket, profile, now)
        self._service = Service(profile, keys, self._bucket, now)
        self._schedule = Schedule()
        self._journal = Journal()
        self._stopping = threading.Event()
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, Connection] = {}
        self._crashes: list[BaseException] = []

    # Life cycle

    def start(self) -> Self:
        """Listen, and return at once: connections are accepted from now on."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._backstage = Backstage(
            self._service, self._schedule, self._journal, self._stopping, self.port, self._tls
        )
        self._acceptor = threading.Thread(target=self._accept, name="fake-s3", daemon=True)
        self._acceptor.start()
        return self

    def stop(self) -> None:
        """End all connections and threads; raises where the double itself has failed.

        Safe to call twice.
        """
        if self._stopping.is_set():
            return
        self._stopping.set()
        # Closing does not wake a thread that waits in accept; a last visitor does.
        with socket.create_connection(("127.0.0.1", self.port)):
            self._acceptor.join(PATIENCE)
        self._listener.close()
        with self._lock:
            left = dict(self._open)
        for connection in left.values():
            connection.abort()
        for thread in left:
            thread.join(PATIENCE)
            if thread.is_alive():
                raise RuntimeError(f"{thread.name} does not end")
        if self._crashes:
            raise RuntimeError("the fake server failed") from self._crashes[0]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _accept(self) -> None:
        number = 0
        while True:
            sock, _ = self._listener.accept()
            if self._stopping.is_set():
                sock.close()
                return
            number += 1
            connection = Connection(sock, number, self._backstage)
            name = f"fake-s3-{number}"
            thread = threading.Thread(
                target=self._serve, args=(connection,), name=name, daemon=True
            )
            with self._lock:
                self._open[thread] = connection
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        except BaseException as crash:
            self._crashes.append(crash)
        finally:
            with self._lock:
                self._open.pop(threading.current_thread(), None)

    # Where it is

    @property
    def endpoint(self) -> str:
        """The URL a client is configured with."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def region(self) -> str:
        """The region a client must sign for."""
        return self.profile.region

    @property
    def access_key(self) -> str:
        """The first key's id."""
        return self.keys[0].id

    @property
    def secret_key(self) -> str:
        """The first key's secret."""
        return self.keys[0].secret

    # What is in it

    @property
    def objects(self) -> dict[str, StoredObject]:
        """A snapshot of the objects by key."""
        return self._bucket.objects()

    @property
    def uploads(self) -> dict[str, Upload]:
        """A snapshot of the open multipart uploads by id."""
        return self._bucket.uploads()

    def put_object(
        self, key: str, body: bytes, metadata: Mapping[str, str] = NO_METADATA
    ) -> StoredObject:
        """Store an object without a request; metadata names lack `x-amz-meta-`."""
        return self._bucket.put(key, body, dict(metadata), {}, Condition())

    def seed(
        self, keys: Iterable[str], body: bytes = b"x", metadata: Mapping[str, str] = NO_METADATA
    ) -> None:
        """Store the same object under many keys at once, past quota and rules."""
        self._bucket.seed(keys, body, dict(metadata))

    def corrupt(self, key: str, body: bytes | None = None) -> None:
        """Change an object's bytes behind its ETag, metadata and date: one bit, or all of them."""
        self._bucket.corrupt(key, body)

    def delete_object(self, key: str) -> bool:
        """Remove an object without a request; whether there was one."""
        return self._bucket.remove(key)

    # What goes wrong

    def inject(self, fault: Fault) -> Fault:
        """Schedule a fault; the same one is returned, for its `hits`."""
        self._schedule.add(fault)
        return fault

    def clear_faults(self) -> None:
        """Behave again."""
        self._schedule.clear()

    # What was seen

    @property
    def requests(self) -> list[Record]:
        """Every request so far, in order of arrival."""
        return self._journal.records()

    @property
    def violations(self) -> list[str]:
        """Every breach of the request profile so far; a good client leaves it empty."""
        return self._journal.violations()

    def forget(self) -> None:
        """Drop the records and violations so far."""
        self._journal.clear()

    def select(
        self,
        *,
        operation: str | None = None,
        method: str | None = None,
        key: str | None = None,
        query: Query | None = None,
        status: int | None = None,
    ) -> list[Record]:
        """The requests that match everything given, in order of arrival."""
        return [
            record
            for record in self.requests
            if operation in (None, record.operation)
            and method in (None, record.method)
            and key in (None, record.key)
            and has_query(record.request, query or {})
            and status in (None, record.status)
        ]

    def count(
        self,
        *,
        operation: str | None = None,
        method: str | None = None,
        key: str | None = None,
        query: Query | None = None,
        status: int | None = None,
    ) -> int:
        """How many requests match everything given."""
        return len(
            self.select(operation=operation, method=method, key=key, query=query, status=status)
        )
