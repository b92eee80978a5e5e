"""The results as Markdown: the same columns for both sides, the ratio, what is to be reached, and what is shown."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from bench.line import busy, latency, registry, start, throughput
from bench.line.goals import Verdict
from bench.line.results import (
    CPU,
    FIRST_RECORD,
    MEMORY,
    P50,
    P99,
    RATE,
    READY,
    Column,
    Result,
    figures,
    middle,
    of,
    pairs,
    spread,
)
from bench.line.sides import BARE, CONNECT, LOOP, MILLRACE

__all__ = ["HEADS", "markdown", "write_readme"]

MARK = "<!-- table -->"
NOTHING = "-"
LEGEND = (
    "**Bold** reaches its goal and is shown to; *not shown* is reached by the median and by so many of the rounds; "
    "*missed* is not reached."
)

# The heads of the tables, in the order in which they are published.
THROUGHPUT = (
    "line", "Connect, records/s", "Millrace", "ratio", "to reach", "Connect, CPU us a record", "Millrace", "ratio",
    "to reach", "Connect, peak PSS MB", "Millrace", "below", "spread of the rate",
)  # fmt: skip
LATENCY = (
    "line", "Connect, p50 ms", "Millrace", "bare consumer", "below", "Connect, p99 ms", "Millrace",
    "bare consumer", "below", "Connect, CPU us a record", "Millrace",
)  # fmt: skip
START = (
    "line", "Connect, s to REST", "Connect, s to first record", "Millrace", "below", "Connect, PSS MB", "Millrace",
)  # fmt: skip
BUSY = (
    "line", "Connect, records/s", "Millrace", "ratio", "Connect, CPU us a record", "Millrace",
    "Connect, peak PSS MB a task", "Millrace",
)  # fmt: skip
REGISTRY = (
    "line", "plain loop, records/s", "Millrace", "ratio", "to reach", "plain loop, CPU us a record", "Millrace",
    "ratio", "spread of the rate",
)  # fmt: skip
HEADS: Sequence[Sequence[str]] = (THROUGHPUT, LATENCY, START, BUSY, REGISTRY)

Cells = Sequence[object]


def markdown(results: Sequence[Result], records: int) -> str:
    """Small tables under a line that says when, where and how."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = ".".join(platform.release().split(".")[:2])
    head = (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores of {_processor()}, {memory_gb:.0f} GiB, "
        f"Linux {kernel}, Python {platform.python_version()}; {records:,} records a run; "
        f"medians of {_rounds(results)} rounds, the sides in turn; broker and bench on the same cores. {LEGEND}"
    )
    parts = [head, _throughput(results), _latency(results), _start(results), _busy(results), _registry(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_readme(readme: Path, table: str) -> None:
    """Put the table between the two marks of a file. Raises ValueError when they are not there."""
    before, _, after = readme.read_text().split(MARK)
    readme.write_text(f"{before}{MARK}\n{table}{MARK}{after}")


def _throughput(results: Sequence[Result]) -> str:
    rows = []
    for line in throughput.LINES:
        theirs, ours = of(results, line.name, CONNECT), of(results, line.name, MILLRACE)
        rate, cpu, memory = line.goals
        spreads = [spread(side, RATE) for side in (theirs, ours)]
        rows.append(
            (
                line.title, _count(theirs), _count(ours),
                _figure(_ratios(ours, theirs, RATE), rate.verdict(results, line.name)), rate.bound,
                _middle(theirs, CPU, 2), _middle(ours, CPU, 2),
                _figure(_ratios(ours, theirs, CPU), cpu.verdict(results, line.name)), cpu.bound,
                _middle(theirs, MEMORY), _figure(figures(ours, MEMORY), memory.verdict(results, line.name), 0),
                f"{memory.bound:g}", " / ".join(map(_percent, spreads)),
            )
        )  # fmt: skip
    return _table(THROUGHPUT, rows)


def _latency(results: Sequence[Result]) -> str:
    rows = []
    for line in latency.LINES:
        theirs, ours = of(results, line.name, CONNECT), of(results, line.name, MILLRACE)
        bare = of(results, line.name, BARE)
        p50, p99 = line.goals
        rows.append(
            (
                line.title, _figure(figures(theirs, P50)), _figure(figures(ours, P50), p50.verdict(results, line.name)),
                _figure(figures(bare, P50)), f"{p50.enough:g}, or {p50.bound:g} times Connect's",
                _figure(figures(theirs, P99)), _figure(figures(ours, P99), p99.verdict(results, line.name)),
                _figure(figures(bare, P99)), "Connect's", _middle(theirs, CPU, 1), _middle(ours, CPU, 1),
            )
        )  # fmt: skip
    return _table(LATENCY, rows)


def _start(results: Sequence[Result]) -> str:
    rows = []
    for line in start.LINES:
        theirs, ours = of(results, line.name, CONNECT), of(results, line.name, MILLRACE)
        (first,) = line.goals
        rows.append(
            (
                line.title, _middle(theirs, READY, 1), _middle(theirs, FIRST_RECORD, 1),
                _figure(figures(ours, FIRST_RECORD), first.verdict(results, line.name)), first.bound,
                _middle(theirs, MEMORY), _middle(ours, MEMORY),
            )
        )  # fmt: skip
    return _table(START, rows)


def _busy(results: Sequence[Result]) -> str:
    rows = []
    for line in busy.LINES:
        theirs, ours = of(results, line.name, CONNECT), of(results, line.name, MILLRACE)
        their_mb, our_mb = (middle(side, MEMORY) for side in (theirs, ours))
        rows.append(
            (
                line.title, _count(theirs), _count(ours), _figure(_ratios(ours, theirs, RATE)),
                _middle(theirs, CPU, 2), _middle(ours, CPU, 2),
                _number(their_mb and their_mb / line.tasks, 1), _number(our_mb and our_mb / line.tasks, 1),
            )
        )  # fmt: skip
    return _table(BUSY, rows)


def _registry(results: Sequence[Result]) -> str:
    rows = []
    for line in registry.LINES:
        loop, ours = of(results, line.name, LOOP), of(results, line.name, MILLRACE)
        (rate,) = line.goals
        spreads = [spread(side, RATE) for side in (loop, ours)]
        rows.append(
            (
                line.title, _count(loop), _count(ours),
                _figure(_ratios(ours, loop, RATE), rate.verdict(results, line.name)), rate.bound,
                _middle(loop, CPU, 2), _middle(ours, CPU, 2), _figure(_ratios(ours, loop, CPU)),
                " / ".join(map(_percent, spreads)),
            )
        )  # fmt: skip
    return _table(REGISTRY, rows)


def _table(head: Cells, rows: Iterable[Cells]) -> str:
    """A row that neither side has measured (second and third cell) is left out; so is a table without rows."""
    measured = [row for row in rows if any(cell != NOTHING for cell in row[1:3])]
    if not measured:
        return ""
    lines = [head, ["---"] * len(head), *measured]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _figure(values: Sequence[float], verdict: Verdict | None = None, digits: int = 2) -> str:
    """The median, in brackets the least and the largest of a round, and what is said of its goal (LEGEND)."""
    if not values:
        return NOTHING
    middle_one, least, largest = (_number(value, digits) for value in (median(values), min(values), max(values)))
    between = f"({least} to {largest})"
    if verdict is None:
        return f"{middle_one} {between}"
    if not verdict.is_reached:
        return f"{middle_one} {between}, missed"
    if not verdict.is_shown:
        return f"{middle_one} {between}, not shown: {verdict.rounds - verdict.against} of {verdict.rounds}"
    return f"**{middle_one}** {between}"


def _ratios(ours: Sequence[Result], theirs: Sequence[Result], column: Column) -> list[float]:
    return [our / their for our, their in pairs(ours, theirs, column)]


def _rounds(results: Sequence[Result]) -> str:
    """How many the lines have had: `3`, or `3 to 6`."""
    had: dict[str, int] = {}
    for result in results:
        had[result.line] = max(result.round, had.get(result.line, 0))
    least, most = min(had.values(), default=0), max(had.values(), default=0)
    return f"{least}" if least == most else f"{least} to {most}"


def _count(results: Sequence[Result]) -> str:
    """The median rate, to the thousand."""
    value = middle(results, RATE)
    return NOTHING if value is None else f"{round(value, -3):,.0f}"


def _middle(results: Sequence[Result], column: Column, digits: int = 0) -> str:
    return _number(middle(results, column), digits)


def _number(value: float | None, digits: int = 0) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0%}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
