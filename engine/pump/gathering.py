"""Small frames that come often are gathered: each costs a way through both banks, however little is in it.

    a fetch brought few records, and many come a second ──► wait a moment
                                                            the task still has the last ones ──► wait until it has not

The second is what Nagle's algorithm (RFC 896) does with small segments: while something small is on its way, what comes
is kept to go together. So a machine that has no time left gets fewer, larger frames instead of more of them, and one
that has is waited for a moment only. What is waited for lies in the client's queue meanwhile.

Used by: engine.pump.main.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.shm.board import Measure, Row, Stage

__all__ = ["Gathering"]

#: Records a second from which on they are gathered. Where the cores are full: 39 us of CPU a record instead of 55, at
#: the same age.
RATE = 2_500
SECONDS = 0.0002
#: As many records, or bytes, at once have no need to wait for each other.
RECORDS_MAX = 128
BYTES_MAX = 64 * 1024
#: A task that is so much longer at one put is no reason to wait on.
WAITS_MAX = 25


class Gathering:
    """Looks at what each step has fetched, and waits before the next."""

    def __init__(
        self,
        row: Row,
        is_taken: Callable[[], bool],
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """is_taken: whether the task has nothing left of what was written. now, sleep: in seconds."""
        self._row = row
        self._is_taken = is_taken
        self._now = now
        self._sleep = sleep
        self._records = row.measured(Stage.CONSUME, Measure.RECORDS)
        self._bytes = row.measured(Stage.CONSUME, Measure.BYTES)
        self._since = 0.0  # when the last records came

    def wait(self) -> None:
        """Wait, if what came with the last step is to be gathered with what comes; 5 ms at most."""
        if not self._is_trickle():
            return
        self._sleep(SECONDS)
        for _ in range(WAITS_MAX - 1):
            if self._is_taken():
                return
            self._sleep(SECONDS)

    def _is_trickle(self) -> bool:
        records = self._row.measured(Stage.CONSUME, Measure.RECORDS)
        came = records - self._records
        if not came:
            return False
        size = self._row.measured(Stage.CONSUME, Measure.BYTES)
        since, self._since = self._since, self._now()
        is_small = came < RECORDS_MAX and size - self._bytes < BYTES_MAX
        self._records, self._bytes = records, size
        return is_small and came > RATE * (self._since - since)
