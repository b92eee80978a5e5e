"""What one run of one side said, and how runs are kept: as lines of a CSV file, in one unit everywhere."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from statistics import median

import msgspec
from msgspec import Struct

__all__ = [
    "CPU",
    "FIRST_RECORD",
    "MEMORY",
    "P50",
    "P99",
    "RATE",
    "READY",
    "WARM_ROUND",
    "Column",
    "Result",
    "figures",
    "middle",
    "of",
    "pairs",
    "spread",
    "write_csv",
]

#: The number of a run that is not counted: what is a JVM compiles while it runs.
WARM_ROUND = 0


class Result(Struct, frozen=True, kw_only=True):
    """One run; None where a line does not measure it. Each was checked for count, content and order before."""

    line: str
    side: str
    round: int
    records: int
    tasks: int = 1
    rate_per_s: float | None = None
    cpu_us_per_record: float | None = None
    peak_pss_mb: float | None = None
    age_p50_ms: float | None = None
    age_p99_ms: float | None = None
    ready_s: float | None = None
    first_record_s: float | None = None


Column = Callable[[Result], float | None]

RATE: Column = attrgetter("rate_per_s")
CPU: Column = attrgetter("cpu_us_per_record")
MEMORY: Column = attrgetter("peak_pss_mb")
P50: Column = attrgetter("age_p50_ms")
P99: Column = attrgetter("age_p99_ms")
READY: Column = attrgetter("ready_s")
FIRST_RECORD: Column = attrgetter("first_record_s")


def of(results: Iterable[Result], line: str, side: str) -> list[Result]:
    """The runs of a side on a line."""
    return [result for result in results if result.line == line and result.side == side]


def figures(results: Sequence[Result], column: Column) -> list[float]:
    """A column, of the runs that have it."""
    return [value for value in map(column, results) if value is not None]


def pairs(ours: Sequence[Result], theirs: Sequence[Result], column: Column) -> list[tuple[float, float]]:
    """Two sides' figures of the same round, of each round that has both (theirs not 0)."""
    their_rounds = {result.round: column(result) for result in theirs}
    both = [(column(result), their_rounds.get(result.round)) for result in ours]
    return [(our, their) for our, their in both if our is not None and their]


def middle(results: Sequence[Result], column: Column) -> float | None:
    """The median of a column; None when no run has it."""
    values = figures(results, column)
    return median(values) if values else None


def spread(results: Sequence[Result], column: Column) -> float | None:
    """Largest minus smallest, as a share of the median."""
    values = figures(results, column)
    return (max(values) - min(values)) / median(values) if values else None


def write_csv(results: Iterable[Result], file: Path) -> None:
    """One line a run, columns as the fields of `Result`."""
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(Result.__struct_fields__)
        for result in results:
            cells = msgspec.structs.astuple(result)
            writer.writerow([round(cell, 4) if isinstance(cell, float) else cell for cell in cells])
