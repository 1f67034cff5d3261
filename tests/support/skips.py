"""``--allowed-skips FILE``: fails a run in which a test is skipped for a reason not in the file.

The file holds one reason a line; empty lines and lines with ``#`` at their beginning are ignored.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--allowed-skips",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="fail when a test is skipped for a reason that is in none of these files",
    )


def pytest_configure(config: pytest.Config) -> None:
    files: list[Path] = config.getoption("--allowed-skips")
    # Only the main process has the reports of all processes.
    if files and not hasattr(config, "workerinput"):
        lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
        config.pluginmanager.register(Skips({line for line in lines if line[:1] not in ("", "#")}))


class Skips:
    """The skipped tests of a run.

    Args:
        allowed: reasons for which a test may be skipped.
    """

    def __init__(self, allowed: set[str]) -> None:
        self._allowed = allowed
        self._others: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            text = report.longrepr
            reason = str(text[2] if isinstance(text, tuple) else text).removeprefix("Skipped: ")
            if reason not in self._allowed:
                self._others[report.nodeid] = reason

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self._others and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._others:
            terminalreporter.section("skipped for reasons that are not allowed", red=True)
            for nodeid, reason in sorted(self._others.items()):
                terminalreporter.line(f"{nodeid}: {reason}")
