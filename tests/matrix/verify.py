"""What must be true of the numbers that came out, whatever was done to the run that carried them.

Each record has a number; number modulo PARTITIONS is its partition. Nothing is lost, nothing came from nowhere, what
came first of each number is in order within a partition, and no more came twice than the reports say.

Used by: cell.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["PARTITIONS", "Came", "check", "check_reports", "numbers_of"]

PARTITIONS = 6
#: How a record's number stands in a line of a file or in a value: a text, a map as JSON, a map as Java prints it.
NUMBER = re.compile(rb'^(?:(\d{12}) [a-z]+|\{"sequence":(\d+),.*\}|\{.*\bsequence=(\d+)\b.*\})$')


class Came(NamedTuple):
    """What came out of one cell."""

    records: int
    repeated: int  # second and further occurrences
    bound: int  # of these, as the reports say


def numbers_of(values: Iterable[bytes]) -> list[int]:
    """The number of each value, in order. Raises AssertionError for a value that is no record of ours."""
    found = []
    for value in values:
        match = NUMBER.match(value)
        assert match is not None, f"no record of ours: {value!r}"
        found.append(int(match[match.lastindex or 1]))
    return found


def check(numbers: Sequence[int], records: int, bound: int) -> Came:
    """Compare what came, in its order, with the numbers 0 to records - 1. Raises AssertionError with all that is wrong.

    Numbers of one partition must stand in the order in which they lay there or were written.
    """
    wrong = []
    seen: set[int] = set()
    highest = [-1] * PARTITIONS
    for number in numbers:
        if number not in seen:
            seen.add(number)
            if number < highest[number % PARTITIONS]:
                wrong.append(f"{number} came first after {highest[number % PARTITIONS]} of its partition")
            highest[number % PARTITIONS] = number
    lost = sorted(set(range(records)) - seen)
    strange = sorted(seen - set(range(records)))
    repeated = len(numbers) - len(seen)
    wrong = wrong[:5]
    if lost:
        wrong.append(f"{len(lost)} lost: {_ranges(lost)}")
    if strange:
        wrong.append(f"{len(strange)} were never sent: {strange[:5]}")
    if repeated > bound:
        wrong.append(f"{repeated} repeated, the reports say at most {bound}")
    assert not wrong, "; ".join(wrong)
    return Came(records, repeated, bound)


def check_reports(reports: Sequence[Mapping[str, Any]]) -> int:
    """What the reports of a cell's runs say; returns how many may have come twice by them.

    A run that was killed as a whole has none; what it did is carried into the next. Raises AssertionError when a ledger
    does not add up, or when the last run did not do all.
    """
    for report in reports:
        assert report["findings"] == [], report["findings"]
        for side in ("sources", "sinks"):
            ledger = report["totals"][side]
            assert ledger is None or (ledger["lost"], ledger["doubled"]) == (0, 0), f"{side}: {ledger}"
    assert reports and reports[-1]["state"] == "DONE", reports[-1:]
    return sum(report["totals"]["repeated_at_most"] for report in reports)


def _ranges(numbers: Sequence[int]) -> str:
    """The first of them, for a reader."""
    return f"{list(numbers[:5])}{' ...' if len(numbers) > 5 else ''} to {numbers[-1]}"
