"""The double of docker prints, returns and fails as the real one, and as it is told."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.fakes.docker_scenes import FakeDocker, Flow, Version

SECONDS = 200.0  # for what takes a twentieth of one


def run(*argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Whatever `docker` is on PATH."""
    return subprocess.run(
        ["docker", *argv], input=stdin, capture_output=True, timeout=SECONDS, check=False
    )


def begun(*argv: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(["docker", *argv], stdin=pipe, stdout=pipe, stderr=pipe)


def write_all(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    while data:
        data = data[os.write(process.stdin.fileno(), data) :]


def ended(process: subprocess.Popen[bytes]) -> int:
    """Its status; its pipes are closed."""
    status = process.wait(SECONDS)
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream is not None
        stream.close()
    return status


def flow(data: bytes) -> Flow:
    return Flow(len(data), hashlib.sha256(data).hexdigest())


def manifest(archive: bytes) -> list[dict[str, object]]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        member = tar.extractfile("manifest.json")
        assert member is not None
        told: list[dict[str, object]] = json.load(member)
        return told


def test_it_is_what_docker_means(fake_docker: FakeDocker) -> None:
    assert shutil.which("docker") == str(fake_docker.program)
    assert run("version", "--format", "{{.Server.Version}}").stdout == b"20.10.24\n"
    assert run("info", "-f", "{{.ServerVersion}}").stdout == b"20.10.24\n"
    assert [call.argv[0] for call in fake_docker.calls()] == ["version", "info"]


@pytest.mark.parametrize(
    ("version", "complaint"),
    [
        ("20.10.24", "Error: No such image: nope\n"),
        (
            "28.2.2",
            "Error response from daemon: no such image: nope: No such image: nope:latest\n",
        ),
    ],
)
def test_inspect_tells_of_those_that_are_there(
    version: Version, complaint: str, fake_docker: FakeDocker
) -> None:
    fake_docker.become(version)
    one, other = fake_docker.add("app:1"), fake_docker.add()
    form = ("image", "inspect", "--format", "{{.Id}}")
    both = run(*form, "app:1", other)
    assert (both.returncode, both.stdout) == (0, f"{one}\n{other}\n".encode())
    some = run(*form, "app:1", "nope", other)
    assert (some.returncode, some.stdout, some.stderr) == (1, both.stdout, complaint.encode())
    assert run(*form, "nope").stdout == b"\n"
    none = run("image", "inspect", "nope")
    assert (none.returncode, none.stdout, none.stderr) == (1, b"[]\n", complaint.encode())


def test_inspect_fills_templates(fake_docker: FakeDocker) -> None:
    image = fake_docker.add("app:1", "b:latest", size=10)
    form = "{{json .RepoTags}} {{.RepoTags}} {{ .Size }}"
    assert run("image", "inspect", f"--format={form}", "b").stdout == (
        b'["app:1","b:latest"] [app:1 b:latest] 10\n'
    )
    told = json.loads(run("image", "inspect", "-f", "{{json .}}", "app:1").stdout)
    assert told["Id"] == image
    assert len(told["RootFS"]["Layers"]) == 1
    unknown = run("image", "inspect", "-f", "{{.Nope}}", "app:1")
    assert (unknown.returncode, unknown.stdout) == (1, b"\n")


@pytest.mark.parametrize("argv", [["ps"], ["image", "ls"], ["save", "-o", "f", "app:1"], []])
def test_what_it_does_not_know_it_refuses(argv: list[str], fake_docker: FakeDocker) -> None:
    fake_docker.add("app:1")
    assert run(*argv).returncode == 64
    assert run("image", "inspect", "-f", "{{range .RepoTags}}{{end}}", "app:1").returncode == 64


def test_an_archive_restores_the_images(fake_docker: FakeDocker) -> None:
    one, other = fake_docker.add("app:1", "app:2", "b:1"), fake_docker.add(size=2_000_000)
    before = fake_docker.images
    saved = run("save", "app", other)
    tags = {str(entry["Config"]): entry["RepoTags"] for entry in manifest(saved.stdout)}
    assert tags == {f"{one[7:]}.json": ["app:1", "app:2"], f"{other[7:]}.json": None}

    fake_docker.forget()
    assert fake_docker.images == {}
    loaded = run("load", stdin=saved.stdout)
    assert loaded.returncode == 0
    assert {name: image for name, image in before.items() if name != "b:1"} == fake_docker.images
    assert loaded.stdout.startswith(b"Loaded image: app:1\nLoaded image: app:2\n") or (
        loaded.stdout.endswith(b"Loaded image: app:1\nLoaded image: app:2\n")
    )
    assert run("save", "app", other).stdout == saved.stdout

    save, load, _again = fake_docker.calls()
    assert (save.stdout, load.stdin) == (flow(saved.stdout), flow(saved.stdout))
    assert (save.status, load.status) == (0, 0)
    assert "FAKE_DOCKER" in load.environment


def test_an_image_without_tags_is_told_by_its_id(fake_docker: FakeDocker) -> None:
    image = fake_docker.add("app:1")
    saved = run("save", image).stdout
    fake_docker.forget()
    assert run("load", stdin=saved).stdout == f"Loaded image ID: {image}\n".encode()
    assert fake_docker.images == {image: image}


def test_load_reads_a_file_and_moves_tags(fake_docker: FakeDocker, tmp_path: Path) -> None:
    old = fake_docker.add("app:1")
    (tmp_path / "old.tar").write_bytes(run("save", "app:1").stdout)
    new = fake_docker.add("app:1")
    assert fake_docker.images == {"app:1": new, old: old}
    loaded = run("load", "-i", str(tmp_path / "old.tar"))
    assert (
        loaded.stdout
        == (
            f"The image app:1 already exists, renaming the old one with ID {new} to empty string\n"
            "Loaded image: app:1\n"
        ).encode()
    )
    assert fake_docker.images == {"app:1": old, new: new}
    missing = run("load", "--input", "nowhere.tar")
    assert (missing.returncode, missing.stderr) == (
        1,
        b"open nowhere.tar: no such file or directory\n",
    )


def test_no_broken_archive_is_loaded(fake_docker: FakeDocker) -> None:
    fake_docker.add("app:1")
    whole = run("save", "app:1").stdout
    fake_docker.forget()
    damaged = bytearray(whole)
    damaged[20_000] ^= 1  # in the layer
    for broken, complaint in (
        (b"", b"/repositories: no such file or directory"),
        (whole[:100_000], b"unexpected EOF"),
        (b"x" * 10_000, b"invalid tar header"),
        (bytes(damaged), b"invalid diffID for layer 0"),
    ):
        loaded = run("load", stdin=broken)
        assert (loaded.returncode, loaded.stdout) == (1, b"")
        assert complaint in loaded.stderr
        assert fake_docker.calls("load")[-1].stdin == flow(broken)
    assert fake_docker.images == {}


def test_a_missing_image_is_not_saved_nor_tagged_nor_removed(fake_docker: FakeDocker) -> None:
    fake_docker.add("app:1")
    for argv, complaint in (
        (["save", "app:1", "app:2"], b"Error response from daemon: reference does not exist\n"),
        (["tag", "app:2", "b:1"], b"Error response from daemon: No such image: app:2\n"),
        (["rmi", "app:2"], b"Error: No such image: app:2\n"),
        (["save"], b'"docker save" requires at least 1 argument.\n'),
    ):
        done = run(*argv)
        assert (done.returncode, done.stdout, done.stderr) == (1, b"", complaint)
    assert set(fake_docker.images) == {"app:1"}


def test_images_are_tagged_and_removed(fake_docker: FakeDocker) -> None:
    image = fake_docker.add("app:1")
    assert run("tag", "app:1", "b").returncode == 0
    assert fake_docker.images == {"app:1": image, "b:latest": image}
    assert run("image", "rm", "b").stdout == b"Untagged: b:latest\n"
    last = f"Untagged: app:1\nDeleted: {image}\n"
    assert run("rmi", "--force", "app:1").stdout == last.encode()
    assert fake_docker.images == {}


def test_pull_gets_what_the_registry_has(fake_docker: FakeDocker) -> None:
    digest = f"app@sha256:{'ab' * 32}"
    image = fake_docker.offer("app:latest", digest)
    quiet = run("pull", "--quiet", "app")
    assert (quiet.returncode, quiet.stdout) == (0, b"app:latest\n")
    assert run("pull", digest).returncode == 0
    assert fake_docker.images == {"app:latest": image, digest: image}
    assert manifest(run("save", digest).stdout)[0]["RepoTags"] is None

    missing = run("pull", "app:2")
    assert missing.returncode == 1
    assert missing.stderr.endswith(b"app:2 not found: manifest unknown: manifest unknown\n")


def test_no_daemon_is_no_success(fake_docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_docker.add("app:1")
    fake_docker.reachable(False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    reason = "Cannot connect to the Docker daemon at unix:///nowhere.sock."
    complaint = f"{reason} Is the docker daemon running?\n".encode()
    for argv, stdout in (
        (["image", "inspect", "app:1"], b"[]\n"),
        (["image", "inspect", "-f", "{{.Id}}", "app:1"], b"\n"),
        (["pull", "app"], b"Using default tag: latest\n"),
        (["save", "app:1"], b""),
        (["load"], b""),
        (
            ["version", "-f", "{{json .}}"],
            b'{"Client":{"Version":"20.10.24"},"Server":null}\n',
        ),
    ):
        done = run(*argv)
        assert (done.returncode, done.stdout, done.stderr) == (1, stdout, complaint)
    fake_docker.well()
    assert run("save", "app:1").returncode == 0


def test_save_fails_after_some_bytes(fake_docker: FakeDocker) -> None:
    fake_docker.add("app:1")
    whole = run("save", "app:1").stdout
    fake_docker.on("save", after=5000, status=1, stderr="disk on fire")
    failed = run("save", "app:1")
    assert (failed.returncode, failed.stderr) == (1, b"disk on fire\n")
    assert failed.stdout == whole[:5000]
    call = fake_docker.calls("save")[-1]
    assert (call.stdout, call.status) == (flow(whole[:5000]), 1)


def test_save_ends_early_as_if_all_were_well(fake_docker: FakeDocker) -> None:
    """As podman does on SIGTERM: a part of the archive, and status 0."""
    fake_docker.add("app:1")
    fake_docker.on("save", after=5000)
    done = run("save", "app:1")
    assert (done.returncode, done.stderr, len(done.stdout)) == (0, b"", 5000)


def test_save_fails_though_all_is_there(fake_docker: FakeDocker) -> None:
    fake_docker.add("app:1")
    whole = run("save", "app:1").stdout
    fake_docker.on("save", status=1, stderr="unexpected EOF", call=2)
    failed = run("save", "app:1")
    assert (failed.returncode, failed.stdout) == (1, whole)
    assert run("save", "app:1").returncode == 0  # the third call


def test_save_is_killed(fake_docker: FakeDocker) -> None:
    fake_docker.add("app:1")
    fake_docker.on("save", after=5000, signal=signal.SIGKILL)
    killed = run("save", "app:1")
    assert (killed.returncode, len(killed.stdout)) == (-signal.SIGKILL, 5000)
    assert fake_docker.calls()[-1].status == -signal.SIGKILL


def test_save_ends_after_its_output(fake_docker: FakeDocker) -> None:
    fake_docker.add("app:1")
    fake_docker.on("save", status=1, linger=1.0)
    child = begun("save", "app:1")
    assert child.stdout is not None
    assert child.stdout.read()
    assert child.poll() is None
    assert ended(child) == 1


def test_save_dies_of_a_reader_that_goes(fake_docker: FakeDocker) -> None:
    fake_docker.add("app:1")
    child = begun("save", "app:1")
    assert child.stdout is not None
    child.stdout.close()
    assert ended(child) == -signal.SIGPIPE
    assert fake_docker.calls()[-1].status is None


def test_save_hangs_until_it_is_killed(fake_docker: FakeDocker) -> None:
    fake_docker.add("app:1")
    fake_docker.on("save", after=5000, hang=True)
    child = begun("save", "app:1")
    assert child.stdout is not None
    assert len(child.stdout.read(5000)) == 5000
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.2)
    assert fake_docker.calls()[-1].alive()
    child.terminate()
    assert ended(child) == -signal.SIGTERM
    assert not fake_docker.calls()[-1].alive()


def test_docker_28_heeds_only_the_third_signal(fake_docker: FakeDocker) -> None:
    fake_docker.become("28.2.2")
    child = begun("load")
    assert child.stdin is not None
    wait_for_calls(fake_docker, 1)
    for _ in range(2):
        child.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.2)
    child.terminate()
    assert child.stderr is not None
    assert child.stderr.read() == b"\ngot 3 SIGTERM/SIGINTs, forcefully exiting\n"
    assert ended(child) == 1


def test_docker_28_loads_nothing_once_it_was_asked_to_stop(fake_docker: FakeDocker) -> None:
    fake_docker.add("app:1")
    saved = run("save", "app:1").stdout
    fake_docker.forget()
    fake_docker.become("28.2.2")
    child = begun("load")
    wait_for_calls(fake_docker, 2)
    child.terminate()
    assert child.communicate(saved, timeout=SECONDS) == (b"", b"")
    assert child.returncode == 143
    assert fake_docker.images == {}


def test_the_deaf_has_to_be_killed(fake_docker: FakeDocker) -> None:
    fake_docker.on("inspect", hang=True, deaf=True)
    child = begun("image", "inspect", "app:1")
    wait_for_calls(fake_docker, 1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        child.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
    child.kill()
    assert ended(child) == -signal.SIGKILL


def test_what_hangs_does_not_outlive_who_started_it(fake_docker: FakeDocker) -> None:
    fake_docker.on("inspect", hang=True, deaf=True)
    script = "docker image inspect app:1 & wait"
    shell = subprocess.Popen(["sh", "-c", script], stdin=subprocess.DEVNULL)
    wait_for_calls(fake_docker, 1)
    (call,) = fake_docker.calls()
    assert call.alive()
    shell.kill()
    shell.wait()
    deadline = time.monotonic() + SECONDS
    while call.alive() and not _is_zombie(call.pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_for_calls(fake: FakeDocker, count: int) -> None:
    deadline = time.monotonic() + SECONDS
    while len(fake.calls()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_load_refuses_its_input(fake_docker: FakeDocker) -> None:
    fake_docker.on("load", after=0, status=1, stderr="permission denied")
    child = begun("load")
    with pytest.raises(BrokenPipeError):
        write_all(child, bytes(1_000_000))  # more than a pipe holds
    assert ended(child) == 1
    assert fake_docker.calls()[-1].stdin.bytes == 0


@pytest.mark.parametrize("status", [0, 1])
def test_load_closes_its_input_early(status: int, fake_docker: FakeDocker) -> None:
    fake_docker.add("app:1")
    saved = run("save", "app:1").stdout
    fake_docker.forget()
    fake_docker.on("load", after=5000, status=status, linger=1.0)
    child = begun("load")
    with pytest.raises(BrokenPipeError):
        write_all(child, saved)
    assert child.poll() is None  # it lingers
    assert ended(child) == status
    assert fake_docker.calls()[-1].stdin == flow(saved[:5000])
    assert fake_docker.images == {}


def test_load_hangs_without_reading(fake_docker: FakeDocker) -> None:
    fake_docker.on("load", after=0, hang=True)
    child = begun("load")
    assert child.stdin is not None
    os.set_blocking(child.stdin.fileno(), False)
    assert os.write(child.stdin.fileno(), bytes(1_000_000)) < 1_000_000
    wait_for_calls(fake_docker, 1)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.2)
    child.kill()
    assert ended(child) == -signal.SIGKILL
    assert fake_docker.calls()[-1].stdin.bytes == 0


def test_load_fails_after_all_of_its_input(fake_docker: FakeDocker) -> None:
    fake_docker.add("app:1")
    saved = run("save", "app:1").stdout
    fake_docker.forget()
    complaint = "Error processing tar file(exit status 1): write /x: no space left on device"
    fake_docker.on("load", status=1, stderr=complaint)
    loaded = run("load", stdin=saved)
    assert (loaded.returncode, loaded.stdout) == (1, b"")
    assert loaded.stderr.decode() == f"{complaint}\n"
    assert fake_docker.calls()[-1].stdin == flow(saved)
    assert fake_docker.images == {}


def test_load_registers_nothing_or_another(fake_docker: FakeDocker) -> None:
    image = fake_docker.add("app:1")
    saved = run("save", "app:1").stdout
    fake_docker.forget()
    fake_docker.on("load", registers="nothing")
    assert run("load", stdin=saved).stdout == b"Loaded image: app:1\n"
    assert fake_docker.images == {}
    fake_docker.on("load", registers="other")
    assert run("load", stdin=saved).returncode == 0
    assert set(fake_docker.images) == {"app:1"}
    assert fake_docker.images["app:1"] != image


def test_pull_fails_as_told(fake_docker: FakeDocker) -> None:
    fake_docker.offer("app:1")
    fake_docker.on("pull", status=1, stderr="Error response from daemon: unauthorized")
    failed = run("pull", "app:1")
    assert (failed.returncode, failed.stderr) == (1, b"Error response from daemon: unauthorized\n")
    assert fake_docker.images == {}


def test_stderr_is_flooded_first(fake_docker: FakeDocker) -> None:
    fake_docker.add("app:1")
    fake_docker.on("save", flood=10 * 1024 * 1024)
    child = begun("save", "app:1")
    assert child.stderr is not None
    wait_for_calls(fake_docker, 1)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)  # nobody reads
    assert fake_docker.calls()[-1].stdout.bytes == 0
    out, err = child.communicate(timeout=SECONDS)
    assert len(err) == 10 * 1024 * 1024
    assert flow(out) == fake_docker.calls()[-1].stdout
    assert child.returncode == 0


def test_a_scene_that_cannot_be_played_is_refused(fake_docker: FakeDocker) -> None:
    with pytest.raises(AssertionError):
        fake_docker.on("pull", after=10)
    with pytest.raises(AssertionError):
        fake_docker.on("save", registers="nothing")
