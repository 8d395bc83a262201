"""Standard streams that are closed, full, gone or a terminal: statuses stay what they mean."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cacher import __version__
from tests.cli.conftest import ROOT, Run, Spawn
from tests.fakes.faults import Fault, Trickle
from tests.fakes.origin import Origin, Reply
from tests.support.cli_helpers import MIB, BucketPlace, LocalPlace, blob
from tests.support.terminal import Terminal

SIGPIPE = 141
"""The exit status of whoever writes to a pipe that nobody reads any more."""


def shell(command: str, **options: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell command in which `cacher` is one."""
    script = f'cacher() {{ "{sys.executable}" -m cacher "$@"; }}\n{command}'
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **options}
    environ.pop("PYTHONUNBUFFERED", None)  # as users have it
    return subprocess.run(["bash", "-c", script], capture_output=True, env=environ, check=False)


COMMANDS = [
    *("exists k --json", "list", "list --json", "doctor", "doctor --json", "delete --dry-run k"),
    *("key k", "version", "completion bash", "--help", "download --help", "help"),
]


@pytest.fixture(autouse=True)
def _entry(local: LocalPlace) -> None:
    local.put("k", b"abc")


class TestStdout:
    @pytest.mark.parametrize(
        ("command", "unbuffered"), [*((command, "") for command in COMMANDS), ("list", "1")]
    )
    def test_full(self, command: str, unbuffered: str) -> None:
        ended = shell(f"cacher {command} >/dev/full", PYTHONUNBUFFERED=unbuffered)
        assert ended.returncode == 7
        assert ended.stderr.count(b"cacher: error: ") == 1
        assert b"error: writing stdout: no space left on device\n" in ended.stderr
        assert b"Traceback" not in ended.stderr
        assert b"Exception ignored" not in ended.stderr

    @pytest.mark.parametrize("command", ["list --json", "version", "--help", "download k -"])
    def test_closed(self, command: str) -> None:
        ended = shell(f"cacher {command} >&-")
        assert ended.returncode == 7
        assert b"error: writing stdout: bad file descriptor\n" in ended.stderr
        assert b"Traceback" not in ended.stderr

    @pytest.mark.parametrize("command", ["list --json", "version", "--help", "doctor"])
    def test_nobody_reads_it(self, command: str) -> None:
        ended = shell(f"cacher {command} | true; exit ${{PIPESTATUS[0]}}")
        assert ended.returncode in (0, SIGPIPE)  # it may be written before nobody is there
        assert b"error" not in ended.stderr
        assert b"Exception" not in ended.stderr

    def test_head_has_seen_enough(self, local: LocalPlace) -> None:
        for number in range(3000):  # more than a pipe takes
            (local.root / f"{number:0200}").touch()
        ended = shell("cacher list | head -n 1; exit ${PIPESTATUS[0]}")
        assert ended.returncode == SIGPIPE
        assert ended.stdout.startswith(b"0000")
        assert ended.stderr == b""

    def test_nobody_reads_a_download(self, local: LocalPlace) -> None:
        local.put("big", blob(2 * MIB))
        command = "cacher download big - --debug | head -c 1 >head; exit ${PIPESTATUS[0]}"
        ended = shell(command)
        assert ended.returncode == SIGPIPE
        uri = os.environ["CACHER_ENDPOINT"]
        told = f"cacher: store: endpoint {uri} (from CACHER_ENDPOINT)\n"
        assert ended.stderr.decode() == told  # --debug names the settings, and shows no traceback
        assert Path("head").read_bytes() == blob(2 * MIB)[:1]

    def test_nobody_reads_what_was_fetched(self, local: LocalPlace, origin: Origin) -> None:
        url = origin.script("/f", Reply(body=blob(2 * MIB)))
        command = f"cacher download new - --url {url} | head -c 1 >head; exit ${{PIPESTATUS[0]}}"
        ended = shell(command)
        assert ended.returncode == SIGPIPE
        assert ended.stderr == b""
        assert local.keys() == ["k"]
        assert local.leftovers() == []

    def test_nobody_reads_another_stream(self, local: LocalPlace) -> None:
        local.put("big", blob(2 * MIB))
        command = "cacher download big /dev/fd/3 --json 3> >(head -c 1 >&2)"
        ended = shell(command)
        assert ended.returncode == 7
        assert b"writing /dev/fd/3: its reader is gone" in ended.stdout

    def test_the_failure_that_was_is_the_status(self) -> None:
        assert shell("cacher exists none --json >/dev/full").returncode == 1
        assert shell("cacher exists --json >/dev/full").returncode == 2

    def test_keys_that_the_locale_cannot_write(self, local: LocalPlace) -> None:
        local.put("ä", b"abc")
        ended = shell("cacher list", LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
        assert ended.returncode == 0
        assert b"\\xe4\t3\t" in ended.stdout


class TestStderr:
    @pytest.mark.parametrize(
        ("command", "status"),
        [
            ("exists k", 0),
            ("exists none", 1),
            ("exists", 2),
            ("upload k none", 7),
            ("upload l /proc/version", 0),
            ("download k f", 0),
            ("delete k", 0),
        ],
    )
    def test_it_changes_nothing(self, command: str, status: int) -> None:
        for where in ("2>/dev/full", "2>&-"):
            assert shell(f"cacher {command} {where}").returncode == status

    def test_a_file_does_not_become_stderr(self, local: LocalPlace) -> None:
        assert shell("cacher download k f 2>&- >&- <&-").returncode == 0
        assert Path("f").read_bytes() == b"abc"


class TestStdin:
    def test_closed(self, local: LocalPlace) -> None:
        ended = shell("cacher upload new - <&-")
        assert ended.returncode == 7
        assert b"bad file descriptor" in ended.stderr
        assert local.keys() == ["k"]

    def test_a_prefix_is_not_deleted(self, local: LocalPlace) -> None:
        assert shell("cacher delete --prefix k <&-").returncode == 2
        assert local.keys() == ["k"]


class TestTerminal:
    def start(self, spawn: Spawn, *argv: str) -> tuple[int, str]:
        with Terminal() as terminal:
            process = spawn(*argv, stderr=terminal.slave)
            told = terminal.read_to_end(process)
        return process.returncode, told

    @pytest.mark.parametrize("plain", [True, False])
    def test_colors(self, spawn: Spawn, monkeypatch: pytest.MonkeyPatch, plain: bool) -> None:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        if plain:
            monkeypatch.setenv("NO_COLOR", "1")
        status, told = self.start(spawn, "upload", "k", "none")
        assert status == 7
        assert ("\x1b[31merror: \x1b[0m" in told) != plain
        assert ("\x1b" not in told) == plain

    def test_no_colors_elsewhere(self, cacher: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "xterm")
        assert "\x1b" not in cacher("upload", "k", "none").err

    @pytest.mark.parametrize("quiet", [True, False])
    def test_progress(self, spawn: Spawn, bucket: BucketPlace, quiet: bool) -> None:
        bucket.put("big", blob(MIB))
        bucket.server.inject(Fault(Trickle(2 * MIB), operation="GetObject"))
        status, told = self.start(spawn, "download", "big", "f", *["-q"] * quiet)
        assert status == 0
        if quiet:
            assert told == ""
        else:
            assert "downloading big [#" in told
            assert "% of 1.0 MiB" in told
            assert "ETA" in told
            # The bar is gone in the end: what is left is the closing line.
            assert told.split("\r\x1b[K")[-1].startswith("cacher: hit big (1.0 MiB in ")

    def test_version_on_a_terminal(self, spawn: Spawn) -> None:
        with Terminal() as terminal:
            told = terminal.read_to_end(spawn("version", stdout=terminal.slave))
        assert told == f"cacher {__version__}\n"
