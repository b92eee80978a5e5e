"""What all micro-benchmarks share: batches of the benchmark's records, and a table of microseconds a record.

    pytest bench/micro --benchmark-only

A time is of one process on one core, garbage collection as a task has it, memory kept by malloc as a task keeps it.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2]))

from bench.line.records import envelope, order_json
from bench.micro.cases import RECORDS, be_as_a_task

_times: list[tuple[str, float]] = []

Measure = Callable[[Callable[[], Any]], None]


@pytest.fixture(scope="session", autouse=True)
def memory_as_a_task_has_it() -> None:
    """Results of a batch are large: malloc keeps their memory, and collections are rare."""
    be_as_a_task()


@pytest.fixture(scope="session")
def orders() -> list[bytes]:
    """JSON of 146 bytes each."""
    return [order_json(number) for number in range(RECORDS)]


@pytest.fixture(scope="session")
def envelopes() -> list[bytes]:
    """The same in Connect's envelope."""
    return [envelope(number) for number in range(RECORDS)]


@pytest.fixture
def measure(benchmark: Any, request: pytest.FixtureRequest) -> Iterator[Measure]:
    """Runs a function of one batch many times; the fastest time a record is in the table at the end."""

    def run(batch: Callable[[], Any]) -> None:
        gc.collect()
        benchmark(batch)
        us_a_record = benchmark.stats.stats.min / RECORDS * 1e6
        benchmark.extra_info["us_a_record"] = us_a_record
        _times.append((request.node.nodeid.partition("bench/micro/")[2], us_a_record))

    yield run
    gc.collect()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table: pytest-benchmark's own is of a whole batch."""
    if _times:
        terminalreporter.section("microseconds a record")
        for name, us_a_record in _times:
            terminalreporter.write_line(f"{us_a_record:8.3f}  {name}")
