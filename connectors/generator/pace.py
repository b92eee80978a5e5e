"""How many records are due by now, at a given rate.

    rate 1,000/s     at 0 ms: 1     at 10 ms: 10 more     at 20 ms: 10 more

Whoever was held up catches up on one second's worth at most; the rest is forgiven, so that a stall does not
end in a flood.

Used by: source.py.
Not here: waiting.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Pace"]

CATCH_UP_SECONDS_MAX = 1.0
#: Records of this span go together; a wake-up for each of them would cost more than they do.
SLICE_SECONDS = 0.01


class Pace:
    """Counts what is due and what was taken."""

    def __init__(self, rate: float, monotonic_ns: Callable[[], int]) -> None:
        """rate: records a second, more than 0. The first one is due at once."""
        self._rate = rate
        self._monotonic_ns = monotonic_ns
        self._start_ns = monotonic_ns()
        self._taken = 0

    def due(self) -> int:
        """How many records are due and not taken."""
        elapsed = (self._monotonic_ns() - self._start_ns) / 1e9
        due = int(elapsed * self._rate) + 1 - self._taken
        due_max = int(self._rate * CATCH_UP_SECONDS_MAX) + 1
        if due > due_max:
            self._taken += due - due_max
            return due_max
        return due

    def take(self, count: int) -> None:
        """Say that `count` of them have been made."""
        self._taken += count

    def seconds_to_next(self) -> float:
        """How long to wait before looking again, with none due: to the next record, or for a slice of many."""
        elapsed = (self._monotonic_ns() - self._start_ns) / 1e9
        return max(self._taken / self._rate - elapsed, SLICE_SECONDS)
