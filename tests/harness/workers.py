"""Which tests go to which worker of `pytest -n 2`: what needs a broker or kills processes has one for itself.

    gw0    tests/kafka, tests/faults, ...: one after the other, as they are timed for
    gw1    everything else, which computes

Used by: tests/conftest.py.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it tells no types

__all__ = ["Apart"]

#: Where tests share a broker, or watch what processes do.
TOGETHER = (
    "tests/dual/",
    "tests/faults/",
    "tests/faults_in_numbers/",
    "tests/kafka/",
    "tests/matrix/",
    "tests/shape/test_live_run.py",
    "tests/soak/",
)


class Apart(LoadScopeScheduling):  # type: ignore[misc]  # of an untyped class
    """One scope for what stays together, and one for each other test."""

    def _split_scope(self, nodeid: str) -> str:
        return "kafka" if nodeid.startswith(TOGETHER) else nodeid
