"""Docker images against `docker save`, `zstd` and what moves their stream.

    python -m tests.bench.images [juicefs|garage|seaweedfs] [--rounds N] [--size MB]

A Debian and, in a second layer, as much of this Python's library as makes `--size` (default: 240
MB) of both, in a daemon of its own. What saving and loading cost the engine alone is
told first.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench.directories import shell
from tests.bench.pairs import Contender, race, show
from tests.bench.transfer import SERVERS, environment, program
from tests.support import images
from tests.support.daemons import docker
from tests.support.daemons.docker import Daemon
from tests.support.servers.base import Server

CACHER = [sys.executable, "-m", "cacher", "-q"]

TAG = "cacher-bench/debian:1"


def make(daemon: Daemon, size: int) -> None:
    """The image, of about `size` bytes."""
    images.import_debian(daemon, "cacher-bench/base:1")
    rest = size - images.debian().stat().st_size
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        recipe = b"FROM cacher-bench/base:1\nCOPY library /library\n"
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(recipe)
        tar.addfile(member, io.BytesIO(recipe))
        for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*")):
            if path.is_file() and rest > 0:
                tar.add(path, f"library/{path.relative_to('/')}", recursive=False)
                rest -= path.stat().st_size
    daemon.run("build", "--network", "none", "--tag", TAG, "-", input=context.getvalue())


def remover(daemon: Daemon) -> Callable[[], None]:
    """Removes the image before it is loaded again, both layers of it."""

    def remove() -> None:
        daemon.run("rmi", "--force", TAG, "cacher-bench/base:1", check=False)
        os.sync()

    return remove


def compare(daemon: Daemon, server: Server, rounds: int) -> None:
    """Upload and download, in turn with the pipes that a CI manifest has."""
    bucket = server.new_bucket()
    environ = environment(server, bucket) | {"DOCKER_HOST": daemon.host}
    environ["CACHER_DOCKER"] = str(daemon.program)
    client, key = shlex.quote(str(daemon.program)), f"s3://{bucket}"
    aws, s5cmd = program("aws"), program("s5cmd")
    save, load = f"{client} save {TAG} | zstd -q -T0", f"zstd -q -d | {client} load"
    remove = remover(daemon)
    ups = [Contender("cacher", [*CACHER, "docker", "upload", "k", TAG, "--force"])]
    downs = [Contender("cacher", [*CACHER, "docker", "download", "k", TAG], remove)]
    if aws:
        ups.append(Contender("save|zstd|aws", shell(f"{save} | {aws} s3 cp - {key}/a --quiet")))
        downs.append(
            Contender("aws|zstd|load", shell(f"{aws} s3 cp {key}/a - --quiet | {load}"), remove)
        )
    if s5cmd:
        ups.append(Contender("save|zstd|s5cmd", shell(f"{save} | {s5cmd} pipe {key}/s")))
        downs.append(Contender("s5cmd|zstd|load", shell(f"{s5cmd} cat {key}/s | {load}"), remove))
    show("docker upload", race(ups, rounds=rounds, environ=environ), first="cacher")
    show("docker download", race(downs, rounds=rounds, environ=environ), first="cacher")
    again = [Contender("cacher", [*CACHER, "docker", "download", "k", TAG])]
    inspect = Contender("docker image inspect", [str(daemon.program), "image", "inspect", TAG])
    result = race([*again, inspect], rounds=rounds, environ=environ)
    show("docker download of what is there", result, first="cacher")


def engine_alone(daemon: Daemon, rounds: int) -> None:
    """What saving to nowhere and loading from a file cost: nobody can be faster."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        archive = Path(directory) / "archive.tar"
        daemon.run("save", "--output", archive, TAG)
        client, there = str(daemon.program), shlex.quote(str(archive))
        environ = dict(daemon.env)
        contenders = [
            Contender("docker save", shell(f"{shlex.quote(client)} save {TAG} | cat > /dev/null")),
            Contender(
                "docker load", shell(f"{shlex.quote(client)} load < {there}"), remover(daemon)
            ),
        ]
        print(f"\n{archive.stat().st_size / 1e6:.0f} MB in the archive")
        show(
            "the engine alone",
            race(contenders, rounds=rounds, environ=environ),
            first="docker load",
        )


def main() -> None:
    """Parse the command line, make the image, and race."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", nargs="?", choices=list(SERVERS), default="juicefs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=240, help="in MB")
    options = parser.parse_args()
    with docker.start() as daemon, SERVERS[options.server].start() as server:
        make(daemon, options.size * 1_000_000)
        engine_alone(daemon, options.rounds)
        compare(daemon, server, options.rounds)


if __name__ == "__main__":
    main()
