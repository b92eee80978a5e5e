"""A test that did not run is said aloud: named at the end of the run, and a failure where nothing may be skipped.

MILLRACE_NO_SKIP=1 or CI=true: a skip is a failure.
Used by: tests/conftest.py.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable

import pytest

__all__ = ["fail_if_skipped", "may_skip", "name_skipped"]


def may_skip() -> bool:
    """Whether a test may be left out because this machine lacks what it needs."""
    return os.environ.get("MILLRACE_NO_SKIP", "0") in ("", "0") and os.environ.get("CI", "") in ("", "0", "false")


def fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a skip a failure, with its reason, unless skips are allowed; an expected failure is no skip."""
    if report.skipped and not hasattr(report, "wasxfail") and not may_skip():
        report.outcome = "failed"
        report.longrepr = f"skipped, and nothing may be skipped here: {_reason(report)}"


def name_skipped(terminal: pytest.TerminalReporter, reports: Iterable[pytest.TestReport]) -> None:
    """Write how many tests did not run, why, and which."""
    tests_by_reason = defaultdict(list)
    for report in reports:
        tests_by_reason[_reason(report)].append(report.nodeid)
    if not tests_by_reason:
        return
    terminal.section(f"{sum(map(len, tests_by_reason.values()))} tests did not run", sep="=", yellow=True)
    for reason, tests in tests_by_reason.items():
        terminal.write_line(reason)
        for test in tests:
            terminal.write_line(f"    {test}")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    longrepr = report.longrepr
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")
