"""A test that did not run is said aloud: named at the end of the run, and a failure where nothing may be skipped.

    skipped            this machine lacks what the test needs; MILLRACE_NO_SKIP=1 or CI=true: a failure
    left for faults    marked `long`: minutes of faults, for `tox -e faults`; counted at the end, no skip

With several workers (`pytest -n`) each leaves out the same tests; what one of them says is passed on.

Used by: tests/conftest.py.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

__all__ = ["count_long", "fail_if_skipped", "hear_of_long", "leave_long", "may_skip", "name_skipped", "tell_of_long"]

#: What widens the faults asks for the long tests as well (tox -e faults sets it).
WIDENS = "MILLRACE_FAULT_SEEDS"
_LEFT = pytest.StashKey[list[str]]()
_OUTPUT = "millrace_left"


def may_skip() -> bool:
    """Whether a test may be left out because this machine lacks what it needs."""
    return os.environ.get("MILLRACE_NO_SKIP", "0") in ("", "0") and os.environ.get("CI", "") in ("", "0", "false")


def leave_long(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take the tests marked `long` out of `items`, unless the faults are widened or the marker is asked about (-m)."""
    if WIDENS in os.environ or "long" in config.getoption("markexpr"):
        return
    long = [item for item in items if item.get_closest_marker("long") is not None]
    if long:
        config.stash[_LEFT] = [item.nodeid for item in long]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in set(long)]


def tell_of_long(config: pytest.Config) -> None:
    """In a worker: what was left out."""
    if hasattr(config, "workeroutput"):
        config.workeroutput[_OUTPUT] = config.stash.get(_LEFT, [])


def hear_of_long(config: pytest.Config, told: Mapping[str, Any]) -> None:
    """Where the workers are led: what one has left out."""
    config.stash[_LEFT] = list(told.get(_OUTPUT, []))


def count_long(terminal: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write how many tests were left out as long; with -v, which."""
    left = config.stash.get(_LEFT, [])
    if not left:
        return
    terminal.section(f"{len(left)} long tests left to tox -e faults", sep="=")
    if config.getoption("verbose") > 0:
        for test in left:
            terminal.write_line(f"    {test}")


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
