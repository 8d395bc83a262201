"""Large files against `aws s3 cp` and `s5cmd cp`, each with its defaults, on a real server.

    python -m tests.bench.transfer [juicefs|garage|seaweedfs] [--tls] [--rounds N] [--size MIB]
                                   [--rss]

With `--tls` haproxy stands before the server, with one thread. Needs `aws` (awscli) and `s5cmd`
beside this Python or on PATH. The files are on tmpfs where there is one, so that the disk of the
machine does not decide.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.pairs import Contender, race, show
from tests.support.servers import garage, haproxy, juicefs, seaweedfs
from tests.support.servers.base import Server

SERVERS = {"juicefs": juicefs, "garage": garage, "seaweedfs": seaweedfs}
MIB = 1024 * 1024


@contextmanager
def started(name: str, *, tls: bool) -> Iterator[Server]:
    """A new server, behind TLS or not."""
    with SERVERS[name].start() as server:
        if not tls:
            yield server
            return
        with haproxy.front(server) as behind:
            yield behind


def program(name: str) -> str | None:
    """The path of a program beside this Python, or on PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def environment(server: Server, bucket: str) -> dict[str, str]:
    """What cacher, aws and s5cmd need to find the server."""
    keys = server.credentials
    trust = ("CACHER_CA_FILE", "AWS_CA_BUNDLE", "SSL_CERT_FILE") if server.ca_file else ()
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **{name: str(server.ca_file) for name in trust},
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "CACHER_ENDPOINT": server.endpoint,
        "CACHER_BUCKET": bucket,
        "CACHER_S3_KEY_ID": keys.access_key,
        "CACHER_S3_SECRET": keys.secret_key,
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_REGION": server.region,
        "AWS_DEFAULT_REGION": server.region,
        "AWS_ENDPOINT_URL": server.endpoint,
        "S3_ENDPOINT_URL": server.endpoint,
        # Over TLS aws sends trailers by itself, which JuiceFS does not know.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    }


def random_file(path: Path, mib: int) -> None:
    """A file of random bytes, which nothing can compress."""
    with open(path, "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory on tmpfs, if there is one."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.path.isdir(memory) else None) as directory:
        yield Path(directory)


def compare(server: Server, directory: Path, *, mib: int, rounds: int) -> None:
    """Uploads, then downloads."""
    bucket = server.new_bucket()
    environ = environment(server, bucket)
    source, target = str(directory / "source"), directory / "target"
    random_file(Path(source), mib)
    cacher = [sys.executable, "-m", "cacher", "-q"]
    uploads = [Contender("cacher", [*cacher, "upload", "cacher", source, "--force"])]
    downloads = [
        Contender(
            "cacher",
            [*cacher, "download", "cacher", str(target)],
            lambda: target.unlink(missing_ok=True),
        )
    ]
    for name, words in (("aws", ["s3", "cp"]), ("s5cmd", ["cp"])):
        path = program(name)
        if path is None:
            print(f"{name} is not here: left out")
            continue
        url = f"s3://{bucket}/{name}"
        uploads.append(Contender(name, [path, *words, source, url]))
        downloads.append(
            Contender(
                name, [path, *words, url, str(target)], lambda: target.unlink(missing_ok=True)
            )
        )
    title = f"{mib} MiB, {server.name}"
    show(f"upload {title}", race(uploads, rounds=rounds, environ=environ), first="cacher")
    show(f"download {title}", race(downloads, rounds=rounds, environ=environ), first="cacher")


def memory(server: Server, directory: Path) -> None:
    """Peak memory at two sizes: it must not grow with them."""
    environ = environment(server, server.new_bucket())
    source, target = directory / "source", directory / "target"
    cacher = [sys.executable, "-m", "cacher", "-q"]
    for gib in (1, 6):
        # Holes read as zeros; what is measured is cacher's memory, not the content.
        with open(source, "wb") as file:
            file.truncate(gib * 1024 * MIB)
        contenders = [
            Contender("upload", [*cacher, "upload", "big", str(source), "--force"]),
            Contender(
                "upload of stdin", [*cacher, "upload", "in", "-", "--force"], stdin=str(source)
            ),
            Contender("download", [*cacher, "download", "big", str(target)]),
            Contender("download to stdout", [*cacher, "download", "big", "-"]),
        ]
        show(
            f"{gib} GiB, {server.name}", race(contenders, rounds=1, environ=environ), first="upload"
        )
        target.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=sorted(SERVERS), default="juicefs", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=1024, metavar="MIB")
    parser.add_argument("--tls", action="store_true", help="with haproxy before the server")
    parser.add_argument("--rss", action="store_true", help="memory at 1 and 6 GiB instead")
    options = parser.parse_args()
    with started(options.server, tls=options.tls) as server, scratch() as directory:
        if options.rss:
            memory(server, directory)
        else:
            compare(server, directory, mib=options.size, rounds=options.rounds)


if __name__ == "__main__":
    main()
