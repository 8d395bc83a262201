"""`list` of 100,000 keys: requests and memory.

    python -m tests.bench.listing [--keys N]

The server is the fake one of the tests, which counts requests; its speed says nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.bench.pairs import Contender, race, show
from tests.fakes.s3server import FakeS3Server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    options = parser.parse_args()
    with FakeS3Server() as server:
        server.seed(f"some/prefix/of/a/key-{number:08}.tar.zst" for number in range(options.keys))
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "CACHER_ENDPOINT": server.endpoint,
            "CACHER_REGION": server.region,
            "CACHER_BUCKET": server.bucket,
            "CACHER_S3_KEY_ID": server.access_key,
            "CACHER_S3_SECRET": server.secret_key,
        }
        cacher = [sys.executable, "-m", "cacher", "-q", "list"]
        contenders = [
            Contender("list", cacher),
            Contender("list --json", [*cacher, "--json"]),
            Contender("list --sort size", [*cacher, "--sort", "size"]),
        ]
        results = race(contenders, rounds=1, environ=environ)
        show(f"{options.keys} keys", results, first="list")
        runs = 2 * len(contenders)  # one round that does not count, one that does
        print(f"  {server.count(operation='ListObjectsV2') / runs:.0f} requests a listing")


if __name__ == "__main__":
    main()
