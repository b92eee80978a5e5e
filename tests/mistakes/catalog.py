"""All planted mistakes, by name.

Used by: tests.mistakes, tests/shape/test_mistakes.py.
"""

from __future__ import annotations

from collections import Counter

from tests.mistakes.in_bad_records import IN_BAD_RECORDS
from tests.mistakes.in_memory import IN_MEMORY
from tests.mistakes.in_sinks import IN_SINKS
from tests.mistakes.in_sources import IN_SOURCES
from tests.mistakes.in_stages import IN_STAGES
from tests.mistakes.in_supervisor import IN_SUPERVISOR
from tests.mistakes.mistake import Mistake

__all__ = ["MISTAKES"]

_ALL = (*IN_SOURCES, *IN_SINKS, *IN_BAD_RECORDS, *IN_STAGES, *IN_MEMORY, *IN_SUPERVISOR)
assert max(Counter(mistake.name for mistake in _ALL).values()) == 1, "two mistakes have one name"
MISTAKES: dict[str, Mistake] = {mistake.name: mistake for mistake in _ALL}
