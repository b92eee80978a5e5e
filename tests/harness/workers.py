"""Which tests go to which worker of `pytest -n 2`: what needs a broker or kills processes, one test at a time.

    gw0    tests/faults, most of tests/kafka: they are watched most closely, and take longest
    gw1    tests/matrix, tests/dual, ...: long runs with brokers of their own; then everything else, which computes

Used by: tests/conftest.py.
"""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it tells no types

__all__ = ["Apart"]

#: What stays together, in the order of its tests; a test belongs to the first that names it.
GROUPS = {
    "runs": (
        "tests/cassandra/",
        "tests/dual/",
        "tests/faults/test_registry.py",
        "tests/faults_in_numbers/",
        "tests/kafka/test_embedded_line.py",
        "tests/kafka/test_mended.py",
        "tests/kafka/test_redrive.py",
        "tests/matrix/",
        "tests/postgres/",
        "tests/registry/",
        "tests/soak/",
    ),
    "broker": ("tests/faults/", "tests/kafka/", "tests/shape/test_live_run.py"),
}


class Apart(LoadScopeScheduling):  # type: ignore[misc]  # of an untyped class
    """One scope for each group, and one for each other test; xdist begins with the largest."""

    def _split_scope(self, nodeid: str) -> str:
        return next((group for group, places in GROUPS.items() if nodeid.startswith(places)), nodeid)

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """Forget a scope that is over: at each test xdist counts again all that it has ever given to the worker."""
        super().mark_test_complete(node, item_index, duration)
        scopes = self.assigned_work[node]
        scope = self._split_scope(self.registered_collections[node][item_index])
        if all(scopes[scope].values()):
            del scopes[scope]
