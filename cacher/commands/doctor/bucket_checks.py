"""The checks of a store on a bucket, from the credentials to conditional writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cacher.commands.context import Context
from cacher.commands.doctor.checklist import (
    FAIL,
    OK,
    WARN,
    Checklist,
    CheckWarning,
    Skipped,
    test_entry_key,
)
from cacher.commands.doctor.network_checks import examine_network
from cacher.errors import AccessError, Silent, StoreError
from cacher.report import counted
from cacher.s3 import diagnosis
from cacher.s3.client import Client
from cacher.s3.error_mapping import NotAStore
from cacher.settings import credentials
from cacher.store.open_store import require_bucket

_SKEW = 60.0
"""Seconds of clock skew worth a warning."""

_TOO_SKEWED = 900.0
"""Seconds that most stores refuse (AWS, MinIO, Ceph); Garage refuses a day."""


class _NoBucket(AccessError):
    """There is no such bucket, so the checks that need it are left out."""


class _Forbidden(AccessError):
    """The store knows the key, but the key may not do this."""


def examine_bucket(context: Context, checklist: Checklist) -> None:
    """Run all checks; skip those that need a check that failed."""
    named = bool(context.settings.bucket) or checklist.run("bucket name", _bucket_name, context)
    known = checklist.run("credentials", _credentials, context, checklist)
    if not examine_network(context, checklist) or not named or not known:
        return
    client = context.bucket.client
    client.session.limits = client.session.limits.for_diagnosis()
    prefix = f"{context.settings.prefix}/" if context.settings.prefix else ""
    assumed = client.session.region
    checklist.ask("clock", _clock, client)
    checklist.ask("region", _region, context, client, assumed, checklist)
    if isinstance(checklist.checks[-1].error, NotAStore):
        return
    checklist.ask("bucket", _bucket, client)
    if isinstance(checklist.checks[-1].error, _NoBucket):
        return
    checklist.ask("list", _list, client, prefix)
    _examine_writing(checklist, client, prefix + test_entry_key())
    _diagnose_permissions(checklist)


def smoke(context: Context) -> str:
    """Check for `init` that the key may read or write; return the region if the store reported it.

    Raises the first failure. A key that may do only one of both gets a warning.
    """
    client = context.bucket.client
    client.session.limits = client.session.limits.for_diagnosis()
    assumed = client.session.region
    prefix = f"{context.settings.prefix}/" if context.settings.prefix else ""
    refused: list[AccessError] = []
    try:
        next(client.list_objects(prefix, page_size=1), None)
    except AccessError as error:
        refused.append(error)
    try:
        _write(context, client, prefix + test_entry_key())
    except AccessError as error:
        refused.append(error)
        if len(refused) == 2:
            raise refused[1] from None
        context.report.warn("this key may only read: nothing will be stored with it")
    else:
        if refused:
            context.report.warn("this key may only write: nothing will be found with it")
    return client.session.region if client.session.region != assumed else ""


def _write(context: Context, client: Client, key: str) -> None:
    """Write a test entry, and delete it in any case. Raises `AccessError` if it was refused."""
    written = False
    try:
        diagnosis.write_test_entry(client, key)
        written = True
    except Silent:
        client.session.limits = client.session.limits.for_undo()
        raise
    finally:
        try:
            client.delete(key)
        except AccessError:
            # A key that may not write may not delete; another may write and not delete.
            if written:
                context.report.warn(f"this key may not delete: {key} stays in the bucket")


def _bucket_name(context: Context) -> str:
    require_bucket(context.settings)
    return context.settings.bucket


def _credentials(context: Context, checklist: Checklist) -> str:
    found = credentials.find_credentials(context.settings, context.environ)
    for note in found.notes:
        checklist.note("credentials", note, WARN)
    if found.ignored:
        checklist.note("credentials", found.ignored, WARN)
    keys = found.keys
    token = f", token of {len(keys.token)}" if keys.token else ""
    lengths = (
        f"key id of {counted(len(keys.key_id), 'character')}, secret of {len(keys.secret)}{token}"
    )
    return f"from {found.source}: {lengths}"


def _clock(client: Client) -> str:
    """Compare the clocks. Never fails: requests are signed with the store's time."""
    skew = diagnosis.clock_skew(client)
    if skew is None:
        raise Skipped("the store does not send its time")
    text = f"{skew:+.0f} s against the store"
    if abs(skew) >= _TOO_SKEWED:
        side = "ahead of" if skew > 0 else "behind"
        raise CheckWarning(
            f"this machine's clock is {abs(skew):.0f} s {side} the store's: set it; until then "
            "requests are signed with the store's time"
        )
    if abs(skew) >= _SKEW:
        raise CheckWarning(f"{text}; most stores refuse a clock that is 15 minutes off")
    return text


def _region(context: Context, client: Client, assumed: str, checklist: Checklist) -> str:
    """Check the region that requests are signed for: whether the store accepts one."""
    request = context.settings.region
    reported = _reported_region(client)
    # A refusal names the region to use; the store's location may be another (Ceph).
    region = client.session.region
    source = context.settings.sources["region"]
    if request and region != request and source.startswith("AWS_"):
        # It may be meant for other programs, and the store has reported the right one.
        text = f"{source} is {request}; CACHER_REGION={region} spares a request of each run"
        checklist.note("region", text, WARN)
    elif request and region != request:
        raise AccessError(
            f"the store's region is {region}, not {request}", f"set --region {region}"
        )
    if region != assumed:
        return f"{region} (learned from the store)"
    if reported is None and not _accepts(client):
        raise Skipped(f"{region}; the store accepted no request that could prove it")
    if reported and reported != region:
        return f"{region} (the store accepts it; its own is {reported})"
    return region if request else f"{region} (not set; the store accepts it)"


def _reported_region(client: Client) -> str | None:
    """Return the bucket's location; None if the key may not ask, or the store has no answer."""
    try:
        return client.location()
    except (NotAStore, Silent):
        raise
    except (AccessError, StoreError):
        return None


def _accepts(client: Client) -> bool:
    """Whether the store accepts a request, and so the region that it is signed for."""
    try:
        return diagnosis.bucket_refusal(client) is None
    except (NotAStore, Silent):
        raise
    except (AccessError, StoreError):
        return False  # the next checks say why


def _bucket(client: Client) -> str:
    try:
        refusal = diagnosis.bucket_refusal(client)
    except AccessError as error:
        raise _NoBucket(error.message, error.hint) from error
    with _needing("read", client):
        if refusal:
            raise refusal
    return f"{client.bucket} is there"


@contextmanager
def _needing(right: str, client: Client) -> Iterator[None]:
    """Let a refusal that asks for a diagnosis say how the right is given: this is the diagnosis."""
    try:
        yield
    except AccessError as error:
        if "`cacher doctor`" in error.hint:
            allow = f"Garage: garage bucket allow --{right} {client.bucket} --key ID"
            raise _Forbidden(error.message, f"allow this key to {right} ({allow})") from error
        raise


def _list(client: Client, prefix: str) -> str:
    with _needing("read", client):
        first = next(client.list_objects(prefix, page_size=1), None)
    return "the prefix has entries" if first else "the prefix is empty"


def _examine_writing(checklist: Checklist, client: Client, key: str) -> None:
    is_tried = not checklist.is_silent

    def write() -> str:
        with _needing("write", client):
            diagnosis.write_test_entry(client, key)
        return "a test entry was written"

    def read() -> str:
        _need(checklist, "write")
        with _needing("read", client):
            diagnosis.read_test_entry(client, key)
        return "it was read back"

    def conditional() -> str:
        _need(checklist, "write")
        manner = diagnosis.probe_conditional_put(client, key)
        return f"{manner}; cacher does not rely on it"

    sizes: list[int] = []

    def multipart() -> str:
        _need(checklist, "write")
        sizes.append(diagnosis.upload_two_parts(client, key))
        return "two parts became one object"

    def ranged() -> str:
        _need(checklist, "multipart")
        diagnosis.read_across_parts(client, key, sizes[0])
        return "two bytes of it were read"

    def abort() -> str:
        _need(checklist, "write")
        return diagnosis.abort_upload(client, key)

    try:
        checklist.ask("write", write)
        checklist.ask("read", read)
        checklist.ask("conditional", conditional)
        checklist.ask("multipart", multipart)
        checklist.ask("range", ranged)
        checklist.ask("abort", abort)
    finally:
        # A request without an answer may have been carried out all the same.
        look = checklist.run if is_tried else checklist.ask
        look("delete", _delete, checklist, client, key)


def _delete(checklist: Checklist, client: Client, key: str) -> str:
    if checklist.is_silent:
        client.session.limits = client.session.limits.for_undo()
    try:
        client.delete(key)
    except AccessError as error:
        if "write" in _refused(checklist, AccessError):
            raise Skipped("nothing was written") from error
        raise
    return "everything was deleted"


def _need(checklist: Checklist, name: str) -> None:
    if not any(check.name == name and check.state == OK for check in checklist.checks):
        raise Skipped(f"needs {name}")


def _refused(checklist: Checklist, kind: type[AccessError]) -> set[str]:
    """The names of the checks that the store refused."""
    return {check.name for check in checklist.checks if isinstance(check.error, kind)}


def _diagnose_permissions(checklist: Checklist) -> None:
    """Note a key that may only read, or only write, if the refusals show that."""
    if checklist.is_silent:
        return
    refused = _refused(checklist, _Forbidden)
    writes = "write" not in refused
    # Where nothing could be written there was nothing to read.
    reads = "read" not in refused if writes else not refused & {"bucket", "list"}
    if reads and not writes:
        checklist.note(
            "permissions", "this key may only read: downloads work, nothing can be stored", WARN
        )
    elif writes and not reads:
        checklist.note(
            "permissions", "this key may only write: nothing that is stored can be found", WARN
        )
    elif not reads and not writes:
        checklist.note("permissions", "this key may neither read nor write", FAIL)
