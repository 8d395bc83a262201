"""The checks of a store on a bucket, from the name of its host to conditional writes."""

from __future__ import annotations

from urllib.parse import urlsplit

from cacher import credentials
from cacher.commands.bucket import endpoint_of, require_bucket
from cacher.commands.chart import FAIL, OK, WARN, Chart, Skipped, canary_key
from cacher.commands.run import Run
from cacher.errors import AccessError, StoreError
from cacher.s3 import probes
from cacher.s3.client import Client
from cacher.s3.proxies import Proxies
from cacher.s3.retry import Patience
from cacher.s3.transport import Host

_IMPATIENT = Patience(tries=2, dead_tries=1)
"""A diagnosis tells how things are, not how they may become."""

_SKEW = 60.0
"""Seconds of clock skew worth a warning; most stores refuse 15 minutes, Garage a day."""


def examine_bucket(run: Run, chart: Chart) -> None:
    """All checks; those that need what failed before are skipped."""
    if not run.settings.bucket and not chart.run("bucket name", lambda: _bucket_name(run)):
        return
    if not chart.run("credentials", lambda: _credentials(run, chart)):
        return
    if not _examine_network(run, chart):
        return
    client = run.bucket.client
    client.session.policy = _IMPATIENT
    prefix = f"{run.settings.prefix}/" if run.settings.prefix else ""
    chart.run("clock", lambda: _clock(client))
    chart.run("region", lambda: _region(run, client))
    chart.run("bucket", lambda: _bucket(client))
    chart.run("list", lambda: _list(client, prefix))
    _examine_writing(chart, client, prefix + canary_key())
    _diagnose_permissions(chart)


def smoke(run: Run) -> str:
    """What `init` checks: that the key may read or write. The region that the store wants.

    Raises the first failure; a key that may do only one of both is fine, with a warning.
    """
    client = run.bucket.client
    prefix = f"{run.settings.prefix}/" if run.settings.prefix else ""
    key = prefix + canary_key()
    refused: list[AccessError] = []
    try:
        if not client.check_bucket("checking the bucket"):
            raise AccessError("this key may not read the bucket")
        next(client.list_objects(prefix, page_size=1), None)
    except AccessError as error:
        refused.append(error)
    try:
        try:
            probes.canary(client, key)
        finally:
            client.delete(key)
    except AccessError as error:
        refused.append(error)
        if len(refused) == 2:
            raise refused[1] from None
        run.report.warn("this key may only read: nothing will be stored with it")
    else:
        if refused:
            run.report.warn("this key may only write: nothing will be found with it")
    return client.session.region


def _bucket_name(run: Run) -> str:
    require_bucket(run.settings)
    return run.settings.bucket


def _credentials(run: Run, chart: Chart) -> str:
    found = credentials.find(run.settings, run.environ)
    for oddity in found.oddities:
        chart.note("credentials", oddity, WARN)
    keys = found.keys
    token = f", token of {len(keys.token)}" if keys.token else ""
    lengths = f"key id of {len(keys.key_id)} characters, secret of {len(keys.secret)}{token}"
    return f"from {found.source}: {lengths}"


def _examine_network(run: Run, chart: Chart) -> bool:
    """DNS, TCP and TLS, each only if the one before went well; whether requests can be sent."""
    host = endpoint_of(run.settings).host
    proxy = Proxies(run.environ).of(host.scheme, host.name, host.port)
    reached = _proxy_host(proxy) if proxy else host
    if proxy:
        chart.note("proxy", reached.header)
    if not chart.run("dns", lambda: f"{reached.name} is {', '.join(probes.resolve(reached))}"):
        return False
    if not chart.run("tcp", lambda: _tcp(reached)):
        return False

    def tls() -> str:
        if host.scheme == "http":
            raise Skipped("the endpoint is http://, so nothing is encrypted")
        if proxy:
            raise Skipped("through the proxy; the requests below tell")
        ca_file = run.settings.ca_file
        return probes.handshake(host, (ca_file,) if ca_file else ())

    chart.run("tls", tls)
    return not chart.failed("tls")


def _tcp(host: Host) -> str:
    probes.connect(host)
    return f"{host.header} accepts connections"


def _proxy_host(proxy: str) -> Host:
    url = urlsplit(proxy)
    return Host(url.scheme, url.hostname or "", url.port or (443 if url.scheme == "https" else 80))


def _clock(client: Client) -> str:
    skew = probes.clock_skew(client)
    if skew is None:
        raise Skipped("the store does not tell its time")
    if abs(skew) < _SKEW:
        return f"{skew:+.0f} s against the store"
    raise AccessError(
        f"this machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the"
        " store's",
        "set the clock; requests are signed with the store's time meanwhile",
    )


def _region(run: Run, client: Client) -> str:
    wanted = run.settings.region
    try:
        told = client.location()
    except (AccessError, StoreError):
        # Not every key may ask, and not every store answers; the requests before this one tell.
        told = client.session.region
    if wanted and told and told != wanted:
        raise AccessError(f"the store's region is {told}, not {wanted}", f"set --region {told}")
    return f"{told or client.session.region}" + ("" if wanted else " (learned from the store)")


def _bucket(client: Client) -> str:
    if not client.check_bucket("asking for the bucket"):
        raise AccessError(
            f"this key may not read {client.bucket!r}",
            f"allow it to (Garage: garage bucket allow --read {client.bucket} --key ID)",
        )
    return f"{client.bucket} is there"


def _list(client: Client, prefix: str) -> str:
    first = next(client.list_objects(prefix, page_size=1), None)
    return "the prefix has entries" if first else "the prefix is empty"


def _examine_writing(chart: Chart, client: Client, key: str) -> None:
    def write() -> str:
        probes.canary(client, key)
        return "a canary was written"

    def read() -> str:
        _need(chart, "write")
        probes.canary_read(client, key)
        return "it was read back"

    def conditional() -> str:
        _need(chart, "write")
        manner = probes.conditional_put(client, key)
        return f"{manner}; cacher does not rely on it"

    sizes: list[int] = []

    def multipart() -> str:
        _need(chart, "write")
        sizes.append(probes.two_parts(client, key))
        return "two parts became one object"

    def ranged() -> str:
        _need(chart, "multipart")
        probes.seam(client, key, sizes[0])
        return "two bytes of it were read"

    def abort() -> str:
        _need(chart, "write")
        return probes.aborted(client, key)

    def delete() -> str:
        client.delete(key)
        return "everything was deleted"

    try:
        chart.run("write", write)
        chart.run("read", read)
        chart.run("conditional", conditional)
        chart.run("multipart", multipart)
        chart.run("range", ranged)
        chart.run("abort", abort)
    finally:
        chart.run("delete", delete)


def _need(chart: Chart, name: str) -> None:
    if not any(check.name == name and check.state == OK for check in chart.checks):
        raise Skipped(f"needs {name}")


def _diagnose_permissions(chart: Chart) -> None:
    """Say what the refusals have in common: a key that may only read, or only write."""
    refused = {check.name for check in chart.checks if isinstance(check.error, AccessError)}
    reads, writes = not refused & {"bucket", "list", "read"}, "write" not in refused
    if reads and not writes:
        chart.note(
            "permissions", "this key may only read: downloads work, nothing can be stored", WARN
        )
    elif writes and not reads:
        chart.note(
            "permissions", "this key may only write: nothing that is stored can be found", WARN
        )
    elif not reads and not writes:
        chart.note("permissions", "this key may neither read nor write", FAIL)
