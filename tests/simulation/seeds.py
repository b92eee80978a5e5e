"""Which seeds a simulation runs: 250 in every run, more where MILLRACE_SIMULATION_SEEDS says so, one where it names it.

    MILLRACE_SIMULATION_SEEDS=10000      the first 10,000
    MILLRACE_SIMULATION_SEEDS=137-137    only 137: how a failing one is repeated
    MILLRACE_SIMULATION_ACT=52           where a bank dies at each of its acts in turn, only at this one

Used by: tests.simulation.
"""

from __future__ import annotations

import os

__all__ = ["ACT_KEY", "SEEDS_KEY", "acts", "seeds", "some"]

SEEDS_KEY = "MILLRACE_SIMULATION_SEEDS"
ACT_KEY = "MILLRACE_SIMULATION_ACT"
SEEDS = 250
SOME, SOME_OF_MORE = 100, 200


def seeds() -> range:
    """The seeds of this run."""
    given = os.environ.get(SEEDS_KEY, "")
    if "-" in given:
        first, last = given.split("-")
        return range(int(first), int(last) + 1)
    return range(int(given) if given else SEEDS)


def some() -> range:
    """Of these seeds the first, for what has the same schedules as another line and one thing besides."""
    return seeds()[: SOME_OF_MORE if os.environ.get(SEEDS_KEY) else SOME]


def acts(count: int) -> range:
    """Of so many acts, those at which a bank is to die."""
    given = os.environ.get(ACT_KEY, "")
    return range(int(given), int(given) + 1) if given else range(count)
