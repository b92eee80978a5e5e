"""A seed that fails tells the command that repeats it."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.simulation.seeds import SEEDS_KEY


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    seed = getattr(item, "callspec", None) and item.callspec.params.get("seed")  # type: ignore[attr-defined]
    if report.failed and isinstance(seed, int):
        report.sections.append(("repeat it", f"{SEEDS_KEY}={seed}-{seed} python -m pytest '{item.nodeid}'"))
    return report
