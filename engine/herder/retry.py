"""How often a connector has failed to start, and when it is looked at again: the policy of its tasks, for itself.

Used by: engine.herder.herder.
Not here: the policy (engine.mending), the process of a connector that watches (engine.supervisor.watchers).
"""

from __future__ import annotations

from msgspec import Struct

from engine.config.line import Restarts
from engine.mending import Circuit, How, Kind, Mending, longest_pause_ms

__all__ = ["Retry"]


class Retry(Struct):
    """One connector's; it begins anew when the connector starts, or somebody asks for it."""

    looked: int = 0  # the attempt of the last plan, good or not
    kind: Kind = Kind.NOTHING  # why it failed last
    restarts: int = 0  # in a row
    mending: Mending | None = None

    @property
    def circuit(self) -> Circuit:
        """Whether it is tried though it failed too often."""
        return Circuit.CLOSED if self.mending is None else self.mending.circuit

    def begin_anew(self) -> None:
        """It has not failed."""
        self.kind, self.restarts, self.mending = Kind.NOTHING, 0, None

    def failed(self, kind: Kind, restarts: Restarts | None) -> int | None:
        """It has failed so; returns the longest pause (ms) before it is looked at again; None: not by itself."""
        self.kind = kind
        if restarts is None:
            return None
        self.mending = self.mending or Mending(restarts)
        # It makes no progress that could be seen: to start is all that it does.
        self.mending.starts()
        verdict = self.mending.ended(kind, 0, has_progressed=False)
        if verdict.how == How.NEVER:
            return None
        self.restarts += 1
        return longest_pause_ms(restarts, verdict)
