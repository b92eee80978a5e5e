"""Which tests go to which worker of `pytest -n 2`: what needs a broker or kills processes, one test at a time.

    gw0    tests/faults, tests/kafka: they are watched most closely, and take longest
    gw1    tests/matrix, tests/dual, ...: long runs with brokers of their own; then everything else, which computes

Used by: tests/conftest.py.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it tells no types

__all__ = ["Apart"]

#: What stays together, in the order of its tests.
GROUPS = {
    "broker": ("tests/faults/", "tests/kafka/", "tests/shape/test_live_run.py"),
    "runs": (
        "tests/dual/",
        "tests/faults_in_numbers/",
        "tests/matrix/",
        "tests/postgres/",
        "tests/registry/",
        "tests/soak/",
    ),
}


class Apart(LoadScopeScheduling):  # type: ignore[misc]  # of an untyped class
    """One scope for each group, and one for each other test; xdist begins with the largest."""

    def _split_scope(self, nodeid: str) -> str:
        return next((group for group, places in GROUPS.items() if nodeid.startswith(places)), nodeid)
