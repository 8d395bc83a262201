"""A program beside us: its pipes, its end, and that nothing is left of it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from cacher import process
from cacher.errors import LocalError
from cacher.process import KEPT_OUTPUT, PIPE_SIZE, Child, InputClosed
from cacher.time_limits import LIMITS

LONG = 200.0


def sh(script: str, **pipes: bool) -> Child:
    return Child(
        ["/bin/sh", "-c", script],
        {"PATH": os.defpath},
        **pipes,
    )


def python(script: str, **pipes: bool) -> Child:
    return Child([sys.executable, "-c", script], {}, **pipes)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def gone(pids: Sequence[int]) -> bool:
    """Whether they end soon."""
    for _ in range(100):
        if not any(map(is_running, pids)):
            return True
        time.sleep(0.05)
    return False


def test_output_and_exit_status_are_kept() -> None:
    with sh("echo out; echo oops >&2; exit 3") as child:
        assert child.wait() == 3
        assert child.output == b"out\n"
        assert child.error_output == "oops"


def test_a_signal_is_a_negative_status() -> None:
    with sh("kill -9 $$") as child:
        assert child.wait() == -9


def test_it_gets_the_environment_that_it_is_given_and_no_input() -> None:
    with Child(["/bin/sh", "-c", "echo $NAME; cat"], {"NAME": "v", "PATH": os.defpath}) as child:
        assert child.wait(LONG) == 0
        assert child.output == b"v\n"


def test_it_has_a_process_group_of_its_own() -> None:
    with python("import os; print(os.getpgid(0) == os.getpid())") as child:
        child.wait()
        assert child.output == b"True\n"


@pytest.mark.parametrize(
    ("size", "buffer"), [(0, 10), (1, 10), (10, 10), (11, 10), (3 * PIPE_SIZE + 7, PIPE_SIZE)]
)
def test_its_output_comes_in_full_buffers(size: int, buffer: int) -> None:
    view = memoryview(bytearray(buffer))
    with python(f"import sys; sys.stdout.buffer.write(b'x' * {size})", pipe_stdout=True) as child:
        sizes = []
        while count := child.readinto(view):
            sizes.append(count)
        assert child.wait() == 0
    assert sum(sizes) == size
    assert all(count == buffer for count in sizes[:-1])


def test_it_reads_the_input_that_was_written() -> None:
    data = bytes(range(256)) * 10_000
    script = "import sys, hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
    with python(script, pipe_stdin=True) as child:
        child.write(memoryview(data))
        child.end_input()
        assert child.wait() == 0
    assert child.output.decode().strip() == __import__("hashlib").sha256(data).hexdigest()


def test_writing_to_a_closed_stdin_raises() -> None:
    with sh("exec <&-; sleep 0.1; exit 4", pipe_stdin=True) as child:
        with pytest.raises(InputClosed):
            for _ in range(100):
                child.write(memoryview(bytes(PIPE_SIZE)))
        assert child.wait() == 4


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_it_may_say_any_amount_and_the_last_of_it_is_kept(stream: str) -> None:
    script = f"import sys; [sys.{stream}.write('x' * 99 + '\\n') for _ in range(100_000)]"
    script += f"; sys.{stream}.write('last')"
    with python(script) as child:
        assert child.wait(LONG) == 0
    output = child.output if stream == "stdout" else child.error_output.encode()
    assert output.endswith(b"x\nlast")
    assert KEPT_OUTPUT // 2 < len(output) <= 2 * KEPT_OUTPUT


def test_no_deadlock_of_its_pipes() -> None:
    """It fills stderr before it reads, and again before it ends."""
    script = (
        "import sys; sys.stderr.write('e' * 3_000_000); n = len(sys.stdin.buffer.read());"
        "sys.stderr.write('e' * 3_000_000); sys.stdout.write('o' * 3_000_000); sys.exit(n == 0)"
    )
    with python(script, pipe_stdin=True) as child:
        child.write(memoryview(bytes(3_000_000)))
        child.end_input()
        assert child.wait(LONG) == 0


def test_a_wait_ends_after_its_seconds() -> None:
    with sh("sleep 60") as child:
        assert child.wait(0.05) is None


def test_leaving_the_block_stops_it_before_its_input_ends(tmp_path: Path) -> None:
    """An end of input would let it believe that it has all."""
    script = f"cat > /dev/null; echo done > {tmp_path}/mark; sleep 60"
    with sh(script, pipe_stdin=True) as child:
        child.write(memoryview(b"half"))
        pid = child._running.pid
    assert gone([pid])
    assert not (tmp_path / "mark").exists()


def test_a_program_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "STOP_GRACE", 0.2)
    with sh("trap '' TERM; echo ready; sleep 60 & wait; sleep 60", pipe_stdout=True) as child:
        assert child.readinto(memoryview(bytearray(6))) == 6
        pid = child._running.pid
    assert gone([pid])
    assert child.wait() == -signal.SIGKILL


def test_programs_that_it_started_are_stopped() -> None:
    view = memoryview(bytearray(20))
    with sh("sleep 60 & echo $! | head -c 19; wait", pipe_stdout=True) as child:
        count = 0
        while b"\n" not in bytes(view[:count]):
            count += os.readv(child._running.stdout.fileno(), [view[count:]])  # type: ignore[union-attr]
        pids = [child._running.pid, int(bytes(view[:count]))]
    assert gone(pids)


def test_programs_that_ignore_sigterm_are_killed_before_their_input_ends(tmp_path: Path) -> None:
    """A script around docker dies of SIGTERM, docker does not."""
    inner = tmp_path / "inner"
    inner.write_text(f"trap '' TERM; echo $$; cat > /dev/null; echo done > {tmp_path}/mark\n")
    view = memoryview(bytearray(20))
    with sh(f"exec 3<&0; sh {inner} <&3 & wait", pipe_stdin=True, pipe_stdout=True) as child:
        count = 0
        while b"\n" not in bytes(view[:count]):
            count += os.readv(child._running.stdout.fileno(), [view[count:]])  # type: ignore[union-attr]
    assert gone([int(bytes(view[:count]))])
    assert not (tmp_path / "mark").exists()


def test_one_that_cannot_be_killed_gets_the_end_of_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one of sudo, which runs as another user: signals are not permitted."""
    monkeypatch.setattr(process, "STOP_GRACE", 0.1)
    monkeypatch.setattr(process, "_signal", lambda *_: None)
    with sh("cat > /dev/null", pipe_stdin=True) as child:
        pid = child._running.pid
        start = time.monotonic()
    assert time.monotonic() - start < 50
    assert gone([pid])
    with sh("sleep 60") as child:
        start = time.monotonic()
    assert time.monotonic() - start < 30  # there is no more to be done
    child._running.kill()


def test_stopping_leaves_time_to_undo_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    longest = max(3 * process.STOP_GRACE, process.STOP_GRACE + 2 * process.DRAIN_TIME)
    assert longest <= LIMITS.undo - 1
    monkeypatch.setattr(process, "STOP_GRACE", 0.1)
    monkeypatch.setattr(process, "DRAIN_TIME", LONG)
    monkeypatch.setattr(process, "_signal", lambda *_: None)  # and nothing ends it
    with sh("exec sleep 600") as child:
        start = time.monotonic()
    assert time.monotonic() - start < LONG / 2
    child._running.kill()
    child._running.wait()


def test_a_pipe_that_a_grandchild_holds_does_not_keep_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "DRAIN_TIME", 0.1)
    with sh("(setsid sleep 60 &); echo said >&2; exit 1") as child:
        start = time.monotonic()
        assert child.wait(LONG) == 1
        assert time.monotonic() - start < 30
        assert child.error_output == "said"


def test_no_descriptor_is_left() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with sh("cat", pipe_stdin=True, pipe_stdout=True) as child:
        child.write(memoryview(b"x"))
    with sh("exit 0"):
        pass
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("name", "content", "mode", "reason"),
    [
        ("missing", None, 0, "no such file"),
        ("plain", b"#!/bin/sh\n", 0o644, "permission denied"),
        ("odd", b"\x7fELFodd", 0o755, "exec format error"),
    ],
)
def test_a_program_that_cannot_be_started(
    tmp_path: Path, name: str, content: bytes | None, mode: int, reason: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(LocalError, match=f"cannot run {path}: {reason}"), Child([str(path)], {}):
        pass
