"""The lease under which banks work: what has stood still for too long does nothing more.

    supervisor ── LEASE_NS, in every turn of its loop ──► banks, before each step, produce, store, put, flush, commit

Who stands still together with the supervisor (STOP to the whole group, Ctrl-Z, a frozen container) finds the lease over
when it wakes, and ends at once: meanwhile others may have got what it had. The supervisor, when it wakes, ends such
lines before it renews the lease, so that it does not matter who wakes first. What stands still alone is ended by the
supervisor, which the kernel tells of it.

Used by: engine.task, engine.pump and engine.both (ask), engine.bank (ends a fenced process), engine.kafka
(knows a rival).
Not here: who renews it and kills (engine.supervisor), how long it is (engine.config.line, Timing.lease).
"""

from __future__ import annotations

from engine.api.errors import ConnectError
from engine.clock import Clock
from engine.shm.board import Row

__all__ = ["Fenced", "Lease", "RivalError", "is_over"]


class Fenced(BaseException):
    """This process has stood still beyond its lease. No `Exception`: nobody, a plugin least of all, handles it."""


class RivalError(ConnectError):
    """Somebody else has this one's place in Kafka's eyes: worth another try, but not without end."""


class Lease:
    """The lease as a bank sees it."""

    def __init__(self, row: Row, seconds: float, clock: Clock) -> None:
        """seconds: how long it is."""
        self._row = row
        self._length_ns = int(seconds * 1e9)
        self._clock = clock

    def check(self) -> None:
        """Return if the bank may act now. Raises Fenced."""
        renewed_ns, now_ns = self._row.lease_ns, self._clock.monotonic_ns()
        if is_over(renewed_ns, now_ns, self._length_ns):
            raise Fenced(
                f"nothing was heard of the supervisor for {(now_ns - renewed_ns) / 1e9:.1f} s, the lease is "
                f"{self._length_ns / 1e9:g} s: this process, or the supervisor, has stood still"
            )


def is_over(renewed_ns: int, now_ns: int, length_ns: int) -> bool:
    """Whether a lease has ended that was renewed then. renewed_ns: 0: nobody gives leases, as in tests of one bank."""
    return 0 < renewed_ns < now_ns - length_ns
