"""podman with a storage of its own: the second engine, which has no daemon."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.daemons import commands, namespace
from tests.support.servers import programs
from tests.support.servers.base import environment, private_directory

_STORAGE = """\
[storage]
driver = "{driver}"
graphroot = "{root}/storage"
runroot = "{root}/run"
"""

_CONTAINERS = """\
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{root}/engine"
image_copy_tmp_dir = "{root}/tmp"
[network]
network_config_dir = "{root}/networks"
"""

# Whatever is not found locally is not looked for anywhere, and the one registry has no https.
_REGISTRIES = """\
unqualified-search-registries = []
[[registry]]
location = "{registry}"
insecure = true
"""

# What no setting moves: /var/lib/containers has a cache of blobs' places, /run locks, and part of
# what a load unpacks goes to /var/tmp.
_WRAPPER = """\
#!/bin/sh
exec {enter} sh -c 'mount -t tmpfs -o mode=755 var-lib /var/lib &&
    mount -t tmpfs -o mode=755 run /run && mount --bind {root}/tmp /var/tmp &&
    exec "$0" "$@"' {program} "$@"
"""


@dataclass(frozen=True)
class Podman:
    """A podman with a storage of its own."""

    program: Path
    """A wrapper that becomes podman, by the name of `podman`."""
    root: Path
    """Its own directory, with its images; gone at the end."""

    @property
    def env(self) -> Mapping[str, str]:
        """What has to be in the environment for a plain `podman` to be this one; has `PATH`."""
        return {
            "PATH": os.pathsep.join([str(self.program.parent), os.environ.get("PATH", os.defpath)]),
            "TMPDIR": str(self.root / "tmp"),
            "CONTAINERS_STORAGE_CONF": str(self.root / "storage.conf"),
            "CONTAINERS_CONF": str(self.root / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.root / "registries.conf"),
        }

    def run(
        self,
        *argv: str | Path,
        input: bytes = b"",  # noqa: A002 - as subprocess.run has it
        check: bool = True,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run podman with these arguments, to its end.

        Raises `RuntimeError` with its stderr if `check` and it fails.
        """
        return commands.run(
            self.program, *argv, env=environment(self.root, self.env), input_=input, check=check
        )

    def image_id(self, image: str) -> str | None:
        """The id, 64 hex digits, of the image of that name; None if there is none."""
        done = self.run("image", "inspect", "--format", "{{.Id}}", image, check=False)
        return done.stdout.decode().strip() if done.returncode == 0 else None

    def trust(self, registry: str) -> None:
        """Let `registry`, HOST:PORT, be reached without https."""
        (self.root / "registries.conf").write_text(_REGISTRIES.format(registry=registry))


@contextmanager
def start() -> Iterator[Podman]:
    """A podman without images, until the block is left. Raises `ProgramNotFound`."""
    installed = programs.find("podman")
    enter = shlex.join(namespace.enter())
    with private_directory("podman") as root:
        driver = namespace.storage_driver(root, overlay="overlay")
        (root / "storage.conf").write_text(_STORAGE.format(driver=driver, root=root))
        (root / "containers.conf").write_text(_CONTAINERS.format(root=root))
        for name in ("bin", "tmp", "networks"):
            (root / name).mkdir()
        wrapper = root / "bin" / "podman"
        text = _WRAPPER.format(enter=enter, root=root, program=shlex.quote(str(installed)))
        wrapper.write_text(text)
        wrapper.chmod(0o755)
        podman = Podman(program=wrapper, root=root)
        podman.trust("127.0.0.1")
        yield podman
