"""The house's layers and doors, as data; and what starting the program loads."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.module_imports import ROOT, Module, modules, parsed

ORDER = [
    # A room is one module, or a directory of them. It imports only from those after it.
    "__main__",
    "cli",
    "commands",
    "store",
    "replace",
    "settings",
    "s3",  # knows nothing of caches
    "tree",  # knows nothing of S3, nor do those below
    "docker",
    "archive",
    "tar",
    "http",
    "keys",
    "process",
    "report",
    "fileio",
    "time_limits",
    "errors",
    "version",  # the package itself
]

PURE = {
    # Modules that decide and compute, and so import none of these.
    "cacher.s3.signing": {"socket", "ssl", "os", "cacher"},
    "cacher.s3.xml": {"socket", "ssl", "os", "cacher"},
    "cacher.s3.store_quirks": {"socket", "ssl", "os"},
    "cacher.http.retry": {"socket", "ssl", "os", "time", "cacher.errors", "cacher.s3"},
    "cacher.http.proxies": {"socket", "ssl", "os", "cacher"},
    "cacher.s3.session": {"socket", "ssl", "os", "time"},
    "cacher.s3.client": {"socket", "ssl", "os", "time"},
}

DOORS = {
    # What only the named modules may use. A name stands for everything below it.
    "urllib3": {"cacher.http.transport", "cacher.http.exceptions"},
    "http.client": {"cacher.http.response", "cacher.http.transport", "cacher.http.exceptions"},
    "urllib.request": set(),
    "socket": {
        "cacher.http.connect",
        "cacher.http.minimum_speed",
        "cacher.http.transport",
        "cacher.s3.probes",
    },
    "ssl": {"cacher.http.transport", "cacher.http.tls", "cacher.s3.probes"},
    "zstandard": {"cacher.archive.zstd"},
    "compression": {"cacher.archive.zstd_stdlib"},
    "tarfile": {"cacher.tree.pack", "cacher.tree.unpack"},
    "subprocess": {"cacher.process"},
    "ctypes": {"cacher.replace.exchange"},
    # Each class of theirs takes six times as long to make as a NamedTuple, at every start.
    "dataclasses": set(),
    "multiprocessing": set(),
    "asyncio": set(),
    "os.system": set(),
    "os.popen": set(),
    "os.fork": set(),
    "os.posix_spawn": set(),
    "os.environ": {"cacher.cli.main"},
    "os.environb": {"cacher.cli.main"},
    "os.getenv": {"cacher.cli.main"},
    "os.putenv": set(),
    "time.time": {"cacher.cli.main"},
    "time.monotonic": {"cacher.cli.main"},
    "time.sleep": {"cacher.cli.main"},
    "datetime.datetime.now": set(),
    "random": {"cacher.cli.main"},
    "signal": {"cacher.cli.signals", "cacher.process"},
    "logging": set(),
    "pickle": set(),
}

MODULES = modules()

every_module = pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)


def room_of(name: str) -> str:
    return name.split(".")[1] if "." in name else "version"


def is_below(name: str, door: str) -> bool:
    return name == door or name.startswith(f"{door}.")


def trespasses(module: Module) -> set[str]:
    """The modules it imports although its room may not."""
    own = ORDER.index(room_of(module.name))
    return {name for name in module.own_imports() if ORDER.index(room_of(name)) < own}


def forced_doors(module: Module) -> set[str]:
    """The doors it goes through although they are not its own."""
    names = module.imports() | module.uses()
    return {
        door
        for door, keepers in DOORS.items()
        if module.name not in keepers and any(is_below(name, door) for name in names)
    }


# --- the rules themselves ------------------------------------------------------------------------


def test_every_room_has_its_place() -> None:
    assert sorted({room_of(name) for name in MODULES}) == sorted(ORDER)


@pytest.mark.parametrize(
    ("source", "door"),
    [
        ("import urllib3", "urllib3"),
        ("import urllib3.util as u", "urllib3"),
        ("from urllib3 import PoolManager", "urllib3"),
        ("from urllib3.util.retry import Retry", "urllib3"),
        ("def f():\n    import subprocess", "subprocess"),
        ("import os\nx = os.environ['X']", "os.environ"),
        ("import os as o\no.environ.get('X')", "os.environ"),
        ("from os import environ", "os.environ"),
        ("import os.path\nos.environ", "os.environ"),
        ("from os import getenv as g", "os.getenv"),
        ("import time\ndef f(): time.sleep(1)", "time.sleep"),
        ("import time\nf(clock=time.time)", "time.time"),
        ("from datetime import datetime\ndatetime.now()", "datetime.datetime.now"),
        ("import datetime as d\nd.datetime.now().year", "datetime.datetime.now"),
        ("from random import random", "random"),
    ],
)
def test_doors_are_watched(source: str, door: str) -> None:
    assert forced_doors(parsed(source)) == {door}


def test_what_only_looks_like_a_door_is_none() -> None:
    source = "import time, os, urllib.parse\ntime.timezone, os.path, self.random, socket, os.fsync"
    assert not forced_doors(parsed(source))
    assert not forced_doors(parsed("def f(random): return random.x\nimport randomness, urllib3x"))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("cacher.s3.x", "from cacher.store import interface"),
        ("cacher.s3.x", "from cacher.store.interface import Entry"),
        ("cacher.http.x", "import cacher.s3.xml"),
        ("cacher.store.x", "def f():\n    from cacher.commands import context"),
        ("cacher.settings.x", "from cacher import cli"),
        ("cacher.keys.x", "from cacher.tree import walk"),
    ],
)
def test_trespasses_are_seen(name: str, source: str) -> None:
    module = Module(name, ast.parse(source), frozenset(MODULES))
    assert trespasses(module)


# --- the rules, held -----------------------------------------------------------------------------


@every_module
def test_modules_import_only_from_below(module: Module) -> None:
    assert not trespasses(module)


@every_module
def test_each_foreign_thing_has_one_door(module: Module) -> None:
    assert not forced_doors(module)


@every_module
def test_imports_are_absolute_and_name_what_they_import(module: Module) -> None:
    assert not [name for name in module.imports() if name.startswith(".") or name.endswith(".*")]


@pytest.mark.parametrize("name", PURE)
def test_what_decides_touches_nothing(name: str) -> None:
    imported = {part for part in MODULES[name].imports() if part != "__future__"}
    assert not [part for part in imported for banned in PURE[name] if is_below(part, banned)]


def test_importing_the_package_loads_nothing() -> None:
    assert MODULES["cacher"].imports() == set()
    for name, module in MODULES.items():
        if (ROOT / Path(*name.split(".")[1:]) / "__init__.py").exists():
            assert module.imports() == set(), name


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    """At import time, that is: a function may import the module that calls it."""
    needs = {
        name: {other for other in module.imports_at_once() & module.ours if other != "cacher"}
        for name, module in MODULES.items()
    }
    while free := {name for name, others in needs.items() if not others & needs.keys()}:
        needs = {name: others for name, others in needs.items() if name not in free}
    assert not needs


# --- what a start loads --------------------------------------------------------------------------

DEAR = ["dataclasses", "ssl", "tarfile", "typing", "urllib3", "zstandard"]
"""What no start may load that has nothing to transfer."""

SCRIPT = """\
import json, sys
sys.path.insert(0, sys.argv[1])
from cacher.cli.main import main
status = main(sys.argv[3:])
with open(sys.argv[2], "w") as file:
    json.dump([status, sorted(sys.modules)], file)
"""


def start(directory: Path, *argv: str, site: bool = False) -> tuple[int, set[str]]:
    """The exit status of a run of its own, and the modules it has loaded.

    Without `site`, which on some machines loads much before the program begins.
    """
    told = directory / "told.json"
    flags = ["-I"] if site else ["-I", "-S"]
    environ = {"HOME": str(directory), "PATH": os.defpath}
    result = subprocess.run(
        [sys.executable, *flags, "-c", SCRIPT, str(ROOT.parent), str(told), *argv],
        env=environ,
        cwd=directory,
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    status, loaded = json.loads(told.read_text())
    return status, set(loaded)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("--help", 0),
        ("help dir upload", 0),
        ("help options", 0),
        ("download --help", 0),
        ("delete --help", 0),
        ("version", 0),
        ("--version", 0),
        ("key deps-{os}-{arch}-{date}-{week}", 0),
        ("key deps --hash-from told.txt", 0),
        ("key deps-{hash} --hash-from *.txt", 0),
        ("key deps-{hsah}", 2),
        ("key a//b", 2),
        ("key deps --hash-from absent", 7),
        ("", 2),
        ("download", 2),
        ("download k f --frobnicate", 2),
        ("no-such-command", 2),
        ("--jobs", 2),
        ("list --sort colour", 2),
    ],
)
def test_a_start_without_a_transfer_is_cheap(tmp_path: Path, command: str, status: int) -> None:
    (tmp_path / "told.txt").write_text("hashed")
    told, loaded = start(tmp_path, *command.split())
    assert told == status
    assert not loaded.intersection(DEAR)
    assert "argparse" in loaded


def test_a_local_store_does_not_wait_for_http(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    store = f"--endpoint=file://{tmp_path}/store"
    for argv, expected in (
        (["upload", "k", "file"], 0),
        (["exists", "k"], 0),
        (["download", "k", "again"], 0),
        (["download", "absent", "again"], 1),
        (["list"], 0),
        (["delete", "k"], 0),
    ):
        status, loaded = start(tmp_path, store, *argv, site=True)
        assert status == expected
        assert not loaded & {"ssl", "tarfile", "urllib3", "zstandard"}, argv


def test_what_is_dear_can_be_seen(tmp_path: Path) -> None:
    """A store on a bucket does load HTTP: the tests above could fail."""
    status, loaded = start(
        tmp_path, "--endpoint=http://127.0.0.1:9", "--bucket=cache", "exists", "k", site=True
    )
    assert status == 2  # no credentials
    assert {"ssl", "typing", "urllib3"} <= loaded
    # What urllib3 brings along for HTTP/2, and what takes a tenth of the time.
    assert not loaded & {"dataclasses", "importlib.metadata", "inspect", "zipfile"}


def test_what_stands_for_http2_has_the_modules_of_it(tmp_path: Path) -> None:
    """Should another urllib3 want more of it than ours does."""
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(ROOT.parent)!r})
        import cacher.http.transport
        from urllib3.http2 import probe
        assert probe is sys.modules["urllib3.connection"].http2_probe
        assert "importlib.metadata" not in sys.modules
        print(probe.acquire_and_get("host", 443))
    """
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr
