"""The results as Markdown: the same columns for both sides, the ratio, and what is to be reached."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path

from bench.line import busy, latency, registry, start, throughput
from bench.line.results import Column, Result, middle, of, spread
from bench.line.sides import BARE, CONNECT, LOOP, MILLRACE

__all__ = ["markdown", "write_readme"]

MARK = "<!-- table -->"
PSS_MB_TO_REACH = 200
FIRST_RECORD_S_TO_REACH = 1.0
AGE_P50_MS_TO_REACH = 1.5
NOTHING = "-"

Cells = Sequence[object]

_RATE = attrgetter("rate_per_s")
_CPU = attrgetter("cpu_us_per_record")
_P50 = attrgetter("age_p50_ms")
_P99 = attrgetter("age_p99_ms")


def markdown(results: Sequence[Result], records: int, rounds: int) -> str:
    """Small tables under a line that says when, where and how."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = ".".join(platform.release().split(".")[:2])
    head = (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores of {_processor()}, {memory_gb:.0f} GiB, "
        f"Linux {kernel}, Python {platform.python_version()}; {records:,} records a run; "
        f"medians of {rounds} rounds, the sides in turn; broker and bench on the same cores."
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
        their_rate, our_rate = (middle(side, _RATE) for side in (theirs, ours))
        their_cpu, our_cpu = (middle(side, _CPU) for side in (theirs, ours))
        their_mb, our_mb = (middle(side, lambda result: result.peak_pss_mb) for side in (theirs, ours))
        spreads = [spread(side, _RATE) for side in (theirs, ours)]
        rows.append(
            (
                line.title, _count(their_rate), _count(our_rate), _ratio(ours, theirs, _RATE), line.rate_to_reach,
                _number(their_cpu, 2), _number(our_cpu, 2), _ratio(ours, theirs, _CPU), line.cpu_to_reach,
                _number(their_mb), _number(our_mb), PSS_MB_TO_REACH, " / ".join(map(_percent, spreads)),
            )
        )  # fmt: skip
    head = (
        "line", "Connect, records/s", "Millrace", "ratio", "to reach", "Connect, CPU us a record", "Millrace", "ratio",
        "to reach", "Connect, peak PSS MB", "Millrace", "below", "spread of the rate",
    )  # fmt: skip
    return _table(head, rows)


def _latency(results: Sequence[Result]) -> str:
    rows = []
    for line in latency.LINES:
        theirs, ours = of(results, line.name, CONNECT), of(results, line.name, MILLRACE)
        bare = of(results, line.name, BARE)
        their_p99 = middle(theirs, _P99)
        their_cpu, our_cpu = (middle(side, _CPU) for side in (theirs, ours))
        rows.append(
            (
                line.title, _ranged(theirs, _P50), _ranged(ours, _P50), _ranged(bare, _P50), AGE_P50_MS_TO_REACH,
                _ranged(theirs, _P99), _ranged(ours, _P99), _ranged(bare, _P99), _number(their_p99, 2),
                _number(their_cpu, 1), _number(our_cpu, 1),
            )
        )  # fmt: skip
    head = (
        "line", "Connect, p50 ms", "Millrace", "bare consumer", "below", "Connect, p99 ms", "Millrace",
        "bare consumer", "below", "Connect, CPU us a record", "Millrace",
    )  # fmt: skip
    return _table(head, rows)


def _start(results: Sequence[Result]) -> str:
    rows = []
    for line in start.LINES:
        theirs, ours = of(results, line.name, CONNECT), of(results, line.name, MILLRACE)
        ready = middle(theirs, lambda result: result.ready_s)
        their_first, our_first = (middle(side, lambda result: result.first_record_s) for side in (theirs, ours))
        their_mb, our_mb = (middle(side, lambda result: result.peak_pss_mb) for side in (theirs, ours))
        rows.append(
            (
                line.title, _number(ready, 1), _number(their_first, 1), _number(our_first, 2),
                FIRST_RECORD_S_TO_REACH, _number(their_mb), _number(our_mb),
            )
        )  # fmt: skip
    head = (
        "line", "Connect, s to REST", "Connect, s to first record", "Millrace", "below", "Connect, PSS MB", "Millrace",
    )  # fmt: skip
    return _table(head, rows)


def _busy(results: Sequence[Result]) -> str:
    rows = []
    for line in busy.LINES:
        theirs, ours = of(results, line.name, CONNECT), of(results, line.name, MILLRACE)
        their_rate, our_rate = (middle(side, _RATE) for side in (theirs, ours))
        their_cpu, our_cpu = (middle(side, _CPU) for side in (theirs, ours))
        their_mb, our_mb = (middle(side, lambda result: result.peak_pss_mb) for side in (theirs, ours))
        rows.append(
            (
                line.title, _count(their_rate), _count(our_rate), _ratio(ours, theirs, _RATE),
                _number(their_cpu, 2), _number(our_cpu, 2),
                _number(their_mb and their_mb / line.tasks, 1), _number(our_mb and our_mb / line.tasks, 1),
            )
        )  # fmt: skip
    head = (
        "line", "Connect, records/s", "Millrace", "ratio", "Connect, CPU us a record", "Millrace",
        "Connect, peak PSS MB a task", "Millrace",
    )  # fmt: skip
    return _table(head, rows)


def _registry(results: Sequence[Result]) -> str:
    rows = []
    for line in registry.LINES:
        loop, ours = of(results, line.name, LOOP), of(results, line.name, MILLRACE)
        loop_rate, our_rate = (middle(side, _RATE) for side in (loop, ours))
        loop_cpu, our_cpu = (middle(side, _CPU) for side in (loop, ours))
        spreads = [spread(side, _RATE) for side in (loop, ours)]
        rows.append(
            (
                line.title, _count(loop_rate), _count(our_rate), _ratio(ours, loop, _RATE), line.rate_to_reach,
                _number(loop_cpu, 2), _number(our_cpu, 2), _ratio(ours, loop, _CPU),
                " / ".join(map(_percent, spreads)),
            )
        )  # fmt: skip
    head = (
        "line", "plain loop, records/s", "Millrace", "ratio", "to reach", "plain loop, CPU us a record", "Millrace",
        "ratio", "spread of the rate",
    )  # fmt: skip
    return _table(head, rows)


def _table(head: Cells, rows: Iterable[Cells]) -> str:
    """A row that neither side has measured (second and third cell) is left out; so is a table without rows."""
    measured = [row for row in rows if any(cell != NOTHING for cell in row[1:3])]
    if not measured:
        return ""
    lines = [head, ["---"] * len(head), *measured]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _count(value: float | None) -> str:
    return NOTHING if value is None else f"{round(value, -3):,.0f}"


def _number(value: float | None, digits: int = 0) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def _ratio(ours: Sequence[Result], theirs: Sequence[Result], column: Column) -> str:
    """The ratio of the medians, and in brackets the least and the largest of a single round."""
    our_middle, their_middle = middle(ours, column), middle(theirs, column)
    if our_middle is None or their_middle is None:
        return NOTHING
    their_rounds = {result.round: column(result) for result in theirs}
    pairs = [(column(result), their_rounds.get(result.round)) for result in ours]
    single = [our / their for our, their in pairs if our is not None and their]
    return f"**{our_middle / their_middle:.2f}** ({min(single):.2f} to {max(single):.2f})"


def _ranged(results: Sequence[Result], column: Column) -> str:
    """The median, and in brackets the least and the largest."""
    values = [value for result in results if (value := column(result)) is not None]
    if not values:
        return NOTHING
    return f"{_number(middle(results, column), 2)} ({min(values):.2f} to {max(values):.2f})"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0%}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
