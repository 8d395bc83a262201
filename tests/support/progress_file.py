"""What failed is written down at once: a run that is killed comes to no summary.

`tests/run` names the directory. In it `failed` has the names of tests, `reports` what is known of
each, and `running` the tests of this moment, one a line. Workers report to the process that started
them, which alone writes.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DIRECTORY = "CACHER_TEST_REPORTS"


class Reports:
    """The files of one run."""

    def __init__(self, directory: Path) -> None:
        self._running = open(directory / "running", "w")  # noqa: SIM115 - open as long as the run
        self._now: list[str] = []
        self._failed = directory / "failed"
        self._reports = directory / "reports"

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._now.append(nodeid)
        self._write_running()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._now.remove(nodeid)
        self._write_running()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._add(report.nodeid, report.when, report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._add(report.nodeid, "collection", report)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus != pytest.ExitCode.INTERRUPTED:
            self._now.clear()  # a worker that crashed finished its test without a word
            self._write_running()

    def _write_running(self) -> None:
        self._running.seek(0)
        self._running.truncate()
        self._running.write("".join(f"{nodeid}\n" for nodeid in self._now))
        self._running.flush()

    def _add(
        self, nodeid: str, when: str | None, report: pytest.TestReport | pytest.CollectReport
    ) -> None:
        name = f"{nodeid} ({when})" if when in ("setup", "teardown", "collection") else nodeid
        with self._failed.open("a") as failed:
            failed.write(f"{name}\n")
        with self._reports.open("a", errors="backslashreplace") as reports:
            reports.write(f"==== {name}\n{report.longreprtext}\n")
            for title, text in report.sections:
                reports.write(f"-- {title}\n{text}\n")


def pytest_configure(config: pytest.Config) -> None:
    """Write only where `tests/run` wants it."""
    directory = os.environ.get(DIRECTORY)
    if directory and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Reports(Path(directory)))
