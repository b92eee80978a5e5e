"""Which seeds a simulation runs: some 200 in every run, more where MILLRACE_SEEDS says so, one where it names it.

MILLRACE_SEEDS=5000          the first 5000
MILLRACE_SEEDS=137-137       only 137: how a failing one is repeated
"""

from __future__ import annotations

import os

__all__ = ["seeds"]

SEEDS = 200


def seeds() -> range:
    """The seeds of this run."""
    given = os.environ.get("MILLRACE_SEEDS", "")
    if "-" in given:
        first, last = given.split("-")
        return range(int(first), int(last) + 1)
    return range(int(given) if given else SEEDS)
