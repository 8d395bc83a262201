"""Chromium without a window, told what to do through a pipe.

The DevTools protocol (https://chromedevtools.github.io/devtools-protocol/): JSON objects, each
ended by a NUL, on descriptors 3 (to the browser) and 4 (from it).
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.servers import programs

_LIMIT = 300.0
"""Seconds for any answer: the first start on a busy machine is slow."""


class Browser:
    """One tab of a running Chromium."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = to, back
        self._number = 0
        self._session = ""
        self._buffer = bytearray()
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """The result of a method; what happened meanwhile is added to `events`."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self.events.append(answer)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def open(self, url: str, *, width: int, height: int, scheme: str) -> None:
        """Show a page, and wait until it is loaded; `events` are those since then."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        shown = self.call("Page.navigate", url=url)
        assert "errorText" not in shown, shown
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + _LIMIT
        while b"\0" not in self._buffer:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._back], [], [], left)[0]:
                raise AssertionError("chromium does not answer")
            data = os.read(self._back, 1 << 20)
            if not data:
                raise AssertionError("chromium has ended")
            self._buffer += data
        message, _, rest = bytes(self._buffer).partition(b"\0")
        self._buffer = bytearray(rest)
        told = json.loads(message)
        assert isinstance(told, dict)
        return told


@contextmanager
def start(profile: Path) -> Iterator[Browser]:
    """A Chromium with a profile of its own. Raises `ProgramNotFound`."""
    program = programs.find("chromium")
    to_read, to = os.pipe()
    back, back_write = os.pipe()
    # The shell puts our ends where Chromium expects them, whatever their numbers are.
    process = subprocess.Popen(
        [
            "bash",
            "-c",
            f'exec "$@" 3<&{to_read} 4>&{back_write}',
            "bash",
            str(program),
            "--headless=new",
            "--no-sandbox",  # root in a container may have none
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ],
        env={**os.environ, "HOME": str(profile)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(to_read, back_write),
    )
    os.close(to_read)
    os.close(back_write)
    try:
        browser = Browser(to, back)
        yield browser
        browser._session = ""
        browser.call("Browser.close")
        process.wait(_LIMIT)
    finally:
        process.kill()
        process.wait()
        os.close(to)
        os.close(back)
