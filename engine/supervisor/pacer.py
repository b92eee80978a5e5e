"""When lines come back: not in step, and not all at once, however many have failed together.

    a life ends ──► pause (doubles, half of it at random) ──► due ──► turn ──► fork
                                                                      one for all lines every SPACING_NS

An outage ends all lines in the same moment. Without the random half they would come back in the same moment as well,
life after life; without turns a hundred forks and a hundred first connections would meet a broker that is just up.

Used by: engine.supervisor.line (asks), engine.boot (makes the one of a worker).
Not here: whether a line comes back, and its longest pause (engine.mending); how often a client connects
(librdkafka's reconnect.backoff).
Source: "equal jitter" of the AWS Architecture Blog, Exponential Backoff And Jitter.
"""

from __future__ import annotations

from random import Random

from engine.config.line import Restarts
from engine.mending import Verdict, longest_pause_ms

__all__ = ["STARTS_PER_SECOND", "Pacer"]

#: Lines of a worker that are started again within a second, at most; each forks two processes, and its stage processes.
STARTS_PER_SECOND = 10
SPACING_NS = 1_000_000_000 // STARTS_PER_SECOND


class Pacer:
    """One for all lines of a worker."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._free_at_ns = 0  # no turn is given before this

    def rest_ms(self, restarts: Restarts, verdict: Verdict) -> int:
        """How long something rests that ended so: from half of its longest pause to all of it."""
        return self.spread_ms(longest_pause_ms(restarts, verdict))

    def spread_ms(self, longest_ms: int) -> int:
        """From half of a pause to all of it."""
        return round(longest_ms * self._random.uniform(0.5, 1))

    def turn_ns(self, now_ns: int) -> int:
        """When a line that is due now may start: in the order of asking, SPACING_NS apart. Each answer is a turn."""
        turn_ns = max(now_ns, self._free_at_ns)
        self._free_at_ns = turn_ns + SPACING_NS
        return turn_ns
