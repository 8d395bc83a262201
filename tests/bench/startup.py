"""Starting: `exists` against `aws s3api head-object`, `key` and `--help` against bare Python.

    python -m tests.bench.startup [juicefs|garage|seaweedfs] [--rounds N]

Needs `aws` (awscli) beside this Python or on PATH, and `cacher` installed beside this Python
(`tests/run` does so); else `python -m cacher` is timed, which starts slower than the command.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.bench.pairs import Contender, race, show
from tests.bench.transfer import SERVERS, environment, program, scratch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=sorted(SERVERS), default="juicefs", nargs="?")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    installed = program("cacher")
    cacher = [installed] if installed else [sys.executable, "-m", "cacher"]
    with SERVERS[options.server].start() as server, scratch() as directory:
        bucket = server.new_bucket()
        environ = environment(server, bucket)
        lock = directory / "lock"
        lock.write_text("a lockfile\n")
        subprocess.run([*cacher, "-q", "upload", "there", str(lock)], env=environ, check=True)
        bare = Contender("python -c pass", [sys.executable, "-c", "pass"])
        key = ["key", "go-{os}", "--hash-from", str(lock)]
        results = race(
            [
                Contender("key", [*cacher, *key]),
                Contender("--help", [*cacher, "--help"]),
                bare,
            ],
            rounds=options.rounds,
            environ=environ,
        )
        show("start-up", results, first="key")
        show("start-up", results, first="--help")
        aws = program("aws")
        if aws is None:
            print("aws is not here: left out")
            return
        head = [aws, "s3api", "head-object", "--bucket", bucket, "--key", "there"]
        results = race(
            [Contender("exists", [*cacher, "-q", "exists", "there"]), Contender("aws", head)],
            rounds=options.rounds,
            environ=environ,
        )
        show(f"exists, {server.name}", results, first="exists")


if __name__ == "__main__":
    main()
