"""Time as an argument: everything that waits or measures is given a clock, so that a simulation can give it another.

Used by: everybody who needs `now`.
"""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Time since some moment, the same for all processes of a machine."""

    def monotonic_ns(self) -> int:
        """Nanoseconds; never goes back."""


class SystemClock:
    """The machine's own monotonic clock."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()
