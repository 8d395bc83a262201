"""The recipes' manifests are what the CI systems define, and their lines do what is promised.

Each is run twice, on two machines that share a store: a miss, and then a hit. Programs that would
need a network or rights (aws, curl, npm, apk, sudo) are doubles that write down what they were
asked; docker is the tests' own.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.docker_scenes import FakeDocker
from tests.fakes.faults import Fault, Respond
from tests.fakes.origin import Origin, Reply
from tests.fakes.s3server import FakeS3Server
from tests.packaging import ci_manifests
from tests.packaging.ci_manifests import Job
from tests.support.cli_helpers import BucketPlace

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/recipes.md").read_text()
IMAGE = "registry.example.org/build:12"

READERS: dict[str, tuple[str, Callable[[str], list[Job]]]] = {
    "Plain shell": ("sh", ci_manifests.plain_shell),
    "builds.sr.ht": ("yaml", ci_manifests.sourcehut),
    "GitLab CI": ("yaml", ci_manifests.gitlab),
    "GitHub Actions": ("yaml", ci_manifests.github),
    "Forgejo Actions": ("yaml", ci_manifests.forgejo),
    "Woodpecker": ("yaml", ci_manifests.woodpecker),
    "Jenkins": ("groovy", ci_manifests.jenkins),
    "CircleCI": ("yaml", ci_manifests.circleci),
    "Buildkite": ("yaml", ci_manifests.buildkite),
}

every_system = pytest.mark.parametrize("system", READERS)

AT_ONCE = ("Plain shell", "GitLab CI")
"""Whose recipes are run on every change; the others when all is tested."""

run_of_every_system = pytest.mark.parametrize(
    "system",
    [
        pytest.param(system, marks=() if system in AT_ONCE else pytest.mark.release)
        for system in READERS
    ],
)


def blocks(system: str) -> list[tuple[str, str]]:
    """Language and text of the blocks in a system's section."""
    (section,) = re.findall(rf"^## {re.escape(system)}\n(.*?)(?=^## |\Z)", TEXT, re.M | re.DOTALL)
    return re.findall(r"^```(\w*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def jobs(system: str) -> list[Job]:
    """What a system would run."""
    language, reader = READERS[system]
    ((shown, text),) = blocks(system)
    assert shown == language
    return reader(text)


DOUBLES = {
    "aws": (
        '[ "$1 $2" = "s3 cp" ] && mkdir -p "$HOME/../s3/cache" && cd "$HOME" && '
        'cp "$(echo "$3" | sed "s#^s3:/#../s3#")" "$(echo "$4" | sed "s#^s3:/#../s3#")"'
    ),
    "curl": '[ "$1" = -fsSLo ] && [ "$3" = https://pyz.invalid/cacher.pyz ] && cp "$PYZ" "$2"',
    "npm": '[ "$*" = ci ] && mkdir node_modules && cp package.json node_modules/installed',
    "apk": '[ "$1" = add ]',
    "sudo": '[ "$1 $2 $3" = "usermod -aG docker" ]',
}


@dataclass
class Farm:
    """Machines that share a store."""

    directory: Path
    environment: dict[str, str]

    secrets: dict[str, str]
    """The credentials, as variables and as files: a machine has those that its manifest names."""

    place: BucketPlace

    def install(self, setting: str = "") -> None:
        """Put a `cacher.pyz` to where the manifests fetch it from; `setting` is run before it."""
        pyz = self.directory / "pyz"
        pyz.write_text(
            f"#!{sys.executable}\nimport sys, time\nsys.path.insert(0, {str(ROOT)!r})\n{setting}\n"
            "from cacher.cli.main import main\nsys.exit(main())\n"
        )
        pyz.chmod(0o755)
        self.environment["PYZ"] = str(pyz)
        self.environment["PYZ_SHA256"] = hashlib.sha256(pyz.read_bytes()).hexdigest()

    def run(self, machine: str, system: str) -> tuple[Path, list[str]]:
        """All jobs on a new machine; where they worked, and what was said on stderr."""
        home = self.directory / machine
        checkout = home / "project" if system == "builds.sr.ht" else home
        self.check_out(checkout)
        said = []
        for job in jobs(system):
            wanted = job.secrets or {name for name in job.environment if name.endswith("_FILE")}
            if system == "Plain shell":
                wanted = {"CACHER_S3_KEY_ID", "CACHER_S3_SECRET"}
            secrets = {name: self.secrets[name] for name in wanted}
            environ = {**job.environment, **self.environment, **secrets, "HOME": str(home)}
            said += self.start([*job.shell, job.script], home, environ)
        return checkout, said

    def check_out(self, directory: Path) -> None:
        """The project, as the system puts it there."""
        directory.mkdir(parents=True)
        (directory / "package.json").write_text("{}\n")
        (directory / "package-lock.json").write_text('{"lockfileVersion": 3}\n')

    def start(self, command: list[str], directory: Path, environ: dict[str, str]) -> list[str]:
        """Run it, to its good end; what cacher said."""
        done = subprocess.run(
            command, cwd=directory, env=environ, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return [line for line in done.stderr.splitlines() if line.startswith("cacher: ")]

    def asked(self, program: str) -> int:
        """How often a double was run."""
        journal = self.directory / "journal"
        return journal.read_text().split().count(program) if journal.exists() else 0


@pytest.fixture
def farm(tmp_path: Path, fake_docker: FakeDocker) -> Iterator[Farm]:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, does in DOUBLES.items():
        program = bin_ / name
        program.write_text(f"#!/bin/sh\necho {name} >>'{tmp_path}/journal'\n{does}\n")
        program.chmod(0o755)
    fake_docker.offer(IMAGE)
    environment = {
        "PATH": f"{bin_}:{fake_docker.env['PATH']}",
        "FAKE_DOCKER": fake_docker.env["FAKE_DOCKER"],
        "PYZ_URL": "https://pyz.invalid/cacher.pyz",
        "DOCKER_HOST": os.environ["DOCKER_HOST"],
        "TMPDIR": str(tmp_path),
    }
    key_file, secret_file = tmp_path / "key-file", tmp_path / "secret-file"
    with FakeS3Server() as server:
        place = BucketPlace(server)
        key_file.write_text(f"{server.access_key}\n")
        secret_file.write_text(f"{server.secret_key}\n")
        secrets = {"CACHER_KEY_FILE": str(key_file), "CACHER_SECRET_FILE": str(secret_file)}
        for name, value in place.environment.items():
            (secrets if name.startswith("CACHER_S3") else environment)[name] = value
        farm = Farm(tmp_path, environment, secrets, place)
        farm.install()
        yield farm
        assert server.violations == []


def test_every_system_has_its_recipe() -> None:
    assert re.findall(r"^## (.*)$", TEXT, re.MULTILINE) == list(READERS)


@pytest.mark.slow
@run_of_every_system
def test_a_miss_and_then_a_hit(system: str, farm: Farm, fake_docker: FakeDocker) -> None:
    tool = b"a tool" * 1000
    with Origin() as origin:
        farm.environment["TOOL_URL"] = origin.script("/tool-1.2.tar.gz", Reply(body=tool))
        farm.environment["TOOL_SHA256"] = hashlib.sha256(tool).hexdigest()
        for machine, outcome in (("first", "stored"), ("second", "hit")):
            fake_docker.forget()
            checkout, said = farm.run(machine, system)
            assert (checkout.parent if system == "builds.sr.ht" else checkout).joinpath(
                "tool.tar.gz"
            ).read_bytes() == tool
            assert (checkout / "node_modules/installed").read_text() == "{}\n"
            assert list(fake_docker.images) == [IMAGE]
            for key in ("tool-1.2.tar.gz", "npm-", "build-image-12"):
                assert any(key in line and outcome in line for line in said), said
            assert not [line for line in said if "warning" in line or "error" in line]
            # The second machine has got all from the store.
            assert len(origin.seen) == farm.asked("npm") == len(fake_docker.calls("pull")) == 1
    stored = farm.place.keys()
    assert [re.sub("npm-.*", "npm", name) for name in stored] == [
        *("build-image-12", "npm", "tool-1.2.tar.gz")
    ]


NO_WAITING = "time.sleep = lambda seconds: None"
"""Tries of a request follow at once: these tests are of what comes after the last one."""


def nobody_listens(farm: Farm) -> None:
    farm.environment["CACHER_ENDPOINT"] = "http://127.0.0.1:9"


def all_is_refused(farm: Farm) -> None:
    farm.place.server.inject(Fault(Respond(403, "AccessDenied"), times=None))


def all_fails(farm: Farm) -> None:
    farm.place.server.inject(Fault(Respond(503, "SlowDown"), times=None))


def nothing_may_be_written(farm: Farm) -> None:
    """As with the keys that docs/security.md has for pull requests."""
    for operation in ("PutObject", "CreateMultipartUpload"):
        fault = Fault(Respond(403, "AccessDenied"), operation=operation, times=None)
        farm.place.server.inject(fault)


@pytest.mark.slow
@run_of_every_system
def test_a_dead_store_costs_a_build_nothing_but_time(
    system: str, farm: Farm, fake_docker: FakeDocker
) -> None:
    builds_all_the_same(system, nobody_listens, 2, farm, fake_docker)


@pytest.mark.parametrize(
    ("die", "errors"), [(all_is_refused, 2), (all_fails, 2), (nothing_may_be_written, 1)]
)
def test_nor_does_one_that_refuses_or_fails(
    die: Callable[[Farm], None], errors: int, farm: Farm, fake_docker: FakeDocker
) -> None:
    builds_all_the_same("Plain shell", die, errors, farm, fake_docker)


def builds_all_the_same(
    system: str, die: Callable[[Farm], None], errors: int, farm: Farm, fake_docker: FakeDocker
) -> None:
    """Run a recipe with a store that has died, and so many errors of cacher's."""
    farm.install(NO_WAITING)
    die(farm)
    tool = b"a tool" * 1000
    with Origin() as origin:
        farm.environment["TOOL_URL"] = origin.script("/tool-1.2.tar.gz", Reply(body=tool))
        farm.environment["TOOL_SHA256"] = hashlib.sha256(tool).hexdigest()
        checkout, said = farm.run("machine", system)
    place = checkout.parent if system == "builds.sr.ht" else checkout
    assert (place / "tool.tar.gz").read_bytes() == tool
    assert (checkout / "node_modules/installed").read_text() == "{}\n"
    assert list(fake_docker.images) == [IMAGE]
    assert farm.asked("npm") == len(fake_docker.calls("pull")) == 1
    # The commands of the directory fail, or one of them; the others deliver, and warn.
    assert len([line for line in said if line.startswith("cacher: error: ")]) == errors, said
    assert [line for line in said if line.startswith("cacher: warning: ")]
    assert farm.place.keys() == []


@pytest.mark.slow
def test_what_is_damaged_is_built_again(farm: Farm, fake_docker: FakeDocker) -> None:
    tool = b"a tool" * 1000
    server = farm.place.server
    with Origin() as origin:
        farm.environment["TOOL_URL"] = origin.script("/tool-1.2.tar.gz", Reply(body=tool))
        farm.environment["TOOL_SHA256"] = hashlib.sha256(tool).hexdigest()
        farm.run("first", "Plain shell")
        for key, entry in server.objects.items():
            middle = len(entry.body) // 2
            damage = bytes([entry.body[middle] ^ 1])
            body = entry.body[:middle] + damage + entry.body[middle + 1 :]
            server.put_object(key, body, entry.metadata)
        fake_docker.forget()
        checkout, said = farm.run("second", "Plain shell")
    assert (checkout / "tool.tar.gz").read_bytes() == tool
    assert (checkout / "node_modules/installed").read_text() == "{}\n"
    assert list(fake_docker.images) == [IMAGE]
    assert not [line for line in said if line.startswith("cacher: hit ")]
    assert len(origin.seen) == farm.asked("npm") == len(fake_docker.calls("pull")) == 2


def readme() -> str:
    """The README's blocks but those that `test_readme.py` sees to, in order."""
    text = (ROOT / "README.md").read_text()
    found = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    seen_to = re.compile(r"venv|checksums|^tests/run$")
    return "\n".join(one for one in found if not seen_to.search(one))


def examples() -> str:
    """The man page's, but the one for completion."""
    text = (ROOT / "docs/cacher.1").read_text().replace("\\-", "-").replace("\\(aq", "'")
    found = re.findall(r"^\.nf\n(.*?)^\.fi", text, re.MULTILINE | re.DOTALL)
    return "\n".join(one for one in found if "completion" not in one)


@pytest.mark.slow
@pytest.mark.parametrize("shown", [readme, examples])
def test_what_else_is_shown(shown: Callable[[], str], farm: Farm, fake_docker: FakeDocker) -> None:
    """The loops of the README and the man page, with a store and secrets put in."""
    script = shown()
    assert script.count("cacher ") >= 4
    (image,) = re.findall(r"registry\.example\.org/\S+", script)
    fake_docker.offer(image)
    server = farm.place.server
    script = re.sub(r"^(export .*)=\.\.\.( .*)=\.\.\.", r"\1=$ID\2=$SECRET", script, flags=re.M)
    script = script.replace("https://s3.example.org", server.endpoint)
    script = script.replace("ci-cache", server.bucket)
    (farm.directory / "bin/curl").unlink()  # the real one reaches the origin
    (farm.directory / "bin/cacher").symlink_to(farm.environment["PYZ"])
    body = b"go" * 1000
    with Origin() as origin:
        environ = farm.environment | {
            "URL": origin.script("/go.tar.gz", Reply(body=body)),
            "SHA256": hashlib.sha256(body).hexdigest(),
            "ID": server.access_key,
            "SECRET": server.secret_key,
            "CACHER_S3_KEY_ID": server.access_key,
            "CACHER_S3_SECRET": server.secret_key,
        }
        for machine in ("first", "second"):
            fake_docker.forget()
            home = farm.directory / machine
            farm.check_out(home)
            farm.start(["sh", "-ec", script], home, {**environ, "HOME": str(home)})
            assert (home / "go.tar.gz").read_bytes() == body
            assert (home / "node_modules/installed").read_text() == "{}\n"
            assert list(fake_docker.images) == [image]
        before = 1 if farm.asked("aws") else 0  # the loop that is replaced has a store of its own
        assert len(origin.seen) - before == farm.asked("npm") == len(fake_docker.calls("pull")) == 1
    assert len(farm.place.keys()) == 3


def pair(farm: Farm) -> dict[str, str]:
    """The credentials as variables."""
    return {name: value for name, value in farm.secrets.items() if name.startswith("CACHER_S3")}


def loops(script: str) -> str:
    """Without the set-up, which is what finds a dead store."""
    return re.sub(r"^(export|cacher init) .*\n", "", script, flags=re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["-c", "-ec"])
@pytest.mark.parametrize("shown", [readme, examples])
def test_what_else_is_shown_survives_a_dead_store(
    shown: Callable[[], str], flag: str, farm: Farm, fake_docker: FakeDocker
) -> None:
    script = loops(shown())
    (image,) = re.findall(r"registry\.example\.org/\S+", script)
    fake_docker.offer(image)
    farm.install(NO_WAITING)
    nobody_listens(farm)
    (farm.directory / "bin/curl").unlink()
    (farm.directory / "bin/cacher").symlink_to(farm.environment["PYZ"])
    body = b"go" * 1000
    home = farm.directory / "machine"
    farm.check_out(home)
    with Origin() as origin:
        environ = farm.environment | {
            "URL": origin.script("/go.tar.gz", Reply(body=body)),
            "SHA256": hashlib.sha256(body).hexdigest(),
            "HOME": str(home),
        }
        said = farm.start(["sh", flag, script], home, environ | pair(farm))
    assert (home / "go.tar.gz").read_bytes() == body
    assert (home / "node_modules/installed").read_text() == "{}\n"
    assert list(fake_docker.images) == [image]
    assert len([line for line in said if line.startswith("cacher: error: ")]) == 2, said


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["-c", "-ec"])
@pytest.mark.parametrize("shown", [readme, examples])
def test_what_could_not_be_built_is_not_stored(
    shown: Callable[[], str], flag: str, farm: Farm
) -> None:
    (loop,) = re.findall(
        r"^(?:key=.*\n)?cacher dir download .*?^\}$", shown(), re.MULTILINE | re.DOTALL
    )
    (farm.directory / "bin/cacher").symlink_to(farm.environment["PYZ"])
    home = farm.directory / "machine"
    farm.check_out(home)
    (home / "package.json").unlink()  # what the double of npm copies
    environ = {**farm.environment, **pair(farm), "HOME": str(home)}
    done = subprocess.run(["sh", flag, f"{loop}\necho on"], cwd=home, env=environ, text=True)
    assert done.returncode == 1
    assert farm.asked("npm") == 1
    assert farm.place.keys() == []


@run_of_every_system
def test_another_cacher_is_not_run(system: str, farm: Farm) -> None:
    farm.environment["PYZ_SHA256"] = "0" * 64
    with pytest.raises(AssertionError):
        farm.run("machine", system)
    assert farm.place.keys() == []
    assert farm.asked("curl") == 1


@every_system
def test_secrets_come_from_the_system(system: str) -> None:
    """By files that a manifest names, or by what the system fills in; never from the text."""
    ((_, text),) = blocks(system)
    assert not re.search(r"--(key|secret)-file|echo .*CACHER_S3", text)
    ways = [
        job.secrets or {n for n in job.environment if n.endswith("_FILE")} for job in jobs(system)
    ]
    named = set().union(*ways)
    pairs = ({"CACHER_S3_KEY_ID", "CACHER_S3_SECRET"}, {"CACHER_KEY_FILE", "CACHER_SECRET_FILE"})
    assert named in pairs or system == "Plain shell"
    for job in jobs(system):
        assert not {"CACHER_S3_KEY_ID", "CACHER_S3_SECRET"} & set(job.environment)
