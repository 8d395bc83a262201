"""Delete many objects with few requests, if the store can."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice

from cacher.errors import AccessError, CacherError, StoreError, Unanswered
from cacher.s3 import store_quirks, xml
from cacher.s3.client import Client
from cacher.s3.error_mapping import NotAStore
from cacher.s3.request_body import MemoryBody
from cacher.s3.session import Request
from cacher.time_limits import Limits


def delete_many(client: Client, keys: Iterable[str]) -> Iterator[tuple[str, CacherError | None]]:
    """Delete objects, many in one request if the store can; yield each key and its error.

    Raises `NotAStore` and `Unanswered`: the other keys would fail as well, each after as long.
    """
    bulk, keys = True, iter(keys)
    while batch := list(islice(keys, store_quirks.BULK_DELETE_KEYS)):
        together = [key for key in batch if xml.fits_xml(key)]
        answers = _delete_batch(client, together) if bulk and len(together) > 1 else None
        bulk = bulk and (answers is not None or len(together) < 2)
        for key in batch:
            yield (
                (key, answers[key])
                if answers and key in answers
                else (key, _delete_one(client, key, more=key is not batch[-1]))
            )


def _delete_one(client: Client, key: str, *, more: bool) -> CacherError | None:
    """Delete one key; return its error. `more`: other keys come after it."""
    try:
        client.delete(key)
    except NotAStore:
        raise
    except Unanswered as error:
        rest = "; the keys after it were not tried" if more else ""
        raise type(error)(error.message + rest, error.hint) from error
    except CacherError as error:
        return error
    return None


def _delete_batch(client: Client, keys: list[str]) -> dict[str, CacherError | None] | None:
    """Return the result of each key in the answer; None if the store has no DeleteObjects."""
    body = xml.write_delete(keys)
    md5 = hashlib.md5(body, usedforsecurity=False).digest()
    request = Request(
        "POST",
        f"deleting {len(keys)} entries",
        query={"delete": ""},
        # Garage does without; AWS, MinIO, Ceph and Swift do not.
        headers={"content-md5": base64.b64encode(md5).decode()},
        body=MemoryBody(body),
        accept=store_quirks.NO_BULK_DELETE_STATUSES,
        answer_within=_answer_timeout(client.session.limits, len(keys)),
    )
    try:
        reply = client.session.call(request, xml.read_deleted)
    except Unanswered as error:
        text = f"{error.message}; it is not known which of these {len(keys)} are deleted"
        raise type(error)(text, error.hint) from error
    if reply.value is None:
        return None
    deleted, errors = reply.value
    answers: dict[str, CacherError | None] = dict.fromkeys(deleted)
    for key, refused in errors.items():
        answers[key] = None if refused.code == "NoSuchKey" else _refused(key, refused)
    return answers


def _answer_timeout(limits: Limits, count: int) -> float:
    """Return the seconds for the answer: some stores delete one key after the other."""
    return max(limits.silent, limits.write * count / store_quirks.BULK_DELETE_KEYS)


def _refused(key: str, error: xml.ErrorDocument) -> CacherError:
    message = f"deleting {key}: {error.message or 'the store refused'} ({error.code})"
    return AccessError(message) if error.code == "AccessDenied" else StoreError(message)
