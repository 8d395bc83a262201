"""Starting each edition, against the installed package on the same Python, and against `aws`.

    python -m tests.bench.editions DIR [--rounds N]

DIR has what `.builds/zipapp --out DIR` built. The package is that of the current directory,
compiled, with the libraries of the Python that runs this.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import sysconfig
import tempfile
from pathlib import Path

from tests.bench.pairs import Contender, race, show
from tests.bench.transfer import program


def main() -> None:
    """Parse the command line, and race."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    names = ["cacher.pyz", f"cacher-{platform.system().lower()}-{machine}.pyz"]
    files = [path for name in names if (path := (options.directory / name).resolve()).exists()]
    aws = program("aws")
    with tempfile.TemporaryDirectory() as home:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "CACHER_ENDPOINT": f"file://{home}/store",
            # No file that pip has put beside the library counts, nor does the user's own.
            "PYTHONPATH": os.pathsep.join([str(Path.cwd()), sysconfig.get_paths()["purelib"]]),
        }
        for command in (
            ["--help"],
            ["key", "x"],
            ["list"],
            ["dir", "upload", "k", ".builds", "-q"],
        ):
            package = [sys.executable, "-S", "-m", "cacher", *command]
            contenders = [Contender("package", package)]
            contenders += [
                Contender(path.name, [sys.executable, "-S", str(path), *command]) for path in files
            ]
            if aws and command == ["--help"]:
                contenders.append(Contender("aws --version", [aws, "--version"]))
            results = race(contenders, rounds=options.rounds, environ=environ)
            for path in files:
                pair = {path.name: results[path.name], "package": results["package"]}
                show(f"cacher {' '.join(command)}", pair, first=path.name)
            if "aws --version" in results:
                pair = {files[0].name: results[files[0].name]}
                pair["aws --version"] = results["aws --version"]
                show("cacher --help", pair, first=files[0].name)


if __name__ == "__main__":
    main()
