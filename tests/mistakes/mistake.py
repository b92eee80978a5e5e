"""What a planted mistake is: a text of the code, what stands there instead, and what must notice.

Used by: tests.mistakes.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = [
    "LETTER_SEEDS",
    "REFUSED_SEEDS",
    "SINK_SEEDS",
    "SKIPPED_SEEDS",
    "SOURCE_SEEDS",
    "STAGED_SINK_SEEDS",
    "STAGED_SOURCE_SEEDS",
    "Change",
    "Mistake",
    "is_by_seeds",
]

#: Seeds of the simulation, up to SEEDS_MAX; whatever else stands in `caught_by` names one test.
SOURCE_SEEDS = "tests/simulation/test_source_line.py::test_nothing_is_lost_and_nothing_stored_too_early_whoever_dies"
SINK_SEEDS = "tests/simulation/test_sink_line.py::test_nothing_is_lost_and_nothing_committed_too_early_whoever_dies"

STAGED_SOURCE_SEEDS = (
    "tests/simulation/test_staged_lines.py::test_a_source_with_stage_processes_loses_nothing_whoever_dies"
)
STAGED_SINK_SEEDS = "tests/simulation/test_staged_lines.py::test_a_sink_with_stage_processes_loses_nothing_whoever_dies"
#: Where some records are bad.
LETTER_SEEDS = (
    "tests/simulation/test_sink_line.py::test_nothing_is_committed_past_a_bad_record_before_kafka_has_its_dead_letter"
)
SKIPPED_SEEDS = (
    "tests/simulation/test_source_line.py::"
    "test_records_that_are_skipped_cost_themselves_only_and_are_counted_whoever_dies"
)
REFUSED_SEEDS = (
    "tests/simulation/test_source_line.py::"
    "test_records_that_kafka_refuses_are_skipped_and_all_others_arrive_whoever_dies"
)
_BY_SEEDS = frozenset(
    {SOURCE_SEEDS, SINK_SEEDS, STAGED_SOURCE_SEEDS, STAGED_SINK_SEEDS, LETTER_SEEDS, SKIPPED_SEEDS, REFUSED_SEEDS}
)


class Change(Struct, frozen=True):
    """One place; `old` stands there exactly once."""

    file: str
    old: str
    new: str


class Mistake(Struct, frozen=True):
    """A mistake somebody could make."""

    name: str
    breaks: str  # what is not so any more
    caught_by: str  # a test's node
    changes: tuple[Change, ...]


def is_by_seeds(mistake: Mistake) -> bool:
    """Whether seeds of the simulation must catch it."""
    return mistake.caught_by in _BY_SEEDS
