"""Directories against `tar`, `zstd` and what moves their stream, each with its defaults.

    python -m tests.bench.directories [local|juicefs|garage|seaweedfs] [--tree npm|small|large]
                                      [--tls] [--rounds N] [--on DIRECTORY] [--npm DIRECTORY]

`local` is a store in a directory; on a server `aws` and `s5cmd` compete. Trees are made below
`--on` (default: /dev/shm): `npm` is copied from `--npm`, which `npm install` made; `small` has
200,000 files, `large` 20 of 100 MB. `--scale` tells the time per file from 2,000 to 200,000.
"""

from __future__ import annotations

import argparse
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench.pairs import Contender, race, show
from tests.bench.transfer import SERVERS, environment, program, started
from tests.support.servers.base import Server

CACHER = [sys.executable, "-m", "cacher", "-q"]


def small(path: Path, count: int = 200_000) -> None:
    """Files of 0 to 4 KB, 100 to a directory."""
    generator = random.Random(1)
    noise = generator.randbytes(65_536)
    for number in range(count):
        directory = path / f"{number // 10_000:02}" / f"{number // 100 % 100:02}"
        if number % 100 == 0:
            directory.mkdir(parents=True)
        start = generator.randrange(60_000)
        content = noise[start : start + generator.randrange(2000)] * 2
        (directory / f"file-{number}.js").write_bytes(content)


def large(path: Path) -> None:
    """20 files of 100 MB, half of which can be compressed."""
    path.mkdir()
    for number in range(20):
        generator = random.Random(number)
        with open(path / f"large-{number}.bin", "wb") as file:
            for _ in range(100):
                noise = generator.randbytes(500_000)
                file.write(noise + noise)


def remover(*paths: Path) -> Callable[[], None]:
    """Removes what a run has made before the next."""

    def remove() -> None:
        for path in paths:
            if path.is_dir():
                subprocess.run(["rm", "-rf", str(path)], check=True)
            else:
                path.unlink(missing_ok=True)

    return remove


def shell(line: str) -> list[str]:
    """A line as a CI manifest has it."""
    return ["bash", "-c", f"set -o pipefail; {line}"]


def local(tree: Path, scratch: Path, rounds: int) -> None:
    """A store in a directory, against a file."""
    store, file, ours, theirs = (scratch / name for name in ("store", "file", "ours", "theirs"))
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(scratch), "PYTHONPATH": str(Path.cwd())}
    environ["CACHER_ENDPOINT"] = f"file://{store}"
    t, f, there = (shlex.quote(str(path)) for path in (tree, file, theirs))
    packs = race(
        [
            Contender("cacher", [*CACHER, "dir", "upload", "k", str(tree)], remover(store)),
            Contender(
                "tar | zstd -T0", shell(f"tar c -C {t} . | zstd -q -T0 > {f}"), remover(file)
            ),
        ],
        rounds=rounds,
        environ=environ,
    )
    show(f"pack {tree.name} into a local store", packs, first="cacher")
    unpacks = race(
        [
            Contender("cacher", [*CACHER, "dir", "download", "k", str(ours)], remover(ours)),
            Contender(
                "zstd -d | tar x",
                shell(f"mkdir {there} && zstd -q -d < {f} | tar x -C {there}"),
                remover(theirs),
            ),
        ],
        rounds=rounds,
        environ=environ,
    )
    show(f"unpack {tree.name} from a local store", unpacks, first="cacher")
    subprocess.run(["diff", "-r", "--no-dereference", str(tree), str(ours)], check=True)
    remover(store, file, ours, theirs)()


def remote(server: Server, tree: Path, scratch: Path, rounds: int) -> None:
    """A bucket, against the pipes that a CI manifest has."""
    bucket = server.new_bucket()
    environ = environment(server, bucket)
    ours, theirs, others = scratch / "ours", scratch / "theirs", scratch / "others"
    t, there, elsewhere = (shlex.quote(str(path)) for path in (tree, theirs, others))
    aws, s5cmd = program("aws"), program("s5cmd")
    ups = [Contender("cacher", [*CACHER, "dir", "upload", "k", str(tree), "--force"])]
    downs = [Contender("cacher", [*CACHER, "dir", "download", "k", str(ours)], remover(ours))]
    pack, unpack = f"tar c -C {t} . | zstd -q -T0", "zstd -q -d | tar x -C"
    if aws:
        ups.append(
            Contender("tar|zstd|aws", shell(f"{pack} | {aws} s3 cp - s3://{bucket}/aws --quiet"))
        )
        get = f"mkdir {there} && {aws} s3 cp s3://{bucket}/aws - --quiet | {unpack} {there}"
        downs.append(Contender("aws|zstd|tar", shell(get), remover(theirs)))
    if s5cmd:
        ups.append(Contender("tar|zstd|s5cmd", shell(f"{pack} | {s5cmd} pipe s3://{bucket}/s5")))
        get = f"mkdir {elsewhere} && {s5cmd} cat s3://{bucket}/s5 | {unpack} {elsewhere}"
        downs.append(Contender("s5cmd|zstd|tar", shell(get), remover(others)))
    show(f"dir upload {tree.name}", race(ups, rounds=rounds, environ=environ), first="cacher")
    show(f"dir download {tree.name}", race(downs, rounds=rounds, environ=environ), first="cacher")
    subprocess.run(["diff", "-r", "--no-dereference", str(tree), str(ours)], check=True)
    remover(ours, theirs, others)()


def scale(scratch: Path, rounds: int) -> None:
    """The time per file, which should not depend on how many there are."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(scratch), "PYTHONPATH": str(Path.cwd())}
    counts = (2_000, 20_000, 200_000)
    packs, unpacks = [], []
    for count in counts:
        tree, store, target = (scratch / f"{name}-{count}" for name in ("tree", "store", "out"))
        small(tree, count)
        at = ["--endpoint", f"file://{store}"]
        packs.append(
            Contender(str(count), [*CACHER, "dir", "upload", "k", str(tree), *at], remover(store))
        )
        unpacks.append(
            Contender(
                str(count), [*CACHER, "dir", "download", "k", str(target), *at], remover(target)
            )
        )
    empty = scratch / "empty"
    empty.mkdir()
    at = ["--endpoint", f"file://{scratch / 'start'}"]
    start = [Contender("start", [*CACHER, "dir", "upload", "k", str(empty), "--force", *at])]
    for title, contenders in (("pack", packs), ("unpack", unpacks)):
        results = race(start + contenders, rounds=rounds, environ=environ)
        show(f"{title}: files", results, first="start")
        base = min(results["start"].seconds)
        for count in counts:
            spent = min(results[str(count)].seconds) - base
            print(f"  {count:7} files: {spent / count * 1e6:6.1f} microseconds a file")
    for path in scratch.iterdir():
        remover(path)()


def main() -> None:
    """Parse the command line, make what it names, and race."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", nargs="?", choices=["local", *SERVERS], default="local")
    parser.add_argument("--tree", choices=["npm", "small", "large"], action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--on", default="/dev/shm")
    parser.add_argument("--npm", default="node_modules")
    parser.add_argument("--tls", action="store_true", help="with haproxy before the server")
    parser.add_argument("--scale", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.on) as directory:
        scratch = Path(directory)
        if options.scale:
            scale(scratch, options.rounds)
            return
        for name in options.tree or ["npm", "small", "large"]:
            tree = scratch / name
            if name == "npm":
                shutil.copytree(options.npm, tree, symlinks=True)
            else:
                {"small": small, "large": large}[name](tree)
            if options.server == "local":
                local(tree, scratch, options.rounds)
            else:
                with started(options.server, tls=options.tls) as server:
                    remote(server, tree, scratch, options.rounds)
            remover(tree)()


if __name__ == "__main__":
    main()
