"""Starting each edition, against the installed package on the same Python, and against `aws`.

    python -m tests.bench.editions DIR [--rounds N]

DIR has what `.builds/zipapp --out DIR` built. The package is that of the current directory,
compiled, with the libraries of the Python that runs this. `exists` asks the fake S3 server, so
it loads urllib3, too; a miss ends with 1, which a shell compares: the peak shown is the shell's.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from tests.bench.pairs import Contender, race, show
from tests.bench.transfer import program
from tests.fakes.s3server import FakeS3Server
from tests.support.cli_helpers import BucketPlace

AWS = "aws --version"

LOCAL = (["--help"], ["key", "x"], ["list"], ["dir", "upload", "k", ".builds", "-q"])
"""What needs no server."""

REMOTE = (["exists", "there", "-q"], ["exists", "absent", "-q"])
"""A hit and a miss."""

MISSED = ("sh", "-c", '"$@"; [ $? = 1 ]', "sh")
"""In front of a command that has to end with a miss."""

BESIDE_AWS = (LOCAL[0], REMOTE[0])


def main() -> None:
    """Parse the command line, and race."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    names = ["cacher.pyz", f"cacher-{platform.system().lower()}-{machine}.pyz"]
    files = [path for name in names if (path := (options.directory / name).resolve()).exists()]
    with tempfile.TemporaryDirectory() as home, s3server() as store:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            # No file that pip has put beside the library counts, nor does the user's own.
            "PYTHONPATH": os.pathsep.join([str(Path.cwd()), sysconfig.get_paths()["purelib"]]),
        }
        for command in LOCAL:
            local = environ | {"CACHER_ENDPOINT": f"file://{home}/store"}
            compare(files, command, rounds=options.rounds, environ=local)
        for command in REMOTE:
            compare(files, command, rounds=options.rounds, environ={**environ, **store})


def compare(
    files: list[Path], command: list[str], *, rounds: int, environ: Mapping[str, str]
) -> None:
    """Each edition with the package, and the first of them with `aws`, which only starts."""
    before = [*(MISSED if "absent" in command else ()), sys.executable, "-S"]
    contenders = [Contender("package", [*before, "-m", "cacher", *command])]
    contenders += [Contender(path.name, [*before, str(path), *command]) for path in files]
    aws = program("aws")
    if aws and command in BESIDE_AWS:
        contenders.append(Contender(AWS, [aws, "--version"]))
    results = race(contenders, rounds=rounds, environ=environ)
    title = f"cacher {' '.join(command)}"
    for path in files:
        show(title, {name: results[name] for name in (path.name, "package")}, first=path.name)
    if AWS in results:
        show(title, {name: results[name] for name in (files[0].name, AWS)}, first=files[0].name)


@contextmanager
def s3server() -> Iterator[Mapping[str, str]]:
    """The fake S3 server in a process of its own, so that no thread here waits for it.

    Gives the settings that lead to it.
    """
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
        ours.send("done")
        process.join()
    finally:
        process.kill()


def _serve(told: Connection) -> None:
    with FakeS3Server() as server:
        place = BucketPlace(server)
        place.put("there", b"x")
        told.send(place.environment)
        told.recv()
        assert server.violations == []


if __name__ == "__main__":
    main()
