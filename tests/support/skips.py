"""Fails a run in which a test was skipped for a reason that was not foreseen.

A browser that could not be installed must be red in CI, not silent.

ALLOWED_SKIPS in the environment names a file of regular expressions, one per line; `#` begins a comment. Each skip's
reason has to match one of them as a whole. Without ALLOWED_SKIPS every skip is allowed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """What was said when the test, or its whole file, was skipped."""
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return said.removeprefix("Skipped: ")


def read_patterns(file: Path) -> list[re.Pattern[str]]:
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [re.compile(line) for line in lines if line]


class SkipPolicy:
    """Collects skips that no pattern allows, and turns a green run with such a skip red."""

    def __init__(self, patterns: list[re.Pattern[str]]) -> None:
        self._patterns = patterns
        self._unexpected: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._look_at(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._look_at(report)

    def _look_at(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = reason_of(report)
        if not any(pattern.fullmatch(reason) for pattern in self._patterns):
            self._unexpected[reason] = self._unexpected.get(reason, 0) + 1

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for reason, count in sorted(self._unexpected.items()):
            terminalreporter.line(f"FAILED: {count} skipped that must not be here: {reason}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    file = os.environ.get("ALLOWED_SKIPS")
    if file and not hasattr(config, "workerinput"):  # with pytest-xdist the workers' reports reach the controller
        config.pluginmanager.register(SkipPolicy(read_patterns(config.rootpath / file)), "skip-policy")
