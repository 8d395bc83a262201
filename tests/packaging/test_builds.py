"""The manifests for builds.sr.ht: what they may hold, and that each runs on a machine like its."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.packaging import build_host
from tests.packaging.build_host import COMPLETE, Host
from tests.packaging.ci_manifests import SOURCEHUT, known
from tests.packaging.releases import RELEASED, VERSION, publish
from tests.support.servers import programs

ROOT = Path(__file__).parents[2]
MANIFESTS = sorted((ROOT / ".builds").glob("*.yml"))
FEW = {"PYTEST_ADDOPTS": "tests/unit/keys/test_template.py"}
"""All tests take too long: of pytest's only these, all else that a task does is done."""

HEAVY = ["chromium", "docker-registry", "docker.io", "npm", "podman", "qemu-user-static"]
"""What a few unit tests do not need, and takes minutes to install."""


def manifest(name: str) -> dict[str, Any]:
    told = yaml.safe_load((ROOT / ".builds" / f"{name}.yml").read_text())
    assert isinstance(told, dict)
    return told


def tasks(told: dict[str, Any]) -> dict[str, str]:
    return {name: script for task in told["tasks"] for name, script in task.items()}


def test_there_are_at_most_four() -> None:
    """git.sr.ht submits no more (https://man.sr.ht/builds.sr.ht/#gitsrht)."""
    assert [path.stem for path in MANIFESTS] == ["e2e", "publish", "test"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.stem))
def test_manifest(path: Path) -> None:
    """The types are those of https://man.sr.ht/builds.sr.ht/manifest.md."""
    told = manifest(path.stem)
    known(told, SOURCEHUT)
    assert told["image"] == "debian/stable"  # what the chroot is
    assert all(isinstance(package, str) for package in told["packages"])
    assert all(isinstance(value, str) for value in told.get("environment", {}).values())
    for grant in told.get("oauth", "").split():
        assert re.fullmatch(r"[a-z]+\.sr\.ht/[A-Z]+:(RO|RW)", grant)
    assert told["tasks"]
    for task in told["tasks"]:
        ((name, script),) = task.items()
        assert re.fullmatch("[a-z0-9_-]{1,128}", name)
        assert isinstance(script, str)
        lines = script.splitlines()
        assert (lines[0], len(lines)) == ("cd cacher", 2)
        for program in re.findall(r"(?:^|\s)((?:\.builds|\.ci|tests)/\S+)", script):
            assert os.access(ROOT / program, os.X_OK), program
    assert len(tasks(told)) == len(told["tasks"])


def test_the_tests_find_their_programs() -> None:
    """Their user is not root, so that `tests/run` installs none."""
    rows = [line.split() for line in (ROOT / "tests/support/programs.txt").read_text().splitlines()]
    needed = {row[2] for row in rows if row[0] == "default"}
    assert needed - {"bash", "git", "tar", "util-linux"} <= set(manifest("test")["packages"])


@pytest.fixture
def host(tmp_path: Path) -> Host:
    try:
        return build_host.fresh(tmp_path / "host")
    except programs.ProgramNotFound as missing:
        programs.unavailable(missing)


def build(host: Host, told: dict[str, Any], extra: dict[str, str]) -> str:
    """Run all tasks in order, up to `complete-build`; what they said. Fails as they do."""
    said = []
    for name, script in tasks(told).items():
        done = host.task(name, script, {**told.get("environment", {}), **extra})
        said.append(f"-- {name}\n{done.stdout}")
        if done.returncode == COMPLETE:
            break
        assert done.returncode == 0, said[-1][-5000:]
    return "\n".join(said)


@pytest.mark.release
@pytest.mark.timeout(6000)
def test_the_tests(host: Host, tmp_path: Path) -> None:
    told = manifest("test")
    host.clone(build_host.checkout(tmp_path / "cacher", {}))
    host.install(told["packages"])
    said = build(host, told, FEW)
    assert "cacher: miss tests-linux-" in said
    assert "tests/run: making /home/build/" in said
    assert "tests/run: all passed" in said
    assert "cacher: stored tests-linux-" in said
    # The next build has another home, and the same store: nothing is installed again.
    host.run("rm -rf ~/.cache/cacher-tests", user="build")
    said = build(host, told, FEW)
    assert "cacher: hit tests-linux-" in said
    assert "tests/run: making" not in said
    assert "tests/run: all passed" in said
    # A store that is not there does not stop a build.
    environment = {**told["environment"], "CACHER_ENDPOINT": "http://127.0.0.1:9", **_PAIR}
    done = host.task("restore", tasks(told)["restore"], environment)
    assert "cacher: error: " in done.stdout
    assert done.returncode == 0


_PAIR = {"CACHER_BUCKET": "ci-cache", "CACHER_S3_KEY_ID": "a", "CACHER_S3_SECRET": "b"}


@pytest.mark.release
@pytest.mark.timeout(6000)
def test_everything(host: Host, tmp_path: Path) -> None:
    """`.ci/run`, but for what is heavy, and with servers as if they had been installed."""
    told = manifest("e2e")
    host.clone(build_host.checkout(tmp_path / "cacher", {}))
    host.install(told["packages"])
    host.pretend(HEAVY)
    script = (ROOT / "tests/run").read_text()
    for name in ("garage", "seaweedfs", "juicefs", "rclone"):
        version = re.search(rf"\b{name.upper()}=(\S+)", script)
        assert version is not None
        program = host.home / f".cache/cacher-tests/{name}-{version[1]}/bin/{name}"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
    host.own()
    said = build(host, told, FEW)
    assert "tests/run: all passed" in said


@pytest.mark.release
@pytest.mark.timeout(6000)
def test_a_release(host: Host, tmp_path: Path) -> None:
    told = manifest("publish")
    checkout = build_host.checkout(tmp_path / "cacher", {"docs/changelog.md": RELEASED})
    build_host.git(checkout, "tag", "-a", "-m", "first", VERSION)
    host.clone(checkout)
    host.install(told["packages"])
    line = ".builds/publish ~/release"
    assert tasks(told)["publish"].splitlines()[-1] == line
    (task,) = [task for task in told["tasks"] if "publish" in task]
    task["publish"] = task["publish"].replace(line, f"{line} --dry-run")
    said = build(host, told, {})
    assert f"would run: hut git artifact upload --rev {VERSION} /home/build/release/" in said
    domain = told["environment"]["SITE"]
    assert f"would run: hut pages publish --domain {domain} /home/build/release/" in said
    checked = host.run(
        "cd ~/release && sha256sum -c checksums.txt && ./cacher.pyz version"
        f" && cd attachments && sha256sum -c cacher-{VERSION}-checksums.txt",
        user="build",
    )
    assert checked.returncode == 0, checked.stdout
    assert VERSION in checked.stdout
    assert checked.stdout.count(": OK\n") == 14
    assert "Everything." in (host.home / "release/index.html").read_text()
    # This machine has another Python and another Debian, and makes the same.
    ours = publish(checkout, "--dry-run")
    assert ours.returncode == 0, ours.stderr
    listing = (tmp_path / "out/checksums.txt").read_text()
    assert listing == (host.home / "release/checksums.txt").read_text()
    # The hut that would run knows what it would be told.
    for words, flag in (("git artifact upload", "--rev"), ("pages publish", "--domain")):
        assert flag in host.run(f"hut {words} --help", user="build").stdout


@pytest.mark.release
@pytest.mark.timeout(3000)
def test_no_release(host: Host, tmp_path: Path) -> None:
    """A push that is not a tag ends in the first task."""
    told = manifest("publish")
    host.clone(build_host.checkout(tmp_path / "cacher", {"docs/changelog.md": RELEASED}))
    said = build(host, told, {})
    assert "-- tag" in said
    assert "-- publish" not in said
    assert not (host.home / "release").exists()
