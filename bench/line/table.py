"""The results as Markdown: the same columns for both sides, the ratio, and what is to be reached."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.line import busy, latency, start, throughput
from bench.line.results import Result, middle, of, spread
from bench.line.sides import CONNECT, MILLRACE

__all__ = ["markdown", "write_readme"]

MARK = "<!-- table -->"
PSS_MB_TO_REACH = 200
FIRST_RECORD_S_TO_REACH = 1.0
AGE_P50_MS_TO_REACH = 1.5
NOTHING = "-"

Cells = Sequence[object]


def markdown(results: Sequence[Result], records: int, rounds: int) -> str:
    """Four small tables under a line that says when, where and how."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    head = (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores of {_processor()}, {memory_gb:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}; {records:,} records a run; "
        f"medians of {rounds} rounds, the sides in turn; broker and bench on the same cores."
    )
    parts = [head, _throughput(results), _latency(results), _start(results), _busy(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_readme(readme: Path, table: str) -> None:
    """Put the table between the two marks of a file. Raises ValueError when they are not there."""
    before, _, after = readme.read_text().split(MARK)
    readme.write_text(f"{before}{MARK}\n{table}{MARK}{after}")


def _throughput(results: Sequence[Result]) -> str:
    rows = []
    for line in throughput.LINES:
        theirs, ours = of(results, line.name, CONNECT), of(results, line.name, MILLRACE)
        their_rate, our_rate = (middle(side, lambda result: result.rate_per_s) for side in (theirs, ours))
        their_cpu, our_cpu = (middle(side, lambda result: result.cpu_us_per_record) for side in (theirs, ours))
        their_mb, our_mb = (middle(side, lambda result: result.peak_pss_mb) for side in (theirs, ours))
        spreads = [spread(side, lambda result: result.rate_per_s) for side in (theirs, ours)]
        rows.append(
            (
                line.title, _count(their_rate), _count(our_rate), _ratio(our_rate, their_rate), line.rate_to_reach,
                _number(their_cpu, 2), _number(our_cpu, 2), _ratio(our_cpu, their_cpu), line.cpu_to_reach,
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
        their_p50, our_p50 = (middle(side, lambda result: result.age_p50_ms) for side in (theirs, ours))
        their_p99, our_p99 = (middle(side, lambda result: result.age_p99_ms) for side in (theirs, ours))
        their_cpu, our_cpu = (middle(side, lambda result: result.cpu_us_per_record) for side in (theirs, ours))
        rows.append(
            (
                line.title, _number(their_p50, 2), _number(our_p50, 2), AGE_P50_MS_TO_REACH,
                _number(their_p99, 2), _number(our_p99, 2), _number(their_p99, 2),
                _number(their_cpu, 1), _number(our_cpu, 1),
            )
        )  # fmt: skip
    head = (
        "line", "Connect, p50 ms", "Millrace", "below", "Connect, p99 ms", "Millrace", "below",
        "Connect, CPU us a record", "Millrace",
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
        their_rate, our_rate = (middle(side, lambda result: result.rate_per_s) for side in (theirs, ours))
        their_cpu, our_cpu = (middle(side, lambda result: result.cpu_us_per_record) for side in (theirs, ours))
        their_mb, our_mb = (middle(side, lambda result: result.peak_pss_mb) for side in (theirs, ours))
        rows.append(
            (
                line.title, _count(their_rate), _count(our_rate), _ratio(our_rate, their_rate),
                _number(their_cpu, 2), _number(our_cpu, 2),
                _number(their_mb and their_mb / line.tasks, 1), _number(our_mb and our_mb / line.tasks, 1),
            )
        )  # fmt: skip
    head = (
        "line", "Connect, records/s", "Millrace", "ratio", "Connect, CPU us a record", "Millrace",
        "Connect, peak PSS MB a task", "Millrace",
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


def _ratio(ours: float | None, theirs: float | None) -> str:
    return NOTHING if ours is None or theirs is None else f"**{ours / theirs:.2f}**"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0%}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
