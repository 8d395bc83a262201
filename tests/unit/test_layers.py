"""The order of the rooms, and the one door of each foreign thing."""

from __future__ import annotations

import pytest

from tests.support.module_imports import Module, modules, parsed

ORDER = [
    # A room is one module, or a folder of them. It imports only from itself and from later ones.
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
    "progress",
    "report",
    "fileio",
    "time_limits",
    "errors",
    "version",  # the package itself
]

DOORS = {
    # Names that only these modules may use. A name stands for everything below it.
    "urllib3": {"cacher.http.transport", "cacher.http.exceptions"},
    "http.client": {
        "cacher.http.response_parser",
        "cacher.http.transport",
        "cacher.http.exceptions",
    },
    "urllib.request": set(),
    "socket": {
        "cacher.http.tcp",
        "cacher.http.minimum_speed",
        "cacher.http.probes",
        "cacher.http.transport",
    },
    "ssl": {"cacher.http.transport", "cacher.http.tls"},
    "zstandard": {"cacher.archive.zstd"},
    "compression": {"cacher.archive.zstd_stdlib"},
    "tarfile": {"cacher.tree.pack", "cacher.tree.unpack"},
    "subprocess": {"cacher.process"},
    "ctypes": {"cacher.replace.exchange"},
    # Making a class takes six times as long as a NamedTuple, at every start.
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


def forbidden_imports(module: Module) -> set[str]:
    own = ORDER.index(room_of(module.name))
    return {name for name in module.own_imports() if ORDER.index(room_of(name)) < own}


def forbidden_doors(module: Module) -> set[str]:
    names = module.imports() | module.uses()
    return {
        door
        for door, keepers in DOORS.items()
        if module.name not in keepers
        and any(name == door or name.startswith(f"{door}.") for name in names)
    }


def test_every_room_has_its_place() -> None:
    assert sorted({room_of(name) for name in MODULES}) == sorted(ORDER)


@every_module
def test_modules_import_only_from_below(module: Module) -> None:
    assert not forbidden_imports(module)


@every_module
def test_each_foreign_thing_has_one_door(module: Module) -> None:
    assert not forbidden_doors(module)


@pytest.mark.parametrize(
    ("source", "door"),
    [
        ("def f():\n    from urllib3.util.retry import Retry", "urllib3"),
        ("import os as o\no.environ.get('X')", "os.environ"),
        ("from os import getenv as g", "os.getenv"),
        ("import time\nf(clock=time.time)", "time.time"),
        ("import time, os\ntime.timezone, os.path, self.random, socket, urllib3x", None),
    ],
)
def test_doors_are_watched(source: str, door: str | None) -> None:
    assert forbidden_doors(parsed(source)) == ({door} if door else set())


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    """At import time, that is: a function may import the module that calls it."""
    needs = {
        name: {other for other in module.imports_at_once() & module.ours if other != "cacher"}
        for name, module in MODULES.items()
    }
    while free := {name for name, others in needs.items() if not others & needs.keys()}:
        needs = {name: others for name, others in needs.items() if name not in free}
    assert not needs
