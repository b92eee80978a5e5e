"""What waits or measures reads the monotonic clock: the wall clock, which jumps, is read in a few named places only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shape.tree import ROOT, SHIPPED, modules

#: What tells the time of day, by module and name.
WALL = {
    "time": {"time", "time_ns", "ctime", "gmtime", "localtime", "strftime", "clock_gettime", "clock_gettime_ns"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "uuid": {"uuid1"},
}
#: Where it is read all the same, and why a jump does no harm there.
ALLOWED = {
    "engine/control/outside.py": "a date in an answer's header, as the configuration asks for one",
    "engine/commands/doctor.py": "whether the clock itself can be right",
    "engine/control/rest/loggers.py": "when a level was set, for people, as Kafka Connect tells it",
    "engine/demo.py": "the name of the demo's topic, for people",
    "engine/logs.py": "how the time of a log line is written",
    "engine/api/java_date_patterns.py": "which century a year of two digits lies in",
    "engine/metrics/collector.py": "since when a counter counts, for Prometheus, told once",
    "connectors/postgres/source/changes.py": "when a change was read, in Debezium's envelope",
    "connectors/generator/source.py": "timestamps that records carry, if that is wanted",
    "connectors/cassandra/times.py": "when rows are written whose records have no time; they never go back",
}


def reads(tree: ast.AST) -> Iterator[int]:
    """Lines that read the wall clock, or hand on what does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if node.attr in WALL.get(owner, ()):
                yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module in WALL:
            yield from (node.lineno for name in node.names if name.name in WALL[node.module])


def found(path: Path) -> list[int]:
    return list(reads(ast.parse(path.read_text())))


def test_no_wall_clock_is_read_but_where_a_jump_does_no_harm() -> None:
    places = {str(path.relative_to(ROOT)): lines for path in modules(*SHIPPED) if (lines := found(path))}
    assert {name: lines for name, lines in places.items() if name not in ALLOWED} == {}
    assert set(places) == set(ALLOWED), "a place that reads none any more is taken from the list"


@pytest.mark.parametrize(
    "code",
    [
        "time.time()",
        "def f(now=time.time): pass",
        "from time import time_ns",
        "datetime.datetime.now(datetime.UTC)",
        "date.today()",
        "time.strftime('%Y')",
    ],
)
def test_the_search_finds_what_it_is_for(code: str) -> None:
    assert list(reads(ast.parse(code)))


@pytest.mark.parametrize("code", ["time.monotonic()", "time.sleep(1)", "datetime.datetime(2026, 1, 1)"])
def test_the_search_leaves_what_does_no_harm(code: str) -> None:
    assert not list(reads(ast.parse(code)))
